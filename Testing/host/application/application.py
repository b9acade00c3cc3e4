"""slicer.app: the QApplication that knows the scene, the modules and the settings."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from Testing.host.widgets.factory import behavior, stand_in

DOCUMENTATION = "https://slicer.readthedocs.io/en/latest/"


@behavior
class qSlicerCoreApplication:
    """What does not need a window."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._folder = TemporaryDirectory(prefix="slicer-host-")
        self._module_manager = stand_in("qSlicerModuleManager")()
        self._io_manager = stand_in("qSlicerIOManager")()
        self._layout_manager = stand_in("qSlicerLayoutManager")()
        self._setup: Any = None
        self._extensions: Any = None
        self._is_testing = True
        self.setApplicationName("Slicer")
        self.setOrganizationName("SemiSegHost")
        self.fresh_settings()

    def use(self, setup: Any) -> None:
        """Serve a scene."""
        self._setup = setup
        self._layout_manager.use(setup)

    def fresh_settings(self) -> None:
        """Forget all settings; they live in a temporary folder, never in the user's."""
        path = str(Path(self._folder.name) / "settings")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, path)
        QtCore.QSettings().clear()

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        return self._setup.application_logic

    def moduleLogic(self, name: str) -> Any:
        return self._setup.application_logic.GetModuleLogic(name)

    def moduleManager(self) -> Any:
        return self._module_manager

    def coreIOManager(self) -> Any:
        return self._io_manager

    def testingEnabled(self) -> bool:
        return self._is_testing

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def revisionUserSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{DOCUMENTATION}user_guide/modules/{name.lower()}.html"

    def extensionsManagerModel(self) -> Any:
        """Return None, as in a Slicer that was built without the extensions manager, unless a test offers one."""
        return self._extensions

    def offer_extensions(self, *names: str) -> Any:
        """Give Slicer an extensions manager with some extensions on its server; without names take it away."""
        self._extensions = stand_in("qSlicerExtensionsManagerModel")() if names else None
        if names:
            self._extensions.on_server = set(names)
        return self._extensions

    def pauseRender(self) -> None:
        """Nothing is rendered by itself."""

    def resumeRender(self) -> None:
        """Nothing is rendered by itself."""

    def setRenderPaused(self, is_paused: bool) -> None:
        """Nothing is rendered by itself."""

    def get_temporaryPath(self) -> str:
        return self._folder.name

    def get_slicerHome(self) -> str:
        return self._folder.name

    def get_documentationBaseUrl(self) -> str:
        return DOCUMENTATION

    def get_mainApplicationName(self) -> str:
        return "Slicer"

    def get_majorVersion(self) -> int:
        return 5

    def get_minorVersion(self) -> int:
        return 13


@behavior
class qSlicerApplication:
    """What needs a window."""

    def ioManager(self) -> Any:
        return self._io_manager

    def layoutManager(self) -> Any:
        return self._layout_manager

    def pythonConsole(self) -> None:
        """Return None, as without a main window."""
        return
