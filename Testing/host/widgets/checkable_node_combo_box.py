"""qMRMLCheckableNodeComboBox: choose several nodes of the scene."""

from typing import Any

from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior


@behavior
class qMRMLCheckableNodeComboBox:
    """A combo box whose nodes are ticked."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._checked: set[str] = set()
        self._combo.model().itemChanged.connect(self._on_item)

    def _list_nodes(self, is_first: bool = False) -> None:
        super()._list_nodes(is_first)
        model = self._combo.model()
        model.blockSignals(True)
        for node_id in self._ids:
            item = model.item(self._combo.findData(node_id))
            item.setCheckable(True)
            item.setCheckState(_check_state(node_id in self._checked))
        model.blockSignals(False)
        gone = self._checked - set(self._ids)
        if gone:
            self._checked -= gone
            self.checkedNodesChanged.emit()

    def _on_item(self, item: Any) -> None:
        node_id = item.data(Qt.ItemDataRole.UserRole)
        is_checked = item.checkState() == Qt.CheckState.Checked
        if node_id not in self._ids or is_checked == (node_id in self._checked):
            return
        self._checked ^= {node_id}
        self.checkedNodesChanged.emit()

    def checkState(self, node: Any) -> Qt.CheckState:
        return _check_state(node.GetID() in self._checked)

    def setCheckState(self, node: Any, state: Any) -> None:
        row = self._combo.findData(node.GetID())
        if row >= 0:
            self._combo.model().item(row).setCheckState(Qt.CheckState(state))

    def check(self, node: Any) -> None:
        self.setCheckState(node, Qt.CheckState.Checked)

    def uncheck(self, node: Any) -> None:
        self.setCheckState(node, Qt.CheckState.Unchecked)

    def setUserCheckable(self, node: Any, is_checkable: bool) -> None:
        self._combo.model().item(self._combo.findData(node.GetID())).setEnabled(is_checkable)

    def checkedNodes(self) -> tuple[Any, ...]:
        return tuple(self._scene.GetNodeByID(node_id) for node_id in self._ids if node_id in self._checked)

    def uncheckedNodes(self) -> tuple[Any, ...]:
        return tuple(self._scene.GetNodeByID(node_id) for node_id in self._ids if node_id not in self._checked)

    def allChecked(self) -> bool:
        return len(self._checked) == len(self._ids)

    def noneChecked(self) -> bool:
        return not self._checked


def _check_state(is_checked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if is_checked else Qt.CheckState.Unchecked
