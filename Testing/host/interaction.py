"""Hands for the tests: click, type, choose and wait through Qt's own events, as a person would.

Every function gives the event loop a turn afterwards. A click on something disabled or hidden is refused, because a
person could not do it either.
"""

import time
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import stand_in

LEFT = Qt.MouseButton.LeftButton


def process_events() -> None:
    """Give the event loop a turn, deferred deletions included."""
    QtWidgets.QApplication.processEvents()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
    QtWidgets.QApplication.processEvents()


def _require_usable(widget: Any) -> None:
    if not widget.isVisible():
        raise AssertionError(f"'{widget.objectName()}' is not visible: is its window shown, its section open?")
    if not widget.isEnabled():
        raise AssertionError(f"'{widget.objectName()}' is disabled")


def _press_character(widget: Any, character: str) -> None:
    """Press the key of a character. QTest knows those of ASCII alone, and ends the process at some others."""
    if character.isascii():
        QtTest.QTest.keyClicks(widget, character)
        return
    for kind in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.KeyRelease):
        event = QtGui.QKeyEvent(kind, 0, Qt.KeyboardModifier.NoModifier, character)
        QtWidgets.QApplication.sendEvent(widget, event)


def click(widget: Any, position: Any = None) -> None:
    """Click a widget in its middle; a section header or check box where it reacts."""
    _require_usable(widget)
    if position is None:
        position = widget.rect().center()
        if isinstance(widget, (QtWidgets.QCheckBox, QtWidgets.QRadioButton)):
            position = QtCore.QPoint(8, widget.height() // 2)
        elif isinstance(widget, stand_in("ctkCollapsibleButton")):
            position = QtCore.QPoint(20, 8)
    QtTest.QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, position)
    process_events()


def click_into(widget: Any) -> None:
    """Click into a field, where its cursor is then."""
    _require_usable(widget)
    target = widget
    # A press goes to what lies deepest below the pointer.
    while (below := target.childAt(target.rect().center())) is not None:
        target = below
    # A window manager does this with the window that is clicked.
    widget.window().activateWindow()
    process_events()
    QtTest.QTest.mouseClick(target, LEFT, Qt.KeyboardModifier.NoModifier, target.rect().center())
    process_events()


