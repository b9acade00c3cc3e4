"""Where the selected case was annotated: everywhere, in some slices, in a box, or inside a segment."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule.bridge.geometry import Grid, worldGrid
from SemiSegModule.bridge.region import (
    BOX,
    DRAWN_SLICES,
    SLICES,
    Region,
    formatRanges,
    parseRanges,
    regionToJson,
    requireSlices,
    sliceDirection,
)
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase

_EVERYWHERE, _SEGMENT = "", "segment"
_KINDS = (_EVERYWHERE, SLICES, DRAWN_SLICES, BOX, _SEGMENT)


class RegionView:
    """Shows and changes the region of the case that the section shows.

    Args:
        ui: widgets of the form by name.
        section: gives the shown ``case`` and takes changes of its row.
    """

    def __init__(self, ui: Any, section: Any) -> None:
        self.ui, self.section = ui, section
        self._updating = False
        # Case for which "inside a segment" was chosen and no segment yet: nothing of it is worth remembering.
        self._asksSegment = ""
        self._segments: list[str] = []
        ui.regionComboBox.addItems(
            [
                _("the whole scan"),
                _("some slices"),
                _("the slices that hold a segment"),
                _("the inside of a box"),
                _("the inside of a segment"),
            ]
        )
        ui.regionBoxComboBox.setMRMLScene(slicer.mrmlScene)
        ui.regionComboBox.connect("activated(int)", self._onKind)
        ui.axisComboBox.connect("activated(int)", self._onAxis)
        ui.slicesEdit.connect("editingFinished()", self._onSlices)
        ui.regionSegmentComboBox.connect("activated(int)", self._onSegment)
        ui.regionBoxComboBox.connect("currentNodeChanged(vtkMRMLNode*)", self._onBox)
        ui.regionBoxComboBox.connect("nodeAddedByUser(vtkMRMLNode*)", self._onNewBox)

    def refresh(self, case: SceneCase | None) -> None:
        """Show the region of a case."""
        if case is None:
            return
        self._updating = True
        kind = self._kind(case)
        self.ui.regionComboBox.currentIndex = _KINDS.index(kind)
        self._show(kind in (SLICES, DRAWN_SLICES), "axisLabel", "axisComboBox")
        self._show(kind == SLICES, "slicesLabel", "slicesEdit")
        self._show(kind in (DRAWN_SLICES, _SEGMENT), "regionSegmentLabel", "regionSegmentComboBox")
        self._show(kind == BOX, "regionBoxLabel", "regionBoxComboBox")
        self._showAxes(case)
        self._showSegments(case, kind)
        # What is being typed stays until it is finished.
        if kind == SLICES and not self.ui.slicesEdit.hasFocus():
            self.ui.slicesEdit.text = formatRanges(case.region.ranges)
        if kind == BOX:
            self.ui.regionBoxComboBox.setCurrentNode(case.region.box)
        self._updating = False

    def _kind(self, case: SceneCase) -> str:
        if case.region is not None:
            return case.region.kind
        isDrawn = ANNOTATED_REGION in case.meanings.values()
        return _SEGMENT if isDrawn or self._asksSegment == case.id else _EVERYWHERE

    def _show(self, isVisible: bool, *names: str) -> None:
        for name in names:
            getattr(self.ui, name).visible = isVisible

    def _showAxes(self, case: SceneCase) -> None:
        grid = _gridOf(case)
        words = {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}
        combo = self.ui.axisComboBox
        combo.clear()
        for axis in range(3):
            count = grid.shape[2 - axis] if grid is not None else 0
            direction = words[sliceDirection(grid, axis)] if grid is not None else "?"
            text = _("{direction} ({letter}, 0 to {last})")
            combo.addItem(text.format(direction=direction, letter="IJK"[axis], last=count - 1))
        combo.currentIndex = case.region.axis if case.region is not None else 2

    def _showSegments(self, case: SceneCase, kind: str) -> None:
        segmentation = case.segmentation.GetSegmentation()
        combo = self.ui.regionSegmentComboBox
        combo.clear()
        if kind == DRAWN_SLICES:
            used = [i for i, meaning in case.meanings.items() if meaning != LEFT_OUT]
            self._segments, first, chosen = ["", *used], _("any segment"), case.region.segment
        else:
            drawn = [i for i, meaning in case.meanings.items() if meaning == ANNOTATED_REGION]
            self._segments, first, chosen = ["", *case.meanings], _("choose..."), drawn[0] if drawn else ""
        combo.addItem(first)
        combo.addItems([segmentation.GetSegment(i).GetName() for i in self._segments[1:]])
        combo.currentIndex = self._segments.index(chosen) if chosen in self._segments else 0

    def _onKind(self, index: int) -> None:
        case, kind = self.section.case, _KINDS[index]
        if case is None or kind == self._kind(case):
            return
        self._asksSegment = case.id if kind == _SEGMENT else ""
        # A segment that said where the case was annotated is still no structure.
        meanings = {i: LEFT_OUT for i, meaning in case.meanings.items() if meaning == ANNOTATED_REGION}
        region = None
        if kind in (SLICES, DRAWN_SLICES, BOX):
            region = Region(kind=kind, axis=case.region.axis if case.region is not None else 2)
        if meanings:
            self.section.changeMeanings(meanings)
        self._keep(region)

    def _onAxis(self, axis: int) -> None:
        case = self.section.case
        # The axis that is chosen already can be clicked too; its slices stay.
        if case is not None and case.region is not None and axis != case.region.axis:
            self._keep(Region(kind=case.region.kind, axis=axis, segment=case.region.segment))

    def _onSlices(self) -> None:
        case, edit = self.section.case, self.ui.slicesEdit
        if case is None or case.region is None or case.region.kind != SLICES:
            return
        try:
            ranges = parseRanges(edit.text)
            grid = _gridOf(case)
            if grid is not None:
                requireSlices(ranges, grid, case.region.axis)
        except SemiSegError as error:
            edit.text = formatRanges(case.region.ranges)
            self.section.panel.showError(_("The slices cannot be used."), str(error))
            return
        if ranges != case.region.ranges:
            self._keep(Region(kind=SLICES, axis=case.region.axis, ranges=ranges))

    def _onSegment(self, index: int) -> None:
        case, segment = self.section.case, self._segments[index]
        if case is None:
            return
        if case.region is not None:
            self._keep(Region(kind=DRAWN_SLICES, axis=case.region.axis, segment=segment))
            return
        before = {i: LEFT_OUT for i, meaning in case.meanings.items() if meaning == ANNOTATED_REGION}
        self.section.changeMeanings({**before, **({segment: ANNOTATED_REGION} if segment else {})})

    def _onBox(self, node: Any) -> None:
        case = self.section.case
        if self._updating or case is None or case.region is None or case.region.kind != BOX:
            return
        if node is not case.region.box:
            self._keep(Region(kind=BOX, axis=case.region.axis, box=node))

    def _onNewBox(self, node: Any) -> None:
        if self.section.case is None:
            return
        try:
            self.section.panel.logic.placeBox(self.section.case, node)
        except SemiSegError as error:
            # Around nothing it would mean nothing.
            slicer.mrmlScene.RemoveNode(node)
            self.section.panel.showError(_("The box cannot be placed."), str(error))

    def _keep(self, region: Region | None) -> None:
        case = self.section.panel.logic.annotatedIn(self.section.case, region)
        box = case.region.box if case.region is not None else None
        self.section.change(region=regionToJson(case.region, next(iter(case.volumes.values()))), regionBox=box)


def _gridOf(case: SceneCase) -> Grid | None:
    try:
        return worldGrid(next(iter(case.volumes.values())))
    except SemiSegError:
        # Why the scan cannot be used is told by the check of the case; its slices just have no names.
        return None
