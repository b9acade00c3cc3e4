"""The structures of the study: a tree to edit, their colors and terms, where they come from and go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError, take_apart
from SemiSegLib.labels.edits import Edit
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key
from SemiSegModule.bridge.color_tables import colorTables
from SemiSegModule.bridge.pairing import segmentations
from SemiSegModule.panel.case_problems import describeOnlyPart
from SemiSegModule.panel.save_dialog import askWhereToSave
from SemiSegModule.panel.structure_icons import colorIcon
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.terminology_dialog import chooseTerminology, describeTerminology
from SemiSegModule.study_scheme import applyEdit, undoEdit

_MOST_ROWS = 12


class StructuresSection:
    """Shows the label scheme; an edit makes it the study's own, kept with the scene.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``, ``logic`` and ``view``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._shown: Any = None
        self._updating = False
        self._selected = ""
        self._parents: list[str | None] = []
        self._targets: list[str] = []
        ui.structuresTree.setColumnCount(2)
        ui.structuresTree.setHeaderLabels([_("Structure"), _("Standard term")])
        ui.structuresTree.connect("itemChanged(QTreeWidgetItem*,int)", self._onItemChanged)
        ui.structuresTree.connect("currentItemChanged(QTreeWidgetItem*,QTreeWidgetItem*)", self._onCurrent)
        ui.structuresTree.connect("itemDoubleClicked(QTreeWidgetItem*,int)", self._onDoubleClicked)
        self._delete = qt.QShortcut(qt.QKeySequence("Del"), ui.structuresTree)
        self._delete.context = qt.Qt.WidgetShortcut
        self._delete.connect("activated()", self._onRemove)
        for name, function in (
            ("addStructureButton", self._onAdd),
            ("addPartButton", self._onAddPart),
            ("addRestButton", self._onAddRest),
            ("renameStructureButton", self._onRename),
            ("removeStructureButton", self._onRemove),
            ("undoStructureButton", self._onUndo),
            ("terminologyButton", self._onTerminology),
            ("clearTerminologyButton", self._onClearTerminology),
            ("addSegmentsButton", self._onAddSegments),
            ("addColorTableButton", self._onAddColorTable),
            ("addSchemeFileButton", self._onAddFile),
            ("makeColorTableButton", self._onMakeColorTable),
            ("saveSchemeButton", self._onSave),
        ):
            getattr(ui, name).connect("clicked()", function)
        ui.parentComboBox.connect("activated(int)", self._onParent)
        ui.mergeComboBox.connect("activated(int)", self._onMerge)
        ui.structureColorButton.connect("colorChanged(QColor)", self._onColor)

    @property
    def scheme(self) -> LabelScheme | None:
        """The scheme that is shown."""
        return self.panel.view.scheme

    @property
    def selected(self) -> Structure | None:
        """The structure that is selected."""
        names = [s.name for s in self.scheme.structures] if self.scheme is not None else []
        return self.scheme.find(self._selected) if self._selected in names else None

    def refresh(self, view: StudyView) -> None:
        """Show the scheme of a study."""
        self.ui.undoStructureButton.enabled = self.panel.parameters.schemeUndo is not None
        self.ui.addColorTableButton.enabled = bool(colorTables())
        self.ui.addSegmentsButton.enabled = bool(segmentations(withResults=False))
        signature = repr((view.scheme and view.scheme.structures, view.problem, view.onlyParts))
        if signature == self._shown:
            return
        self._shown = signature
        self.ui.structuresLabel.text = self._caption(view)
        self.ui.addRestButton.visible = bool(view.onlyParts)
        if view.onlyParts:
            self.ui.addRestButton.text = _("Add the rest of {name}").format(name=view.onlyParts[0].whole)
        self._fill(view.scheme)
        self._showSelected()

    def _caption(self, view: StudyView) -> str:
        if view.scheme is None:
            return view.problem.split("\n")[0]
        if view.onlyParts:
            what, remedy = describeOnlyPart(view.onlyParts[0])
            return f"\u26a0 {what}; {remedy}."
        return _("A structure can be part of another one: a coarse label of the whole then teaches its parts together.")

    def _fill(self, scheme: LabelScheme | None) -> None:
        self._updating = True
        tree = self.ui.structuresTree
        tree.clear()
        items: dict[str, Any] = {}
        structures = [s for s in scheme.structures if name_key(s.name) != BACKGROUND] if scheme is not None else []
        for structure in sorted(structures, key=lambda s: len(scheme.ancestors(s.name))):
            item = qt.QTreeWidgetItem()
            parent = items.get(scheme.find(structure.parent).name) if structure.parent else None
            if parent is not None:
                parent.addChild(item)
            else:
                tree.addTopLevelItem(item)
            item.setText(0, structure.name)
            item.setData(0, qt.Qt.UserRole, structure.name)
            item.setIcon(0, colorIcon(structure.color))
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEditable)
            if structure.terminology is not None:
                item.setText(1, describeTerminology(structure.terminology))
                item.setToolTip(1, describeTerminology(structure.terminology))
            items[structure.name] = item
        tree.expandAll()
        tree.resizeColumnToContents(0)
        rowHeight = tree.sizeHintForRow(0) if items else 0
        header = tree.header().sizeHint.height()
        tree.setFixedHeight(header + max(2, min(len(items), _MOST_ROWS)) * rowHeight + 2 * tree.frameWidth)
        if self._selected not in items:
            self._selected = next(iter(items), "")
        if self._selected:
            tree.setCurrentItem(items[self._selected])
        self._updating = False

    def _showSelected(self) -> None:
        structure, scheme = self.selected, self.scheme
        for name in ("addPartButton", "renameStructureButton", "removeStructureButton", "structureFrame"):
            getattr(self.ui, name).enabled = structure is not None
        for name in ("makeColorTableButton", "saveSchemeButton"):
            getattr(self.ui, name).enabled = scheme is not None
        self.ui.addStructureButton.enabled = scheme is not None or self.panel.view.mayBeginScheme
        if structure is None:
            return
        self._updating = True
        others = [s for s in scheme.structures if name_key(s.name) != BACKGROUND and s is not structure]
        free = [s.name for s in others if structure not in scheme.ancestors(s.name)]
        self._parents = [None, *free]
        _fillCombo(self.ui.parentComboBox, [_("(nothing)"), *free])
        parent = scheme.find(structure.parent).name if structure.parent else None
        self.ui.parentComboBox.currentIndex = self._parents.index(parent)
        self._targets = [s.name for s in others if structure not in scheme.ancestors(s.name)]
        _fillCombo(self.ui.mergeComboBox, [_("choose..."), *self._targets])
        self.ui.structureColorButton.color = qt.QColor(*(round(255 * part) for part in structure.color))
        self.ui.terminologyButton.text = describeTerminology(structure.terminology)
        self.ui.clearTerminologyButton.enabled = structure.terminology is not None
        self._updating = False

    def _onCurrent(self, item: Any, _before: Any) -> None:
        if not self._updating and item is not None:
            self._selected = item.data(0, qt.Qt.UserRole)
            self._showSelected()

    def _edit(self, make: Callable[[], Edit], select: str = "") -> None:
        """Make one edit, or say in a sentence why it cannot be."""
        try:
            edit = make()
        except SemiSegError as error:
            what, _where, remedy = take_apart(str(error))
            self.panel.showError(f"{what[:1].upper()}{what[1:]}: {remedy}." if remedy else str(error))
            edit = None
        if edit is not None and edit.scheme is not self.scheme and edit.scheme != self.scheme:
            self._selected = select or self._selected
            applyEdit(self.panel.parameters, edit)
        # A name that was typed and refused is shown as it was.
        self._shown = None
        self.panel.scheduleRefresh()

    def _onAdd(self) -> None:
        self._addStructure(_("Name of the new structure:"), None)

    def _onAddPart(self) -> None:
        whole = self.selected
        if whole is not None:
            self._addStructure(_("Name of the new part of {name}:").format(name=whole.name), whole.name)

    def _onAddRest(self) -> None:
        if self.scheme is not None and self.panel.view.onlyParts:
            whole = self.panel.view.onlyParts[0].whole
            self._edit(lambda: self.panel.logic.addRest(self.scheme, whole))

    def _addStructure(self, question: str, parent: str | None) -> None:
        name = qt.QInputDialog.getText(self.ui.structuresTree, _("Structures"), question)
        if name and (self.scheme is not None or self.panel.view.mayBeginScheme):
            self._edit(lambda: self.panel.logic.addStructure(self.scheme, name, parent), name.strip())

    def _onRename(self) -> None:
        tree = self.ui.structuresTree
        item = tree.currentItem()
        # Where the click does not take the focus from the editor of an earlier one, its name is being typed already.
        if item is not None and tree.state() != qt.QAbstractItemView.EditingState:
            tree.editItem(item, 0)

    def _onDoubleClicked(self, item: Any, column: int) -> None:
        if column == 0:
            self.ui.structuresTree.editItem(item, 0)
        else:
            self._onTerminology()

    def _onItemChanged(self, item: Any, column: int) -> None:
        if self._updating or self.scheme is None:
            return
        name, text = item.data(0, qt.Qt.UserRole), item.text(0)
        if column == 0 and text != name:
            self._edit(lambda: self.panel.logic.renameStructure(self.scheme, name, text), text.strip())
        elif column == 1:
            # The term is chosen, not typed.
            self._edit(lambda: Edit(self.scheme))

    def _onRemove(self) -> None:
        structure = self.selected
        if structure is not None:
            self._edit(lambda: self.panel.logic.removeStructure(self.scheme, structure.name), structure.parent or "")

    def _onUndo(self) -> None:
        undoEdit(self.panel.parameters)

    def _onParent(self, index: int) -> None:
        structure = self.selected
        if structure is not None:
            self._edit(lambda: self.panel.logic.moveStructure(self.scheme, structure.name, self._parents[index]))

    def _onMerge(self, index: int) -> None:
        structure = self.selected
        if structure is None or index == 0:
            return
        into = self._targets[index - 1]
        self._edit(lambda: self.panel.logic.mergeStructures(self.scheme, [structure.name], into), into)

    def _onColor(self, color: Any) -> None:
        structure = self.selected
        if self._updating or structure is None:
            return
        parts = (color.red() / 255, color.green() / 255, color.blue() / 255)
        self._edit(lambda: self.panel.logic.recolorStructure(self.scheme, structure.name, parts))

    def _onTerminology(self) -> None:
        structure = self.selected
        chosen = chooseTerminology(structure, self.ui.structuresTree) if structure is not None else None
        if chosen is not None:
            self._edit(lambda: self.panel.logic.codeStructure(self.scheme, structure.name, chosen))

    def _onClearTerminology(self) -> None:
        structure = self.selected
        if structure is not None:
            self._edit(lambda: self.panel.logic.codeStructure(self.scheme, structure.name, None))

    def _onAddSegments(self) -> None:
        rows = [row for row in self.panel.parameters.rows() if row.segmentation is not None]
        labels = [(row.segmentation, row.meanings) for row in rows]
        ours = [node for node, _said in labels]
        labels += [(n, {}) for n in segmentations(withResults=False) if not any(n is node for node in ours)]
        nodes, meanings = [node for node, _said in labels], [said for _node, said in labels]
        self._edit(lambda: self.panel.logic.addSegments(self.scheme, nodes, meanings))

    def _onAddColorTable(self) -> None:
        nodes = colorTables()
        titles = [node.GetName() for node in nodes]
        # The answer is a text alone, so each must be another one.
        counts = [titles[:number].count(title) for number, title in enumerate(titles)]
        names = [f"{title} ({n + 1})" if n else title for title, n in zip(titles, counts, strict=True)]
        name = names[0] if len(names) == 1 else None
        if name is None:
            question = _("Color table:")
            # Canceled, the question returns its first entry: that one must be no table.
            offered = ["", *names]
            name = qt.QInputDialog.getItem(self.ui.structuresTree, _("Structures"), question, offered, 0, False)
        if name in names:
            self._edit(lambda: self.panel.logic.addColorTable(self.scheme, nodes[names.index(name)]))

    def _onAddFile(self) -> None:
        kinds = _("Label schemes (*.json *.csv)")
        path = qt.QFileDialog.getOpenFileName(self.ui.structuresTree, _("Add structures"), "", kinds)
        if path:
            self._edit(lambda: self.panel.logic.addSchemeFile(self.scheme, path))

    def _onMakeColorTable(self) -> None:
        try:
            self.panel.logic.makeColorTable(self.scheme)
        except SemiSegError as error:
            self.panel.showError(_("The color table cannot be made."), str(error))

    def _onSave(self) -> None:
        endings = {_("Label scheme (*.json)"): ".json", _("Color table (*.csv)"): ".csv"}
        path = askWhereToSave(self.ui.structuresTree, _("Save structures"), endings)
        if path is None:
            return
        try:
            self.panel.logic.saveScheme(self.scheme, path)
        except SemiSegError as error:
            self.panel.showError(_("The structures cannot be saved."), str(error))


def _fillCombo(combo: Any, texts: list[str]) -> None:
    combo.clear()
    combo.addItems(texts)
