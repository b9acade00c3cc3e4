"""Train, queue, and the runs of a study."""

from __future__ import annotations

from typing import Any

import ctk
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.panel.closing import ClosingGuard
from SemiSegModule.panel.gain_view import GainView
from SemiSegModule.panel.log_view import LogView
from SemiSegModule.panel.preflight_line import PreflightLine
from SemiSegModule.panel.preview_view import PreviewView
from SemiSegModule.panel.progress_view import ProgressView
from SemiSegModule.panel.run_actions import RunActions
from SemiSegModule.panel.run_entry import RunEntry
from SemiSegModule.panel.run_list import RunList
from SemiSegModule.panel.runs_table import RunsTable, summary
from SemiSegModule.panel.study_view import StudyView, rememberUse
from SemiSegModule.panel.training_buttons import showButtons
from SemiSegModule.panel.training_form import TrainingForm
from SemiSegModule.panel.training_start import exportAndStart
from SemiSegModule.panel.writing import Canceled
from SemiSegModule.study_scheme import rememberModels


class TrainingSection:
    """Starts trainings and shows the chosen run.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.form = TrainingForm(ui, panel)
        self.progress = ProgressView(ui)
        self.log, self.gain, self.preview = LogView(ui), GainView(ui), PreviewView(ui, panel)
        self.preflight = PreflightLine(ui, panel, self.form)
        self.runs = RunList(self._onRunsRead)
        self.actions = RunActions(
            ui, panel, self.runs, lambda: self.run, onStopped=self._onStopped, onResumed=self._onResumed
        )
        self.table = RunsTable(ui, self._onRunChosen, self.actions.rename)
        self.watcher = jobs.RunWatcher(self)
        self.closing = ClosingGuard(self._ownBusy, self.actions.stopQuietly)
        self.status: RunStatus | None = None
        self._known: Any = None
        self._typed: str | None = None
        # Whether the watcher gave up the shown run, which is not to be tried again by itself.
        self._isOutOfReach = False
        # Whether the end of the shown run is news: it was started here, or seen at work or in the queue.
        self._isNews = self._wasQueued = False
        ui.studyFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.studyFolderEdit.connect("currentPathChanged(QString)", self._onFolderChanged)
        ui.trainButton.connect("clicked()", self.train)
        ui.showPlotButton.connect("clicked()", self.showPlot)

    @property
    def entry(self) -> RunEntry | None:
        """What is known of the run that is shown."""
        return self.runs.entry(self.panel.parameters.runFolder) if self.panel.parameters else None

    @property
    def run(self) -> RunFolder | None:
        """The run that is shown."""
        return self.entry.run if self.entry is not None else None

    def refresh(self, view: StudyView) -> None:
        """Show a study and its runs."""
        parameters = self.panel.parameters
        if self.ui.studyFolderEdit.currentPath != parameters.studyFolder:
            self.ui.studyFolderEdit.currentPath = parameters.studyFolder
        self.runs.show(parameters.studyPath)
        self.form.refresh(view, self.runs.entries)
        self.preview.refresh()
        self._showRuns()
        self._showButtons(view)
        self.preflight.show(view)

    def findRunningRun(self) -> None:
        """Take up a training that is still going on from before the scene or Slicer was closed.

        Where its folder takes long to answer, that comes when it does.
        """
        self.runs.show(self.panel.parameters.studyPath)
        self._known = self.runs.facts
        self._chooseRunning()
        self._watch()

    def train(self) -> None:
        """Write the ticked cases to the study folder and start a training on them, or queue it behind others."""
        parameters, view = self.panel.parameters, self.panel.view
        if self.panel.isBusy or self.panel.whyNoTraining(view):
            return
        if not self.panel.ensurePackages(self.train, withText=self.form.needsText(view)):
            return
        try:
            with self.panel.busy():
                runs, findings = exportAndStart(self.panel, self.form, view, self.progress.showWriting)
        except Canceled:
            if self.panel.parameters is parameters:
                self._watch(isNews=self._isNews)
                self.ui.statusLabel.text = _("Canceled; no training was started.")
            return
        except SemiSegError as error:
            self.panel.showError(_("The training could not be started."), str(error))
            self.ui.statusLabel.text = str(error).split("\n")[0]
            return
        if self.panel.parameters is not parameters:
            # The scene was closed while the last case was written; the training goes on and is found by its folder.
            return
        rememberUse(parameters, view)
        rememberModels(parameters, [run.model_path for run in runs])
        for run in runs:
            self.runs.add(run, run.request.title)
        # What is queued is watched when its turn comes; until then the one at work is what matters.
        if self.status is None or not self.status.is_active:
            parameters.runFolder = str(runs[0].path)
            self._watch(isNews=True)
        else:
            # In place of how far the writing was.
            self.watcher.look()
        self.progress.tellFindings(findings)

    def showPlot(self) -> None:
        """Show loss and Dice of the shown run in a plot view."""
        entry = self.entry
        if entry is not None:
            self.panel.logic.showPlot(entry.run, self.progress.data, title=entry.title)

    def close(self) -> None:
        """Look no more at the runs; trainings go on."""
        self.watcher.close()
        self.runs.close()
        self.log.close()
        self.preview.close()
        self.preflight.close()
        self.form.close()

    def onStatus(self, status: RunStatus) -> None:
        """Show the state of the run (called by the watcher)."""
        changed = self.status is None or self.status.state != status.state
        self.status = status
        if status.is_active:
            self._isNews, self._wasQueued = True, status.state == "queued"
        self.progress.showStatus(status)
        self.runs.take(self.watcher.run, status)
        self._showRuns()
        self.log.show(self.watcher.run)
        if not self.watcher.isBehind:
            self.preview.show(self.watcher.run, self.progress.data.preview)
        if changed:
            self.panel.scheduleRefresh()

    def onEvents(self, events: list[dict[str, Any]]) -> None:
        """Show what happened (called by the watcher)."""
        self.progress.showEvents(events)
        entry = self.runs.entry(self.watcher.run.path)
        if entry is not None and not self.watcher.isBehind:
            # With the title that the list knows: the run's folder may take long to tell it.
            self.panel.logic.updatePlot(entry.run, self.progress.data, title=entry.title)

    def onEnd(self, status: RunStatus) -> None:
        """Tell of a failure, and show the run whose turn comes then, if this end is news (called by the watcher)."""
        isNews, wasTakenOut = self._isNews, self._wasQueued and status.state == "stopped"
        self._isNews = False
        if status.state == "failed" and isNews:
            text = "\n".join(filter(None, [status.message, status.where, status.remedy]))
            run = self.run
            where = _("Log: {path}").format(path=run.log_path) if run else ""
            self.panel.showError(_("The training failed."), f"{text}\n\n{where}\n\n{jobs.logTail(run) if run else ''}")
        if isNews and not wasTakenOut:
            self._showNext()
        self.panel.scheduleRefresh()

    def onError(self, error: SemiSegError) -> None:
        """Tell that the run's files cannot be read (called by the watcher)."""
        self.status, self._isOutOfReach = None, True
        self.ui.statusLabel.text = str(error)
        self.panel.scheduleRefresh()

    def _ownBusy(self) -> list[RunFolder]:
        """Return this person's trainings that go on: those of the shown study, and of others what was started here."""
        shown = self.runs.ownBusy()
        paths = {run.path for run in shown}
        return [*shown, *(run for run in jobs.startedHere() if run.path not in paths)]

    def _watch(self, *, isNews: bool = False) -> None:
        self.progress.clear()
        self.status, self._isOutOfReach = None, False
        self._isNews, self._wasQueued = isNews, False
        self.watcher.unwatch()
        self.log.show(self.run)
        entry = self.entry
        if entry is None:
            return
        self.watcher.watch(entry.run)
        if self.status is None and self.watcher.run is not None and entry.state not in ("", "created"):
            # What the list of runs knows, until the folder of the run answers.
            self.status = entry.status
            self.progress.showStatus(entry.status)

    def _chooseRunning(self) -> None:
        """Show the run that is at work, else the first that waits, unless a person has chosen one."""
        parameters, entry = self.panel.parameters, self.runs.next()
        if not parameters.runFolder and self.runs.isComplete and entry is not None:
            parameters.runFolder = str(entry.run.path)

    def _showNext(self) -> None:
        """Show the run whose turn comes now, if one waits, so that its failure is told as well.

        Behind a training that has its baseline after it the model to use stays that of the training.
        """
        parameters, entry = self.panel.parameters, self.runs.next(self.run)
        # While a dialog told of the failure the scene may have been closed.
        if parameters is not None and entry is not None:
            parameters.runFolder = str(entry.run.path)
            self._watch(isNews=True)

    def _showRuns(self) -> None:
        self.table.show(self.runs.entries, self.panel.parameters.runFolder)
        self.ui.runsBox.title = summary(self.runs.entries)
        self.ui.runsBox.visible = bool(self.runs.entries)
        self.gain.show(self.entry, self.runs.entries)

    def _showButtons(self, view: StudyView) -> None:
        isWaiting = any(entry.isBusy for entry in self.runs.entries)
        state = self.status.state if self.status is not None else ""
        showButtons(self.ui, self.entry, state, whyNot=self.panel.whyNoTraining(view), isWaiting=isWaiting)

    def _onRunsRead(self) -> None:
        if self.panel.parameters is None:
            return
        known, self._known = self._known, self.runs.facts
        if known != self._known:
            self.panel.scheduleRefresh()
        if self.runs.entries and self._typed == self.panel.parameters.studyFolder:
            # Not every folder that is passed while a path is typed is one to come back to.
            self.panel.rememberStudyFolder(self._typed)
            self._typed = None
        wasChosen, wasShown = self.panel.parameters.runFolder, self.watcher.run is not None
        self._chooseRunning()
        # One that was chosen before its folder answered is watched from now on.
        isLate = not wasShown and self.status is None and self.run is not None and not self._isOutOfReach
        if self.panel.parameters.runFolder != wasChosen or isLate:
            self._watch()
        self._showRuns()
        self._showButtons(self.panel.view)

    def _onFolderChanged(self, path: str) -> None:
        parameters = self.panel.parameters
        if parameters is None or path == parameters.studyFolder:
            return
        parameters.studyFolder = path
        parameters.runFolder = ""
        self._typed = path
        self.findRunningRun()
        self._onRunsRead()

    def _onStopped(self) -> None:
        self._showButtons(self.panel.view)

    def _onResumed(self) -> None:
        self._watch(isNews=True)
        self.panel.scheduleRefresh()

    def _onRunChosen(self, entry: RunEntry) -> None:
        self.panel.parameters.runFolder = str(entry.run.path)
        self._watch()
