"""Apply a model to volumes of the scene and bring what it found into the scene."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.aside import Aside
from SemiSegModule.bridge.results import hasResults
from SemiSegModule.panel.apply_volumes import ApplyVolumes
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_buttons import setButton
from SemiSegModule.panel.writing import Canceled, cancellable, writingText
from SemiSegModule.waiting import Waiting, keepAnswering


class ApplySection:
    """Starts predictions, watches them and loads their results as new segmentations.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``, the model, and the section that shows results.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.watcher = jobs.RunWatcher(self)
        self._search: Aside[ApplyFolder | None] = Aside(self._takeUp)
        self.status: RunStatus | None = None
        self.job: ApplyFolder | None = None
        # A job of an earlier time has ended, and its scans are not in this scene yet.
        self._isAwaiting = False
        self._isLoading = False
        self._isOwnJob = False
        self.list = ApplyVolumes(ui, panel)
        ui.uncertaintyCheckBox.connect("toggled(bool)", partial(self._onToggled, "wantsUncertainty"))
        ui.largestPieceCheckBox.connect("toggled(bool)", partial(self._onToggled, "wantsLargestPiece"))
        ui.applyButton.connect("clicked()", self.apply)
        ui.applyAllButton.connect("clicked()", self.applyToAll)
        ui.applyStopButton.connect("clicked()", self.stop)
        ui.applyStatusLabel.text = ""
        ui.applyProgressBar.visible = False

    def refresh(self, _view: StudyView) -> None:
        """Show volumes and buttons; load what was awaited if its scans have come."""
        parameters = self.panel.parameters
        self.ui.uncertaintyCheckBox.checked = parameters.wantsUncertainty
        self.ui.largestPieceCheckBox.checked = parameters.wantsLargestPiece
        self.list.show()
        active = self.status is not None and self.status.is_active
        why = _("A model is being applied; wait for it or stop it.") if active or self._isLoading else ""
        why = why or self.panel.model.whyNot
        noTick = "" if self.list.ticked else _("Tick at least one volume.")
        what = _("Segment the ticked volumes; results are new segmentations beside them")
        setButton(self.ui.applyButton, why or noTick, what)
        noVolume = "" if self.list.volumes else _("Load a volume into the scene.")
        setButton(self.ui.applyAllButton, why or noVolume, _("Segment all volumes of the list"))
        why = "" if active else _("No model is being applied.")
        setButton(self.ui.applyStopButton, why, _("Stop after the volume that is being segmented"))
        if self._isAwaiting and self.job is not None:
            # Not within a refresh: looking and loading go on answering, and every new node asks for another refresh.
            qt.QTimer.singleShot(0, partial(self._loadAwaited, self.job))

    def apply(self) -> None:
        """Start to segment the ticked volumes in a process of its own."""
        self._apply(self.list.ticked)

    def applyToAll(self) -> None:
        """Start to segment all volumes of the list."""
        self._apply(list(self.list.volumes))

    def stop(self) -> None:
        """Ask the job to end after the volume that is being segmented."""
        job = self.job
        if job is None or self.panel.isBusy:
            return
        try:
            self.panel.withFiles(partial(self.panel.logic.stop, job))
        except SemiSegError as error:
            self.panel.showError(_("The job could not be stopped."), str(error))
            return
        if self.job is job:
            self.ui.applyStatusLabel.text = _("Stopping...")

    def findRunningJob(self) -> None:
        """Take up a prediction that was going on when the panel was last closed; its results may be there by now.

        It is known by the scene, or, where the scene was not saved, by the study's folder. Where that takes long to
        answer, the job is taken up when it does.
        """
        self.ui.applyStatusLabel.text = ""
        self.ui.applyProgressBar.visible = False
        known, study = self.panel.parameters.applyFolder, self.panel.parameters.studyPath
        jobToShow = self.panel.logic.jobToShow
        self._isOwnJob = False
        self._search.close()
        self._search.ask(lambda: jobs.runAt(known, ApplyFolder) or (None if study is None else jobToShow(study)))

    def close(self) -> None:
        """Look no more at the job; it goes on."""
        self._search.close()
        self.watcher.close()
        self.job, self.status, self._isAwaiting = None, None, False

    def forget(self) -> None:
        """Show no volume, and hold none any more."""
        self.list.forget()

    def onStatus(self, status: RunStatus) -> None:
        """Show the state of the job (called by the watcher)."""
        changed = self.status is None or self.status.state != status.state
        self.status = status
        self.ui.applyProgressBar.visible = True
        self.ui.applyProgressBar.value = round(100 * status.fraction)
        self.ui.applyStatusLabel.text = status.message
        if changed:
            self.panel.scheduleRefresh()

    def onEvents(self, events: list[dict[str, Any]]) -> None:
        """Nothing to show: the status says which volume is being segmented (called by the watcher)."""

    def onEnd(self, status: RunStatus) -> None:
        """Load the results, or say what went wrong (called by the watcher)."""
        job = self.job
        if status.state == "failed" and not hasResults(job):
            self.panel.parameters.applyFolder = ""
            text = "\n".join(filter(None, [status.message, status.where, status.remedy]))
            self.panel.showError(_("The model could not be applied."), _withLog(text, job))
            self.ui.applyStatusLabel.text = _("Failed: {message}").format(message=status.message)
        elif self._isOwnJob:
            self._loadResults(job)
        else:
            self._isAwaiting = True
            self._loadAwaited(job)
        self.panel.scheduleRefresh()

    def onError(self, error: SemiSegError) -> None:
        """Tell that the job's files cannot be read (called by the watcher)."""
        self.status = None
        self.ui.applyStatusLabel.text = str(error)
        self.panel.scheduleRefresh()

    def _apply(self, volumes: Sequence[Any]) -> None:
        parameters, model = self.panel.parameters, self.panel.model.path
        if self.panel.isBusy or model is None or not volumes:
            return
        if not self.panel.ensurePackages(partial(self._apply, volumes)):
            return
        folder = jobs.appliedFolder(parameters.studyPath or model.parent)
        scans = [self._scan(node) for node in volumes]
        try:
            with self.panel.busy(), cancellable(self._showCopying) as waiting:
                self.job = self.panel.logic.applyModel(
                    model,
                    scans,
                    folder=folder,
                    device=parameters.device,
                    uncertainty=parameters.wantsUncertainty,
                    largestPiece=parameters.wantsLargestPiece,
                    cases=self.panel.view.cases,
                    scheme=self.panel.view.scheme,
                    waiting=waiting,
                )
        except Canceled:
            if self.panel.parameters is parameters:
                self.ui.applyStatusLabel.text = _("Canceled; nothing was segmented.")
            return
        except SemiSegError as error:
            self.panel.showError(_("The model could not be applied."), str(error))
            return
        if self.panel.parameters is not parameters:
            # The scene was closed while the last volume was written: nobody waits for results any more.
            return
        # A job of an earlier time that is found only now would take its place.
        self._search.close()
        parameters.applyFolder = str(self.job.path)
        self._isOwnJob, self._isAwaiting = True, False
        self.ui.applyStatusLabel.text = _("Starting...")
        # Until its folder answers: nothing else is applied meanwhile.
        self.status = RunStatus(state="preparing")
        self.watcher.watch(self.job)
        self.panel.scheduleRefresh()

    def _takeUp(self, job: ApplyFolder | None) -> None:
        self.job = job
        if job is not None:
            self.panel.parameters.applyFolder = str(job.path)
            self.watcher.watch(job)

    def _loadAwaited(self, job: ApplyFolder) -> None:
        """Load the results of an earlier time if all their scans are in the scene by now, else say which are not."""
        parameters = self.panel.parameters
        if not self._isAwaiting or job is not self.job or parameters is None:
            return
        try:
            absent = self.panel.logic.absentVolumes(job, waiting=Waiting(apart=keepAnswering))
        except SemiSegError as error:
            self._isAwaiting = False
            self.onError(error)
            return
        # Slicer went on answering: another scene may be there now, or another look may have found the scans.
        if not self._isAwaiting or job is not self.job or self.panel.parameters is not parameters:
            return
        if absent:
            text = _("Results are ready; they are shown when these scans are in the scene: {names}")
            self.ui.applyStatusLabel.text = text.format(names=", ".join(absent))
        else:
            self._loadResults(job)

    def _loadResults(self, job: ApplyFolder) -> None:
        """Bring the results into the scene, file by file, while Slicer goes on answering."""
        parameters = self.panel.parameters
        if self._isLoading or parameters is None:
            return
        parameters.applyFolder = ""
        self._isAwaiting, self._isLoading = False, True
        problem = ""
        try:
            nodes = self.panel.logic.loadResults(
                job, label=_modelName(Path(job.job.model)), waiting=Waiting(self._showLoading, keepAnswering)
            )
        except SemiSegError as error:
            nodes, problem = [], str(error)
        finally:
            self._isLoading = False
        if self.panel.parameters is not parameters:
            return
        self.ui.applyProgressBar.value = 100
        names = ", ".join(node.GetName() for node in nodes)
        self.ui.applyStatusLabel.text = _("Results: {names}").format(names=names) if nodes else _("No result.")
        if problem:
            self.ui.applyStatusLabel.text = _("Not every result could be shown.")
            isFailed = self.status is not None and self.status.state == "failed"
            self.panel.showError(_("Not every result could be shown."), _withLog(problem, job) if isFailed else problem)
        if any(result.job == job.job.id for result in self.panel.logic.results()):
            self.panel.review.showFirst()
        self.panel.scheduleRefresh()

    def _showCopying(self, done: int, count: int, name: str) -> None:
        self.ui.applyStatusLabel.text = writingText(done, count, name)

    def _showLoading(self, done: int, count: int, name: str) -> None:
        self.ui.applyProgressBar.value = round(100 * done / count)
        self.ui.applyStatusLabel.text = _("Loading the result of {name} ({number} of {count})...").format(
            name=name, number=done + 1, count=count
        )

    def _scan(self, node: Any) -> dict[str, Any]:
        """Return the channels of a volume: those of its row in the case table, else the volume alone."""
        channels = self.panel.parameters.channels
        for row in self.panel.parameters.rows():
            if row.volumes[channels[0]] is node:
                return dict(row.volumes)
        return {channels[0]: node}

    def _onToggled(self, choice: str, isOn: bool) -> None:
        parameters = self.panel.parameters
        if parameters is not None and getattr(parameters, choice) != isOn:
            setattr(parameters, choice, isOn)


def _withLog(text: str, job: ApplyFolder) -> str:
    """Return why a job failed, with the end of its log for the details."""
    return f"{text}\n\n{_('Log: {path}').format(path=job.log_path)}\n\n{jobs.logTail(job)}"


def _modelName(model: Path) -> str:
    """Return what results are named after: the method of the model's run, else the name of the model file."""
    run = jobs.runAt(model.parent)
    return model.stem if run is None else run.request.method
