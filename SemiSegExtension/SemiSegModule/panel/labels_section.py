"""What the labels of the selected case mean: its segments, what was looked for, where, and what overlaps are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key
from SemiSegModule.bridge.meanings import Suggestion
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase
from SemiSegModule.panel.forms import comboBox
from SemiSegModule.panel.looked_for_tree import LookedForTree
from SemiSegModule.panel.overlaps_view import OverlapsView
from SemiSegModule.panel.region_view import RegionView
from SemiSegModule.panel.structure_icons import colorIcon
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.tables import fitRows, stretchColumns
from SemiSegModule.parameters import SCHEME_FROM_SCENE, CaseRow

# Proposals that are shown in words; the others are counted.
_MOST_SHOWN = 4


class LabelsSection:
    """Shows one case and writes what a person says of it to its row of the parameter node.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``, ``logic`` and ``view``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._shown: Any = None
        self._row = -1
        self._tree = LookedForTree(ui.lookedForTree, self._setLookedFor)
        self._region = RegionView(ui, self)
        self._overlaps = OverlapsView(ui, self)
        ui.meaningsTable.verticalHeader().visible = False
        ui.acceptSuggestionsButton.connect("clicked()", self._onAccept)
        ui.acceptEverywhereButton.connect("clicked()", self._onAcceptEverywhere)
        ui.lookedForAllButton.connect("clicked()", self._onAll)
        ui.lookedForDrawnButton.connect("clicked()", lambda: self.change(lookedFor=None))
        ui.lookedForSameButton.connect("clicked()", self._onSameForKind)

    @property
    def case(self) -> SceneCase | None:
        """The case that is shown; none while the scene is closed, when widgets still tell of nodes that go."""
        cases = self.panel.view.cases if self.panel.parameters is not None else []
        return cases[self._row] if 0 <= self._row < len(cases) else None

    def refresh(self, view: StudyView, row: int) -> None:
        """Show the case of a row; -1 shows nothing."""
        self._row = row
        case = view.cases[row] if 0 <= row < len(view.cases) else None
        usable = case is not None and case.segmentation is not None and view.scheme is not None
        self.ui.labelsCaseLabel.text = _caption(case, view)
        for name in ("meaningsTable", "lookedForTree", "lookedForLabel", "lookedForFrame", "regionFrame"):
            getattr(self.ui, name).visible = usable
        self._region.refresh(case if usable else None)
        self.showOverlaps()
        signature = repr((row, usable and _signature(case, view)))
        if signature == self._shown:
            return
        self._shown = signature
        if usable:
            self._fillSegments(case, view.scheme)
            self._tree.show(case, view.scheme)
        self._showSuggestions(case if usable else None, view)

    def close(self) -> None:
        """Show no overlaps of a scene that is closed."""
        self._overlaps.refresh(None, None, None)

    def showOverlaps(self) -> None:
        """Show what the check of the shown case has found about voxels that several structures share."""
        case, scheme = self.case, self.panel.view.scheme
        isUsable = case is not None and case.segmentation is not None and scheme is not None
        # A case with an open question is not checked, and one that is not ticked for this view alone.
        isOpen = not isUsable or self._row in self.panel.view.openRows
        check = None if isOpen else self.panel.cases.checks.result(case, scheme)
        self._overlaps.refresh(case if isUsable else None, scheme, check)

    def change(self, **changes: Any) -> None:
        """Replace fields of the shown case's row."""
        self._changeRows({self._row: changes})

    def changeMeanings(self, meanings: dict[str, str]) -> None:
        """Say what some segments of the shown case are; "" asks again."""
        rows, places = self._table()
        if self._row in places:
            self.change(meanings=_withMeanings(rows[places[self._row]], meanings))

    def _table(self) -> tuple[list[CaseRow], dict[int, int]]:
        """Return the case table as it is now, and number in the shown study to place in it.

        It may have changed since that was shown: a scan that has left the scene, and its row, are gone at once.
        """
        rows = self.panel.parameters.rows() if self.panel.parameters is not None else []
        places = {
            number: place
            for number, case in enumerate(self.panel.view.cases)
            for place, row in enumerate(rows)
            if _first(row.volumes) is _first(case.volumes)
        }
        return rows, places

    def _changeRows(self, changes: dict[int, dict[str, Any]]) -> None:
        rows, places = self._table()
        for number in changes.keys() & places.keys():
            rows[places[number]] = replace(rows[places[number]], **changes[number])
        if rows:
            self.panel.parameters.setRows(rows)

    def _fillSegments(self, case: SceneCase, scheme: LabelScheme) -> None:
        table = self.ui.meaningsTable
        table.clearContents()
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Structure")])
        table.setRowCount(len(case.meanings))
        segmentation = case.segmentation.GetSegmentation()
        for number, segmentId in enumerate(case.meanings):
            segment = segmentation.GetSegment(segmentId)
            item = qt.QTableWidgetItem(segment.GetName())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setIcon(colorIcon(segment.GetColor()))
            table.setItem(number, 0, item)
            table.setCellWidget(number, 1, self._meaningCombo(segmentId, case, scheme))
        stretchColumns(table)
        fitRows(table, len(case.meanings))

    def _meaningCombo(self, segmentId: str, case: SceneCase, scheme: LabelScheme) -> Any:
        names = [s.name for s in scheme.structures if name_key(s.name) != BACKGROUND]
        own = case.segmentation.GetSegmentation().GetSegment(segmentId).GetName()
        if self.panel.parameters.schemeSource == SCHEME_FROM_SCENE and scheme.match(own) is None:
            # Nobody calls it a structure now, but it is one as soon as it is chosen.
            names.append(own)
        values = ["", *names, BACKGROUND, ANNOTATED_REGION, LEFT_OUT]
        texts = [_("choose..."), *names, _("background"), _("(region that was annotated)"), _("(left out)")]
        combo = comboBox()
        combo.minimumContentsLength = 8
        combo.addItems(texts)
        meaning = case.meanings[segmentId]
        combo.currentIndex = values.index(meaning) if meaning in values else 0
        combo.toolTip = _(
            "The structure that this segment shows. (region that was annotated): outside it, nothing is known. "
            "(left out): training does not see this segment."
        )
        combo.connect("activated(int)", lambda index: self.changeMeanings({segmentId: values[index]}))
        return combo

    def _showSuggestions(self, case: SceneCase | None, view: StudyView) -> None:
        found = self.panel.logic.proposeMeanings(case, view.scheme, view.cases) if case is not None else ()
        self.ui.suggestionsFrame.visible = bool(found)
        lines = [f"{item.name} → {item.structure} ({_reason(item)})" for item in found[:_MOST_SHOWN]]
        if len(found) > _MOST_SHOWN:
            lines.append(_("and {count} more").format(count=len(found) - _MOST_SHOWN))
        self.ui.suggestionsLabel.text = "\n".join([_("Proposed:"), *lines])

    def _onAccept(self) -> None:
        view, case = self.panel.view, self.case
        if case is not None:
            self._accept({self._row: case}, view)

    def _onAcceptEverywhere(self) -> None:
        view = self.panel.view
        self._accept(dict(enumerate(view.cases)), view)

    def _accept(self, cases: dict[int, SceneCase], view: StudyView) -> None:
        (rows, places), changes = self._table(), {}
        for number, case in cases.items():
            if number not in places:
                continue
            accepted = self.panel.logic.acceptMeanings(case, view.scheme, view.cases)
            new = {i: meaning for i, meaning in accepted.meanings.items() if meaning != case.meanings[i]}
            if new:
                changes[number] = {"meanings": _withMeanings(rows[places[number]], new)}
        self._changeRows(changes)

    def _onAll(self) -> None:
        if self.case is not None:
            self._setLookedFor(self.panel.logic.lookedForAll(self.case, self.panel.view.scheme).lookedFor)

    def _onSameForKind(self) -> None:
        case, cases = self.case, self.panel.view.cases
        if case is None:
            return
        same = self.panel.logic.casesOfKind(case, cases)
        numbers = [number for number, other in enumerate(cases) if any(other is found for found in same)]
        self._changeRows({number: {"lookedFor": list(case.lookedFor)} for number in numbers})

    def _setLookedFor(self, names: Any) -> None:
        self.change(lookedFor=list(names))


