"""Method, Train, Stop, Resume and the runs of a study."""

from __future__ import annotations

import time
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.panel.progress_view import ProgressView
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.parameters import StudyParameters
from SemiSegModule.waiting import Waiting, keepAnswering

DEVICES = ("auto", "cuda", "mps", "cpu")


class TrainingSection:
    """Starts trainings and shows the chosen run.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.progress = ProgressView(ui)
        self.watcher = jobs.RunWatcher(self)
        self.status: RunStatus | None = None
        self._isOwnRun = False
        self._runs: list[RunFolder] = []
        self._methods: list[str] = []
        ui.studyFolderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.studyFolderEdit.connect("currentPathChanged(QString)", self._onFolderChanged)
        ui.methodComboBox.connect("activated(int)", self._onMethodActivated)
        ui.minutesSpinBox.connect("valueChanged(int)", self._onMinutesChanged)
        ui.deviceComboBox.connect("activated(int)", self._onDeviceActivated)
        for text in (_("Automatic"), _("Graphics card (CUDA)"), _("Apple GPU (MPS)"), _("Processor (CPU)")):
            ui.deviceComboBox.addItem(text)
        ui.trainButton.connect("clicked()", self.train)
        ui.stopButton.connect("clicked()", self.stop)
        ui.resumeButton.connect("clicked()", self.resume)
        ui.openRunButton.connect("clicked()", self.openRunFolder)
        ui.runComboBox.connect("activated(int)", self._onRunActivated)

    @property
    def run(self) -> RunFolder | None:
        """The run that is shown."""
        path = self.panel.parameters.runFolder if self.panel.parameters else ""
        found = [run for run in self._runs if str(run.path) == path]
        return found[0] if found else None

    def refresh(self, view: StudyView) -> None:
        """Show a study and its runs."""
        parameters = self.panel.parameters
        if self.ui.studyFolderEdit.currentPath != parameters.studyFolder:
            self.ui.studyFolderEdit.currentPath = parameters.studyFolder
        self.ui.minutesSpinBox.value = parameters.minutes
        self.ui.deviceComboBox.currentIndex = DEVICES.index(parameters.device)
        self._showMethods(view)
        self._showRuns()
        self._showButtons(view)

    def findRunningRun(self) -> None:
        """Take up a training that is still going on from before the scene or Slicer was closed."""
        parameters = self.panel.parameters
        self._runs = self._findRuns()
        if not parameters.runFolder:
            active = [run for run in self._runs if jobs.isAtWork(run)]
            if active:
                parameters.runFolder = str(active[0].path)
        self._watch()

    def train(self) -> None:
        """Write the ticked cases to the study folder and start a training on them."""
        parameters, view = self.panel.parameters, self.panel.view
        if self.panel.isBusy or self.panel.whyNoTraining(view) or not self.panel.ensurePackages():
            return
        try:
            with self.panel.busy():
                run, findings = self._exportAndStart(parameters, view)
        except SemiSegError as error:
            self.panel.showError(_("The training could not be started."), str(error))
            self.ui.statusLabel.text = str(error).split("\n")[0]
            return
        if self.panel.parameters is not parameters:
            # The scene was closed while the last case was written; the training goes on and is found by its folder.
            return
        self._runs = self._findRuns()
        parameters.runFolder = str(run.path)
        self._isOwnRun = True
        self._watch()
        self._tellFindings(findings)

    def stop(self) -> None:
        """Ask the shown run to stop; it saves a model first."""
        if self.run is None:
            return
        try:
            self.panel.logic.stop(self.run)
        except SemiSegError as error:
            self.panel.showError(_("The training could not be stopped."), str(error))
            return
        self.ui.stopButton.enabled = False
        self.ui.stopButton.toolTip = _("The training saves a model and ends")

    def resume(self) -> None:
        """Go on with the shown run from its last checkpoint."""
        if self.run is None or not self.panel.ensurePackages():
            return
        try:
            self.panel.logic.resumeTraining(self.run)
        except SemiSegError as error:
            self.panel.showError(_("The training could not be resumed."), str(error))
            return
        self._isOwnRun = True
        self._watch()
        self.panel.scheduleRefresh()

    def openRunFolder(self) -> None:
        """Show the files of the shown run in the file manager."""
        if self.run is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.run.path)))

    def close(self) -> None:
        """Look no more at the run; the training goes on."""
        self.watcher.unwatch()

    def onStatus(self, status: RunStatus) -> None:
        """Show the state of the run (called by the watcher)."""
        changed = self.status is None or self.status.state != status.state
        self.status = status
        self.progress.showStatus(status)
        if changed:
            self.panel.scheduleRefresh()

    def onEvents(self, events: list[dict[str, Any]]) -> None:
        """Show what happened (called by the watcher)."""
        self.progress.showEvents(events)

    def onEnd(self, status: RunStatus) -> None:
        """Tell of a failure once, if it happened while the run was watched (called by the watcher)."""
        if status.state == "failed" and self._isOwnRun:
            text = "\n".join(filter(None, [status.message, status.where, status.remedy]))
            run = self.run
            where = _("Log: {path}").format(path=run.log_path) if run else ""
            self.panel.showError(_("The training failed."), f"{text}\n\n{where}\n\n{jobs.logTail(run) if run else ''}")
        self._isOwnRun = False
        self.panel.scheduleRefresh()

    def onError(self, error: SemiSegError) -> None:
        """Tell that the run's files cannot be read (called by the watcher)."""
        self.ui.statusLabel.text = str(error)

    def _findRuns(self) -> list[RunFolder]:
        """Return the runs of the study, newest first; those known already are kept, with what was read of them."""
        folder = self.panel.parameters.studyPath
        known = {run.path: run for run in self._runs}
        return [known.get(run.path, run) for run in jobs.findRuns(folder)] if folder is not None else []

    def _watch(self) -> None:
        self.progress.clear()
        self.status = None
        self.watcher.unwatch()
        if self.run is not None:
            self.watcher.watch(self.run)

    def _exportAndStart(self, parameters: StudyParameters, view: StudyView) -> tuple[RunFolder, tuple[Any, ...]]:
        method = parameters.method or self.panel.recommendation(view).method
        # Before anything is written: whatever happens to Slicer from here on, the training is found again.
        self.panel.rememberStudyFolder(parameters.studyFolder)
        export = self.panel.logic.exportStudy(
            parameters.studyPath, view.chosen, view.scheme, waiting=Waiting(self._showExport, keepAnswering)
        )
        title = next((card.title for card in CARDS if card.name == method), method)
        run = self.panel.logic.startTraining(
            export.path,
            method,
            minutes=parameters.minutes,
            device=parameters.device,
            # Time first: it tells runs of one method apart where the box is too narrow for all of it.
            title=f"{time.strftime('%Y-%m-%d %H:%M')} {title}",
        )
        return run, export.findings

    def _showExport(self, done: int, count: int, name: str) -> None:
        self.ui.progressBar.visible = True
        self.ui.progressBar.value = round(100 * done / count)
        self.ui.statusLabel.text = _("Writing {name} ({number} of {count})...").format(
            name=name, number=done + 1, count=count
        )

    def _tellFindings(self, findings: tuple[Any, ...]) -> None:
        told = [f"{finding.case}: {finding.what}" for finding in findings if finding.severity != "note"]
        if told:
            more = _("and {count} more").format(count=len(told) - 3) if len(told) > 3 else ""
            self.progress.data.notice = "\n".join(filter(None, [*told[:3], more]))

    def _showMethods(self, view: StudyView) -> None:
        combo = self.ui.methodComboBox
        recommended = self.panel.recommendation(view)
        names = [card.name for card in CARDS]
        best = recommended.method if recommended else ""
        texts = [_("{title} (recommended)").format(title=c.title) if c.name == best else c.title for c in CARDS]
        if [combo.itemText(index) for index in range(combo.count)] != texts:
            combo.clear()
            combo.addItems(texts)
            for index, card in enumerate(CARDS):
                combo.setItemData(index, card.summary, qt.Qt.ToolTipRole)
        self._methods = names
        chosen = self.panel.parameters.method or best
        combo.currentIndex = names.index(chosen) if chosen in names else -1
        reason = ""
        if recommended and chosen == best:
            reason = recommended.reason
        elif chosen in names:
            reason = CARDS[names.index(chosen)].summary
        self.ui.methodReasonLabel.text = reason
        self.ui.methodReasonLabel.visible = bool(reason)

    def _showRuns(self) -> None:
        parameters, combo = self.panel.parameters, self.ui.runComboBox
        self._runs = self._findRuns()
        texts = [jobs.titleOf(run) for run in self._runs]
        if [combo.itemText(index) for index in range(combo.count)] != texts:
            combo.clear()
            combo.addItems(texts)
            for index, text in enumerate(texts):
                combo.setItemData(index, text, qt.Qt.ToolTipRole)
        paths = [str(run.path) for run in self._runs]
        combo.currentIndex = paths.index(parameters.runFolder) if parameters.runFolder in paths else -1
        combo.enabled = bool(paths)

    def _showButtons(self, view: StudyView) -> None:
        state = self.status.state if self.status and self.run else ""
        active = state in ("created", "preparing", "training", "stopping")
        why = self.panel.whyNoTraining(view)
        if active:
            why = _("A training is going on; stop it first, or choose another study folder.")
        setButton(self.ui.trainButton, why, _("Write the ticked cases to the study folder and train on them"))
        stopping = state == "stopping" or (self.run is not None and self.run.stop_requested())
        why = "" if active else _("No training is going on.")
        why = _("The training saves a model and ends") if active and stopping else why
        setButton(self.ui.stopButton, why, _("Finish the current step, save a model of the best state, and end"))
        why = "" if state in ("stopped", "failed") else _("Only a stopped or failed training can be resumed.")
        setButton(self.ui.resumeButton, why, _("Go on from the last checkpoint"))
        setButton(
            self.ui.openRunButton, "" if self.run else _("No training is chosen."), _("Show log, report and model")
        )

    def _onFolderChanged(self, path: str) -> None:
        parameters = self.panel.parameters
        if parameters is None or path == parameters.studyFolder:
            return
        parameters.studyFolder = path
        parameters.runFolder = ""
        self.findRunningRun()
        # Not every folder that is passed while a path is typed is one to come back to.
        if self._runs:
            self.panel.rememberStudyFolder(path)

    def _onMethodActivated(self, index: int) -> None:
        recommended = self.panel.recommendation(self.panel.view)
        name = self._methods[index]
        self.panel.parameters.method = "" if recommended and name == recommended.method else name

    def _onMinutesChanged(self, value: int) -> None:
        if self.panel.parameters is not None and self.panel.parameters.minutes != value:
            self.panel.parameters.minutes = value

    def _onDeviceActivated(self, index: int) -> None:
        self.panel.parameters.device = DEVICES[index]

    def _onRunActivated(self, index: int) -> None:
        self.panel.parameters.runFolder = str(self._runs[index].path)
        self._isOwnRun = False
        self._watch()


def setButton(button: Any, why: str, what: str) -> None:
    """Enable a button, or disable it and say why in its tooltip."""
    button.enabled = not why
    button.toolTip = why or what
