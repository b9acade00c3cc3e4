"""The checked-in list of what the module takes from Slicer: complete, true, and nothing newer than 5.10 unasked."""

import ast
import json
from pathlib import Path

import pytest
import SimpleITK
import slicer
import vtk

from Testing.host import facts
from Testing.host.lint import names
from Testing.host.lint.used_api import LIST, collected
from Testing.host.lint.versions import NEWER, unguarded

LISTED = json.loads(LIST.read_text(encoding="utf-8"))
ANEW = "run `python -m Testing.host.lint.used_api`, look at what is new, and commit the list"


def test_the_code_uses_what_the_list_says_and_the_list_what_the_code_uses():
    now = collected()
    for part in ("names", "signals", "methods"):
        assert set(now[part]) == set(LISTED[part]), ANEW
    assert now["members"] == LISTED["members"], ANEW
    assert now["methods"] == LISTED["methods"], ANEW


def test_the_list_is_long_enough_to_mean_something():
    assert len(LISTED["names"]) > 60
    assert sum(len(found) for found in LISTED["members"].values()) > 150
    assert len(LISTED["methods"]) > 60
    assert len(LISTED["signals"]) > 15


def test_every_name_of_the_list_is_in_slicer():
    for name in LISTED["names"]:
        parts = tuple(name.split("."))
        assert names.class_error(parts[:2]) == "", name
        if len(parts) == 3:
            assert parts[2] in names.util_names(), name


def test_every_member_of_the_list_is_in_the_headers():
    for owner, members in LISTED["members"].items():
        assert owner in facts.SLICER_API or owner in facts.QT_API or owner.startswith("vtk"), owner
        for member in members:
            assert names.member_error(owner, member) == "", f"{owner}.{member}"


def test_every_signal_of_the_list_is_declared_by_a_class():
    known = {signal for name in (*facts.SLICER_API, *facts.QT_API) for signal in facts.signals(name)}
    assert set(LISTED["signals"]) <= known


def test_every_method_of_the_list_is_declared_by_a_class_of_mrml_or_vtk():
    assert [name for name, owners in LISTED["methods"].items() if not owners] == []
    for name, owners in LISTED["methods"].items():
        for owner in owners:
            cls = getattr(slicer, owner, None) or getattr(vtk, owner, None) or getattr(SimpleITK, owner)
            assert hasattr(cls, name), f"{owner}.{name}"


# Names of which nobody has read a version before 5.10. Extensions of the time use it.
UNREAD_BEFORE_5_10 = {"slicer.util.WaitCursor"}


def test_every_name_of_the_list_was_there_before_5_10():
    """A new name needs a look at an older header, or a guard for 5.10; see ``how`` in the file."""
    read = json.loads(facts.DATA.joinpath("api_5_10.json").read_text(encoding="utf-8"))["evidence"]
    assert all(source[:3] in ("A: ", "B: ", "Q: ") for source in read)
    known = [name for names_of_source in read.values() for name in names_of_source]
    assert len(known) == len(set(known))
    listed = {*LISTED["names"], *(f"signal {name}" for name in LISTED["signals"])}
    listed |= {f"method {name}" for name in LISTED["methods"]}
    listed |= {f"{owner}.{member}" for owner, members in LISTED["members"].items() for member in members}
    assert listed - set(known) == UNREAD_BEFORE_5_10


GUARDED = """
def install():
    if importlib.util.find_spec("slicer.packaging") is None:
        raise RuntimeError
    packaging = importlib.import_module("slicer.packaging")

def register(logic):
    if hasattr(logic, "registerCustomSampleDataCategory"):
        logic.registerCustomSampleDataCategory("a")
"""
UNGUARDED = {
    "slicer.packaging.pip_install('a')": "slicer.packaging is new in Slicer 5.12",
    "importlib.import_module('slicer.packaging')": "slicer.packaging is new in Slicer 5.12",
    "logic.registerCustomSampleDataCategory('a')": "registerCustomSampleDataCategory is new in Slicer 5.12",
    "slicer.util.executePythonModule('pip', [])": "slicer.util.executePythonModule is new in Slicer 5.12",
    "slicer.util.pip_install(['a'], constraints='b')": "slicer.util.pip_install(constraints=) is new in Slicer 5.12",
    "if hasattr(a, 'registerCustomSampleDataCategory'):\n    pass\nelse:\n"
    "    a.registerCustomSampleDataCategory('a')": "registerCustomSampleDataCategory is new",
    "if not hasattr(a, 'registerCustomSampleDataCategory'):\n    a.registerCustomSampleDataCategory('a')": "is new in",
    "if hasattr(a, 'b'):\n    logic.registerCustomSampleDataCategory('a')": "registerCustomSampleDataCategory is new",
}


def test_what_is_asked_for_before_may_be_used():
    assert unguarded(Path("a.py"), ast.parse(GUARDED)) == []


@pytest.mark.parametrize("code", UNGUARDED)
def test_what_5_10_does_not_have_is_found_where_nobody_asks_for_it(code):
    (finding,) = unguarded(Path("a.py"), ast.parse(code))
    assert UNGUARDED[code] in str(finding)


def test_nothing_newer_than_5_10_is_in_the_list_but_what_is_asked_for():
    newer = [name for name in LISTED["names"] if name in NEWER]
    assert newer == []
