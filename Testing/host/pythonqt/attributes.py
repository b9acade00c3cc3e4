"""PythonQt's rules for reading and setting attributes, put on PySide6's classes themselves.

Replacing `__getattribute__` and `__setattr__` of the Qt classes also reaches objects made by Qt and by the .ui loader,
keeps `type(w) == qt.QLabel` true, and needs no wrapper objects. Rules are those of PythonQtInstanceWrapper_getattro,
_setattro and PythonQtClassInfo::member: Python override, Q_PROPERTY (`name` is `objectName`), then slot, wrapped
method, signal or enum, then dynamic property, then child by object name.

Code of the host itself and of PySide6 sees plain PySide6; module code under `STRICT_FOLDERS` gets an AttributeError
for everything PythonQt does not show; all other code gets PythonQt's rules without that strictness.
"""

import ctypes
import enum
import pathlib
import sys
import types
from pathlib import Path
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui

from Testing.host import facts
from Testing.host.pythonqt import classes, signals

QObject = QtCore.QObject
# Folders whose code is under test.
STRICT_FOLDERS: list[str] = []

_HOST = str(Path(__file__).resolve().parents[1])
_PLAIN_FOLDERS = (_HOST, str(Path(shiboken6.__file__).parent), str(Path(QtCore.__file__).parent))
# Stand-ins for Slicer's own Python files, which are written for PythonQt.
_PYTHONQT_FOLDER = str(Path(_HOST) / "modules")
_views: dict[str, str] = {}
# PySide6 builds static/instance hybrids such as QFile.exists in the class's own getattro: bypassing it crashes.
_original_getattr: dict[type, Any] = {}
# object.__setattr__ refuses once QObject has its own tp_setattro; the C function underneath does not.
_generic_setattr = ctypes.pythonapi.PyObject_GenericSetAttr
_generic_setattr.argtypes, _generic_setattr.restype = [ctypes.py_object] * 3, ctypes.c_int


def _view(filename: str) -> str:
    """Return how code of a file sees Qt objects: "plain", "pythonqt" or "strict"."""
    if filename not in _views:
        is_pythonqt = Path(filename).name.startswith(("test_", "conftest")) or filename.startswith(_PYTHONQT_FOLDER)
        if any(filename.startswith(folder) for folder in STRICT_FOLDERS):
            _views[filename] = "strict"
        elif filename.startswith(_PLAIN_FOLDERS) and not is_pythonqt:
            _views[filename] = "plain"
        else:
            _views[filename] = "pythonqt"
    return _views[filename]


def add_strict_folder(folder: Path) -> None:
    """Hold the code of a folder to what PythonQt shows."""
    STRICT_FOLDERS.append(str(folder.resolve()))
    _views.clear()


def _caller_view(frame: Any, name: str) -> str:
    if frame is None:
        return "plain"
    view = _view(frame.f_code.co_filename)
    # C code between that frame and us may ask for names of its own; only what the code spells is held against it.
    if view == "strict" and name not in frame.f_code.co_names and name not in frame.f_code.co_consts:
        return "pythonqt"
    return view


def plain_get(target: Any, name: str) -> Any:
    """Return an attribute as PySide6 gives it."""
    for cls in type(target).__mro__:
        if cls in _original_getattr:
            return _original_getattr[cls](target, name)
    raise TypeError(f"{type(target).__name__} is no Qt class")


def plain_set(target: Any, name: str, value: Any) -> None:
    """Set an attribute as Python would without PySide6's own rules."""
    _generic_setattr(target, name, value)


def loosened(value: Any) -> Any:
    """Return a value as PythonQt converts it for C++: paths to text, numpy scalars to numbers."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    return value.item() if hasattr(value, "item") and hasattr(value, "dtype") else value


class Method:
    """A wrapped C++ method: loose conversion of arguments, tuples for lists."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.__name__ = getattr(function, "__name__", "?")

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        try:
            result = self._function(*arguments, **keywords)
        except (TypeError, ValueError):
            loose = [loosened(argument) for argument in arguments]
            if all(new is old for new, old in zip(loose, arguments, strict=True)):
                raise
            result = self._function(*loose, **keywords)
        return tuple(result) if type(result) is list else result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self.__name__)


