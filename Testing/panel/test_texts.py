"""Every text that the panel shows can be translated."""

import ast
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"
FILES = [EXTENSION / "SemiSeg.py", *sorted((EXTENSION / "SemiSegModule").rglob("*.py"))]
SHOWN = {"text", "toolTip", "title", "windowTitle", "placeholderText"}
SHOWING = {"setText", "setToolTip", "addItem", "setHorizontalHeaderLabels", "showError", "errorDisplay"}
SHOWING |= {"confirmOkCancelDisplay", "confirmYesNoDisplay", "infoDisplay", "warningDisplay", "messageBox"}
# Names of nodes.
SHOWING |= {"AddNewNodeByClass", "GenerateUniqueName", "GetUniqueNameByString", "SetName"}
SHOWING |= {"showStatusMessage", "delayDisplay", "appendPlainText", "addAction", "setWindowTitle", "addItems"}
# Keyword arguments of these that are shown.
KEYWORDS = {"windowTitle", "text", "title", "toolTip", "detailedText"}
# The name of the module is the same in every language.
NAMES = {"SemiSeg"}


def name(path):
    return path.relative_to(EXTENSION).as_posix()


def words(node):
    """Constants with letters that stand in an expression outside of a call of tr."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
        return []
    # "..." of _("...").format(...) is inside the call of tr.
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join"):
        return words(node.func.value)
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and any(c.isalpha() for c in node.value) else []
    if isinstance(node, (ast.JoinedStr, ast.List, ast.IfExp, ast.BoolOp, ast.BinOp)):
        return [word for child in ast.iter_child_nodes(node) for word in words(child)]
    return []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_text_reaches_the_screen_untranslated(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            found += words(node.value) if node.targets[0].attr in SHOWN else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SHOWING:
            shown = [*node.args, *(item.value for item in node.keywords if item.arg in KEYWORDS)]
            found += [word for argument in shown for word in words(argument)]
    assert [word for word in found if word not in NAMES and not word.startswith("vtkMRML")] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_texts_are_whole_literals_so_that_translators_find_them(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"{name(path)}:{node.lineno}"
            assert isinstance(argument.value, str), f"{name(path)}:{node.lineno}"


@pytest.mark.parametrize("path", sorted(EXTENSION.rglob("*.ui")), ids=name)
def test_every_text_of_a_form_is_left_to_the_translators(path):
    """loadUI translates what is not marked as left out."""
    assert all(item.get("notr") is None for item in ElementTree.parse(path).getroot().iter("string"))


# Arguments that are shown; the others of a finding are for programs.
SAID = ("what", "where", "remedy")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_goes_wrong_is_translated_too(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("explain", "Finding"):
            shown = [*node.args, *(item.value for item in node.keywords if item.arg in SAID)]
            assert [word for argument in shown for word in words(argument)] == [], f"{name(path)}:{node.lineno}"
