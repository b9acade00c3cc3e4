"""What the labels of the selected case mean, and the tree of structures."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.tables import fitRows, stretchColumns
from SemiSegModule.parameters import SCHEME_FROM_SCENE


class LabelsSection:
    """Segments of the selected case to structures, and the ticks of what was looked for.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and the selected row.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._updating = False
        self._shown: Any = None
        self._row = -1
        ui.lookedForTree.connect("itemChanged(QTreeWidgetItem*,int)", self._onTicked)
        ui.lookedForTree.headerHidden = True
        ui.segmentsTable.verticalHeader().visible = False

    def refresh(self, view: StudyView, row: int) -> None:
        """Show the case of a row; -1 shows nothing."""
        self._row = row
        case = view.cases[row] if 0 <= row < len(view.cases) else None
        usable = case is not None and case.segmentation is not None and view.scheme is not None
        self.ui.labelsCaseLabel.text = _caption(case, view)
        for widget in (self.ui.segmentsTable, self.ui.lookedForTree, self.ui.lookedForLabel):
            widget.visible = usable
        signature = repr((row, usable and _signature(case, view.scheme)))
        if signature == self._shown:
            return
        self._shown = signature
        self._updating = True
        if usable:
            self._fillSegments(case, view.scheme)
            self._fillTree(case, view.scheme)
        self._updating = False

    def _fillSegments(self, case: SceneCase, scheme: LabelScheme) -> None:
        table = self.ui.segmentsTable
        table.clearContents()
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Structure")])
        table.setRowCount(len(case.meanings))
        segmentation = case.segmentation.GetSegmentation()
        for number, (segmentId, meaning) in enumerate(case.meanings.items()):
            segment = segmentation.GetSegment(segmentId)
            item = qt.QTableWidgetItem(segment.GetName())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setIcon(colorIcon(segment.GetColor()))
            table.setItem(number, 0, item)
            table.setCellWidget(number, 1, self._meaningCombo(segmentId, meaning, scheme))
        stretchColumns(table)
        fitRows(table, len(case.meanings))

    def _meaningCombo(self, segmentId: str, meaning: str, scheme: LabelScheme) -> Any:
        names = [s.name for s in scheme.structures if name_key(s.name) != BACKGROUND]
        values = ["", *names, BACKGROUND, ANNOTATED_REGION, LEFT_OUT]
        texts = [_("choose..."), *names, _("background"), _("(region that was annotated)"), _("(left out)")]
        combo = qt.QComboBox()
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        combo.minimumContentsLength = 8
        combo.addItems(texts)
        combo.currentIndex = values.index(meaning) if meaning in values else 0
        combo.toolTip = _(
            "The structure that this segment shows. (region that was annotated): outside it, nothing is known. "
            "(left out): training does not see this segment."
        )
        combo.connect("activated(int)", lambda index: self._chooseMeaning(segmentId, values[index]))
        return combo

    def _fillTree(self, case: SceneCase, scheme: LabelScheme) -> None:
        tree = self.ui.lookedForTree
        tree.clear()
        tree.setColumnCount(1)
        covered = scheme.leaf_set(case.lookedFor)
        items: dict[str, Any] = {}
        # Wholes first, whatever the order in the scheme, so that every parent has its item.
        for structure in sorted(scheme.structures, key=lambda s: len(scheme.ancestors(s.name))):
            if name_key(structure.name) == BACKGROUND:
                continue
            # Added explicitly: addChild and addTopLevelItem hand the item to Qt, a constructor with parent may not.
            item = qt.QTreeWidgetItem()
            parent = items.get(name_key(structure.parent or ""))
            if parent is not None:
                parent.addChild(item)
            else:
                tree.addTopLevelItem(item)
            item.setText(0, structure.name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            isTicked = scheme.leaves_of(structure.name) <= covered
            item.setCheckState(0, qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
            item.setIcon(0, colorIcon(structure.color))
            items[name_key(structure.name)] = item
        tree.expandAll()
        rowHeight = tree.sizeHintForRow(0) if items else 0
        tree.setFixedHeight(max(1, min(len(items), 10)) * rowHeight + 2 * tree.frameWidth)

    def _chooseMeaning(self, segmentId: str, meaning: str) -> None:
        rows = self.panel.parameters.rows()
        row = rows[self._row]
        row.meanings = {i: m for i, m in row.meanings.items() if i != segmentId}
        if meaning:
            row.meanings[segmentId] = meaning
        self.panel.parameters.setRows(rows)

    def _onTicked(self, item: Any, _column: int) -> None:
        if self._updating:
            return
        scheme, name = self.panel.view.scheme, item.text(0)
        before = self.panel.view.cases[self._row].lookedFor
        if item.checkState(0) == qt.Qt.Checked:
            after = [*before, name]
        else:
            # A whole is ticked while all its parts are; unticking it unticks them, and unticking a part unticks it.
            inside = scheme.leaves_of(name)
            after = [other for other in before if not scheme.leaves_of(other) & inside]
            lost = [other for other in before if scheme.leaves_of(other) > inside]
            kept = scheme.leaf_set(lost) - inside
            after += [name for name in scheme.cover(kept) if name not in after] if kept else []
        rows = self.panel.parameters.rows()
        rows[self._row].lookedFor = after
        self.panel.parameters.setRows(rows)


class StructuresSection:
    """The tree of structures, when it is built from the scene: which structure is part of which.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._shown: Any = None
        ui.structuresTable.verticalHeader().visible = False

    def refresh(self, view: StudyView) -> None:
        """Show the scheme of a study."""
        source = self.panel.parameters.schemeSource
        signature = repr((view.scheme and view.scheme.structures, source, view.problem))
        if signature == self._shown:
            return
        self._shown = signature
        table = self.ui.structuresTable
        if view.scheme is None:
            table.setRowCount(0)
            self.ui.structuresLabel.text = view.problem
            return
        self.ui.structuresLabel.text = _(
            "A structure can be part of another one: a coarse label of the whole then teaches its parts together."
        )
        structures = [s for s in view.scheme.structures if name_key(s.name) != BACKGROUND]
        table.clearContents()
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Structure"), _("Part of")])
        table.setRowCount(len(structures))
        for number, structure in enumerate(structures):
            item = qt.QTableWidgetItem(structure.name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setIcon(colorIcon(structure.color))
            table.setItem(number, 0, item)
            table.setCellWidget(number, 1, self._parentCombo(structure, structures, source == SCHEME_FROM_SCENE))
        stretchColumns(table)
        fitRows(table, len(structures))

    def _parentCombo(self, structure: Structure, structures: list[Structure], isEditable: bool) -> Any:
        names = ["", *(s.name for s in structures if s.name != structure.name)]
        combo = qt.QComboBox()
        combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        combo.minimumContentsLength = 8
        combo.addItems([name or _("(nothing)") for name in names])
        places = [i for i, name in enumerate(names) if name_key(name) == name_key(structure.parent or "")]
        combo.currentIndex = places[0] if places else 0
        combo.enabled = isEditable
        combo.toolTip = (
            _("The structure that contains {name}").format(name=structure.name)
            if isEditable
            else _("The chosen scheme says so; take the structures from the scene to change it")
        )
        combo.connect("activated(int)", lambda index: self._chooseParent(structure.name, names[index]))
        return combo

    def _chooseParent(self, name: str, parent: str) -> None:
        scheme = self.panel.view.scheme
        if parent and any(name_key(s.name) == name_key(name) for s in scheme.ancestors(parent)):
            self._shown = None
            self.panel.showError(
                _("{parent} is inside {name}, so {name} cannot be part of it.").format(parent=parent, name=name)
            )
            self.panel.scheduleRefresh()
            return
        self.panel.parameters.parents = {**self.panel.parameters.parents, name: parent}


def colorIcon(color: tuple[float, ...]) -> Any:
    """Return a small square of a color, each part 0 to 1."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(round(255 * float(part)) for part in color[:3])))
    return qt.QIcon(pixmap)


def _signature(case: SceneCase, scheme: LabelScheme) -> Any:
    segmentation = case.segmentation.GetSegmentation()
    names = [
        (segmentation.GetSegment(i).GetName(), tuple(segmentation.GetSegment(i).GetColor())) for i in case.meanings
    ]
    return (case.segmentation.GetID(), names, case.meanings, case.lookedFor, scheme.structures)


def _caption(case: SceneCase | None, view: StudyView) -> str:
    if case is None:
        return _("Select a case above to see what its labels say.")
    if case.segmentation is None:
        return _("{name} has no segmentation: it is used without labels.").format(name=case.id)
    if view.scheme is None:
        return view.problem.split("\n")[0]
    return _("{name}, labeled by {segmentation}").format(name=case.id, segmentation=case.segmentation.GetName())
