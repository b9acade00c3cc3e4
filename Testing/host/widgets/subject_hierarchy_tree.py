"""qMRMLSubjectHierarchyTreeView: the items of the subject hierarchy as a tree, filtered by node type and name."""

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior, stored
from Testing.host.widgets.observing import FollowsScene, Observers

_ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
_FILTERS = ("nodeTypes", "hideChildNodeTypes", "levelFilter", "nameFilter")


@behavior
class qMRMLSubjectHierarchyTreeView(FollowsScene):
    """A tree view over the scene's subject hierarchy."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._hierarchy_observers = Observers(self)
        self._model = QtGui.QStandardItemModel(0, 1, self)
        self._model.setHorizontalHeaderLabels(["Node"])
        self._root = 0
        self._attribute_filters: list[tuple[str, Any, bool, str]] = []
        self._last: tuple[int, ...] = ()
        self._is_filling = False
        stored(self).update(nodeTypes=[], hideChildNodeTypes=[], levelFilter=[], nameFilter="", multiSelection=False)
        self.setModel(self._model)
        self.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.selectionModel().selectionChanged.connect(self._on_selection)

    def _on_new_scene(self) -> None:
        super()._on_new_scene()
        self._observe_hierarchy()
        self._fill()

    def subjectHierarchyNode(self) -> Any:
        if self._scene is None:
            return None
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _observe_hierarchy(self) -> None:
        self._hierarchy_observers.clear()
        hierarchy = self.subjectHierarchyNode()
        if hierarchy is None:
            return
        names = ("Added", "Removed", "Modified", "Reparented", "ChildrenReordered")
        events = [getattr(hierarchy, f"SubjectHierarchyItem{name}Event") for name in names]
        self._hierarchy_observers.add(hierarchy, events, type(self)._on_nodes)

    def _on_nodes(self, caller: Any, event: str) -> None:
        self._fill()

    def _on_start_close(self, caller: Any, event: str) -> None:
        # Closing the scene replaces the hierarchy node. Holding on to the old one would keep its items in MRML's
        # look-up table, where a new node at the address of an old one would find them.
        self._hierarchy_observers.clear()

    def _on_end_close(self, caller: Any, event: str) -> None:
        self._root = 0
        self._observe_hierarchy()
        self._fill()

    def rootItem(self) -> int:
        hierarchy = self.subjectHierarchyNode()
        return self._root or (hierarchy.GetSceneItemID() if hierarchy else 0)

    def setRootItem(self, item: int) -> None:
        self._root = int(item)
        self._fill()

    def model(self) -> Any:
        return QtWidgets.QTreeView.model(self)

    def _fill(self) -> None:
        hierarchy = self.subjectHierarchyNode()
        if self._is_filling or self._scene is None or self._is_changing():
            return
        selected = self._selected()
        self._is_filling = True
        self._model.removeRows(0, self._model.rowCount())
        if hierarchy is not None:
            self._add_children(hierarchy, self.rootItem(), self._model.invisibleRootItem())
        self.expandAll()
        self._is_filling = False
        self._select(selected)

    def _add_children(self, hierarchy: Any, parent_item: int, parent_row: Any) -> None:
        children = vtk.vtkIdList()
        hierarchy.GetItemChildren(parent_item, children, False)
        for number in range(children.GetNumberOfIds()):
            item = children.GetId(number)
            row = QtGui.QStandardItem(hierarchy.GetItemName(item))
            row.setData(item, _ITEM_ROLE)
            self._add_children(hierarchy, item, row)
            # A folder stays as long as something in it is shown.
            if row.rowCount() or self._is_shown(hierarchy, item):
                parent_row.appendRow(row)

    def _is_shown(self, hierarchy: Any, item: int) -> bool:
        values, node = stored(self), hierarchy.GetItemDataNode(item)
        if values["nodeTypes"] and not (node and any(node.IsA(kind) for kind in values["nodeTypes"])):
            return False
        if node is not None and any(node.IsA(kind) for kind in values["hideChildNodeTypes"]):
            return False
        if values["levelFilter"] and hierarchy.GetItemLevel(item) not in values["levelFilter"]:
            return False
        if node is not None and not all(_fits(node, rule) for rule in self._attribute_filters):
            return False
        return values["nameFilter"].lower() in hierarchy.GetItemName(item).lower()

    def _rows(self) -> list[Any]:
        found, waiting = [], [self._model.invisibleRootItem()]
        while waiting:
            row = waiting.pop(0)
            children = [row.child(number) for number in range(row.rowCount())]
            found += children
            waiting += children
        return found

    def displayedItemCount(self) -> int:
        return len(self._rows())

    def _selected(self) -> tuple[int, ...]:
        return tuple(index.data(_ITEM_ROLE) for index in self.selectedIndexes())

    def _select(self, items: tuple[int, ...]) -> None:
        selection = QtCore.QItemSelection()
        for row in self._rows():
            if row.data(_ITEM_ROLE) in items:
                selection.select(row.index(), row.index())
        self.selectionModel().select(selection, QtCore.QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._on_selection()

    def _on_selection(self, *_: Any) -> None:
        selected = self._selected()
        if self._is_filling or selected == self._last:
            return
        self._last = selected
        self.currentItemsChanged.emit(list(selected))
        self.currentItemChanged.emit(self.currentItem())
        self.currentNodeChanged.emit(self.currentNode())

    def currentItem(self) -> int:
        return next(iter(self._selected()), 0)

    def currentItems(self, items: Any) -> None:
        items.Reset()
        for item in self._selected():
            items.InsertNextId(item)

    def currentNode(self) -> Any:
        item = self.currentItem()
        return self.subjectHierarchyNode().GetItemDataNode(item) if item else None

    def setCurrentItem(self, item: int) -> None:
        self._select((int(item),) if item else ())

    def setCurrentItems(self, items: Any) -> None:
        numbers = [items.GetId(n) for n in range(items.GetNumberOfIds())] if hasattr(items, "GetId") else items
        self._select(tuple(numbers))

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentItem(self.subjectHierarchyNode().GetItemByDataNode(node) if node is not None else 0)

    def set_multiSelection(self, is_multiple: bool) -> None:
        stored(self)["multiSelection"] = bool(is_multiple)
        modes = QtWidgets.QAbstractItemView.SelectionMode
        self.setSelectionMode(modes.ExtendedSelection if is_multiple else modes.SingleSelection)

    def setMultiSelection(self, is_multiple: bool) -> None:
        self.set_multiSelection(is_multiple)

    def addNodeAttributeFilter(self, name: str, value: Any = None, include: bool = True, kind: str = "") -> None:
        self._attribute_filters.append((name, value, include, kind))
        self._fill()

    def deleteSelectedItems(self) -> None:
        hierarchy = self.subjectHierarchyNode()
        for item in self._selected():
            hierarchy.RemoveItem(item)


def _fits(node: Any, rule: tuple[str, Any, bool, str]) -> bool:
    name, value, include, kind = rule
    if kind and not node.IsA(kind):
        return True
    found = node.GetAttribute(name)
    return (found is not None and (value is None or found == str(value))) == include


def _add_filter_property(name: str) -> None:
    def put(self: Any, value: Any) -> None:
        is_list = isinstance(stored(self)[name], list)
        stored(self)[name] = ([value] if isinstance(value, str) else list(value)) if is_list else str(value)
        self._fill()

    setattr(qMRMLSubjectHierarchyTreeView, f"set_{name}", put)


for _name in _FILTERS:
    _add_filter_property(_name)
