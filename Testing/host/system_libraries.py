"""Which libraries of the operating system the host needs and this machine does not have.

A wheel cannot bring the OpenGL of a machine. Where it is missing, importing PySide6 or opening a VTK window ends in an
ImportError or in the end of the process, so all is tried in a process of its own.
"""

import ctypes
import functools
import os
import subprocess
import sys

# Library that a wheel needs directly -> Debian 12 package that has it. Found with `readelf -d` on PySide6's Core, Gui,
# Widgets, UiTools, Test and DBus and the offscreen platform; VTK opens libEGL and libGL when it makes a window.
PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
# Packages that bring others of the list along.
_IMPLIED = {"libx11-6": "libgl1", "libfreetype6": "libfontconfig1"}
# Enums that are integers, as PythonQt's are.
ENVIRONMENT = {"QT_QPA_PLATFORM": "offscreen", "PYSIDE6_OPTION_PYTHON_ENUM": "0x06"}
if sys.platform == "linux":
    # Without a screen and without a warning that there is none.
    ENVIRONMENT["VTK_DEFAULT_OPENGL_WINDOW"] = "vtkEGLRenderWindow"
_PROBE = """
import sys
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
application = QtWidgets.QApplication(sys.argv)
label = QtWidgets.QLabel("probe")
label.resize(40, 20)
assert not label.grab().isNull()
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
assert sys.platform != "linux" or window.GetClassName() == "vtkEGLRenderWindow", window.GetClassName()
print("ready")
"""


@functools.cache
def missing() -> str:
    """Return why the host cannot run here, "" if it can; names the packages to install in one apt line."""
    environment = {**os.environ, **ENVIRONMENT}
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if probe.returncode == 0 and probe.stdout.strip().endswith("ready"):
        return ""
    if "No module named" in probe.stderr:
        return "packages missing: " + probe.stderr.strip().splitlines()[-1] + "; run: pip install '.[host]'"
    packages = missing_packages()
    if packages:
        return f"system libraries missing: apt-get install -y --no-install-recommends {' '.join(packages)}"
    last = (probe.stderr.strip().splitlines() or [f"the process ended with {probe.returncode}"])[-1]
    return f"system libraries missing: Qt or OpenGL do not start: {last}"


def missing_packages() -> tuple[str, ...]:
    """Return the Debian packages whose library this process cannot load."""
    absent = {package for library, package in PACKAGES.items() if not _can_load(library)}
    return tuple(sorted({_IMPLIED.get(package, package) for package in absent}))


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
