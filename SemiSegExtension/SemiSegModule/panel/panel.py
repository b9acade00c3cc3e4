"""The panel as a whole: keeps its sections, the parameter node and the scene in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.methods.recommend import Recommendation
from SemiSegLib.runs.places import is_there
from SemiSegModule.aside import Aside
from SemiSegModule.logic import StudyLogic
from SemiSegModule.panel.apply_section import ApplySection
from SemiSegModule.panel.case_rows import updateRows
from SemiSegModule.panel.cases_section import CasesSection
from SemiSegModule.panel.labels_section import LabelsSection
from SemiSegModule.panel.model_section import ModelSection
from SemiSegModule.panel.packages_section import PackagesSection
from SemiSegModule.panel.review_section import ReviewSection
from SemiSegModule.panel.scene_import import StudyJoining
from SemiSegModule.panel.scheme_file import SchemeFile
from SemiSegModule.panel.structures_section import StructuresSection
from SemiSegModule.panel.study_view import StudyView, viewOf
from SemiSegModule.panel.training_section import TrainingSection
from SemiSegModule.panel.wheel import letWheelPassForms
from SemiSegModule.parameters import StudyParameters, wholePath
from SemiSegModule.waiting import keepAnswering

T = TypeVar("T")

_STUDY_SETTING = "SemiSeg/StudyFolder"
_SEGMENT_EVENTS = ("SegmentAdded", "SegmentRemoved", "SegmentModified")


class Panel:
    """Shows one parameter node; without one (the scene is closing) it shows nothing and ignores every click.

    Args:
        ui: widgets of the form by name.
        form: the form itself.
        logic: what the buttons call.
        owner: the module's widget; observes nodes for the panel and lets go of them when it is cleaned up.
    """

    def __init__(self, ui: Any, form: Any, logic: StudyLogic, owner: Any) -> None:
        self.ui, self.form, self.logic, self.owner = ui, form, logic, owner
        self.parameters: StudyParameters | None = None
        self.view = StudyView(rows=[])
        self._recommendation: tuple[Any, Recommendation | None] = (None, None)
        self._observed: list[Any] = []
        self._isBusy = False
        self._joining = StudyJoining(owner)
        self.schemeFile = SchemeFile(logic, self.scheduleRefresh)
        self._lookAtLast: Aside[tuple[str, bool]] = Aside(self._onLastLookedAt)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self.refresh)
        self.cases = CasesSection(ui, self)
        self.labels = LabelsSection(ui, self)
        self.structures = StructuresSection(ui, self)
        self.training = TrainingSection(ui, self)
        self.model = ModelSection(ui, self)
        self.apply = ApplySection(ui, self)
        self.review = ReviewSection(ui, self)
        self.packages = PackagesSection(ui, self)
        self._wheel = letWheelPassForms(ui)
        form.enabled = False

    def setParameterNode(self, node: Any) -> None:
        """Show a parameter node, or nothing (None)."""
        if self.parameters is not None:
            self.owner.removeObserver(self.parameters.node, vtk.vtkCommand.ModifiedEvent, self._onChanged)
            self._unobserveSegmentations()
        self._lookAtLast.close()
        self.schemeFile.close()
        self.cases.close()
        self.labels.close()
        self.training.close()
        self.model.close()
        self.apply.close()
        self.review.close()
        self.parameters = StudyParameters(node) if node is not None else None
        if self.parameters is None:
            self._timer.stop()
            # Before the form is disabled, which ends what is being typed in it: it belongs to no study any more.
            self._forget()
        self._enable()
        if self.parameters is None:
            return
        last = "" if self.parameters.studyFolder else _lastStudyFolder()
        if not self.parameters.studyFolder:
            self.parameters.studyFolder = last or _usualStudyFolder()
        self.owner.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onChanged)
        self.showPackages()
        self.refresh()
        self._takeUpWork()
        if last:
            # It is the one that is shown until its drive has answered.
            path = self.parameters.studyPath
            self._lookAtLast.ask(lambda: (last, is_there(path)))

    def close(self) -> None:
        """Let go of everything; trainings go on."""
        self._timer.stop()
        self.packages.close()
        self._lookAtLast.close()
        self.schemeFile.close()
        self.cases.close()
        self.labels.close()
        self.training.closing.letGo()
        self.training.close()
        self.model.close()
        self.apply.close()
        self.review.close()
        self._unobserveSegmentations()
        self.parameters = None
        self._forget()

    def _takeUpWork(self) -> None:
        """Find what is going on in the study folder since an earlier time."""
        self.training.findRunningRun()
        self.apply.findRunningJob()

    def _onLastLookedAt(self, found: tuple[str, bool]) -> None:
        last, isThere = found
        if not isThere and self.parameters.studyFolder == last:
            self.parameters.studyFolder = _usualStudyFolder()
            self._takeUpWork()

    def _forget(self) -> None:
        """Hold no node of a scene that is closed: its voxels would stay in memory until another study is shown."""
        self.view = StudyView(rows=[])
        self._recommendation = (None, None)
        self.cases.forget()
        self.apply.forget()

    def enter(self) -> None:
        """Show everything as it is now: a person has come to the panel."""
        self.showPackages()
        if self.parameters is not None:
            self.training.runs.look()
        self.refresh()
        self._joining.tell()

    def scheduleRefresh(self, *_arguments: Any) -> None:
        """Refresh once control returns to Slicer, however many changes come before."""
        if self.parameters is not None:
            self._timer.start()

    @property
    def isOutdated(self) -> bool:
        """Whether the study has changed since ``view`` was made; it is shown anew once control returns to Slicer."""
        return bool(self._timer.active)

    def refresh(self) -> None:
        """Show the study as it is now.

        Not while a scene is read or closed: scans that are not there yet would pass for removed ones, and what was
        said of them would be forgotten. The end of that asks for a refresh.
        """
        scene = slicer.mrmlScene
        if self.parameters is None or scene.IsBatchProcessing() or scene.IsImporting() or scene.IsClosing():
            return
        self.training.runs.show(self.parameters.studyPath)
        updateRows(self.parameters)
        self.view = viewOf(self.parameters, self.schemeFile.scheme, self.training.runs.sides)
        self.cases.refresh(self.view)
        self.labels.refresh(self.view, self.cases.selectedRow)
        self.structures.refresh(self.view)
        self.training.refresh(self.view)
        self.model.refresh(self.view)
        self.apply.refresh(self.view)
        self.review.refresh(self.view)
        self._observeSegmentations()
        # What the refresh itself wrote has been shown already.
        self._timer.stop()

    def recommendation(self, view: StudyView) -> Recommendation | None:
        """Return the method that fits the ticked cases, or None if none can be said yet."""
        key = view.sketch
        if key is None or not key.cases:
            return None
        if self._recommendation[0] != key:
            try:
                self._recommendation = (key, self.logic.recommend(key))
            except SemiSegError:
                # Why a study cannot be trained is told by ``whyNoTraining``; here there is just nothing to propose.
                self._recommendation = (key, None)
        return self._recommendation[1]

    def whyNoTraining(self, view: StudyView) -> str:
        """Return why Train is disabled, or the empty string."""
        why = view.whyNotReady()
        if why:
            return why
        if not self.parameters.studyFolder:
            return _("Choose a study folder.")
        if self.parameters.studyPath is None:
            return _("Give the whole path of the study folder; ~ stands for your home folder.")
        if not self.training.runs.isReachable:
            return _("The study folder cannot be reached.")
        if not self.training.runs.isComplete:
            # They say whom a training has used already, and on which side of the split.
            return _("The trainings in the study folder are being read.")
        if self.recommendation(view) is None:
            return _("No method can be trained on the ticked cases: label at least one of them.")
        if self.training.form.card(view) is None:
            # The scene was saved by another version.
            return _("The chosen method is not in this version of SemiSeg. Choose another one.")
        return self.training.form.whyNotEmbedded(view)

    @property
    def isBusy(self) -> bool:
        """Whether files are being written for a click that was not long ago."""
        return self._isBusy

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Disable the form while files are written, so that nothing else can begin."""
        self._isBusy = True
        self._enable()
        try:
            yield
        finally:
            self._isBusy = False
            self._enable()
            self.scheduleRefresh()

    def withFiles(self, work: Callable[[], T]) -> T:
        """Return what a work with files returns; Slicer answers meanwhile, since a drive may be slow, but the form not.

        Args:
            work: as of ``keepAnswering``; the scene may have been closed when it returns.
        """
        with self.busy():
            return keepAnswering(work)

    def rememberStudyFolder(self, text: str) -> None:
        """Let the next scene, and the next start of Slicer, begin with this study folder and what runs in it."""
        slicer.app.userSettings().setValue(_STUDY_SETTING, text)

    def showError(self, text: str, detail: str = "") -> None:
        """Tell what went wrong in one dialog."""
        first, _separator, rest = detail.partition("\n\n")
        slicer.util.errorDisplay(
            f"{text}\n\n{first}" if first else text, windowTitle="SemiSeg", detailedText=rest or None
        )

    def showPackages(self) -> None:
        """Show what is missing for training, if anything is."""
        self.packages.refresh()

    def ensurePackages(self, then: Callable[[], None] | None = None, *, withText: bool = False) -> bool:
        """Return whether everything needed is installed; else begin to install it, and call ``then`` afterwards."""
        return self.packages.ensure(then, withText=withText)

    def _enable(self) -> None:
        self.form.enabled = self.parameters is not None and not self._isBusy

    def _onChanged(self, _caller: Any = None, _event: Any = None) -> None:
        self.scheduleRefresh()

    def _observeSegmentations(self) -> None:
        """Follow the segments of the cases: a new, renamed or removed segment changes what the labels say."""
        nodes: list[Any] = []
        for row in self.view.rows:
            # One segmentation may label several scans of a patient.
            segmentation = row.segmentation.GetSegmentation() if row.segmentation is not None else None
            if segmentation is not None and not any(segmentation is node for node in nodes):
                nodes.append(segmentation)
        if len(nodes) == len(self._observed) and all(a is b for a, b in zip(nodes, self._observed, strict=True)):
            return
        self._unobserveSegmentations()
        for node in nodes:
            for name in _SEGMENT_EVENTS:
                self.owner.addObserver(node, getattr(slicer.vtkSegmentation, name), self._onChanged)
        self._observed = nodes

    def _unobserveSegmentations(self) -> None:
        for node in self._observed:
            for name in _SEGMENT_EVENTS:
                self.owner.removeObserver(node, getattr(slicer.vtkSegmentation, name), self._onChanged)
        self._observed = []


def _lastStudyFolder() -> str:
    """Return the study folder that was used last, whether it is still there or not; "" if there is none."""
    last = str(slicer.app.userSettings().value(_STUDY_SETTING) or "")
    return last if wholePath(last) is not None else ""


def _usualStudyFolder() -> str:
    """Return the study folder to begin with: below the user's documents."""
    documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
    return str(Path(documents or Path.home()) / "SemiSeg")
