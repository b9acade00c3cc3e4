"""The list of everything that the module takes from Slicer: `python -m Testing.host.lint.used_api` writes it anew.

It is checked in (`data/used_api.json`) so that a look at one file tells what a new version of Slicer must still have.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import SimpleITK
import slicer

from Testing.host import facts
from Testing.host.lint.check import check_folder
from Testing.host.lint.findings import Used
from Testing.host.system_libraries import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[3]
EXTENSION = ROOT / "SemiSegExtension"
LIST = facts.DATA / "used_api.json"
SOURCES = {
    "qt, ctk, qMRML and qSlicer names": "public headers of Slicer 583e9b37d5 (main, 5.13) and CTK of 2026-07-25; "
    "PythonQt's wrappers for Qt 5.15 and PySide6 for Qt 6",
    "slicer.util": "slicer/util.py of the wheels slicer-core 5.12.4.0 and 5.13.31053.0, which are equal",
    "MRML and VTK methods": "classes of the wheel slicer-core 5.13.31053.0; looked up once in 5.12.4.0 (2026-11), "
    "where all of them are too; public headers of slicer-core-sdk 5.12.4.0",
    "Slicer 5.10": "not read at its tag; each name is in a version before it too (api_5_10.json), and what is known to "
    "be newer is kept out of its way (Testing/host/lint/versions.py)",
}
# In VTK's manner by chance: classes of Python, of slicer.util (in the list of names), and of the PyTorch extension.
OTHERS = {"TemporaryDirectory", "Request", "WaitCursor", "PyTorchUtilsLogic"}
_INSIDE = "--with-environment"
# Methods of VTK itself that nodes hand out.
VTK_CLASSES = (
    *("vtkObject", "vtkCollection", "vtkMatrix4x4", "vtkImageData", "vtkPointData", "vtkDataArray", "vtkStringArray"),
    *(
        "vtkIdList",
        "vtkPoints",
        "vtkPolyData",
        "vtkGeneralTransform",
        "vtkTable",
        "vtkAbstractTransform",
        "vtkIntArray",
    ),
    *("vtkDoubleArray", "vtkFloatArray", "vtkVariant", "vtkRenderWindow", "vtkCamera", "vtkLookupTable", "vtkPlane"),
    *(
        "vtkTransform",
        "vtkCallbackCommand",
        "vtkCommand",
        "vtkOrientedImageData",
        "vtkImageExtractComponents",
        "vtkImageReslice",
    ),
    *("vtkPolyDataNormals", "vtkTriangleFilter", "vtkStripper", "vtkTransformPolyDataFilter"),
    *("vtkPolyDataToImageStencil", "vtkImageStencilToImage"),
)


def collected(folder: Path = EXTENSION) -> dict[str, Any]:
    """Return the list of what a module's folder uses, as it is checked in."""
    used = Used()
    check_folder(folder, used)
    members: dict[str, set[str]] = {}
    for owner, member in used.members:
        members.setdefault(owner, set()).update({member} - {""})
    owners = _method_owners()
    methods = {name: owners.get(name, []) for name in sorted(_called_methods(folder))}
    return {
        "sources": SOURCES,
        "names": sorted(used.names),
        "members": {owner: sorted(members[owner]) for owner in sorted(members)},
        "signals": sorted(used.signals),
        "methods": methods,
    }


def _method_owners() -> dict[str, list[str]]:
    """Return method name to up to three classes of MRML or VTK that declare it."""
    import vtk

    classes = [getattr(slicer, name) for name in dir(slicer) if name.startswith("vtk")]
    classes += [getattr(vtk, name) for name in VTK_CLASSES if hasattr(vtk, name)]
    # It comes with Slicer, too.
    classes += [SimpleITK.Image, SimpleITK.ImageFileReader]
    found: dict[str, set[str]] = {}
    # With what they inherit: GetClassName is vtkObjectBase's, GetPointData vtkDataSet's.
    families = {base for cls in classes if isinstance(cls, type) for base in cls.__mro__ if base is not object}
    for cls in families:
        for name in vars(cls):
            found.setdefault(name, set()).add(cls.__name__)
    return {name: sorted(owners)[:3] for name, owners in found.items()}


def _called_methods(folder: Path) -> set[str]:
    """Return names in VTK's manner that are called on something, other than classes of the project's own."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))]
    library = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "SemiSegLib").rglob("*.py"))]
    own = {node.name for tree in (*trees, *library) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [item for item in calls if isinstance(item, ast.Attribute) and item.attr[:1].isupper()]
    # `qt.QTimer()`, `sitk.Image()` and the like make objects; the first are in the list of names.
    modules = {"qt", "ctk", "sitk", "np", "ast", "ctypes", "subprocess"}
    return {item.attr for item in named if getattr(item.value, "id", "") not in modules} - own - OTHERS


def main() -> int:
    """Write the list."""
    if sys.argv[1:] != [_INSIDE]:
        # Qt reads its environment when it is imported, which has happened.
        command = [sys.executable, "-m", "Testing.host.lint.used_api", _INSIDE]
        return subprocess.run(command, env={**os.environ, **ENVIRONMENT}, cwd=ROOT, check=False).returncode
    from Testing.host import start

    start.start()
    LIST.write_text(json.dumps(collected(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
