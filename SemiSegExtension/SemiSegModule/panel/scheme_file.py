"""What the file of a label scheme says, read aside: every refresh asks, and its drive may take long to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.aside import Aside
from SemiSegModule.logic import StudyLogic


@dataclass(frozen=True)
class _Found:
    """What is known of a file.

    Attributes:
        source: its path.
        stamp: its size and the moment of its last change; None if nobody can look.
        scheme: what it says; None if it cannot be read.
        problem: why not, or "".
    """

    source: str
    stamp: tuple[int, int] | None
    scheme: LabelScheme | None = None
    problem: str = ""


class SchemeFile:
    """Knows the scheme of one file, and reads it again only when it has changed.

    Args:
        logic: reads schemes.
        onNews: called when something else is known than ``scheme`` told last.
    """

    def __init__(self, logic: StudyLogic, onNews: Callable[[], None]) -> None:
        self._logic, self._onNews = logic, onNews
        self._known: _Found | None = None
        self._asked = ""
        # Whether the file may have changed since the look that goes on began, and whether ``scheme`` is about to tell.
        self._isStale = self._isTelling = False
        self._aside: Aside[_Found] = Aside(self._take)

    def scheme(self, source: str) -> LabelScheme:
        """Return a label scheme; that of a file as it is, or as it was until its drive has answered.

        Args:
            source: name of a ready scheme, or path of a scheme or color table.

        Raises:
            SemiSegError: the file cannot be read, or its drive has never answered yet.
        """
        if source in self._logic.readySchemes():
            # They come with the module.
            return self._logic.readScheme(source)
        self._isTelling = True
        self._look(source)
        self._isTelling = False
        if self._known is None or self._known.source != source:
            raise SemiSegError(_("The label scheme is being read."))
        if self._known.scheme is None:
            raise SemiSegError(self._known.problem)
        return self._known.scheme

    def close(self) -> None:
        """Look at no file any more."""
        self._aside.close()
        self._isStale = False

    def _look(self, source: str) -> None:
        if self._aside.isBusy and source != self._asked:
            # The drive of the file before may never answer.
            self._aside.close()
        self._asked, self._isStale = source, self._aside.isBusy
        if not self._isStale:
            known, read = self._known, self._logic.readScheme
            self._aside.ask(lambda: _lookedAt(source, known, read))

    def _take(self, found: _Found) -> None:
        isNews, self._known = found is not self._known, found
        if isNews and not self._isTelling:
            self._onNews()
        if self._isStale:
            self._look(self._asked)


def _lookedAt(source: str, known: _Found | None, read: Callable[[str], LabelScheme]) -> _Found:
    """Return what is known of a file, as it is; read only if it is not the one that is known. In a thread."""
    try:
        found = Path(source).stat()
        stamp = (found.st_size, found.st_mtime_ns)
    except OSError:
        # It is gone, or its drive is away.
        stamp = None
    if known is not None and (known.source, known.stamp) == (source, stamp):
        return known
    try:
        return _Found(source, stamp, read(source))
    except (SemiSegError, OSError) as error:
        return _Found(source, stamp, problem=str(error))
