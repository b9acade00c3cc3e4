"""The page of console calls: every public call is on it, with arguments that it takes."""

import ast
import inspect
import re
from pathlib import Path

from SemiSegModule.logic import StudyLogic

PAGE = Path(__file__).resolve().parents[2] / "Resources/Documentation/console.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = "\n".join([*re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), *re.findall(r"`(logic\.\w+\(\w+\))`", TEXT)])
PUBLIC = [name for name in dir(StudyLogic) if not name.startswith("_") and callable(getattr(StudyLogic, name))]


def calls():
    for node in ast.walk(ast.parse(CODE)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logic."):
            yield node.func.attr, node


def test_every_public_call_is_shown():
    assert sorted(set(PUBLIC) - {name for name, _node in calls()}) == [], f"add an example to {PAGE.name}"


def test_every_example_calls_what_there_is_with_arguments_that_it_takes():
    for name, node in calls():
        inspect.signature(getattr(StudyLogic, name)).bind(
            None, *[None] * len(node.args), **{item.arg: None for item in node.keywords}
        )


def test_the_examples_that_edit_structures_can_be_run(host):
    """Those that need neither cases nor files."""
    logic, done = StudyLogic(), []
    known = {"logic": logic, "scheme": None}
    for line in ast.parse(CODE).body:
        names = {node.id for node in ast.walk(line) if isinstance(node, ast.Name)}
        if isinstance(line, ast.Assign) and names == {"logic", "scheme"} and "/data" not in ast.unparse(line):
            exec(ast.unparse(line), known)
            done.append(line.value.value.func.attr if isinstance(line.value, ast.Attribute) else "")
    assert {"addStructure", "renameStructure", "moveStructure", "mergeStructures", "removeStructure"} <= set(done)


def test_every_public_call_says_what_it_does():
    for name in PUBLIC:
        assert len(inspect.getdoc(getattr(StudyLogic, name)) or "") > 30, name


def test_the_facade_of_slicer_gives_every_call(module):
    from SemiSeg import SemiSegLogic

    logic = SemiSegLogic()
    assert set(PUBLIC) <= set(dir(logic))
    assert all(callable(getattr(logic, name)) for name in PUBLIC)


def test_the_examples_are_named():
    assert all((PAGE.parent / link).is_file() for link in re.findall(r"\]\((examples/\w+\.py)\)", TEXT))
