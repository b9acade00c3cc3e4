"""CTK widgets to choose with: combo boxes, the checkable button, the color button."""

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior, stored


@behavior
class ctkComboBox:
    """A combo box with a text for "nothing chosen"; the mouse wheel can be told to leave it alone."""

    def get_defaultText(self) -> str:
        return self.placeholderText()

    def set_defaultText(self, text: str) -> None:
        self.setPlaceholderText(text)

    def get_scrollWheelEffect(self) -> int:
        return stored(self).get("scrollWheelEffect", type(self).AlwaysScroll)

    def get_currentUserDataAsString(self) -> str:
        data = self.currentData()
        return "" if data is None else str(data)

    def set_currentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.set_currentUserDataAsString(text)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        effect = self.get_scrollWheelEffect()
        ignored = effect == type(self).NeverScroll
        ignored = ignored or (effect == type(self).ScrollWithFocus and not self.hasFocus())
        event.ignore() if ignored else QtWidgets.QComboBox.wheelEvent(self, event)


@behavior
class ctkCheckableComboBox:
    """A combo box whose rows are ticked."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.model().dataChanged.connect(self._on_data)
        self.model().rowsInserted.connect(self._on_rows)

    def _rows(self) -> list[QtCore.QModelIndex]:
        return [self.model().index(row, 0) for row in range(self.count())]

    def _on_rows(self, parent: QtCore.QModelIndex, first: int, last: int) -> None:
        for row in range(first, last + 1):
            item = self.model().item(row)
            item.setCheckable(True)
            item.setData(Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)

    def _on_data(self, first: QtCore.QModelIndex, last: QtCore.QModelIndex, roles: list[int]) -> None:
        if Qt.ItemDataRole.CheckStateRole in roles:
            self.checkedIndexesChanged.emit()

    def checkState(self, index: QtCore.QModelIndex) -> Qt.CheckState:
        return Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole))

    def setCheckState(self, index: QtCore.QModelIndex, state: Any) -> None:
        self.model().setData(index, Qt.CheckState(state).value, Qt.ItemDataRole.CheckStateRole)

    def checkedIndexes(self) -> tuple[QtCore.QModelIndex, ...]:
        return tuple(index for index in self._rows() if self.checkState(index) == Qt.CheckState.Checked)

    def allChecked(self) -> bool:
        return len(self.checkedIndexes()) == self.count()

    def noneChecked(self) -> bool:
        return not self.checkedIndexes()

    def checkableModel(self) -> Any:
        return self.model()


@behavior
class ctkCheckablePushButton:
    """A push button with a check box of its own."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        stored(self).update(checkState=Qt.CheckState.Unchecked, checkBoxControlsButton=True, checkBoxUserCheckable=True)
        stored(self)["checkBoxControlsButtonToggleState"] = True

    def get_checkState(self) -> Qt.CheckState:
        return stored(self)["checkState"]

    def set_checkState(self, state: Any) -> None:
        new = Qt.CheckState(state)
        if new == stored(self)["checkState"]:
            return
        stored(self)["checkState"] = new
        is_checked = new == Qt.CheckState.Checked
        if self.checkBoxControlsButton and self.checkBoxControlsButtonToggleState:
            self.setCheckable(is_checked or self.isCheckable())
            self.setChecked(is_checked)
        self.checkStateChanged.emit(new)
        self.checkBoxToggled.emit(is_checked)
        self.update()

    def _box(self) -> QtCore.QRect:
        side = 14
        return QtCore.QRect(6, (self.height() - side) // 2, side, side)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        QtWidgets.QPushButton.paintEvent(self, event)
        painter, option = QtGui.QPainter(self), QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = self._box()
        is_checked = stored(self)["checkState"] == Qt.CheckState.Checked
        option.state |= QtWidgets.QStyle.StateFlag.State_On if is_checked else QtWidgets.QStyle.StateFlag.State_Off
        self.style().drawPrimitive(QtWidgets.QStyle.PrimitiveElement.PE_IndicatorCheckBox, option, painter, self)
        painter.end()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if self.checkBoxUserCheckable and self._box().contains(event.position().toPoint()):
            is_checked = stored(self)["checkState"] == Qt.CheckState.Checked
            self.set_checkState(Qt.CheckState.Unchecked if is_checked else Qt.CheckState.Checked)
            return
        QtWidgets.QPushButton.mousePressEvent(self, event)


@behavior
class ctkColorPickerButton:
    """A button that shows a color; the dialog to change it is answered by the test."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._color = QtGui.QColor("black")
        stored(self)["displayColorName"] = True
        self.clicked.connect(self.changeColor)

    def get_color(self) -> QtGui.QColor:
        return QtGui.QColor(self._color)

    def set_color(self, color: Any) -> None:
        new = QtGui.QColor(color)
        if new == self._color:
            return
        self._color = new
        if self.displayColorName:
            self.setText(new.name())
        self.setStyleSheet(f"background-color: {new.name()}")
        self.colorChanged.emit(new)

    def setColor(self, color: Any) -> None:
        self.set_color(color)

    def changeColor(self, *_: Any) -> None:
        chosen = QtWidgets.QColorDialog.getColor(self._color, self)
        if chosen.isValid():
            self.set_color(chosen)
