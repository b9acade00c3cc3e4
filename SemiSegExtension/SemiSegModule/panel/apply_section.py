"""Apply a model to volumes of the scene and show what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.bridge.pairing import scalarVolumes
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_section import setButton
from SemiSegModule.parameters import wholePath
from SemiSegModule.waiting import Waiting, keepAnswering


class ApplySection:
    """Starts predictions, watches them and loads their results as new segmentations.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.watcher = jobs.RunWatcher(self)
        self.status: RunStatus | None = None
        self.job: ApplyFolder | None = None
        self._volumes: list[Any] = []
        self._shown: Any = None
        self._updating = False
        ui.modelEdit.filters = ctk.ctkPathLineEdit.Files
        ui.modelEdit.nameFilters = [_("SemiSeg models (*.safetensors)")]
        ui.modelEdit.connect("currentPathChanged(QString)", self._onModelChanged)
        ui.applyVolumesList.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        ui.applyButton.connect("clicked()", self.apply)
        ui.applyStopButton.connect("clicked()", self.stop)
        ui.applyStatusLabel.text = ""
        ui.applyProgressBar.visible = False

    @property
    def modelPath(self) -> Path | None:
        """The model to apply: the chosen file, else the shown run's; None if there is none."""
        parameters = self.panel.parameters
        run = jobs.runAt(parameters.runFolder)
        path = wholePath(parameters.modelPath) if parameters.modelPath else run and run.model_path
        return path if path is not None and path.is_file() else None

    def refresh(self, view: StudyView) -> None:
        """Show volumes, model and buttons."""
        parameters = self.panel.parameters
        if self.ui.modelEdit.currentPath != parameters.modelPath:
            self.ui.modelEdit.currentPath = parameters.modelPath
        ownModel = not parameters.modelPath and self.modelPath is not None
        self.ui.modelEdit.comboBox().lineEdit().placeholderText = _("the model of the run above") if ownModel else ""
        self._showVolumes()
        active = self.status is not None and self.status.is_active
        why = ""
        if active:
            why = _("A model is being applied; wait for it or stop it.")
        elif self.modelPath is None:
            why = _("Choose a model file, or train one above.")
        elif not parameters.applyVolumes:
            why = _("Tick at least one volume.")
        setButton(self.ui.applyButton, why, _("Segment the ticked volumes; results are new segmentations beside them"))
        why = "" if active else _("No model is being applied.")
        setButton(self.ui.applyStopButton, why, _("Stop after the volume that is being segmented"))

    def apply(self) -> None:
        """Start to segment the ticked volumes in a process of its own."""
        parameters = self.panel.parameters
        model = self.modelPath
        if self.panel.isBusy or model is None or not parameters.applyVolumes or not self.panel.ensurePackages():
            return
        folder = jobs.appliedFolder(parameters.studyPath or model.parent)
        scans = [self._scan(node) for node in parameters.applyVolumes]
        waiting = Waiting(self._showCopying, keepAnswering)
        try:
            with self.panel.busy():
                self.job = self.panel.logic.applyModel(
                    model, scans, folder=folder, device=parameters.device, waiting=waiting
                )
        except SemiSegError as error:
            self.panel.showError(_("The model could not be applied."), str(error))
            return
        if self.panel.parameters is not parameters:
            # The scene was closed while the last volume was written: nobody waits for results any more.
            return
        parameters.applyFolder = str(self.job.path)
        self.ui.applyStatusLabel.text = _("Starting...")
        self.watcher.watch(self.job)
        self.panel.scheduleRefresh()

    def stop(self) -> None:
        """Ask the job to end after the volume that is being segmented."""
        if self.job is None:
            return
        try:
            self.panel.logic.stop(self.job)
        except SemiSegError as error:
            self.panel.showError(_("The job could not be stopped."), str(error))
            return
        self.ui.applyStatusLabel.text = _("Stopping...")

    def findRunningJob(self) -> None:
        """Take up a prediction that was going on when the panel was last closed; its results may be there by now."""
        self.ui.applyStatusLabel.text = ""
        self.ui.applyProgressBar.visible = False
        self.job = jobs.runAt(self.panel.parameters.applyFolder, ApplyFolder)
        if self.job is not None:
            self.watcher.watch(self.job)

    def close(self) -> None:
        """Look no more at the job; it goes on."""
        self.watcher.unwatch()
        self.job, self.status = None, None

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
        self.panel.parameters.applyFolder = ""
        if status.state == "failed":
            text = "\n".join(filter(None, [status.message, status.where, status.remedy]))
            detail = f"{text}\n\n{_('Log: {path}').format(path=job.log_path)}\n\n{jobs.logTail(job)}"
            self.panel.showError(_("The model could not be applied."), detail)
            self.ui.applyStatusLabel.text = _("Failed: {message}").format(message=status.message)
        else:
            self._loadResults(job)
        self.panel.scheduleRefresh()

    def onError(self, error: SemiSegError) -> None:
        """Tell that the job's files cannot be read (called by the watcher)."""
        self.ui.applyStatusLabel.text = str(error)

    def _loadResults(self, job: ApplyFolder) -> None:
        try:
            nodes = self.panel.logic.loadResults(job, label=_modelName(Path(job.job.model)))
        except SemiSegError as error:
            self.panel.showError(_("Not every result could be shown."), str(error))
            return
        names = ", ".join(node.GetName() for node in nodes)
        self.ui.applyStatusLabel.text = _("Results: {names}").format(names=names) if nodes else _("No result.")

    def _showCopying(self, done: int, count: int, name: str) -> None:
        self.ui.applyStatusLabel.text = _("Writing {name} ({number} of {count})...").format(
            name=name, number=done + 1, count=count
        )

    def _scan(self, node: Any) -> dict[str, Any]:
        """Return the channels of a volume: those of its row in the case table, else the volume alone."""
        channels = self.panel.parameters.channels
        for row in self.panel.parameters.rows():
            if row.volumes[channels[0]] is node:
                return dict(row.volumes)
        return {channels[0]: node}

    def _showVolumes(self) -> None:
        channels = self.panel.parameters.channels
        rows = self.panel.parameters.rows()
        seconds = [row.volumes.get(channel) for row in rows for channel in channels[1:]]
        self._volumes = [node for node in scalarVolumes() if not any(node is second for second in seconds)]
        ticked = [node.GetID() for node in self.panel.parameters.applyVolumes]
        signature = [(node.GetID(), node.GetName(), node.GetID() in ticked) for node in self._volumes]
        if signature == self._shown:
            return
        self._shown = signature
        self._updating = True
        widget = self.ui.applyVolumesList
        widget.clear()
        for _id, name, isTicked in signature:
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
            widget.addItem(item)
        rowHeight = widget.sizeHintForRow(0) if signature else 0
        widget.setFixedHeight(max(1, min(len(signature), 6)) * rowHeight + 2 * widget.frameWidth)
        self._updating = False

    def _onModelChanged(self, path: str) -> None:
        if self.panel.parameters is not None and path != self.panel.parameters.modelPath:
            self.panel.parameters.modelPath = path

    def _onTicked(self, _item: Any) -> None:
        if self._updating:
            return
        widget = self.ui.applyVolumesList
        self.panel.parameters.applyVolumes = [
            node for index, node in enumerate(self._volumes) if widget.item(index).checkState() == qt.Qt.Checked
        ]


def _modelName(model: Path) -> str:
    """Return what results are named after: the method of the model's run, else the name of the model file."""
    run = jobs.runAt(model.parent)
    return model.stem if run is None else run.request.method
