"""What Slicer's C++ classes offer to Python, read from two tables of the public headers; see data/README.md.

PythonQt shows the properties, slots, signals, invokables and enums of CTK and Slicer classes, and a fixed list of
methods of Qt classes. Both lists are facts about the real application; all checks of the host rest on them.
"""

import functools
import json
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

DATA = Path(__file__).parent / "data"
# Not QtNetwork: it needs Kerberos on the machine, and the module needs no network.
LIBRARIES = (QtCore, QtGui, QtWidgets, QtUiTools)
# C++ class name -> header, bases, constructors, props, slots, signals, invokables, enums.
SLICER_API: dict[str, Any] = json.loads((DATA / "slicer_api.json").read_text(encoding="utf-8"))
# Qt class name -> methods, static, enums, as PythonQt wraps them for Qt 5.15.
QT_API: dict[str, Any] = json.loads((DATA / "qt_api.json").read_text(encoding="utf-8"))
# What PythonQt adds to every object.
ALWAYS = {
    *("className", "inherits", "delete", "help", "connect", "disconnect", "parent", "setParent", "children", "tr"),
    *("findChild", "findChildren", "setProperty", "property", "metaObject", "isWidgetType", "name", "objectName"),
}
# By dir(): PySide6 makes its classes when they are first asked for, so vars() holds only some.
QT_CLASSES: dict[str, type] = {
    name: getattr(library, name)
    for library in LIBRARIES
    for name in dir(library)
    if isinstance(getattr(library, name), type)
}


class MetaFacts:
    """Properties, signals, methods and enums that one Qt class declares itself.

    They are read once: PySide6 6.12 invalidates the wrapper of a shared QMetaObject when an object dies whose
    `metaObject()` was asked for, so nobody may ask later.
    """

    def __init__(self, cls: Any) -> None:
        meta = cls.staticMetaObject
        properties = [meta.property(i) for i in range(meta.propertyOffset(), meta.propertyCount())]
        methods = [meta.method(i) for i in range(meta.methodOffset(), meta.methodCount())]
        enums = [meta.enumerator(i) for i in range(meta.enumeratorOffset(), meta.enumeratorCount())]
        signal, public = QtCore.QMetaMethod.MethodType.Signal, QtCore.QMetaMethod.Access.Public
        self.properties = {item.name(): (item.typeName(), item.isWritable()) for item in properties}
        self.signals = [bytes(item.methodSignature()).decode() for item in methods if item.methodType() == signal]
        self.methods = {bytes(item.name()).decode() for item in methods if item.access() == public}
        self.enums = {name for item in enums for name in (item.name(), item.enumName())}
        self.enums |= {item.key(i) for item in enums for i in range(item.keyCount())}


META_FACTS: dict[type, MetaFacts] = {
    cls: MetaFacts(cls) for cls in QT_CLASSES.values() if issubclass(cls, QtCore.QObject)
}


def is_qt_class(cls: type) -> bool:
    """Return whether a class is Qt's own, as PySide6 wraps it."""
    return cls.__module__.startswith("PySide6.")


def class_chain(name: str) -> list[str]:
    """Return the C++ class names from `name` up: first through the Slicer and CTK headers, then through Qt."""
    chain = []
    while name in SLICER_API:
        chain.append(name)
        bases = SLICER_API[name]["bases"]
        name = bases[0] if bases else "QObject"
    return chain + [cls.__name__ for cls in getattr(QT_CLASSES.get(name), "__mro__", ()) if is_qt_class(cls)]


@functools.cache
def members(name: str) -> dict[str, str]:
    """Return what PythonQt shows of a C++ class: member name to its kind.

    Kinds are "property", "slot", "signal", "method", "enum" and "always".
    """
    found: dict[str, str] = {}

    def add(names: Any, kind: str) -> None:
        for item in names:
            found.setdefault(item, kind)

    for cls in class_chain(name):
        for table in filter(None, [SLICER_API.get(cls)]):
            add(table["props"], "property")
            add(table["slots"], "slot")
            add(table["signals"], "signal")
            add(table["invokables"], "method")
            add([item for key, values in table["enums"].items() for item in (key, *values)], "enum")
        for meta in filter(None, [META_FACTS.get(QT_CLASSES.get(cls, object))]):
            add(meta.properties, "property")
            add([signature.split("(")[0] for signature in meta.signals], "signal")
            add(meta.methods, "slot")
            add(meta.enums, "enum")
        for table in filter(None, [QT_API.get(cls)]):
            add((*table["methods"], *table["static"]), "method")
            add([item for key, values in table["enums"].items() for item in (key, *values)], "enum")
    add(ALWAYS, "always")
    return found


def slicer_signals(name: str) -> list[str]:
    """Return the signatures of the signals that one CTK or Slicer class declares, one for each default argument."""
    signatures = []
    for signal, overloads in SLICER_API.get(name, {}).get("signals", {}).items():
        for _, types in overloads:
            required = sum(not item.endswith("=") for item in types)
            for count in range(required, len(types) + 1):
                signatures.append(f"{signal}({','.join(item.rstrip('=') for item in types[:count])})")
    return signatures


@functools.cache
def signals(name: str) -> frozenset[str]:
    """Return the normalized signatures of all signals of a C++ class, inherited ones included."""
    found: set[str] = set()
    for cls in class_chain(name):
        found |= {normalized(signature) for signature in slicer_signals(cls)}
        meta = META_FACTS.get(QT_CLASSES.get(cls, object))
        found |= set(meta.signals) if meta else set()
    return frozenset(found)


def normalized(signature: str | bytes | QtCore.QByteArray) -> str:
    """Return a signal or slot signature as Qt writes it: no spaces, no const references, no SIGNAL() digit."""
    text = signature if isinstance(signature, str) else bytes(signature).decode()
    return bytes(QtCore.QMetaObject.normalizedSignature(text.lstrip("0123456789"))).decode()
