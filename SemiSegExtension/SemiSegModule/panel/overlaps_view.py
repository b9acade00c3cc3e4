"""Structures of the selected case that share voxels and must not: found by its check, decided by a person."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.case_check import CaseCheck
from SemiSegModule.bridge.layers import drawnMoment
from SemiSegModule.bridge.overlaps import EITHER, IGNORE, Overlap
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.segments import segmentIds
from SemiSegModule.panel.forms import comboBox
from SemiSegModule.panel.tables import fitRows, stretchColumns


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
        self._shown: Any = None
        ui.overlapsTable.verticalHeader().visible = False
        self._hide()

    def refresh(self, case: SceneCase | None, scheme: LabelScheme | None, check: CaseCheck | None) -> None:
        """Show the overlaps of a case.

        Args:
            case: the case, or None.
            scheme: label scheme.
            check: what its check has found; None while that is not known.
        """
        key = _key(case, scheme)
        if key != self._key:
            self._key, self._found = key, ()
        if key is None:
            self._hide()
            return
        if check is not None:
            # Until then what was found before a decision stays: the same voxels are shared.
            self._found = check.overlaps
        self._show(case)

    def _hide(self) -> None:
        self.ui.overlapsLabel.visible = self.ui.overlapsTable.visible = False

    def _show(self, case: SceneCase) -> None:
        self.ui.overlapsLabel.visible = self.ui.overlapsTable.visible = bool(self._found)
        shown = (self._found, dict(case.overlapRules))
        # Every check that ends asks for this: new boxes would close the list that a person has open.
        if not self._found or shown == self._shown:
            return
        self._shown = shown
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
        combo = comboBox()
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
    """Return what the shared voxels depend on, or None where nothing can be said of them yet."""
    if case is None or scheme is None or "" in case.meanings.values():
        return None
    segmentation = case.segmentation.GetSegmentation()
    moments = tuple(drawnMoment(segmentation, segmentId) for segmentId in segmentIds(case.segmentation))
    volume = next(iter(case.volumes.values()))
    return repr((case.id, case.segmentation.GetID(), volume.GetID(), moments, case.meanings, scheme.structures))
