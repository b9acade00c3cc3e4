"""A window with the list of modules and the panel of the chosen one, so that a person's way there can be clicked.

Slicer's own list is a menu of categories that a press opens; the category below the pointer opens by itself, and a
click in it chooses the module. This one does the same with plain Qt widgets. It is not `slicer.util.mainWindow()`.
"""

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.host.application.sample_data import SampleDataPanel

SAMPLE_DATA, SAMPLE_CATEGORY = "Sample Data", "Informatics"


class ModulesWindow(QtWidgets.QWidget):
    """The list of modules above the panel of the chosen one, in a scroll area as in Slicer.

    Args:
        modules: what `host.load_module` returned, to be listed beside Sample Data.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.modules_button = QtWidgets.QPushButton("Modules", self)
        self.menu = QtWidgets.QMenu(self)
        self.panel = QtWidgets.QScrollArea(self)
        self.panel.setWidgetResizable(True)
        self._categories: dict[str, Any] = {}
        self._shown: Any = None
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self.modules_button)
        layout.addWidget(self.panel, 1)
        # Not the button's own menu: that waits for an answer, and a test could not click it.
        self.modules_button.pressed.connect(self._open_menu)
        self._list(SAMPLE_CATEGORY, SAMPLE_DATA, SampleDataPanel)
        for module in modules:
            self._list(module.categories[0], module.title, module.widgetRepresentation)

    def category(self, name: str) -> Any:
        """Return the menu of a category."""
        return self._categories[name]

    def show_whole(self, width: int) -> None:
        """Become as high as the chosen module's panel needs at a width."""
        # Twice: what was hidden before has its height only after it was laid out.
        for _turn in range(2):
            around = self.size() - self.panel.viewport().size()
            self.resize(QtCore.QSize(width, self.panel.widget().heightForWidth(width)) + around)
            QtWidgets.QApplication.processEvents()

    def leave(self) -> None:
        """Leave the module that is shown; its widget is given back."""
        if self._shown is not None:
            shown = self.panel.takeWidget()
            if hasattr(shown, "exit"):
                shown.exit()
            shown.hide()
            self._shown = None

    def _list(self, category: str, title: str, make: Any) -> None:
        if category not in self._categories:
            self._categories[category] = self.menu.addMenu(category)
        self._categories[category].addAction(title).triggered.connect(lambda: self._choose(make()))

    def _open_menu(self) -> None:
        self.menu.popup(self.modules_button.mapToGlobal(self.modules_button.rect().bottomLeft()))

    def _choose(self, widget: Any) -> None:
        self.leave()
        self._shown = widget
        self.panel.setWidget(widget)
        widget.show()
        if hasattr(widget, "enter"):
            widget.enter()
