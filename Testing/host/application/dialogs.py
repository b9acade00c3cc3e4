"""Dialogs answered by the test: nothing blocks, everything shown is remembered word for word.

The convenience functions of slicer.util, Qt's message boxes and its file, text and color dialogs all end here.
Confirmations say yes and file dialogs are cancelled unless the test gave other answers beforehand.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import slicer
from PySide6 import QtGui, QtWidgets

Box = QtWidgets.QMessageBox


class Message(NamedTuple):
    """One dialog as it was shown.

    Attributes:
        kind: "info", "warning", "error", "confirm", "delay", "status", "file", "text" or "color".
        text: the words in the dialog.
        title: the window title.
        details: further keyword arguments, such as `detailedText`.
    """

    kind: str
    text: str
    title: str
    details: dict[str, Any]


class Dialogs:
    """What was shown since the last `clear`, and the answers still to be given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._answers: deque[Any] = deque()
        self._paths: deque[Any] = deque()
        self._texts: deque[str] = deque()
        self._colors: deque[Any] = deque()
        self._handlers: deque[Callable[[Any], Any]] = deque()

    def clear(self) -> None:
        """Forget messages and answers."""
        for kept in (self.messages, self._answers, self._paths, self._texts, self._colors, self._handlers):
            kept.clear()

    def answer(self, *answers: Any) -> None:
        """Give the answers of the next confirmations or message boxes: True, False or a standard button."""
        self._answers.extend(answers)

    def choose_path(self, *paths: Any) -> None:
        """Give what the next file or folder dialogs return; "" cancels."""
        self._paths.extend(paths)

    def choose_file(self, path: Any, kind: str) -> None:
        """Give what the next dialog of an object of QFileDialog returns, with an entry of its list of kinds."""
        self._paths.append((path, kind))

    def enter_text(self, *texts: str) -> None:
        """Give what is typed into the next text dialogs."""
        self._texts.extend(texts)

    def choose_color(self, *colors: Any) -> None:
        """Give the colors of the next color dialogs."""
        self._colors.extend(QtGui.QColor(color) for color in colors)

    def handle(self, *handlers: Callable[[Any], Any]) -> None:
        """Give functions that work in the next custom dialogs and return their result code."""
        self._handlers.extend(handlers)

    def shown(self, kind: str) -> list[str]:
        """Return the texts of all dialogs of a kind, oldest first."""
        return [message.text for message in self.messages if message.kind == kind]

    def unused(self) -> list[Any]:
        """Return answers nobody asked for; a test that prepared them expected a dialog that never came."""
        return [*self._answers, *self._paths, *self._texts, *self._colors, *self._handlers]

    def _show(self, kind: str, text: str, title: str = "", **details: Any) -> None:
        self.messages.append(Message(kind, str(text), str(title or ""), details))

    def _confirmed(self, default: Any) -> Any:
        return self._answers.popleft() if self._answers else default

    # slicer.util

    def install_in_slicer_util(self) -> None:
        """Replace the functions of slicer.util that open a dialog or show a text."""
        util = slicer.util
        util.infoDisplay = self._display("info", logging.INFO, None)
        util.warningDisplay = self._display("warning", logging.WARNING, None)
        util.errorDisplay = self._display("error", logging.ERROR, None)
        util.messageBox = self._display("info", logging.INFO, Box.StandardButton.Ok)
        for name in ("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay"):
            setattr(util, name, self._display("confirm", logging.INFO, True))
        util.delayDisplay = self._delay
        util.showStatusMessage = self._status

    def _display(self, kind: str, level: int, default: Any) -> Callable[..., Any]:
        def display(text: str, windowTitle: str = "", parent: Any = None, **details: Any) -> Any:
            logging.getLogger().log(level, text)
            self._show(kind, text, windowTitle, **details)
            return self._confirmed(default) if default is not None else None

        return display

    def _delay(self, message: str, autoCloseMsec: int = 1000, parent: Any = None, **_: Any) -> None:
        self._show("delay", message)
        QtWidgets.QApplication.processEvents()

    def _status(self, message: str, duration: int = 0) -> bool:
        self._show("status", message)
        return False

    # Qt

    def install_in_qt(self) -> None:
        """Replace what would open a modal dialog."""
        # Functions, not bound methods: only those become methods of the class.
        Box.exec = Box.exec_ = lambda box: self._box(box)
        for name, kind in (("information", "info"), ("warning", "warning"), ("critical", "error")):
            setattr(Box, name, staticmethod(self._static_box(kind, Box.StandardButton.Ok)))
        Box.question = staticmethod(self._static_box("confirm", Box.StandardButton.Yes))
        Box.about = staticmethod(self._static_box("info", None))
        QtWidgets.QDialog.exec = QtWidgets.QDialog.exec_ = lambda dialog: self._dialog(dialog)
        file_dialog = QtWidgets.QFileDialog
        # PythonQt returns the path alone, where PySide6 would also return the filter.
        for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
            setattr(file_dialog, name, staticmethod(self._file(str)))
        file_dialog.getOpenFileNames = staticmethod(self._file(_several))
        file_dialog.exec = file_dialog.exec_ = lambda dialog: self._file_dialog(dialog)
        QtWidgets.QInputDialog.getText = staticmethod(self._text)
        QtWidgets.QInputDialog.getItem = staticmethod(self._item)
        QtWidgets.QColorDialog.getColor = staticmethod(self._color)

    def _box(self, box: Any) -> Any:
        icons = {Box.Icon.Warning: "warning", Box.Icon.Critical: "error", Box.Icon.Question: "confirm"}
        details = {"informativeText": box.informativeText(), "detailedText": box.detailedText()}
        self._show(icons.get(box.icon(), "info"), box.text(), box.windowTitle(), **details)
        answer = self._confirmed(Box.StandardButton.Ok)
        if isinstance(answer, bool):
            accepting = (Box.StandardButton.Yes, Box.StandardButton.Ok)
            refusing = (Box.StandardButton.No, Box.StandardButton.Cancel)
            offered = [item for item in (accepting if answer else refusing) if box.standardButtons() & item]
            answer = offered[0] if offered else (accepting if answer else refusing)[1]
        return answer

    def _static_box(self, kind: str, default: Any) -> Callable[..., Any]:
        def show(parent: Any, title: str, text: str, *_: Any) -> Any:
            self._show(kind, text, title)
            answer = self._confirmed(default)
            if isinstance(answer, bool):
                return Box.StandardButton.Yes if answer else Box.StandardButton.No
            return answer

        return show

    def _dialog(self, dialog: Any) -> Any:
        if not self._handlers:
            raise AssertionError(
                f"a modal {type(dialog).__name__} was opened and nobody answers it; "
                "prepare the test with dialogs.handle(function)"
            )
        return self._handlers.popleft()(dialog)

    def _file(self, shaped: Callable[[Any], Any]) -> Callable[..., Any]:
        def ask(parent: Any = None, caption: str = "", *_: Any, **__: Any) -> Any:
            self._show("file", caption)
            return shaped(self._paths.popleft() if self._paths else "")

        return ask

    def _file_dialog(self, dialog: Any) -> Any:
        self._show("file", dialog.windowTitle())
        answer = self._paths.popleft() if self._paths else ""
        path, kind = answer if isinstance(answer, tuple) else (answer, "")
        if not str(path):
            return QtWidgets.QDialog.DialogCode.Rejected
        if kind:
            dialog.selectNameFilter(kind)
        dialog.selectFile(str(path))
        return QtWidgets.QDialog.DialogCode.Accepted

    def _text(self, parent: Any, title: str, label: str, *_: Any, **__: Any) -> str:
        """Return the text alone, as PythonQt does; "" when the dialog is cancelled."""
        self._show("text", label, title)
        return self._texts.popleft() if self._texts else ""

    def _item(
        self, parent: Any, title: str, label: str, items: Any, current: int = 0, editable: bool = True, *_: Any
    ) -> str:
        """Return the text alone, as PythonQt does; the current item when the dialog is cancelled."""
        self._show("text", label, title)
        text = self._texts.popleft() if self._texts else None
        # Where nothing can be typed, what is not offered cannot be chosen.
        isGiven = text is not None and (editable or text in items)
        return text if isGiven else list(items)[current]

    def _color(self, *_: Any, **__: Any) -> Any:
        self._show("color", "")
        return self._colors.popleft() if self._colors else QtGui.QColor()


def _several(paths: Any) -> tuple[str, ...]:
    if isinstance(paths, (list, tuple)):
        return tuple(str(path) for path in paths)
    return (str(paths),) if str(paths) else ()


dialogs = Dialogs()
