"""PythonQt's `connect` and `disconnect`, with slots whose exceptions are remembered instead of lost.

In Slicer an exception in a slot is printed and the application goes on. The host remembers it in `slot_errors`, and
the fixtures fail the test it happened in.
"""

import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from Testing.host import facts
from Testing.host.pythonqt import classes

# Exceptions raised inside slots, observers and timers since the list was last cleared.
slot_errors: list[BaseException] = []
# What PythonQt, the .ui loader and VTK would have written to the error output.
complaints: list[str] = []

# (address of the object, signature) -> [(callable, wrapped callable, bound signal of a stand-in or None)]
_connections: dict[tuple[int, str], list[tuple[Any, Any, Any]]] = {}


def complain(text: str) -> None:
    """Remember and print what the real application would print."""
    complaints.append(text)
    sys.stderr.write(text + "\n")


def remember_exception(kind: type, error: BaseException, trace: Any) -> None:
    """Remember an exception that C++ swallows; installed as `sys.excepthook`, which Qt and VTK call."""
    slot_errors.append(error)
    traceback.print_exception(kind, error, trace)


def _argument_count(function: Any) -> int | None:
    """Return how many arguments a Python function takes, None if any number."""
    code, bound = (function.__func__, 1) if isinstance(function, types.MethodType) else (function, 0)
    takes_any = not isinstance(code, types.FunctionType) or code.__code__.co_flags & 0x04
    return None if takes_any else code.__code__.co_argcount - bound


def guarded(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a slot that drops surplus arguments, as PythonQt does, and remembers exceptions."""
    count = _argument_count(function)

    def slot(*arguments: Any) -> None:
        try:
            function(*(arguments if count is None else arguments[:count]))
        except Exception as error:  # noqa: BLE001  an event loop has nobody to raise it to
            remember_exception(type(error), error, error.__traceback__)

    return slot


def _slot_name(slot: Any) -> str:
    text = slot if isinstance(slot, str) else bytes(slot).decode()
    return text.lstrip("0123456789").split("(")[0]


def connect(sender: Any, signal: Any, receiver: Any, slot: Any = None, *_: Any) -> bool:
    """Connect a signal given by signature to a callable, or to a slot of a receiver.

    Returns:
        False with one line on the error output if the sender has no such signal, as in Slicer.
    """
    signature = facts.normalized(signal)
    found = classes.find_signal(type(sender), signature=signature)
    if found is None:
        complain(f"QObject::connect() signal '{signature}' does not exist on {classes.cpp_name(type(sender))}")
        return False
    if slot is not None:
        receiver = getattr(receiver, _slot_name(slot))
    function = guarded(receiver)
    bound = getattr(sender, found.attribute) if found.attribute else None
    if bound is not None:
        bound.connect(function)
    else:
        QtCore.QObject.connect(sender, QtCore.SIGNAL(signature), function)
    _connections.setdefault((shiboken6.getCppPointer(sender)[0], signature), []).append((receiver, function, bound))
    return True


def disconnect(sender: Any, signal: Any, receiver: Any = None, slot: Any = None) -> bool:
    """Undo `connect`; returns whether there was such a connection."""
    signature = facts.normalized(signal)
    if slot is not None:
        receiver = getattr(receiver, _slot_name(slot))
    kept = _connections.get((shiboken6.getCppPointer(sender)[0], signature), [])
    undone = False
    for connection in list(kept):
        target, function, bound = connection
        if receiver is not None and target != receiver:
            continue
        kept.remove(connection)
        undone = True
        if bound is not None:
            bound.disconnect(function)
        else:
            QtCore.QObject.disconnect(sender, QtCore.SIGNAL(signature), function)
    return undone


class Signal:
    """What `button.clicked` is in Slicer: something to connect, disconnect, emit and call."""

    def __init__(self, sender: Any, name: str, bound: Any) -> None:
        self._sender, self._name, self._bound = sender, name, bound

    def _signature(self) -> str:
        found = classes.find_signal(type(self._sender), name=self._name)
        if found is None:
            raise AttributeError(self._name)
        return found.signature

    def connect(self, function: Any) -> bool:
        """Connect the first overload to a callable."""
        if not callable(function):
            raise TypeError(f"connect() expects a callable, got {function!r}")
        return connect(self._sender, self._signature(), function)

    def disconnect(self, function: Any = None) -> bool:
        """Undo `connect`, for all callables if none is given."""
        return disconnect(self._sender, self._signature(), function)

    def emit(self, *arguments: Any) -> None:
        """Emit the overload that takes these arguments."""
        try:
            self._bound.emit(*arguments)
        except TypeError:
            kinds = tuple(type(argument) for argument in arguments)
            self._bound[kinds if len(kinds) != 1 else kinds[0]].emit(*arguments)

    __call__ = emit
