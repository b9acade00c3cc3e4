"""The end of a run's log, read while its box is open."""

from __future__ import annotations

from typing import Any

from SemiSegLib.runs.folder import RunFolder
from SemiSegModule import jobs

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
        self._size = -1
        ui.logEdit.maximumBlockCount = LINES
        ui.logBox.connect("toggled(bool)", self._onToggled)

    def show(self, run: RunFolder | None) -> None:
        """Show the log of a run as it is now; nothing is read while the box is closed."""
        isOther = run is not self._run
        self._run = run
        self.ui.logBox.visible = run is not None
        if run is None or self.ui.logBox.collapsed:
            self._size = -1
            return
        size = _size(run)
        if isOther or size != self._size:
            self._size = size
            bar = self.ui.logEdit.verticalScrollBar()
            wasAtEnd = isOther or bar.value == bar.maximum
            self.ui.logEdit.plainText = jobs.logTail(run, LINES)
            if wasAtEnd:
                bar.value = bar.maximum

    def _onToggled(self, _isOpen: bool) -> None:
        self.show(self._run)


def _size(run: RunFolder) -> int:
    try:
        return run.log_path.stat().st_size
    except OSError:
        return -1
