"""The end of a run's log, read while its box is open."""

from __future__ import annotations

from typing import Any

from SemiSegLib.runs.folder import RunFolder
from SemiSegModule import jobs
from SemiSegModule.aside import Aside

# Lines that are shown at most; the file itself has all.
LINES = 200


class LogView:
    """Shows the end of a log, and follows it.

    Args:
        ui: widgets of the form by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._run: RunFolder | None = None
        # None: what is shown is not the log as it is.
        self._size: int | None = None
        self._isOther = True
        self._aside: Aside[tuple[int, str | None]] = Aside(self._take)
        ui.logEdit.maximumBlockCount = LINES
        ui.logBox.connect("toggled(bool)", self._onToggled)

    def show(self, run: RunFolder | None) -> None:
        """Show the log of a run as it is now, or as soon as its folder answers; nothing is read while it is closed."""
        if run is not self._run:
            # The folder of the run before may never answer.
            self._aside.close()
            self._size, self._isOther = None, True
        self._run = run
        self.ui.logBox.visible = run is not None
        if run is None or self.ui.logBox.collapsed:
            self._size = None
        elif not self._aside.isBusy:
            size = self._size
            self._aside.ask(lambda: _read(run, size))

    def close(self) -> None:
        """Read no more."""
        self._aside.close()

    def _take(self, read: tuple[int, str | None]) -> None:
        self._size, text = read
        if text is not None:
            bar = self.ui.logEdit.verticalScrollBar()
            wasAtEnd = self._isOther or bar.value == bar.maximum
            self._isOther = False
            self.ui.logEdit.plainText = text
            if wasAtEnd:
                bar.value = bar.maximum

    def _onToggled(self, _isOpen: bool) -> None:
        self.show(self._run)


def _read(run: RunFolder, known: int | None) -> tuple[int, str | None]:
    """Return the size of a log and its end, or None for the end where the size is the one that is known."""
    try:
        size = run.log_path.stat().st_size
    except OSError:
        size = -1
    return size, None if size == known else jobs.logTail(run, LINES)
