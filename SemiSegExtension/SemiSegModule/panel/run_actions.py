"""What can be done with a run: stop it, take it from the queue, resume it, rename it, open its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegModule.panel.embedding_form import runNeedsText
from SemiSegModule.panel.run_entry import RunEntry
from SemiSegModule.panel.run_list import RunList


class RunActions:
    """The buttons of the run that is shown, and the names of all.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
        runs: the runs of the study; is told what was done.
        shown: returns the run that is shown; None if none is.
        onStopped: called when the shown run was asked to stop.
        onResumed: called when the shown run goes on.
    """

    def __init__(
        self,
        ui: Any,
        panel: Any,
        runs: RunList,
        shown: Callable[[], RunFolder | None],
        *,
        onStopped: Callable[[], None],
        onResumed: Callable[[], None],
    ) -> None:
        self.panel, self._runs, self._shown = panel, runs, shown
        self._onStopped, self._onResumed = onStopped, onResumed
        ui.stopButton.connect("clicked()", self.stop)
        ui.removeRunButton.connect("clicked()", self.removeFromQueue)
        ui.resumeButton.connect("clicked()", self.resume)
        ui.openRunButton.connect("clicked()", self.openFolder)

    def stop(self) -> None:
        """Ask the shown run to stop; it saves a model first."""
        self._stop(self.panel.logic.stop, _("The training could not be stopped."))

    def removeFromQueue(self) -> None:
        """Let the shown run, which waits for another one, not begin."""
        self._stop(self.panel.logic.removeFromQueue, _("The training could not be taken from the queue."))

    def resume(self) -> None:
        """Go on with the shown run from its last checkpoint, when those before it have ended."""
        parameters, logic, run = self.panel.parameters, self.panel.logic, self._shown()
        if run is None or self.panel.isBusy:
            return
        folder = parameters.studyPath
        try:
            withText = self.panel.withFiles(partial(runNeedsText, run))
            # Slicer goes on answering meanwhile: the scene may be closed by then.
            if self.panel.parameters is not parameters or not self.panel.ensurePackages(self.resume, withText=withText):
                return
            self.panel.withFiles(lambda: logic.resumeTraining(run, logic.endOfQueue(folder)))
        except SemiSegError as error:
            self.panel.showError(_("The training could not be resumed."), str(error))
            return
        if self.panel.parameters is parameters:
            self._onResumed()

    def openFolder(self) -> None:
        """Show the files of the shown run in the file manager."""
        run = self._shown()
        if run is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(run.path)))

    def rename(self, entry: RunEntry, title: str) -> None:
        """Give a run another title; an empty one takes back that of before.

        At once, without Slicer answering: the name comes from an editor in the table, which Qt is still closing.
        """
        try:
            self.panel.logic.renameRun(entry.run, title)
        except SemiSegError as error:
            self.panel.showError(_("The training could not be renamed."), str(error))
        self._runs.renamed(entry.run)
        self.panel.scheduleRefresh()

    def stopQuietly(self, run: RunFolder) -> None:
        """Ask a run to stop while Slicer quits: nobody is there any more to read of a failure."""
        try:
            self.panel.logic.stop(run)
        except SemiSegError as error:
            logging.warning("SemiSeg: %s", error)

    def _stop(self, call: Callable[[RunFolder], None], trouble: str) -> None:
        parameters, run = self.panel.parameters, self._shown()
        if run is None or self.panel.isBusy:
            return
        try:
            self.panel.withFiles(partial(call, run))
        except SemiSegError as error:
            self.panel.showError(trouble, str(error))
            return
        if self.panel.parameters is parameters:
            self._runs.stopped(run)
            self._onStopped()
