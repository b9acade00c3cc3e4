"""The form below the case table: what a person says about the selected cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegModule.bridge.scene_case import STATES
from SemiSegModule.panel import case_words as words
from SemiSegModule.panel.case_problems import CaseProblem, CaseProblems
from SemiSegModule.panel.channels import useVolume
from SemiSegModule.panel.problem_list import ProblemList, escaped
from SemiSegModule.panel.row_labels import withSegmentation
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.wheel import letWheelPassNodes

# Where the rows of further channels begin in the form, below title and segmentation.
_CHANNEL_ROW = 2


class CaseDetails:
    """Shows the selected cases and writes choices to the parameter node.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
        problems: does what concerns several cases.

    Attributes:
        problemList: what is doubtful about the case.
    """

    def __init__(self, ui: Any, panel: Any, problems: CaseProblems) -> None:
        self.ui, self.panel, self._problems = ui, panel, problems
        self._rows: list[int] = []
        self._channels: list[str] = []
        self._selectors: dict[str, Any] = {}
        self.problemList = ProblemList(ui)
        ui.caseSegmentationSelector.setMRMLScene(slicer.mrmlScene)
        ui.caseSegmentationSelector.connect("nodeActivated(vtkMRMLNode*)", self._onSegmentation)
        ui.casePatientEdit.connect("editingFinished()", self._onPatient)
        ui.caseStateComboBox.addItems([words.describeState(state) for state in STATES])
        ui.caseStateComboBox.connect("activated(int)", self._onState)
        ui.caseSideComboBox.addItems([words.explainSide(side) for side in words.SIDES])
        ui.caseSideComboBox.connect("activated(int)", self._onSide)

    def show(self, view: StudyView, rows: list[int], problems: tuple[CaseProblem, ...] | None) -> None:
        """Show rows of a study.

        Args:
            view: the study.
            rows: numbers of the selected rows.
            problems: of the row, if it is one; None while it is being checked.
        """
        self._rows = [number for number in rows if number < len(view.rows)]
        self.ui.caseFrame.visible = bool(self._rows)
        self._showChannels(view)
        if not self._rows:
            return
        cases, isOne = [view.cases[number] for number in self._rows], len(self._rows) == 1
        title = cases[0].id if isOne else _("{count} cases are selected").format(count=len(cases))
        text = f"<b>{escaped(title)}</b>"
        if self.ui.caseTitleLabel.text != text:
            self.ui.caseTitleLabel.text = text
        selector = self.ui.caseSegmentationSelector
        selector.enabled = isOne
        selector.setCurrentNode(cases[0].segmentation if isOne else None)
        self._showPatient(view)
        self.ui.caseStateComboBox.currentIndex = _common([STATES.index(case.state) for case in cases])
        self.ui.caseSideComboBox.currentIndex = _common([words.SIDES.index(case.side or "") for case in cases])
        isLocked = all(number in view.lockedSides for number in self._rows)
        self.ui.caseSideComboBox.enabled = not isLocked
        self.problemList.show(problems if isOne else ())

    def forget(self) -> None:
        """Show no case, and hold no node any more."""
        self._rows = []
        self.problemList.show(None)
        self.ui.caseFrame.visible = False

    def channelSelector(self, channel: str) -> Any:
        """Return the selector of a further channel."""
        return self._selectors[channel]

    def _showPatient(self, view: StudyView) -> None:
        edit = self.ui.casePatientEdit
        if edit.hasFocus() and edit.isModified():
            # Somebody is typing; what else changes meanwhile must not take the words away.
            return
        said = {view.rows[number].patient for number in self._rows}
        found = {view.cases[number].patient for number in self._rows}
        text = said.pop() if len(said) == 1 else ""
        if edit.text != text:
            edit.text = text
        known = found.pop() if len(found) == 1 else _("(several)")
        edit.placeholderText = known or _("unknown: every scan counts as a patient of its own")

    def _showChannels(self, view: StudyView) -> None:
        """Show a selector for each channel after the first."""
        channels = self.panel.parameters.channels[1:]
        if channels != self._channels:
            form = self.ui.caseFields.layout()
            for _channel in self._channels:
                form.removeRow(_CHANNEL_ROW)
            self._selectors = {channel: self._selector(channel) for channel in channels}
            for place, (channel, selector) in enumerate(self._selectors.items()):
                form.insertRow(_CHANNEL_ROW + place, f"{channel}:", selector)
            self._channels = channels
        isOne = len(self._rows) == 1
        for channel, selector in self._selectors.items():
            selector.enabled = isOne
            selector.setCurrentNode(view.rows[self._rows[0]].volumes.get(channel) if isOne else None)

    def _selector(self, channel: str) -> Any:
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.showChildNodeTypes = False
        selector.noneEnabled = True
        selector.noneDisplay = _("(none)")
        selector.addEnabled = False
        selector.removeEnabled = False
        selector.toolTip = _("The image of channel {channel} of the same patient").format(channel=channel)
        selector.objectName = f"caseChannelSelector_{channel}"
        selector.setMRMLScene(slicer.mrmlScene)
        letWheelPassNodes(selector)
        selector.connect("nodeActivated(vtkMRMLNode*)", lambda node: self._onChannel(channel, node))
        return selector

    def _onSegmentation(self, node: Any) -> None:
        if self.panel.parameters is None:
            return
        rows = self.panel.parameters.rows()
        for number in self._rows:
            row = rows[number] if number < len(rows) else None
            # Slicer tells of a choice of what is chosen already too; what was said of it stays.
            if row is not None and (row.segmentation, row.isWithoutLabels) != (node, node is None):
                rows[number] = replace(withSegmentation(row, node), isWithoutLabels=node is None)
        self.panel.parameters.setRows(rows)

    def _onChannel(self, channel: str, node: Any) -> None:
        if self.panel.parameters is None or not self._rows:
            return
        if self._rows[0] < len(self.panel.parameters.rows()):
            useVolume(self.panel.parameters, self._rows[0], channel, node)

    def _onPatient(self) -> None:
        edit = self.ui.casePatientEdit
        if edit.isModified():
            edit.setModified(False)
            self._change(patient=edit.text.strip())

    def _onState(self, index: int) -> None:
        self._change(state=STATES[index])

    def _onSide(self, index: int) -> None:
        if self.panel.parameters is not None:
            self._problems.setSide(self._rows, words.SIDES[index] or None)

    def _change(self, **values: Any) -> None:
        if self.panel.parameters is None:
            return
        rows = self.panel.parameters.rows()
        for number in self._rows:
            for name, value in values.items():
                if number < len(rows):
                    setattr(rows[number], name, value)
        self.panel.parameters.setRows(rows)


def _common(values: list[int]) -> int:
    """Return the value that all share, or -1."""
    return values[0] if len(set(values)) == 1 else -1
