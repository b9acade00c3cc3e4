"""qMRMLNodeComboBox: choose a node of the scene."""

from typing import Any

import slicer
import vtk
from PySide6 import QtGui, QtWidgets

from Testing.host.widgets.factory import behavior, stand_in, stored
from Testing.host.widgets.observing import FollowsScene, Observers

_ACTIONS = {"addEnabled": "Create new...", "renameEnabled": "Rename current...", "removeEnabled": "Delete current..."}
# Properties whose change asks for a new list, with Slicer's defaults.
_LISTING = {
    "noneDisplay": "None",
    "noneEnabled": False,
    "addEnabled": True,
    "removeEnabled": True,
    "editEnabled": False,
    "renameEnabled": False,
    "showHidden": False,
    "showChildNodeTypes": True,
    "nodeTypes": (),
    "hideChildNodeTypes": (),
}


@behavior
class qMRMLNodeComboBox(FollowsScene):
    """A combo box of the scene's nodes of some classes."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._combo = stand_in("ctkComboBox")(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        stored(self).update(_LISTING, selectNodeUponCreation=True, baseName="")
        self._node_observers = Observers(self)
        self._ids: list[str] = []
        self._current = ""
        self._attributes: list[tuple[str, str, Any]] = []
        self._labels: dict[str, str] = {}
        self._menu_actions: list[QtGui.QAction] = []
        self._combo.activated.connect(self._on_activated)
        self._combo.setEnabled(False)

    def _on_new_scene(self) -> None:
        super()._on_new_scene()
        self._combo.setEnabled(self._scene is not None)
        self._list_nodes(is_first=True)

    def _on_nodes(self, caller: Any, event: str) -> None:
        self._list_nodes()

    def _on_node(self, node: Any, event: str) -> None:
        row = self._combo.findData(node.GetID())
        if row >= 0 and self._combo.itemText(row) != (node.GetName() or ""):
            self._combo.setItemText(row, node.GetName() or "")
            if node.GetID() == self._current:
                self.currentNodeRenamed.emit(node.GetName() or "")

    def _matches(self, node: Any) -> bool:
        name, values = node.GetClassName(), stored(self)
        is_child_shown = values["showChildNodeTypes"]
        if not any(node.IsA(kind) if is_child_shown else name == kind for kind in values["nodeTypes"]):
            return False
        if any(node.IsA(kind) and name not in values["nodeTypes"] for kind in values["hideChildNodeTypes"]):
            return False
        if node.GetHideFromEditors() and not values["showHidden"]:
            return False
        return all(_has_attribute(node, key, value) for kind, key, value in self._attributes if node.IsA(kind))

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = [self._scene.GetNthNode(number) for number in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._matches(node)]

    def _list_nodes(self, is_first: bool = False) -> None:
        """Show the nodes; the first is selected when the scene is set, a removed current one gives way to the last."""
        if self._is_changing():
            return
        nodes, before = self._nodes(), self._ids
        self._ids = [node.GetID() for node in nodes]
        self._node_observers.clear()
        self._combo.blockSignals(True)
        self._combo.clear()
        if stored(self)["noneEnabled"]:
            self._combo.addItem(stored(self)["noneDisplay"], "")
        for node in nodes:
            self._combo.addItem(node.GetName() or "", node.GetID())
            self._node_observers.add(node, [vtk.vtkCommand.ModifiedEvent], type(self)._on_node)
        for flag, text in _ACTIONS.items():
            if stored(self)[flag] and self._scene is not None:
                self._combo.addItem(text, f"<{flag}>")
        for number, action in enumerate(self._menu_actions):
            self._combo.addItem(action.text(), f"<{number}>")
        self._combo.blockSignals(False)
        for node in nodes:
            if node.GetID() not in before:
                self.nodeAdded.emit(node)
        self._select(self._wanted(is_first))

    def _wanted(self, is_first: bool) -> str:
        if self._current in self._ids:
            return self._current
        if stored(self)["noneEnabled"] or not self._ids:
            return ""
        if is_first:
            return self._ids[0]
        return self._ids[-1] if self._current else ""

    def _select(self, node_id: str) -> None:
        row = self._combo.findData(node_id) if node_id or stored(self)["noneEnabled"] else -1
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(row)
        self._combo.blockSignals(False)
        if node_id == self._current:
            return
        self._current = node_id
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self._currentNodeChanged_1.emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def _on_activated(self, row: int) -> None:
        data = str(self._combo.itemData(row) or "")
        if not data.startswith("<"):
            self._select(data)
            self.nodeActivated.emit(self.currentNode())
            return
        self._select(self._current)
        if data == "<addEnabled>":
            self._add(is_by_user=True)
        elif data == "<removeEnabled>":
            self.removeCurrentNode()
        elif data == "<renameEnabled>":
            self.renameCurrentNode()
        else:
            self._menu_actions[int(data.strip("<>"))].trigger()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def get_currentNodeID(self) -> str:
        return self._current

    def set_currentNodeID(self, node_id: str) -> None:
        self._select(node_id if node_id in self._ids else "")

    def get_currentNodeId(self) -> str:
        return self._current

    def set_currentNodeId(self, node_id: str) -> None:
        self.set_currentNodeID(node_id)

    def setCurrentNodeID(self, node_id: str) -> None:
        self.set_currentNodeID(node_id)

    def setCurrentNode(self, node: Any) -> None:
        if node is not None and not isinstance(node, (str, slicer.vtkMRMLNode)):
            raise ValueError("Could not find matching overload for given arguments: setCurrentNode(vtkMRMLNode*)")
        self.set_currentNodeID(node if isinstance(node, str) else node.GetID() if node else "")

    def setCurrentNodeIndex(self, number: int) -> None:
        self._select(self._ids[number] if 0 <= number < len(self._ids) else "")

    def nodeCount(self) -> int:
        return len(self._ids)

    def nodeFromIndex(self, number: int) -> Any:
        return self._scene.GetNodeByID(self._ids[number]) if 0 <= number < len(self._ids) else None

    def addAttribute(self, kind: str, name: str, value: Any = None) -> None:
        self._attributes.append((kind, name, value))
        self._list_nodes()

    def removeAttribute(self, kind: str, name: str) -> None:
        self._attributes = [item for item in self._attributes if item[:2] != (kind, name)]
        self._list_nodes()

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label

    def nodeTypeLabel(self, kind: str) -> str:
        return self._labels.get(kind) or self._scene.GetTagByClassName(kind) or kind

    def addMenuAction(self, action: QtGui.QAction) -> None:
        self._menu_actions.append(action)
        self._list_nodes()

    def addNode(self, kind: str | None = None) -> Any:
        return self._add(kind, is_by_user=False)

    def _add(self, kind: str | None = None, *, is_by_user: bool) -> Any:
        kind = kind or next(iter(stored(self)["nodeTypes"]), None)
        if kind not in stored(self)["nodeTypes"]:
            return None
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(stored(self)["baseName"] or self.nodeTypeLabel(kind)))
        for owner, name, value in self._attributes:
            if node.IsA(owner):
                node.SetAttribute(name, "" if value is None else str(value))
        self._scene.AddNode(node)
        if stored(self)["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        if is_by_user:
            self.nodeAddedByUserAction.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        node = self.currentNode()
        if node is not None:
            self.nodeAboutToBeRemoved.emit(node)
            self._scene.RemoveNode(node)

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        if node is None:
            return
        name = QtWidgets.QInputDialog.getText(self, "Rename", "New name:", text=node.GetName() or "")
        if name:
            node.SetName(name)


def _has_attribute(node: Any, name: str, value: Any) -> bool:
    found = node.GetAttribute(name)
    return found is not None and (value is None or found == str(value))


def _add_listing_property(name: str) -> None:
    def put(self: Any, value: Any) -> None:
        if name.endswith("odeTypes") and not isinstance(value, bool):
            value = [value] if isinstance(value, str) else list(value)
        stored(self)[name] = value
        self._list_nodes()

    setattr(qMRMLNodeComboBox, f"get_{name}", lambda self: stored(self)[name])
    setattr(qMRMLNodeComboBox, f"set_{name}", put)


for _name in _LISTING:
    _add_listing_property(_name)
