"""CTK's collapsible button, group box and the expand button."""

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior, stored

_MAXIMUM_HEIGHT = 16777215


class HiddenChildren(QtCore.QObject):
    """Hides the children of a collapsed section and gives each back the visibility it would have had.

    Args:
        section: the widget whose direct children are hidden.
    """

    def __init__(self, section: QtWidgets.QWidget) -> None:
        super().__init__(section)
        self._section = section
        self._wishes: dict[QtWidgets.QWidget, bool] = {}
        self._is_collapsed = False
        self._is_busy = False
        section.installEventFilter(self)

    def set_collapsed(self, is_collapsed: bool) -> None:
        """Hide all children, or show those that were not hidden by their owner."""
        self._is_collapsed = is_collapsed
        self._is_busy = True
        for child in self._children():
            if is_collapsed:
                self._wishes[child] = not child.isHidden()
                child.hide()
            else:
                child.setVisible(self._wishes.pop(child, not child.isHidden()))
        self._is_busy = False

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:
        """Keep what is shown during the collapse for later."""
        kinds = QtCore.QEvent.Type
        if "_section" not in self.__dict__:
            # The last events of a dying section arrive when the Python half is gone.
            return False
        if watched is self._section and event.type() == kinds.ChildAdded:
            child = event.child()
            if child.isWidgetType():
                child.installEventFilter(self)
        elif watched is self._section:
            return False
        elif self._is_collapsed and not self._is_busy and event.type() in (kinds.ShowToParent, kinds.HideToParent):
            self._wishes[watched] = event.type() == kinds.ShowToParent
            self._is_busy = True
            watched.hide()
            self._is_busy = False
        return False

    def _children(self) -> list[QtWidgets.QWidget]:
        direct = Qt.FindChildOption.FindDirectChildrenOnly
        return self._section.findChildren(QtWidgets.QWidget, options=direct)


@behavior
class ctkCollapsibleButton:
    """A section header; its children are the section."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._header = self.fontMetrics().height() + 10
        self._is_collapsed = False
        self._hidden = HiddenChildren(self)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, self._header, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.toggled.connect(self._on_toggled)

    def get_collapsed(self) -> bool:
        return self._is_collapsed

    def set_collapsed(self, is_collapsed: bool) -> None:
        self.setChecked(not is_collapsed)

    def _on_toggled(self, is_open: bool) -> None:
        self._is_collapsed = not is_open
        self._hidden.set_collapsed(self._is_collapsed)
        self.setMaximumHeight(self._header + 2 if self._is_collapsed else _MAXIMUM_HEIGHT)
        self.updateGeometry()
        self.contentsCollapsed.emit(self._is_collapsed)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter, option = QtGui.QPainter(self), QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._header - 2)
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option, painter, self)
        arrow = "▸ " if self._is_collapsed else "▾ "
        alignment = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(option.rect.adjusted(8, 0, 0, 0), int(alignment), arrow + self.text())
        painter.end()

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the header is clickable, not the section below it."""
        return position.y() < self._header

    def sizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        inner = layout.sizeHint() if layout and not self._is_collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(max(120, inner.width()), self._header + inner.height())

    def minimumSizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        inner = layout.minimumSize() if layout and not self._is_collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(inner.width(), self._header + inner.height())


@behavior
class ctkCollapsibleGroupBox:
    """A checkable group box that hides its content when it is not checked."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._hidden = HiddenChildren(self)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._on_toggled)

    def get_collapsed(self) -> bool:
        return not self.isChecked()

    def set_collapsed(self, is_collapsed: bool) -> None:
        self.setChecked(not is_collapsed)

    def get_collapsedHeight(self) -> int:
        return int(stored(self).get("collapsedHeight", 14))

    def _on_toggled(self, is_open: bool) -> None:
        self._hidden.set_collapsed(not is_open)
        self.setMaximumHeight(_MAXIMUM_HEIGHT if is_open else self.fontMetrics().height() + self.get_collapsedHeight())


@behavior
class ctkExpandButton:
    """A checkable tool button with an arrow."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.setArrowType(Qt.ArrowType.RightArrow)