def write(text: str) -> None:
    """Type with the keyboard into the field that has the focus, in place of what it holds, and press Return."""
    target = QtWidgets.QApplication.focusWidget()
    assert target is not None, "nothing was clicked that could be written into"
    QtTest.QTest.keyClick(target, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    for character in text:
        _press_character(target, character)
    QtTest.QTest.keyClick(target, Qt.Key.Key_Return)
    process_events()


def point_at(menu: Any, text: str) -> Any:
    """Move the pointer over an entry of an open menu and return the menu that opens beside it, None without one."""
    _require_usable(menu)
    action = _entry(menu, text)
    QtTest.QTest.mouseMove(menu, menu.actionGeometry(action).center())
    beside = action.menu()
    if beside is not None:
        wait_until(beside.isVisible, what=f"the menu of '{text}'")
    return beside


def click_entry(menu: Any, text: str) -> None:
    """Click an entry of an open menu."""
    _require_usable(menu)
    place = menu.actionGeometry(_entry(menu, text)).center()
    QtTest.QTest.mouseClick(menu, LEFT, Qt.KeyboardModifier.NoModifier, place)
    process_events()


def _entry(menu: Any, text: str) -> Any:
    found = [action for action in menu.actions() if action.text() == text]
    if not found:
        raise AssertionError(f"the menu has no entry '{text}', only {[action.text() for action in menu.actions()]}")
    return found[0]


class Presses(QtCore.QObject):
    """Counts what a mouse button is pressed, in whatever widget of the application, until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._moments: set[int] = set()
        QtWidgets.QApplication.instance().installEventFilter(self)

    @property
    def count(self) -> int:
        """Presses so far."""
        return len(self._moments)

    def close(self) -> None:
        """Count no more."""
        QtWidgets.QApplication.instance().removeEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """See every event; a press that a widget does not take goes on to its parent, and is one press."""
        kinds = QtCore.QEvent.Type
        if event.type() in (kinds.MouseButtonPress, kinds.MouseButtonDblClick) and watched.isWidgetType():
            self._moments.add(event.timestamp())
        return False


def wheel_to(area: Any, widget: Any) -> None:
    """Turn the wheel over a scroll area until the top of a widget in it is in view.

    Raises:
        AssertionError: the wheel does not bring it there.
    """
    for _notch in range(200):
        top = widget.mapTo(area.viewport(), QtCore.QPoint(0, 0)).y()
        if 0 <= top <= area.viewport().height() - min(widget.height(), 40):
            return
        turn_wheel(area.viewport(), -1 if top > 0 else 1)
    raise AssertionError(f"the wheel does not bring '{widget.objectName()}' into view")


def turn_wheel(widget: Any, notches: int) -> bool:
    """Turn the mouse wheel over the middle of a widget; more than 0 is up.

    Returns:
        Whether the widget or what lies behind it took the turn.
    """
    _require_usable(widget)
    middle = QtCore.QPointF(widget.rect().center())
    event = QtGui.QWheelEvent(
        middle,
        widget.mapToGlobal(middle),
        QtCore.QPoint(),
        QtCore.QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    # Qt gives the focus to a widget that takes it from the wheel, before it tells of the turn.
    if widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
        widget.setFocus(Qt.FocusReason.MouseFocusReason)
    QtWidgets.QApplication.sendEvent(widget, event)
    is_taken = event.isAccepted()
    process_events()
    return bool(is_taken)


def type_text(widget: Any, text: str, *, is_replacing: bool = True) -> None:
    """Type into a line edit, text edit, spin box or editable combo box, and leave it."""
    target = getattr(widget, "_combo", None) or getattr(widget, "_box", None) or widget
    if isinstance(target, QtWidgets.QComboBox):
        target = target.lineEdit()
    _require_usable(target)
    target.setFocus()
    if is_replacing:
        target.selectAll()
        QtTest.QTest.keyClick(target, Qt.Key.Key_Delete)
    for character in text:
        _press_character(target, character)
    if not isinstance(target, (QtWidgets.QPlainTextEdit, QtWidgets.QTextEdit)):
        QtTest.QTest.keyClick(target, Qt.Key.Key_Return)
    target.clearFocus()
    process_events()


def choose(widget: Any, text: str) -> None:
    """Choose an entry of a combo box by its text, as a click in its list does."""
    combo = getattr(widget, "_combo", None) or widget
    _require_usable(combo)
    row = combo.findText(text)
    if row < 0:
        entries = [combo.itemText(number) for number in range(combo.count())]
        raise AssertionError(f"'{widget.objectName()}' has no entry '{text}', only {entries}")
    combo.setCurrentIndex(row)
    combo.activated.emit(row)
    combo.textActivated.emit(text)
    process_events()


def set_slider(widget: Any, value: float) -> None:
    """Type a number into a slider or spin box."""
    type_text(widget, str(value))


def item_center(view: Any, row: int, column: int = 0) -> Any:
    """Return the middle of a cell of a table or tree, in its viewport; scrolls there."""
    index = view.model().index(row, column)
    view.scrollTo(index)
    return view.visualRect(index).center()


def click_cell(view: Any, row: int, column: int = 0) -> None:
    """Click a cell of a table, list or flat tree."""
    _require_usable(view)
    position = item_center(view, row, column)
    QtTest.QTest.mouseClick(view.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, position)
    process_events()


def tick_cell(view: Any, row: int, column: int = 0) -> None:
    """Click the check box of a cell."""
    tick_index(view, view.model().index(row, column))


def tick_index(view: Any, index: Any) -> None:
    """Click the check box of an entry of a table or tree, given as its model index."""
    _require_usable(view)
    row, column = index.row(), index.column()
    if not index.flags() & Qt.ItemFlag.ItemIsUserCheckable or not index.flags() & Qt.ItemFlag.ItemIsEnabled:
        raise AssertionError(f"cell ({row}, {column}) of '{view.objectName()}' can not be ticked by a person")
    view.scrollTo(index)
    option = QtWidgets.QStyleOptionViewItem()
    view.initViewItemOption(option)
    option.rect = view.visualRect(index)
    view.itemDelegate().initStyleOption(option, index)
    indicator = QtWidgets.QStyle.SubElement.SE_ItemViewItemCheckIndicator
    position = view.style().subElementRect(indicator, option, view).center()
    QtTest.QTest.mouseClick(view.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, position)
    process_events()


def press(widget: Any, key: Any) -> None:
    """Press a key of the keyboard in a widget, for example ``Qt.Key.Key_Space``."""
    _require_usable(widget)
    widget.setFocus()
    QtTest.QTest.keyClick(widget, key)
    process_events()


def double_click_cell(view: Any, row: int, column: int = 0) -> None:
    """Double-click a cell of a table, list or flat tree."""
    _require_usable(view)
    position = item_center(view, row, column)
    for act in (QtTest.QTest.mouseClick, QtTest.QTest.mouseDClick):
        act(view.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, position)
    process_events()


def drop_files(widget: Any, paths: Any) -> bool:
    """Drag files and folders from another program onto a widget and let go; returns whether they were taken."""
    _require_usable(widget)
    data = QtCore.QMimeData()
    data.setUrls([QtCore.QUrl.fromLocalFile(str(path)) for path in paths])
    place, act = QtCore.QPointF(widget.rect().center()), Qt.DropAction.CopyAction
    enter = QtGui.QDragEnterEvent(place, act, data, LEFT, Qt.KeyboardModifier.NoModifier)
    QtWidgets.QApplication.sendEvent(widget, enter)
    is_taken = enter.isAccepted()
    if is_taken:
        drop = QtGui.QDropEvent(place, act, data, LEFT, Qt.KeyboardModifier.NoModifier)
        QtWidgets.QApplication.sendEvent(widget, drop)
    process_events()
    return bool(is_taken)


def click_index(view: Any, index: Any) -> None:
    """Click an entry of a table or tree, given as its model index."""
    _require_usable(view)
    view.scrollTo(index)
    position = view.visualRect(index).center()
    QtTest.QTest.mouseClick(view.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, position)
    process_events()


def wait_until(is_true: Callable[[], Any], *, seconds: float = 20.0, what: str = "") -> None:
    """Run the event loop until something is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or is_true}")
        process_events()
        time.sleep(0.01)


def let_pass(seconds: float) -> None:
    """Run the event loop for some time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process_events()
        time.sleep(0.005)
