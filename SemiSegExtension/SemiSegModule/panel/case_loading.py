"""Loads cases from files while Slicer goes on: read in a thread, one case at a time made into nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegLib.cases.finding import Finding
from SemiSegLib.errors import SemiSegError, explain
from SemiSegModule.bridge.case_files import CaseFiles
from SemiSegModule.bridge.case_import import ImportPlan
from SemiSegModule.bridge.folder_import import FoundScan
from SemiSegModule.bridge.frames import parseFrames
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.panel.channels import changeChannels, nameChannel, volumesOf
from SemiSegModule.panel.frames_view import askLabelsOf
from SemiSegModule.parameters import CaseRow
from SemiSegModule.study_scheme import takeStructures

_POLL_MILLISECONDS = 15


class CaseLoading:
    """What ``StudyLogic.importCases`` does, turn by turn, with progress and Cancel.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._threads: ThreadPoolExecutor | None = None
        self._future: Future[Any] | None = None
        self._then: Callable[[Any], None] | None = None
        self._left: deque[tuple[str, Callable[[], CaseFiles]]] = deque()
        self._count = 0
        self._problems: list[str] = []
        self._findings: list[Finding] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._look)
        ui.cancelImportButton.connect("clicked()", self.cancel)

    @property
    def isBusy(self) -> bool:
        """Whether cases are being loaded."""
        return self._threads is not None

    def start(self, paths: list[str]) -> None:
        """Load what paths hold."""
        if self.isBusy or self.panel.parameters is None:
            return
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semiseg-import")
        self._problems, self._findings = [], []
        self.ui.importFrame.visible = True
        self._enable(False)
        self._show(0, 0, _("Looking for scans..."))
        self._apart(lambda: self.panel.logic.planImport(*paths), self._onPlanned)
        self._timer.start()

    def cancel(self) -> None:
        """Load no further case; those loaded so far stay, and a file that is being read is forgotten."""
        if not self.isBusy:
            return
        self._timer.stop()
        self._left.clear()
        self._future = None
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None
        self.ui.importFrame.visible = False
        self._enable(True)

    def _enable(self, isEnabled: bool) -> None:
        """Let a person start the next loading, and change the channels to which the cases of this one belong."""
        for widget in (self.ui.addFolderButton, self.ui.addDatasetButton, self.ui.channelsEdit):
            widget.enabled = isEnabled

    def _apart(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self._future, self._then = self._threads.submit(work), then

    def _look(self) -> None:
        """Go on if what was waited for is done."""
        if self._future is None or not self._future.done():
            return
        future, then = self._future, self._then
        self._future = None
        try:
            result = future.result()
        except (SemiSegError, OSError) as error:
            self._problems.append(str(error))
            self._next()
            return
        then(result)

    def _onPlanned(self, plan: ImportPlan) -> None:
        # A question lets the event loop run: nobody may come here again meanwhile.
        self._timer.stop()
        plan = self._withFrames(self._withChannels(plan))
        if not self.isBusy:
            return
        if not self._haveChannels(plan):
            self.cancel()
            return
        if plan.dataset is not None:
            self.panel.refresh()
            takeStructures(self.panel.parameters, self.panel.view.scheme, plan.dataset.scheme)
        self._problems += plan.leftOut
        self._left.extend(plan.readers())
        self._count = len(self._left)
        self._timer.start()
        self._next()

    def _withChannels(self, plan: ImportPlan) -> ImportPlan:
        """Make files one case that are channels of it by their names; ask if the study has not so many channels."""
        ours, count = self.panel.parameters.channels, plan.numbered
        if count < 2:
            return plan
        names = list(ours)
        while len(names) < count:
            names.append(nameChannel(names))
        if names != ours:
            question = _(
                "The names of these files end in numbers from _0000 to _{last:04d}, as names of the channels of one "
                "scan do. Shall they be channels? The study has these channels then: {names}. Name them as you like "
                "in Structures.\n\nNo: every file becomes a case of its own."
            ).format(last=count - 1, names=", ".join(names))
            isWanted = slicer.util.confirmYesNoDisplay(question, windowTitle="SemiSeg")
            if not isWanted or not self.isBusy:
                return plan
            changeChannels(self.panel.parameters, names)
        return plan.withChannels(names)

    def _withFrames(self, plan: ImportPlan) -> ImportPlan:
        """Ask which images of 4-D files become cases; without an answer they are left out, and that is said."""
        while plan.framed and self.isBusy:
            most = max(scan.frames for scan in plan.framed)
            text = qt.QInputDialog.getText(self.ui.casesTable, _("Choose images"), _framesQuestion(plan.framed))
            try:
                plan = plan.withFrames(text or "", self._labelsOf(plan.framed, text or ""))
            except SemiSegError as error:
                self.panel.showError(_("These images cannot be chosen of {count}.").format(count=most), str(error))
        return plan

    def _labelsOf(self, scans: tuple[FoundScan, ...], text: str) -> int | None:
        """Ask to which image labels of one image belong, if several are chosen; None if nobody is to be asked."""
        for scan in scans:
            if scan.labels is not None and scan.labelFrames == 1 and len(parseFrames(text, scan.frames)) > 1:
                return askLabelsOf(self.ui.casesTable, scan.labels.name, scan.frames)
        return None

    def _haveChannels(self, plan: ImportPlan) -> bool:
        """Take the channels of the first dataset; later ones must have the same, or as many of other names.

        What a folder without a description holds is of the first channel: the check of each case asks for the others.
        """
        parameters = self.panel.parameters
        if plan.dataset is None:
            return True
        if not parameters.rows():
            parameters.channels = list(plan.channels)
        theirs, ours = set(plan.channels), set(parameters.channels)
        if theirs == ours or (len(theirs) == len(ours) and not theirs & ours):
            return True
        what = _("These cases have the channels {theirs}, the study has {ours}.").format(
            theirs=", ".join(plan.channels), ours=", ".join(parameters.channels)
        )
        self.panel.showError(what, _("Name the same channels in the study first, or use a study of its own for them."))
        return False

    def _next(self) -> None:
        if not self._left:
            self._finish()
            return
        self._show(self._count - len(self._left), self._count, self._left[0][0])
        _name, read = self._left.popleft()
        self._apart(read, self._onRead)

    def _onRead(self, files: CaseFiles) -> None:
        isSaid = files.drawn is not None and files.drawn.lookedFor is not None
        addRow(self.panel.parameters, self.panel.logic.addCase(files), isSaid=isSaid)
        self._findings += files.findings
        self._next()

    def _finish(self) -> None:
        problems, findings = self._problems, self._findings
        self.cancel()
        if problems:
            text = _("{count} files could not be added.").format(count=len(problems))
            self.panel.showError(text, "\n\n".join(problems))
        if findings:
            text = _("{count} cases say less here than in their files.").format(count=len(findings))
            said = [explain(found.what, where=found.where, remedy=found.remedy) for found in findings]
            self.panel.showError(text, "\n\n".join(said))

    def _show(self, done: int, count: int, name: str) -> None:
        bar = self.ui.importProgressBar
        bar.setRange(0, count)
        bar.value = done
        bar.format = (
            name if not count else _("{name} ({number} of {count})").format(name=name, number=done + 1, count=count)
        )


def _framesQuestion(scans: tuple[FoundScan, ...]) -> str:
    """Return the question which images of 4-D files become cases, asked by the first of them."""
    first, others = scans[0], len(scans) - 1
    parts = [
        _(
            "{name} holds {count} images of one patient (4-D). Which of them shall become cases? For example 1, 5-7 or "
            "all; leave it empty to add none."
        ).format(name=first.image.name, count=first.frames)
    ]
    if first.labels is not None and first.labelFrames == first.frames:
        parts.append(_("Its labels come along, image by image."))
    elif first.labels is not None and first.labelFrames == 1:
        parts.append(_("Its labels are of one image: of the one that you choose, or you are asked next."))
    if others:
        parts.append(_("The same holds for {n} more files.").format(n=others))
    return "\n".join(parts)


def addRow(parameters: Any, case: SceneCase, *, isSaid: bool) -> None:
    """Add a loaded case to the case table.

    Args:
        parameters: the study's parameters.
        case: with volumes by the roles of the files, which become those of the study; see ``volumesOf``.
        isSaid: whether the files say what the segments mean and what was looked for.
    """
    volumes = volumesOf(parameters.channels, case.volumes)
    row = CaseRow(
        volumes=volumes,
        segmentation=case.segmentation,
        meanings=dict(case.meanings) if isSaid else {},
        lookedFor=list(case.lookedFor) if isSaid else None,
        side=case.side,
        isWithoutLabels=case.segmentation is None,
        state=case.state,
        patient=case.patient if case.patient != case.id else "",
    )
    ours = list(volumes.values())
    rows = [
        other
        for other in parameters.rows()
        if not any(node is mine for node in other.volumes.values() for mine in ours)
    ]
    parameters.setRows([*rows, row])
