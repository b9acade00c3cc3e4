"""Structures of the selected case that share voxels and must not: found in the background, decided by a person."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.annotation_image import drawnOverlaps, readDrawing
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.overlaps import EITHER, IGNORE, Overlap
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.segments import BINARY, segmentIds
from SemiSegModule.panel.tables import fitRows, stretchColumns

_POLL_MILLISECONDS = 30


class OverlapsView:
    """Lists overlaps with their voxel counts and asks for each what the voxels are.

    Args:
        ui: widgets of the form by name.
        section: gives the shown ``case`` and takes changes of its row.
    """

    def __init__(self, ui: Any, section: Any) -> None:
        self.ui, self.section = ui, section
        self._key: Any = None
        self._found: tuple[Overlap, ...] = ()
        self._future: Future[tuple[Overlap, ...]] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._onTimeout)
        ui.overlapsTable.verticalHeader().visible = False
        self._hide()

    @property
    def isSearching(self) -> bool:
        """Whether overlaps are being counted."""
        return self._future is not None

    def refresh(self, case: SceneCase | None, scheme: LabelScheme | None) -> None:
        """Show the overlaps of a case, once they are found."""
        key = _key(case, scheme)
        if key is None:
            self._forget()
            return
        if key != self._key:
            self._forget()
            self._key = key
            self._search(case, scheme)
        elif self._future is None:
            self._show(case)

    def close(self) -> None:
        """Let go of a count that goes on."""
        self._forget()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _forget(self) -> None:
        self._timer.stop()
        self._key, self._future, self._found = None, None, ()
        self._hide()

    def _hide(self) -> None:
        self.ui.overlapsLabel.visible = self.ui.overlapsTable.visible = False

    def _search(self, case: SceneCase, scheme: LabelScheme) -> None:
        try:
            drawing = readDrawing(case, scheme, worldGrid(next(iter(case.volumes.values()))))
        except SemiSegError:
            # What keeps a case from being read is told by its check; then nothing can be counted.
            return
        if drawing is None:
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semiseg overlaps")
        self._future = self._threads.submit(drawnOverlaps, drawing, scheme)
        self._timer.start()

    def _onTimeout(self) -> None:
        if self._future is None or not self._future.done():
            return
        self._timer.stop()
        self._found, self._future = self._future.result(), None
        if self.section.case is not None:
            self._show(self.section.case)

    def _show(self, case: SceneCase) -> None:
        self.ui.overlapsLabel.visible = self.ui.overlapsTable.visible = bool(self._found)
        if not self._found:
            return
        undecided = sum(overlap.pair not in case.overlapRules for overlap in self._found)
        self.ui.overlapsLabel.text = (
            _("These structures share voxels. Say what such voxels are; until then they are ignored.")
            if undecided
            else _("These structures share voxels; what such voxels are was decided:")
        )
        table = self.ui.overlapsTable
        table.clearContents()
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Structures"), _("Voxels"), _("They are")])
        table.setRowCount(len(self._found))
        for number, overlap in enumerate(self._found):
            for column, text in enumerate((f"{overlap.first}, {overlap.second}", str(overlap.voxels))):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                item.setToolTip(text)
                table.setItem(number, column, item)
            table.setCellWidget(number, 2, self._ruleCombo(overlap, case))
        stretchColumns(table)
        fitRows(table, len(self._found))

    def _ruleCombo(self, overlap: Overlap, case: SceneCase) -> Any:
        values = ["", IGNORE, EITHER, overlap.first, overlap.second]
        rule = case.overlapRules.get(overlap.pair, "")
        combo = qt.QComboBox()
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        combo.minimumContentsLength = 8
        combo.addItems([_("choose..."), _("ignored"), _("one of the two"), overlap.first, overlap.second])
        combo.currentIndex = values.index(rule) if rule in values else 0
        combo.toolTip = _(
            "ignored: training does not look at these voxels. one of the two: it learns that they are one of them. "
            "A structure: they are that one."
        )
        combo.connect("activated(int)", lambda index: self._decide(overlap, values[index]))
        return combo

    def _decide(self, overlap: Overlap, rule: str) -> None:
        case = self.section.case
        if case is None:
            return
        rules = dict(case.overlapRules)
        if rule:
            rules = self.section.panel.logic.decideOverlap(case, overlap.first, overlap.second, rule).overlapRules
        else:
            rules.pop(overlap.pair, None)
        self.section.change(overlapRules=[[*pair, chosen] for pair, chosen in rules.items()])


def _key(case: SceneCase | None, scheme: LabelScheme | None) -> Any:
    """Return what the overlaps depend on, or None where there are none: one label image holds no overlap."""
    if case is None or scheme is None or "" in case.meanings.values():
        return None
    segmentation = case.segmentation.GetSegmentation()
    images = [segmentation.GetSegment(i).GetRepresentation(BINARY) for i in segmentIds(case.segmentation)]
    # Surfaces would be turned into voxels here, which can take long; their overlaps are told by the export.
    if None in images or segmentation.GetNumberOfLayers() < 2:
        return None
    volume = next(iter(case.volumes.values()))
    times = tuple(image.GetMTime() for image in images)
    return repr((case.id, case.segmentation.GetID(), volume.GetID(), times, case.meanings, scheme.structures))
