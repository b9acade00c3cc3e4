"""Start the host: after this, `import qt, ctk, slicer` and Slicer's Python modules work as in Slicer.

Only one host can live in a process, as there is one QApplication and one scene.
"""

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from Testing.host import facts
from Testing.host.application import application, extensions, io_manager, layout_manager, module_loading, sample_data
from Testing.host.application.dialogs import dialogs
from Testing.host.application.scene import SceneSetup
from Testing.host.application.ui_loader import UiLoader
from Testing.host.pythonqt import attributes, signals
from Testing.host.pythonqt.qt_module import QtModule
from Testing.host.widgets import (
    checkable_node_combo_box,
    ctk_choices,
    ctk_paths,
    ctk_sections,
    ctk_values,
    mrml_widgets,
    node_combo_box,
    segments_table,
    subject_hierarchy_tree,
    terminology_navigator,
)
from Testing.host.widgets.factory import stand_in

# Importing these registers their behaviors; naming them here says so.
BEHAVIORS = (
    application,
    extensions,
    io_manager,
    layout_manager,
    module_loading,
    checkable_node_combo_box,
    ctk_choices,
    ctk_paths,
    ctk_sections,
    ctk_values,
    mrml_widgets,
    node_combo_box,
    segments_table,
    subject_hierarchy_tree,
    terminology_navigator,
)
# Names that `import slicer` of the slicer-core wheel copies from slicer.util; Slicer itself does not have them.
_OWN_NAMES = ("util", "slicer_core")
# Kits whose names differ between Slicer and the wheel, as some modules import them directly.
_KITS = ("MRMLCore", "MRMLLogic", "vtkSegmentationCore", "vtkSlicerSegmentationsModuleMRML", "vtkITK")
SOURCES_VARIABLE = "SLICER_PYTHON_SOURCES"


def _delete_leaked_names() -> None:
    """Delete what the wheel's `slicer/__init__.py` copies from slicer.util: `slicer.getNode` is no Slicer name."""
    for name, value in list(vars(slicer).items()):
        if name.startswith(("_", "vtk")) or name in _OWN_NAMES:
            continue
        if getattr(slicer.util, name, None) is value:
            delattr(slicer, name)


def _use_python_sources() -> None:
    """Take the module base classes from Slicer's own sources where the environment names them, else from the host."""
    sources = os.environ.get(SOURCES_VARIABLE)
    if sources:
        # After `import slicer`: the wheel would import every file of the folder otherwise.
        slicer.__path__.append(str(Path(sources) / "Base" / "Python" / "slicer"))
        return
    for name, file in (("ScriptedLoadableModule", "scripted_module"), ("i18n", "translation")):
        module = importlib.import_module(f"Testing.host.modules.{file}")
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def _make_slicer_modules() -> None:
    sys.modules["qt"] = QtModule({"QUiLoader": UiLoader})
    ctk = types.ModuleType("ctk")
    ctk.__getattr__ = _looked_up("ctk", ("ctk",))  # type: ignore[method-assign]
    sys.modules["ctk"] = ctk
    slicer.__getattr__ = _looked_up("slicer", ("qMRML", "qSlicer"))
    slicer.selfTests = {}
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(f"slicer.{name}")
        setattr(slicer, name, module)
        sys.modules[f"slicer.{name}"] = module
    for kit in _KITS:
        sys.modules.setdefault(f"{kit}Python", importlib.import_module(f"slicer_core.{kit}"))


def _looked_up(module: str, prefixes: tuple[str, ...]) -> Any:
    def get(name: str) -> Any:
        if name.startswith(prefixes) and name in facts.SLICER_API:
            return stand_in(name)
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return get


def _listen_to_messages() -> None:
    """Remember warnings of Qt and VTK, which would only be lines on the error output."""

    def on_qt_message(kind: Any, context: Any, text: str) -> None:
        is_warning = kind in (QtCore.QtMsgType.QtWarningMsg, QtCore.QtMsgType.QtCriticalMsg)
        # The offscreen platform says so of every window with a smallest size.
        if is_warning and not text.startswith("This plugin does not support"):
            signals.complain(text)

    def on_vtk_message(caller: Any, event: str, text: str) -> None:
        signals.complain(text.strip())

    QtCore.qInstallMessageHandler(on_qt_message)
    on_vtk_message.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]
    window = vtk.vtkOutputWindow()
    window.SetInstance(window)
    window.SetDisplayModeToNever()
    for event in (vtk.vtkCommand.ErrorEvent, vtk.vtkCommand.WarningEvent):
        window.AddObserver(event, on_vtk_message)


class Host:
    """The running host.

    Attributes:
        app: what `slicer.app` is.
        setup: the scene and its logics.
        dialogs: what was shown, and the answers to give.
    """

    def __init__(self, app: Any, setup: SceneSetup) -> None:
        self.app, self.setup, self.dialogs = app, setup, dialogs

    def reset(self) -> None:
        """Empty the scene, the settings and what is remembered of the last test."""
        self.setup.clear()
        self.app.processEvents()
        self.app.fresh_settings()
        self.app.offer_extensions()
        self.forget()

    def forget(self) -> None:
        """Forget errors, complaints and dialogs."""
        dialogs.clear()
        signals.slot_errors.clear()
        signals.complaints.clear()

    def load_module(self, path: Path) -> Any:
        """Load a scripted module, as Slicer does at startup; returns `slicer.modules.<name>`."""
        return module_loading.load_module(path)

    def unload_module(self, name: str) -> None:
        """Unload a scripted module, as Slicer does when it quits."""
        module_loading.unload_module(name)

    @contextlib.contextmanager
    def expect_slot_error(self, kind: type[BaseException], words: str = "") -> Iterator[None]:
        """Expect one exception in a slot or observer, with some words in its message."""
        count = len(signals.slot_errors)
        yield
        new = signals.slot_errors[count:]
        del signals.slot_errors[count:]
        assert [type(error) for error in new] == [kind], f"expected one {kind.__name__} in a slot, got {new!r}"
        assert words in str(new[0])

    @contextlib.contextmanager
    def expect_complaint(self, words: str) -> Iterator[None]:
        """Expect one line on the error output of Qt, VTK or PythonQt."""
        count = len(signals.complaints)
        yield
        new = signals.complaints[count:]
        del signals.complaints[count:]
        assert len(new) == 1, f"expected one complaint with '{words}', got {new!r}"
        assert words in new[0]

    def problems(self) -> list[str]:
        """Return what went wrong without raising: exceptions in slots and observers, complaints, unused answers."""
        errors = [f"exception in a slot or observer: {error!r}" for error in signals.slot_errors]
        answers = [f"nobody asked for the prepared answer {answer!r}" for answer in dialogs.unused()]
        return [*errors, *signals.complaints, *answers]


_running: list[Host] = []


def start() -> Host:
    """Return the host, started at the first call."""
    if _running:
        return _running[0]
    attributes.install()
    _delete_leaked_names()
    _make_slicer_modules()
    _listen_to_messages()
    app = stand_in("qSlicerApplication")(sys.argv[:1])
    slicer.app = app
    setup = SceneSetup(Path(app._folder.name), facts.DATA / "terminologies")
    app.use(setup)
    for name, logic in setup.logics.items():
        module_loading.register_core_module(name, logic)
    sys.modules["SampleData"] = sample_data.make_module()
    dialogs.install_in_slicer_util()
    dialogs.install_in_qt()
    _use_python_sources()
    host = Host(app, setup)
    host.forget()
    _running.append(host)
    return host
