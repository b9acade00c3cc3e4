"""Writing that a person may end: a window beside the panel says how far it is and has a Cancel button."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegModule.waiting import Waiting, keepAnswering

_SHOWN_AFTER_MILLISECONDS = 1000


class Canceled(Exception):
    """A person does not want the rest any more."""


@contextmanager
def cancellable(tell: Callable[[int, int, str], None]) -> Iterator[Waiting]:
    """Let Slicer answer while cases are written, and a person end it; what takes a moment shows no window.

    The panel is disabled meanwhile, and its Cancel button would be with it. The window does not keep a person from
    working with the rest of Slicer.

    Args:
        tell: called with cases done, cases in all, and the case that comes next.

    Raises:
        Canceled: from within the work, between two steps of it.
    """
    dialog = slicer.util.createProgressDialog(
        windowTitle="SemiSeg",
        labelText=_("Writing the cases..."),
        minimumDuration=_SHOWN_AFTER_MILLISECONDS,
        autoClose=False,
        autoReset=False,
    )

    def told(done: int, count: int, name: str) -> None:
        dialog.maximum, dialog.value = count, done
        dialog.labelText = writingText(done, count, name)
        tell(done, count, name)

    def apart(work: Callable[[], Any]) -> Any:
        result = keepAnswering(work)
        if dialog.wasCanceled:
            raise Canceled
        return result

    try:
        yield Waiting(told, apart)
    finally:
        dialog.close()
        dialog.deleteLater()


def writingText(done: int, count: int, name: str) -> str:
    """Return which case is being written."""
    return _("Writing {name} ({number} of {count})...").format(name=name, number=done + 1, count=count)
