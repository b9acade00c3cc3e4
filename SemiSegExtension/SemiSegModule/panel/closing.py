"""Closing Slicer while a training runs: keep it going, stop it, or do not close.

Slicer asks nobody before it closes, but a filter on its main window sees the event first and may refuse it, as Slicer's
script repository shows. What was chosen is done when Slicer really quits: its own question about unsaved data may still
be answered with Cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegLib.runs.folder import RunFolder
from SemiSegModule import jobs

# Trainings that are named in the question; the others are counted.
_MOST_NAMED = 6


class ClosingGuard(qt.QWidget):
    """Asks when Slicer's main window is about to be closed; without a main window nothing is asked.

    Args:
        busyRuns: returns the runs that are at work or wait now and are this person's to stop.
        stop: asks a run to stop.
    """

    def __init__(self, busyRuns: Callable[[], Sequence[RunFolder]], stop: Callable[[RunFolder], None]) -> None:
        qt.QWidget.__init__(self)
        self._busyRuns, self._stop = busyRuns, stop
        self._toStop: list[RunFolder] = []
        self._window: Any = slicer.util.mainWindow()
        if self._window is not None:
            self._window.installEventFilter(self)
            slicer.app.connect("aboutToQuit()", self.stopChosen)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Refuse the closing if the person does (called by Qt)."""
        if event.type() != qt.QEvent.Close or self.mayClose():
            return False
        event.ignore()
        return True

    def mayClose(self) -> bool:
        """Ask what becomes of trainings that are going on and return whether Slicer may be closed."""
        self._toStop = []
        runs = list(self._busyRuns())
        if not runs:
            return True
        answer = self._ask([jobs.titleOf(run) for run in runs])
        if answer == qt.QMessageBox.No:
            self._toStop = runs
        return answer != qt.QMessageBox.Cancel

    def stopChosen(self) -> None:
        """Ask the runs to stop of which the person has said so (called when Slicer quits)."""
        runs, self._toStop = self._toStop, []
        for run in runs:
            self._stop(run)

    def letGo(self) -> None:
        """Ask no more; a choice that was made stays until Slicer quits."""
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
            if not self._toStop:
                slicer.app.disconnect("aboutToQuit()", self.stopChosen)

    def _ask(self, titles: Sequence[str]) -> Any:
        count, named = len(titles), list(titles[:_MOST_NAMED])
        if count > len(named):
            named.append(_("and {n} more").format(n=count - len(named)))
        box = qt.QMessageBox(self._window)
        box.windowTitle = _("SemiSeg")
        box.icon = qt.QMessageBox.Question
        box.text = _("A training is going on.") if count == 1 else _("{n} trainings go on or wait.").format(n=count)
        text = _(
            "It can go on while Slicer is closed, and is found again by its study folder. Stopped, it saves a model of "
            "its best state and can be resumed."
        )
        # A title may hold anything; a text with tags would be shown as their effect.
        box.textFormat = qt.Qt.PlainText
        box.informativeText = "\n".join([*named, "", text])
        box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No | qt.QMessageBox.Cancel)
        for button, text in (
            (qt.QMessageBox.Yes, _("Keep training")),
            (qt.QMessageBox.No, _("Stop training")),
            (qt.QMessageBox.Cancel, _("Do not close")),
        ):
            box.button(button).text = text
        box.setDefaultButton(qt.QMessageBox.Yes)
        return box.exec()