def _first(volumes: dict[str, Any]) -> Any:
    """Return the volume that a case is about."""
    return next(iter(volumes.values()))


def _withMeanings(row: CaseRow, meanings: dict[str, str]) -> dict[str, str]:
    kept = {i: meaning for i, meaning in row.meanings.items() if i not in meanings}
    return {**kept, **{i: meaning for i, meaning in meanings.items() if meaning}}


def _reason(item: Suggestion) -> str:
    words: dict[str, Callable[[], str]] = {
        "same name elsewhere": lambda: _("as in another case"),
        "codes": lambda: _("by its standard term, not by its name"),
        "part of name": lambda: _("its name contains it"),
        "alike": lambda: _("the names are alike"),
    }
    return words[item.reason]()


def _signature(case: SceneCase, view: StudyView) -> Any:
    segmentation = case.segmentation.GetSegmentation()
    names = [
        (segmentation.GetSegment(i).GetName(), tuple(segmentation.GetSegment(i).GetColor())) for i in case.meanings
    ]
    said = [other.meanings for other in view.cases] if "" in case.meanings.values() else ()
    return (case.segmentation.GetID(), names, case.meanings, case.lookedFor, view.scheme.structures, said)


def _caption(case: SceneCase | None, view: StudyView) -> str:
    if case is None:
        return _("Select a case above to see what its labels say.")
    if case.segmentation is None:
        return _("{name} has no segmentation: it is used without labels.").format(name=case.id)
    if view.scheme is None:
        return view.problem.split("\n")[0]
    return _("{name}, labeled by {segmentation}").format(name=case.id, segmentation=case.segmentation.GetName())
