"""What all tests share: the environment of Qt and VTK, the offscreen Slicer host, screenshots.

A test file that imports Slicer's names gets the host: it is started before the file is imported, emptied before each
test, and the test fails if an exception or a warning went unnoticed. Where the machine lacks libraries of Qt or OpenGL
such files are skipped, with the apt line as the reason.
"""

import builtins
import functools
import os
import re
import sys
from pathlib import Path

import pytest

from Testing.host.system_libraries import ENVIRONMENT, missing

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "SemiSegExtension"
HOST_FOLDERS = ("bridge", "host", "panel")
NEEDS_HOST = re.compile(
    r"^(?:import|from) (?:qt|ctk|slicer|vtk|PySide6|SemiSegModule|Testing\.host\.(?!system_libraries))\b", re.MULTILINE
)
# Slicer's process must stay free of these; the worker has them.
FORBIDDEN = ("torch", "monai")

os.environ.update(ENVIRONMENT)


def pytest_addoption(parser):
    parser.addoption("--screenshots", metavar="DIR", default=None, help="save the pictures that panel tests take")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Where pytest-qt happens to be installed it would take the messages of Qt and the exceptions of slots for itself.
    plugin = config.pluginmanager.get_plugin("pytest-qt")
    if plugin is not None:
        config.option.qt_log = False
        config.pluginmanager.unregister(plugin)


@functools.cache
def needs_host(path):
    return path.parent.name in HOST_FOLDERS and bool(NEEDS_HOST.search(path.read_text(encoding="utf-8")))


def start_host():
    from Testing.host import start
    from Testing.host.pythonqt import attributes

    if str(EXTENSION) not in sys.path:
        sys.path.insert(0, str(EXTENSION))
        attributes.add_strict_folder(EXTENSION)
    return start.start()


class SkippedModule(pytest.Module):
    """A test file that this machine cannot even import."""

    def collect(self):
        pytest.skip(missing(), allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if not needs_host(module_path):
        return None
    if missing():
        return SkippedModule.from_parent(parent, path=module_path)
    start_host()
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        if needs_host(item.path):
            item.add_marker(pytest.mark.panel)


@pytest.fixture
def host():
    """The running host: `host.app`, `host.dialogs`, `host.expect_slot_error`, ..."""
    return start_host()


@pytest.fixture(autouse=True)
def _clean_host(request, monkeypatch):
    if not needs_host(request.path):
        yield
        return
    running = start_host()
    running.reset()
    forbid_imports(monkeypatch)
    was_loaded = {name for name in FORBIDDEN if name in sys.modules}
    yield
    problems = running.problems()
    running.forget()
    assert problems == []
    assert {name for name in FORBIDDEN if name in sys.modules} == was_loaded


def forbid_imports(monkeypatch):
    """Refuse `import torch` and `import monai` for the duration of a test, also if another test has loaded them."""
    original = builtins.__import__

    def guarded(name, *arguments, **keywords):
        if name.split(".")[0] in FORBIDDEN:
            raise AssertionError(f"Slicer's process imports {name}")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", guarded)


@pytest.fixture
def screenshot(request):
    """A function that saves a picture of a widget or an array when --screenshots names a folder."""
    from Testing.host.rendering.pictures import save_picture

    folder = request.config.getoption("--screenshots")

    def take(name, subject):
        return save_picture(subject, Path(folder) / f"{name}.png") if folder else None

    return take
