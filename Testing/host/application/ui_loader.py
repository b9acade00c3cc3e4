"""qt.QUiLoader that knows CTK's and Slicer's classes."""

import functools
import operator
import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools

from Testing.host import facts
from Testing.host.pythonqt import signals
from Testing.host.pythonqt.classes import find_property
from Testing.host.widgets.factory import stand_in


class UiLoader(QtUiTools.QUiLoader):
    """Loads .ui files; PySide6 alone knows neither our classes nor connections with C++ pointers in them."""

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> Any:
        if class_name not in facts.SLICER_API:
            return super().createWidget(class_name, parent, name)
        widget = stand_in(class_name)(parent)
        widget.setObjectName(name)
        return widget

    def load(self, device: Any, parent: Any = None) -> Any:
        """Return the top widget of a .ui file, None if the file is broken."""
        root = ElementTree.fromstring(bytes(device.readAll()))
        connections = _taken_connections(root)
        enums = _taken_enums(root)
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        top = super().load(buffer, parent)
        if top is None:
            return None
        objects = [top, *top.findChildren(QtCore.QObject)]
        by_name = {item.objectName(): item for item in objects}
        for name, property_name, value in enums:
            widget = by_name[name]
            found = find_property(type(widget), property_name)
            if found is None or found.stand_in is None:
                raise AttributeError(f"{name} has no property '{property_name}'")
            found.stand_in.fset(widget, value)
        for connection in connections:
            _connect(by_name, connection)
        # The Python half of a stand-in must live as long as the form.
        top.__dict__["_children"] = objects
        return top


def _taken_connections(root: ElementTree.Element) -> list[dict[str, str]]:
    element = root.find("connections")
    if element is None:
        return []
    root.remove(element)
    return [{item.tag: item.text or "" for item in connection} for connection in element]


def _taken_enums(root: ElementTree.Element) -> list[tuple[str, str, Any]]:
    """Take enum and flag values of stand-ins out of the file: Qt knows only enums of its own classes."""
    taken = []
    for widget in root.iter("widget"):
        class_name = widget.get("class", "")
        if class_name not in facts.SLICER_API:
            continue
        for item in widget.findall("property"):
            value = item.find("set") if item.find("set") is not None else item.find("enum")
            if value is None or not (value.text or "").startswith(class_name + "::"):
                continue
            names = [name.rsplit("::", 1)[1] for name in (value.text or "").split("|")]
            values = [getattr(stand_in(class_name), name) for name in names]
            taken.append((widget.get("name", ""), item.get("name", ""), functools.reduce(operator.or_, values)))
            widget.remove(item)
    return taken


def _connect(by_name: dict[str, Any], connection: dict[str, str]) -> None:
    sender, receiver = by_name.get(connection["sender"]), by_name.get(connection["receiver"])
    known = sender is not None and receiver is not None
    if not known or not signals.connect(sender, connection["signal"], receiver, connection["slot"]):
        signals.complain(f"connection of the .ui file can not be made: {connection}")
