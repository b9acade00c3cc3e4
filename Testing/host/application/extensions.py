"""The extensions manager: what a test puts on its server can be installed, and is loaded at the next start."""

from typing import Any

from Testing.host.widgets.factory import behavior


@behavior
class qSlicerExtensionsManagerModel:
    """Installs by name from a server that a test fills."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.on_server: set[str] = set()
        self._installed: list[str] = []

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self._installed

    def get_installedExtensions(self) -> list[str]:
        return list(self._installed)

    def installExtensionFromServer(self, name: str, restart: bool = True, update: bool = False) -> bool:
        if name not in self.on_server and name not in self._installed:
            return False
        if name not in self._installed:
            self._installed.append(name)
        if restart:
            raise AssertionError("the host cannot restart Slicer; pass restart=False")
        return True
