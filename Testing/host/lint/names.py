"""What a dotted name or expression of a module means in Slicer: the C++ class of its value, or why it has none."""

import ast
from dataclasses import dataclass, field
from typing import Any

import slicer

from Testing.host import facts
from Testing.host.lint.ui_files import is_known_class

# Sub-modules of `slicer` and names the application adds when it starts.
SLICER_NAMES = {
    *("app", "cli", "i18n", "logic", "modules", "moduleNames", "mrmlScene", "packaging", "parameterNodeWrapper"),
    *("ScriptedLoadableModule", "selfTests", "testing", "util", "userUtils", "dicomDatabase"),
}
# What PythonQt adds to the qt module besides classes.
QT_NAMES = {"Qt", "SIGNAL", "SLOT", "Signal", "Slot", "Property"}
OBJECTS = {"slicer.app": "qSlicerApplication", "slicer.mrmlScene": "vtkMRMLScene"}


def util_names() -> frozenset[str]:
    """Return the names that the real slicer.util defines."""
    path = slicer.util.__file__
    with open(path, encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = {node.name for node in tree.body if isinstance(node, kinds)}
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    return frozenset(names | {item.id for node in assigned for item in node.targets if isinstance(item, ast.Name)})


def dotted(node: ast.expr) -> tuple[str, ...]:
    """Return the parts of `a.b.c`, () for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


def class_error(parts: tuple[str, ...]) -> str:
    """Return why `qt.X`, `ctk.X` or `slicer.X` is no name in Slicer, "" if it is one."""
    module, name = parts[0], parts[1]
    full = ".".join(parts[:2])
    if name.startswith("__"):
        return ""
    if module == "qt":
        if name in QT_NAMES or is_known_class(name):
            return ""
        return f"{full} is not in Qt 6" if name in facts.QT_API else f"{full} is not wrapped by PythonQt"
    if module == "ctk":
        return "" if name in facts.SLICER_API else f"{full} is not in CTK's headers"
    if name.startswith(("qMRML", "qSlicer")):
        return "" if name in facts.SLICER_API else f"{full} is not in Slicer's headers"
    if name.startswith("vtk"):
        return "" if hasattr(slicer, name) else f"{full} is not in Slicer"
    return "" if name in SLICER_NAMES else f"{full} is unknown"


def member_error(class_name: str, member: str) -> str:
    """Return why a value of a C++ class has no such member in Python, "" if it has one."""
    if member.startswith("__"):
        return ""
    if class_name == "Qt":
        return "" if hasattr(facts.QtCore.Qt, member) else f"qt.Qt.{member} is not in Qt 6"
    if class_name.startswith("vtk"):
        cls = getattr(slicer, class_name, None)
        return "" if cls is None or hasattr(cls, member) else f"{class_name} has no '{member}'"
    kind = facts.members(class_name).get(member)
    if kind is None:
        return f"{class_name} has no '{member}' in PythonQt"
    cls = facts.QT_CLASSES.get(class_name)
    # Properties, signals and slots come from PySide6's own meta objects; only methods may be Qt 5's alone.
    return f"{class_name}.{member} is not in Qt 6" if kind == "method" and cls and not hasattr(cls, member) else ""


def is_checked_class(class_name: str | None) -> bool:
    """Return whether the tables say what a class has."""
    return class_name is not None and (class_name == "Qt" or class_name.startswith("vtk") or is_known_class(class_name))


@dataclass
class Scope:
    """What is known of the names in a file.

    Attributes:
        form: object name in a .ui file -> C++ class.
        values: dotted name -> C++ class, from assignments such as `self.timer = qt.QTimer()`.
    """

    form: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)

    def class_of(self, node: ast.expr) -> str | None:
        """Return the C++ class of an expression's value, None if it is not known."""
        parts = dotted(node)
        if parts:
            return self._class_of_name(parts)
        if isinstance(node, ast.Call):
            return self._class_of_call(node.func)
        return None

    def _class_of_name(self, parts: tuple[str, ...]) -> str | None:
        name = ".".join(parts)
        if name in self.values:
            return self.values[name]
        if name in OBJECTS:
            return OBJECTS[name]
        if len(parts) >= 2 and parts[-2] == "ui":
            return self.form.get(parts[-1])
        return None

    def _class_of_call(self, function: ast.expr) -> str | None:
        parts = dotted(function)
        if len(parts) == 2 and parts[0] in ("qt", "ctk", "slicer") and parts[1][:1] in "Qqcv":
            return None if class_error(parts) else parts[1]
        if not isinstance(function, ast.Attribute):
            return None
        owner = self.class_of(function.value)
        return _returned_class(owner, function.attr) if owner else None


def _returned_class(class_name: str, method: str) -> str | None:
    """Return the class that a method of a CTK or Slicer class returns a pointer to."""
    for name in facts.class_chain(class_name):
        table: dict[str, Any] = facts.SLICER_API.get(name, {})
        for part in ("slots", "invokables"):
            for kind, _ in table.get(part, {}).get(method, []):
                found = kind.rstrip("*")
                return found if kind.endswith("*") and is_checked_class(found) else None
    return None
