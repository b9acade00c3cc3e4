"""Classes that stand in for CTK and Slicer widgets: the surface from the header table, behavior from the host.

A stand-in has exactly the properties, signals, slots and invokables of the C++ class. What a behavior class does not
implement raises NotImplementedError by its name, what Slicer does not have raises AttributeError.
"""

import enum
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.host import facts
from Testing.host.pythonqt.attributes import loosened
from Testing.host.pythonqt.classes import overload_attribute

_PYTHON_TYPES: dict[str, type] = {
    "int": int,
    "double": float,
    "float": float,
    "bool": bool,
    "QString": str,
    "QStringList": list,
    "QSize": QtCore.QSize,
    "QIcon": QtGui.QIcon,
    "QColor": QtGui.QColor,
}
_DEFAULTS: dict[type, Any] = {int: 0, float: 0.0, bool: False, str: "", list: []}
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "QString": str,
    "int": int,
    "double": float,
    "bool": bool,
    "QStringList": list,
}

# CTK repeats enums of Qt; their values are flags.
_COPIED_ENUMS = (QtCore.QDir.Filter, QtWidgets.QFileDialog.Option, QtWidgets.QComboBox.SizeAdjustPolicy)

_behaviors: dict[str, type] = {}
_stand_ins: dict[str, Any] = {}


def behavior(cls: type) -> type:
    """Register a class as the behavior of the C++ class of the same name.

    `get_<property>` and `set_<property>` serve properties; methods named like slots and invokables serve those.
    """
    _behaviors[cls.__name__] = cls
    return cls


def has_behavior(name: str) -> bool:
    """Return whether the host gives a C++ class more than its surface."""
    return name in _behaviors


def stand_in(name: str) -> Any:
    """Return the class that stands in for a CTK or Slicer class.

    Raises:
        AttributeError: no such class in the header table.
    """
    if name not in facts.SLICER_API:
        raise AttributeError(f"{name} is not in Testing/host/data/slicer_api.json")
    if name not in _stand_ins:
        _stand_ins[name] = _make(name)
    return _stand_ins[name]


def _base_class(name: str) -> Any:
    bases = facts.SLICER_API[name]["bases"]
    base = bases[0] if bases else "QObject"
    if base in facts.SLICER_API:
        return stand_in(base)
    fallback = QtWidgets.QWidget if name.endswith(("Widget", "Button", "Box")) else QtCore.QObject
    return facts.QT_CLASSES.get(base, fallback)


def _make(name: str) -> Any:
    table, base, mixin = facts.SLICER_API[name], _base_class(name), _behaviors.get(name)
    namespace: dict[str, Any] = {"_cpp_": name, "__module__": __name__, "__doc__": table["header"]}
    for signal, overloads in table["signals"].items():
        for number, (_, types) in enumerate(overloads):
            namespace[overload_attribute(signal, number)] = QtCore.Signal(*[_signal_type(item) for item in types])
    for property_name, record in table["props"].items():
        declared = _declared_property(base, mixin, property_name, record)
        if declared is not None:
            namespace[property_name] = declared
    for method, overloads in (*table["slots"].items(), *table["invokables"].items()):
        function = getattr(mixin, method, None)
        if callable(function):
            namespace[method] = _checked(f"{name}.{method}", overloads, function)
    for enum_name, values in table["enums"].items():
        namespace[enum_name] = made = enum.IntEnum(enum_name, _enum_values(values))
        namespace.update({value: made[value] for value in values})
    if issubclass(base, QtWidgets.QWidget):
        namespace["__init__"] = _constructor(name, mixin)
    return type(base)(name, (mixin, base) if mixin else (base,), namespace)


def _enum_values(names: list[str]) -> dict[str, int]:
    """Return the values of an enum: those of the Qt enum it copies, else counted, as the headers do not tell them."""
    for original in _COPIED_ENUMS:
        if set(names) <= set(original.__members__):
            return {name: int(original[name].value) for name in names}
    return {name: number for number, name in enumerate(names)}


def _signal_type(cpp_type: str) -> type:
    return _PYTHON_TYPES.get(cpp_type.rstrip("=").replace("const ", ""), object)


def _constructor(name: str, mixin: type | None) -> Callable[..., None]:
    """Return `__init__`: CTK and Slicer wrap only the constructor that takes a parent widget."""

    def initialize(self: Any, *arguments: Any) -> None:
        is_parent = not arguments or isinstance(arguments[0], (QtWidgets.QWidget, type(None)))
        if len(arguments) > 1 or not is_parent:
            raise ValueError(
                f"Could not find matching overload for given arguments: {name}{arguments!r}; "
                f"PythonQt wraps {name}(QWidget* parent)"
            )
        if mixin is not None and "__init__" in vars(mixin):
            mixin.__init__(self, *arguments)
        else:
            super(_stand_ins[name], self).__init__(*arguments)

    return initialize


def _declared_property(base: Any, mixin: type | None, name: str, record: dict[str, Any]) -> Any:
    """Return a Qt property, None where an implemented one is inherited from Qt."""
    getter, setter = getattr(mixin, f"get_{name}", None), getattr(mixin, f"set_{name}", None)
    is_qt_base = facts.is_qt_class(base)
    inherited = [facts.META_FACTS[cls] for cls in base.__mro__ if cls in facts.META_FACTS]
    if is_qt_base and getter is None and any(name in meta.properties for meta in inherited):
        return None
    kind = _PYTHON_TYPES.get(record["type"], object)
    getter = getter or _stored_getter(name, kind)
    setter = setter or (_stored_setter(name, kind, record["notify"]) if record["write"] else None)
    qt_type: Any = {object: "QVariant", list: "QStringList"}.get(kind, kind)
    return QtCore.Property(qt_type, getter, setter)


def stored(target: Any) -> dict[str, Any]:
    """Return the values of the properties that a stand-in merely remembers."""
    values: dict[str, Any] = target.__dict__.setdefault("_values", {})
    return values


def _stored_getter(name: str, kind: type) -> Callable[[Any], Any]:
    def get(self: Any) -> Any:
        # A derived behavior may compute what its base class merely stores.
        override = getattr(type(self), f"get_{name}", None)
        return override(self) if override else stored(self).get(name, _DEFAULTS.get(kind))

    return get


def _stored_setter(name: str, kind: type, notify: str | None) -> Callable[[Any, Any], None]:
    def put(self: Any, value: Any) -> None:
        old = stored(self).get(name, _DEFAULTS.get(kind))
        new = kind(value) if kind in (int, float, bool, str) else value
        stored(self)[name] = new
        if notify and new != old:
            getattr(self, notify).emit(new)

    return put


def _checked(name: str, overloads: list[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that checks its arguments against the C++ signatures, with PythonQt's loose conversion."""

    def call(self: Any, *arguments: Any) -> Any:
        for _, types in overloads:
            required = sum(not item.endswith("=") for item in types)
            if not required <= len(arguments) <= len(types):
                continue
            if len(overloads) > 1:
                return function(self, *arguments)
            return function(self, *[_convert(value, item) for value, item in zip(arguments, types, strict=False)])
        forms = " | ".join(f"({', '.join(types)})" for _, types in overloads)
        raise ValueError(f"Could not find matching overload for given arguments: {name}{arguments!r}; C++ has {forms}")

    call.__name__ = name.rsplit(".", 1)[1]
    return call


def _convert(value: Any, cpp_type: str) -> Any:
    conversion = _CONVERSIONS.get(cpp_type.rstrip("="))
    if conversion is None or (value is None and conversion is not bool):
        return value
    return conversion(loosened(value))
