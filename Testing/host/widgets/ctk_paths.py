"""CTK widgets for paths and text: path edit, directory button, text browser, message box, search box."""

import os
from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.host.widgets.factory import behavior, stored


@behavior
class ctkPathLineEdit:
    """A path with history and a browse button; the file dialog is answered by the test."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._browse)
        self._was_valid = False
        # AllEntries, as CTK's default.
        stored(self).update(filters=0x7, nameFilters=[], showBrowseButton=True, showHistoryButton=True)
        self._combo.editTextChanged.connect(self._on_text)
        self._browse.clicked.connect(self.browse)

    def get_currentPath(self) -> str:
        return self._combo.currentText()

    def set_currentPath(self, path: Any) -> None:
        self._combo.setEditText(str(path))

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def set_showBrowseButton(self, is_shown: bool) -> None:
        stored(self)["showBrowseButton"] = is_shown
        self._browse.setVisible(is_shown)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def addCurrentPathToHistory(self) -> None:
        path, key = self.get_currentPath(), self._history_key()
        if not path or not key:
            return
        history = [path, *[item for item in self._history() if item != path]][:5]
        QtCore.QSettings().setValue(key, history)
        self.retrieveHistory()

    def retrieveHistory(self) -> None:
        path = self.get_currentPath()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(self._history())
        self._combo.setEditText(path)
        self._combo.blockSignals(False)

    def browse(self, *_: Any) -> None:
        if int(self.filters or 0) & 0x2:
            caption = self.label or "Select a file"
            chosen = QtWidgets.QFileDialog.getOpenFileName(self, caption, self.get_currentPath())
        else:
            chosen = QtWidgets.QFileDialog.getExistingDirectory(self, self.label or "Select a directory")
        if chosen:
            self.set_currentPath(chosen)

    def _history_key(self) -> str:
        return f"FileHistory/{self.settingKey}" if self.settingKey else ""

    def _history(self) -> list[str]:
        kept = QtCore.QSettings().value(self._history_key(), []) if self._history_key() else []
        return [kept] if isinstance(kept, str) else list(kept or [])

    def _on_text(self, text: str) -> None:
        is_valid = QtCore.QFileInfo(text).exists()
        if is_valid != self._was_valid:
            self._was_valid = is_valid
            self.validInputChanged.emit(is_valid)
        self.currentPathChanged.emit(text)


@behavior
class ctkDirectoryButton:
    """A button that shows a folder and asks for another one."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._button = QtWidgets.QPushButton(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._directory = "."
        self._button.clicked.connect(self.browse)
        self._show()

    def get_directory(self) -> str:
        return self._directory

    def set_directory(self, path: Any) -> None:
        new = os.path.abspath(str(path)) if str(path) else "."  # noqa: PTH100  as QDir: no links resolved
        if new == self._directory:
            return
        self._directory = new
        self._show()
        self.directoryChanged.emit(new)

    def get_text(self) -> str:
        return self._button.text()

    def set_text(self, text: str) -> None:
        stored(self)["text"] = text
        self._show()

    def browse(self, *_: Any) -> None:
        chosen = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self._directory)
        if chosen:
            self.set_directory(chosen)
            self.directorySelected.emit(self._directory)

    def _show(self) -> None:
        self._button.setText(stored(self).get("text") or self._directory)


@behavior
class ctkFittedTextBrowser:
    """A text browser as high as its text, with a part that can be folded away."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        stored(self).update(collapsed=True, showDetailsText="Show details...", hideDetailsText="Hide details.")
        self._collapsible = ""
        self.textChanged.connect(self.updateGeometry)

    def set_collapsed(self, is_collapsed: bool) -> None:
        stored(self)["collapsed"] = bool(is_collapsed)
        if self._collapsible:
            self._fold()

    def setCollapsibleText(self, text: str) -> None:
        self._collapsible = text
        self._fold()

    def setCollapsibleHtml(self, text: str) -> None:
        self.setCollapsibleText(text)

    def setCollapsiblePlainText(self, text: str) -> None:
        self.setCollapsibleText(text)

    def collapsibleText(self) -> str:
        return self._collapsible

    def _fold(self) -> None:
        teaser = self._collapsible.split("<br>")[0].split("\n")[0]
        shown = teaser if self.collapsed else self._collapsible
        self.setHtml(f"{shown} <a href='#'>{self.showDetailsText if self.collapsed else self.hideDetailsText}</a>")

    def sizeHint(self) -> QtCore.QSize:
        document = self.document().clone()
        document.setTextWidth(max(self.viewport().width(), 50))
        return QtCore.QSize(200, int(document.size().height()) + 2 * self.frameWidth())

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(50, self.sizeHint().height())

    def heightForWidth(self, width: int) -> int:
        document = self.document().clone()
        document.setTextWidth(max(width, 50))
        return int(document.size().height()) + 2 * self.frameWidth()


@behavior
class ctkMessageBox:
    """A message box with "don't show again"; a stored answer is given without showing it."""

    def exec_(self) -> int:
        key = self.dontShowAgainSettingsKey
        kept = QtCore.QSettings().value(key) if key else None
        if kept is not None and int(kept):
            return int(kept)
        answer = int(QtWidgets.QMessageBox.exec(self))
        if key and self.dontShowAgain:
            QtCore.QSettings().setValue(key, answer)
        return answer

    exec = exec_

    def setDontShowAgain(self, is_set: bool) -> None:
        stored(self)["dontShowAgain"] = is_set

    def get_dontShowAgainVisible(self) -> bool:
        return bool(stored(self).get("dontShowAgainVisible", bool(self.dontShowAgainSettingsKey)))


@behavior
class ctkSearchBox:
    """A line edit with a search icon and a clear button."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Search...")
        self.setClearButtonEnabled(True)