def _python_attribute(target: Any, name: str) -> Any:
    """Return (found, value) of an attribute that Python code defined on the object or its class."""
    for cls in type(target).__mro__:
        if not classes.is_python_class(cls):
            break
        if name in plain_get(target, "__dict__") or name in cls.__dict__:
            return True, plain_get(target, name)
    return False, None


def _connector(target: Any, *arguments: Any) -> Any:
    """Do `target.connect(...)`: (signal, callable), (sender, signal, slot) or (sender, signal, callable)."""
    if not isinstance(arguments[0], QObject):
        return signals.connect(target, *arguments)
    if callable(arguments[2]):
        return signals.connect(*arguments)
    return signals.connect(arguments[0], arguments[1], target, arguments[2])


def _builtin(target: Any, name: str) -> Any:
    cls = type(target)
    if name == "connect":
        return lambda *arguments: _connector(target, *arguments)
    if name == "disconnect":
        return lambda *arguments: signals.disconnect(target, *arguments)
    if name == "className":
        return lambda: cls.__name__ if classes.is_python_class(cls) else classes.cpp_name(cls)
    if name == "delete":
        return lambda: shiboken6.delete(target)
    return None


def _dynamic(target: Any, name: str) -> Any:
    """Return a dynamic property or the child of that object name, None if there is neither."""
    value = QObject.property(target, name)
    if value is not None:
        return value
    return next((child for child in QObject.children(target) if QObject.objectName(child) == name), None)


def _enum_value(cls: type, name: str) -> Any:
    """Return an enum value that PythonQt also shows on instances, as in `process.Running`."""
    for base in cls.__mro__ if name[0].isupper() else ():
        for value in vars(base).values():
            if isinstance(value, type) and issubclass(value, enum.Enum) and name in value.__members__:
                return value[name]
    return None


def _getattribute(self: Any, name: str) -> Any:
    if name[0] == "_":
        return plain_get(self, name)
    view = _caller_view(sys._getframe().f_back, name)
    if view == "plain":
        return plain_get(self, name)
    found, value = _python_attribute(self, name)
    return value if found else _pythonqt_get(self, name, view == "strict")


def _pythonqt_get(self: Any, name: str, is_strict: bool) -> Any:
    cls = type(self)
    if not shiboken6.isValid(self):
        raise ValueError(f"Trying to read '{name}' from a destroyed {cls.__name__} object")
    # PySide6 declares QTimer.singleShot as a property of the same name since Qt 6; PythonQt gives the static method.
    found = None if name == "singleShot" and isinstance(self, QtCore.QTimer) else classes.find_property(cls, name)
    if found:
        value = found.stand_in.fget(self) if found.stand_in else QObject.property(self, found.name)
        return tuple(value) if type(value) is list else value
    builtin = _builtin(self, name)
    if builtin is not None:
        return builtin
    shown = name in classes.shown_names(cls)
    if is_strict and not shown:
        return _require(_dynamic(self, name), cls, name)
    try:
        value = plain_get(self, name)
    except AttributeError:
        value = _dynamic(self, name)
        value = _enum_value(cls, name) if value is None else value
        if value is None and shown:
            raise NotImplementedError(
                f"{classes.cpp_name(cls)}.{name} exists in Slicer, but the test host does not implement it"
            ) from None
        return _require(value, cls, name)
    if isinstance(value, QtCore.SignalInstance):
        return signals.Signal(self, name, value)
    return Method(value) if isinstance(value, types.BuiltinFunctionType) else value


def _require(value: Any, cls: type, name: str) -> Any:
    if value is None:
        raise AttributeError(f"{classes.cpp_name(cls)} has no attribute named '{name}'")
    return value


