"""Static check of .ui files: classes, properties and connections against the header tables."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from Testing.host import facts
from Testing.host.lint.findings import Finding, Used


def is_known_class(name: str) -> bool:
    """Return whether a C++ class is in one of the tables and, if it is Qt's, in Qt 6 as well."""
    return name in facts.SLICER_API or (name in facts.QT_API and name in facts.QT_CLASSES)


def check_ui_file(path: Path) -> tuple[dict[str, str], list[Finding]]:
    """Return the class of each named object of a form, and the findings in it."""
    root = ElementTree.parse(path).getroot()
    classes: dict[str, str] = {}
    findings: list[Finding] = []
    for widget in root.iter("widget"):
        class_name, name = widget.get("class", ""), widget.get("name", "")
        if name in classes:
            findings.append(Finding(path, 0, f"two objects are called '{name}'"))
        classes[name] = class_name
        if not is_known_class(class_name):
            findings.append(Finding(path, 0, f"{name}: widget class {class_name} is unknown"))
            continue
        for item in widget.findall("property"):
            # Qt silently makes a dynamic property of a name it does not know, so nothing would tell at run time.
            is_dynamic = item.get("stdset") == "0"
            if not is_dynamic and facts.members(class_name).get(item.get("name", "")) != "property":
                findings.append(Finding(path, 0, f"{name}: {class_name} has no property '{item.get('name')}'"))
    for action in root.iter("action"):
        classes[action.get("name", "")] = "QAction"
    findings += [Finding(path, 0, what) for what in _connection_errors(root, classes)]
    return classes, findings


def _connection_errors(root: ElementTree.Element, classes: dict[str, str]) -> list[str]:
    errors = []
    for connection in root.iter("connection"):
        parts = {item.tag: item.text or "" for item in connection}
        for role in ("sender", "receiver"):
            if parts[role] not in classes:
                errors.append(f"connection: there is no object '{parts[role]}'")
        sender, receiver = classes.get(parts["sender"]), classes.get(parts["receiver"])
        if sender and facts.normalized(parts["signal"]) not in facts.signals(sender):
            errors.append(f"connection: {parts['sender']} ({sender}) has no signal {parts['signal']}")
        if receiver and parts["slot"].split("(")[0] not in facts.members(receiver):
            errors.append(f"connection: {parts['receiver']} ({receiver}) has no slot {parts['slot']}")
    return errors


def used_in_form(path: Path) -> Used:
    """Return the classes, properties and signals of a form."""
    root = ElementTree.parse(path).getroot()
    used = Used()
    for widget in root.iter("widget"):
        used.members.add((widget.get("class", ""), ""))
        for item in widget.findall("property"):
            if item.get("stdset") != "0":
                used.members.add((widget.get("class", ""), item.get("name", "")))
    used.signals |= {facts.normalized(item.text or "") for item in root.iter("signal")}
    return used
