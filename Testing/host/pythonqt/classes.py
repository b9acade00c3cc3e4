"""What a Python class stands for in C++: its name there, its properties, its signals."""

from typing import Any, NamedTuple

from PySide6 import QtCore

from Testing.host import facts


class FoundProperty(NamedTuple):
    """A Q_PROPERTY; `stand_in` is set when the host implements it in Python."""

    name: str
    type_name: str
    is_writable: bool
    stand_in: QtCore.Property | None


class FoundSignal(NamedTuple):
    """A signal; `attribute` is set when the host declares it in Python, and names the bound signal."""

    signature: str
    attribute: str | None


def stands_for(cls: type) -> str | None:
    """Return the CTK or Slicer class that a stand-in of the host replaces, None for other classes."""
    return cls.__dict__.get("_cpp_")


def is_python_class(cls: type) -> bool:
    """Return whether a class was written in Python: neither Qt's own nor a stand-in for a C++ class."""
    return not facts.is_qt_class(cls) and stands_for(cls) is None


def cpp_name(cls: type) -> str:
    """Return the name of the nearest C++ class."""
    for base in cls.__mro__:
        name = stands_for(base) or (base.__name__ if facts.is_qt_class(base) else None)
        if name:
            return name
    raise TypeError(f"{cls.__name__} stands for no C++ class")


_properties: dict[tuple[type, str], FoundProperty | None] = {}


def find_property(cls: type, name: str) -> FoundProperty | None:
    """Return a class's Q_PROPERTY; `name` means `objectName` unless the class has a property of that name."""
    key = (cls, name)
    if key not in _properties:
        found = _search_property(cls, name)
        if found is None and name == "name":
            found = _search_property(cls, "objectName")
        _properties[key] = found
    return _properties[key]


def _search_property(cls: type, name: str) -> FoundProperty | None:
    for base in cls.__mro__:
        value = base.__dict__.get(name)
        if isinstance(value, QtCore.Property):
            return FoundProperty(name, "", value.fset is not None, value)
        meta = facts.META_FACTS.get(base)
        if meta and name in meta.properties:
            return FoundProperty(name, *meta.properties[name], None)
    return None


def find_signal(cls: type, *, signature: str | None = None, name: str | None = None) -> FoundSignal | None:
    """Return a class's signal by normalized signature, or the first overload of a name."""
    wanted = name or str(signature).split("(")[0]
    for base in cls.__mro__:
        found = _stand_in_signal(stands_for(base), wanted, signature) or _qt_signal(base, wanted, signature)
        if found:
            return found
        if is_python_class(base) and isinstance(base.__dict__.get(wanted), QtCore.Signal):
            return FoundSignal(signature or wanted + "()", wanted)
    return None


def _stand_in_signal(cpp_class: str | None, name: str, signature: str | None) -> FoundSignal | None:
    overloads = facts.SLICER_API.get(cpp_class, {}).get("signals", {}).get(name, [])
    for number, (_, types) in enumerate(overloads):
        full = facts.normalized(f"{name}({','.join(item.rstrip('=') for item in types)})")
        if signature in (None, full):
            return FoundSignal(full, overload_attribute(name, number))
    return None


def overload_attribute(name: str, number: int) -> str:
    """Return under which attribute a stand-in keeps an overload of a signal."""
    return name if number == 0 else f"_{name}_{number}"


def _qt_signal(cls: type, name: str, signature: str | None) -> FoundSignal | None:
    meta = facts.META_FACTS.get(cls)
    for item in meta.signals if meta else ():
        if item == signature or (signature is None and item.startswith(name + "(")):
            return FoundSignal(item, None)
    return None


def shown_names(cls: type) -> Any:
    """Return all names PythonQt shows of a class."""
    return facts.members(cpp_name(cls))
