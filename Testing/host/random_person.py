"""A person who clicks, types, chooses and drags at random: every button, field and table that is visible and enabled.

What a person does is given by the state of a random generator and by what is shown at that moment.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from PySide6.QtCore import Qt

from Testing.host import interaction
from Testing.host.application.dialogs import Dialogs
from Testing.host.widgets.factory import stand_in

TEXTS = ("", " ", "a", "Ann", "head", "organ", "0", "-1", "7", "1e9", "2-5", "image, second", "José 中", "<b>&x", "a/b")
_DIALOG_CODES = (0, 1)
# Their parts are used through them.
_WHOLES = (QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox, QtWidgets.QTableWidget)


class _Endless:
    """A queue of prepared answers that never ends, and of which none is missed."""

    def __init__(self, draw: Callable[[], Any]) -> None:
        self.popleft = draw

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def answer_at_random(dialogs: Dialogs, random: Random, *, paths: list[str], texts: tuple[str, ...] = TEXTS) -> None:
    """Answer every dialog at random, until ``answer_as_before`` is called."""
    colors = [QtCore.Qt.GlobalColor.red, QtCore.Qt.GlobalColor.blue]
    draws: dict[str, Callable[[], Any]] = {
        "_answers": lambda: random.choice((True, False)),
        "_paths": lambda: random.choice(paths),
        "_texts": lambda: random.choice(texts),
        "_colors": lambda: QtGui.QColor(random.choice(colors)),
        "_handlers": lambda: lambda _dialog: random.choice(_DIALOG_CODES),
    }
    for name, draw in draws.items():
        setattr(dialogs, name, _Endless(draw))


def answer_as_before(dialogs: Dialogs) -> None:
    """Answer dialogs again as a test says."""
    fresh = Dialogs()
    for name in ("_answers", "_paths", "_texts", "_colors", "_handlers"):
        setattr(dialogs, name, getattr(fresh, name))


class RandomPerson:
    """Does one thing at a time with the widgets of a window.

    Args:
        random: decides what is done.
        texts: what is typed into fields.
        left_alone: object names of widgets that are not touched.
    """

    def __init__(self, random: Random, *, texts: tuple[str, ...] = TEXTS, left_alone: tuple[str, ...] = ()) -> None:
        self.random, self.texts, self.left_alone = random, texts, left_alone
        self._acts: list[tuple[Any, Callable[[Any], str]]] = [
            (stand_in("ctkCollapsibleGroupBox"), self._fold_box),
            (QtWidgets.QAbstractButton, self._click),
            (stand_in("ctkCollapsibleButton"), self._click),
            (QtWidgets.QComboBox, self._choose),
            (QtWidgets.QAbstractSpinBox, self._type_number),
            (QtWidgets.QLineEdit, self._type),
            (QtWidgets.QAbstractItemView, self._use_view),
        ]

    def act(self, window: Any) -> str:
        """Do one thing and return what it was; nothing can be done where everything is hidden or disabled."""
        usable = [(widget, act) for widget in window.findChildren(QtWidgets.QWidget) for act in self._act_of(widget)]
        if not usable:
            return "nothing"
        widget, act = self.random.choice(usable)
        name = widget.objectName() or widget.parent().objectName()
        return f"{name}: {act(widget)}"

    def _act_of(self, widget: Any) -> list[Callable[[Any], str]]:
        if not widget.isVisible() or not widget.isEnabled():
            return []
        parent, is_header = widget.parentWidget(), isinstance(widget, QtWidgets.QHeaderView)
        if is_header or widget.objectName().startswith("qt_") or isinstance(parent, _WHOLES):
            return []
        if widget.objectName() in self.left_alone:
            return []
        return [act for kind, act in self._acts if isinstance(widget, kind)][:1]

    def _click(self, widget: Any) -> str:
        interaction.click(widget)
        return "click"

    def _fold_box(self, widget: Any) -> str:
        interaction.click(widget, QtCore.QPoint(12, 8))
        return "fold"

    def _choose(self, widget: Any) -> str:
        rows = [
            row for row in range(widget.count()) if widget.model().index(row, 0).flags() & Qt.ItemFlag.ItemIsEnabled
        ]
        if not rows:
            return "nothing to choose"
        text = widget.itemText(self.random.choice(rows))
        interaction.choose(widget, text)
        return f"choose {text!r}"

    def _type_number(self, widget: Any) -> str:
        text = str(self.random.randint(-3, 300))
        interaction.type_text(widget, text)
        return f"type {text}"

    def _type(self, widget: Any) -> str:
        if widget.parentWidget().objectName() == "qt_scrollarea_viewport":
            return self._enter(widget)
        text = self.random.choice(self.texts)
        interaction.type_text(widget, text)
        return f"type {text!r}"

    def _use_view(self, view: Any) -> str:
        index = self._index(view)
        if index is None:
            return "empty"
        editor = view.indexWidget(index)
        if editor is not None:
            acts = self._act_of_cell(editor)
            return f"cell {index.row()}, {index.column()}: {acts(editor)}" if acts else "cell without an act"
        place = f"{index.row()}, {index.column()} '{index.data()}'"
        flags = index.flags()
        can_tick = flags & Qt.ItemFlag.ItemIsUserCheckable and flags & Qt.ItemFlag.ItemIsEnabled
        if can_tick and self.random.random() < 0.5:
            interaction.tick_index(view, index)
            return f"tick {place}"
        modifier = self.random.choice((Qt.KeyboardModifier.NoModifier,) * 3 + (Qt.KeyboardModifier.ControlModifier,))
        view.scrollTo(index)
        position = view.visualRect(index).center()
        QtTest.QTest.mouseClick(view.viewport(), interaction.LEFT, modifier, position)
        interaction.process_events()
        if self.random.random() < 0.3 and view.isVisible() and view.isEnabled():
            return f"select {place}, {self._edit(view)}"
        return f"select {place}"

    def _edit(self, view: Any) -> str:
        """Edit the current cell as F2 does, if it may be edited."""
        view.setFocus()
        QtTest.QTest.keyClick(view, Qt.Key.Key_F2)
        editors = [child for child in view.viewport().findChildren(QtWidgets.QLineEdit) if child.isVisible()]
        if not editors:
            return "no edit"
        return self._enter(editors[0])

    def _enter(self, editor: Any) -> str:
        """Type into the open editor of a cell, and enter or cancel it."""
        text, last = self.random.choice(self.texts), self.random.choice((Qt.Key.Key_Return, Qt.Key.Key_Escape))
        # What is entered may take the editor away with its table: it is asked before each key, and none is released.
        editor.selectAll()
        for letter in text:
            if shiboken6.isValid(editor):
                editor.insert(letter)
        if shiboken6.isValid(editor):
            press = QtGui.QKeyEvent(QtCore.QEvent.Type.KeyPress, last, Qt.KeyboardModifier.NoModifier)
            QtWidgets.QApplication.postEvent(editor, press)
        interaction.process_events()
        return f"type {text!r}"

    def _act_of_cell(self, widget: Any) -> Callable[[Any], str] | None:
        acts = [act for kind, act in self._acts if isinstance(widget, kind)]
        return acts[0] if acts and widget.isVisible() and widget.isEnabled() else None

    def _index(self, view: Any) -> Any:
        """Return an entry that is not hidden in a folded branch, or None."""
        model, parent = view.model(), QtCore.QModelIndex()
        if model is None:
            return None
        found = None
        while True:
            rows = model.rowCount(parent)
            columns = 1 if isinstance(view, QtWidgets.QListView) else model.columnCount(parent)
            if not rows or not columns:
                return found
            found = model.index(self.random.randrange(rows), self.random.randrange(columns), parent)
            parent = model.index(found.row(), 0, parent)
            is_open = isinstance(view, QtWidgets.QTreeView) and view.isExpanded(parent)
            if not is_open or self.random.random() < 0.4:
                return found
