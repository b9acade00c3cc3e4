"""The `qt` module as PythonQt makes it: what it wraps of Qt, and nothing else."""

import types
from typing import Any

from Testing.host import facts


class QtModule(types.ModuleType):
    """`import qt`: classes found in PySide6, refused if PythonQt does not wrap them.

    Args:
        replacements: names the host answers itself, such as the .ui loader.
    """

    def __init__(self, replacements: dict[str, Any]) -> None:
        super().__init__("qt", "Stand-in for PythonQt's qt module.")
        self.__dict__.update(replacements)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for library in facts.LIBRARIES:
            if not hasattr(library, name):
                continue
            if name[0] == "Q" and name not in facts.QT_API:
                raise AttributeError(
                    f"qt.{name} is not in Testing/host/data/qt_api.json: PythonQt does not wrap it, or the subset of "
                    "its table that the host keeps leaves it out"
                )
            value = getattr(library, name)
            self.__dict__[name] = value
            return value
        note = " (PythonQt wraps it with Qt 5; Qt 6 has no such class)" if name in facts.QT_API else ""
        raise AttributeError(f"module 'qt' has no attribute '{name}'{note}")
