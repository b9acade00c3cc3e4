"""Scripted modules: loading, their widgets, and `slicer.modules`, as qSlicerScriptedLoadableModule does it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from Testing.host.widgets.factory import behavior, stand_in, stored


@behavior
class qSlicerModuleManager:
    """Finds loaded modules by name."""

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(module.name for module in _modules())

    def factoryManager(self) -> Any:
        return stand_in("qSlicerModuleFactoryManager")(self)


@behavior
class qSlicerModuleFactoryManager:
    """Lists loaded modules."""

    def isLoaded(self, name: str) -> bool:
        return name in self.loadedModuleNames()

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(module.name for module in _modules())


def _modules() -> list[Any]:
    return [
        value for value in vars(slicer.modules).values() if isinstance(value, stand_in("qSlicerAbstractCoreModule"))
    ]


@behavior
class qSlicerAbstractCoreModule:
    """A module: its texts, its logic."""

    _logic: Any = None

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def setMRMLScene(self, scene: Any) -> None:
        """The scene of the host never changes."""


@behavior
class qSlicerAbstractModule:
    """A module with a widget."""

    _representation: Any = None

    def widgetRepresentation(self) -> Any:
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self) -> Any:
        representation = stand_in("qSlicerScriptedLoadableModuleWidget")()
        QtWidgets.QVBoxLayout(representation)
        representation._module = self
        representation.setMRMLScene(slicer.mrmlScene)
        representation.make_widget()
        return representation


@behavior
class qSlicerAbstractModuleWidget:
    """What the module panel holds."""

    _is_entered = False
    _module: Any = None

    def get_isEntered(self) -> bool:
        return self._is_entered

    def module(self) -> Any:
        return self._module

    def enter(self) -> None:
        self._is_entered = True
        self._call("enter")

    def exit(self) -> None:
        self._is_entered = False
        self._call("exit")

    def _call(self, name: str) -> None:
        function = getattr(self._python, name, None)
        if function is not None:
            function()


@behavior
class qSlicerScriptedLoadableModuleWidget:
    """Holds the Python widget of a scripted module."""

    _python: Any = None

    def make_widget(self) -> None:
        """Make the module's Python widget in this one and set it up."""
        name = stored(self._module)["name"]
        self._python = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def get_moduleName(self) -> str:
        return stored(self._module)["name"]

    def reload(self) -> None:
        self.make_widget()


def register_core_module(name: str, logic: Any) -> None:
    """Put a C++ module that has only a logic into `slicer.modules`."""
    module = stand_in("qSlicerLoadableModule")()
    stored(module).update(name=name, title=name)
    module._logic = logic
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.moduleNames, name, name)


def load_module(path: Path) -> Any:
    """Load a scripted module from its file and return what `slicer.modules.<name>` is then."""
    name, folder = path.stem, str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = stand_in("qSlicerScriptedLoadableModule")()
    stored(module).update(name=name, path=str(path))
    setattr(slicer.modules, name.lower(), module)
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is no Python file")
    python = importlib.util.module_from_spec(specification)
    sys.modules[name] = python
    specification.loader.exec_module(python)
    instance = getattr(python, name)(module)
    setattr(slicer.modules, f"{name}Instance", instance)
    setattr(slicer.moduleNames, name, name)
    if hasattr(instance, "setup"):
        instance.setup()
    slicer.app._module_manager.moduleLoaded.emit(name)
    return module


def unload_module(name: str) -> None:
    """Unload a scripted module as at the end of the application: its widgets clean up and are deleted."""
    slicer.app._module_manager.moduleAboutToBeUnloaded.emit(name)
    module = getattr(slicer.modules, name.lower())
    representation = module._representation
    for attribute in (name.lower(), f"{name}Widget", f"{name}Instance"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    delattr(slicer.moduleNames, name)
    slicer.selfTests.pop(name, None)
    sys.modules.pop(name, None)
    if representation is not None:
        representation.hide()
        representation.deleteLater()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