_REFUSED = object()
_CONVERSIONS = {
    "QString": lambda value: value if isinstance(value, str) else str(value),
    "int": lambda value: int(value) if isinstance(value, (int, float)) else _REFUSED,
    "double": lambda value: float(value) if isinstance(value, (int, float)) else _REFUSED,
    "bool": lambda value: bool(value) if isinstance(value, (int, float)) or value is None else _REFUSED,
}
_CONVERSIONS |= {"uint": _CONVERSIONS["int"], "qlonglong": _CONVERSIONS["int"], "float": _CONVERSIONS["double"]}


def _converted(type_name: str, value: Any) -> Any:
    """Return a value as PythonQtConv::PyObjToQVariant makes it of a property's type: None is 'None', 3.7 is 3."""
    if type_name in _CONVERSIONS:
        return _CONVERSIONS[type_name](value)
    return _REFUSED if value is None else value


def _setattr(self: Any, name: str, value: Any) -> None:
    frame = sys._getframe().f_back
    if name[0] == "_" or _caller_view(frame, name) == "plain" or isinstance(value, QtCore.SignalInstance):
        plain_set(self, name, value)
        return
    cls = type(self)
    found = classes.find_property(cls, name)
    if found:
        _set_property(self, found, name, value)
    elif classes.is_python_class(cls):
        plain_set(self, name, value)
    elif name in classes.shown_names(cls):
        kind = classes.shown_names(cls)[name].capitalize()
        raise AttributeError(f"{kind} '{name}' can not be overwritten on {classes.cpp_name(cls)} object")
    elif QObject.property(self, name) is not None:
        QObject.setProperty(self, name, value)
    else:
        raise AttributeError(
            f"'{name}' does not exist on {classes.cpp_name(cls)} "
            "and creating new attributes on C++ objects is not allowed"
        )


def _set_property(target: Any, found: classes.FoundProperty, name: str, value: Any) -> None:
    cls = type(target)
    if not found.is_writable:
        raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
    if found.stand_in:
        found.stand_in.fset(target, loosened(value))
        return
    converted = _converted(found.type_name, loosened(value))
    if converted is not _REFUSED and QObject.setProperty(target, found.name, converted):
        return
    # Some enum and gadget types do not pass through QVariant in PySide6; their setter takes them.
    setter = getattr(cls, "set" + found.name[0].upper() + found.name[1:], None)
    if converted is _REFUSED or setter is None:
        raise AttributeError(
            f"Property '{name}' of type '{found.type_name}' does not accept an object of type "
            f"{type(value).__name__} ({value!r})"
        )
    setter(target, converted)


def install() -> None:
    """Put the rules on every Qt class; doing so twice changes nothing."""
    if QObject in _original_getattr:
        return
    # Every class made by Shiboken has its own tp_setattro: replacing QObject's alone is silently ignored.
    for cls in facts.META_FACTS:
        if "__getattribute__" in cls.__dict__ or cls is QObject:
            _original_getattr[cls] = cls.__getattribute__
    for cls in facts.META_FACTS:
        if "__setattr__" in cls.__dict__ or cls is QObject:
            cls.__setattr__ = _setattr
        if cls in _original_getattr:
            cls.__getattribute__ = _getattribute
    color_name = QtGui.QColor.name
    # PythonQt takes plain integers for enums.
    QtGui.QColor.name = lambda self, form=0: color_name(self, QtGui.QColor.NameFormat(form))
    sys.excepthook = signals.remember_exception
    _keep_constants_alive()


def _keep_constants_alive() -> None:
    """Make None, True and False live for ever, as they do from Python 3.12 on.

    PySide6 6.12 loses a reference to None with every call of a Python slot and every `property()` that does not exist,
    and one to True with every `Signal.emit`. Python 3.11 and older end with "none_dealloc" or "bool_dealloc" after some
    thousand of them, without this host as well.
    """
    if sys.version_info < (3, 12):
        for value in (True, False, None):
            ctypes.c_ssize_t.from_address(id(value)).value += 1 << 40
