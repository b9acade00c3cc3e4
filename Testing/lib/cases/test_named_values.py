"""The label tables of other programs become a tree of structures and what each value means."""

import pytest

from SemiSegLib.cases.named_values import read_named_values
from SemiSegLib.errors import CaseError, LabelError


def read(labels, hierarchy=None):
    return read_named_values("study", labels, hierarchy, where="dataset.json")


def test_names_to_values_and_values_to_names_are_the_same_table():
    forward = read({"background": 0, "anterior": 1, "posterior": 2})
    backward = read({"0": "background", "1": "anterior", "2": "posterior"})
    assert forward == backward
    assert forward.values == {0: ("background",), 1: ("anterior",), 2: ("posterior",)}
    assert forward.scheme.leaf_names == ("background", "anterior", "posterior")


def test_leaves_are_in_the_order_of_their_values_whatever_the_order_in_the_file():
    assert read({"10": "c", "2": "b", "0": "background", "1": "a"}).scheme.leaf_names == ("background", "a", "b", "c")


def test_value_0_is_background_whatever_it_is_called():
    assert read({"0": "clear label", "1": "organ"}).scheme.leaf_names == ("background", "organ")
    assert read({"organ": 1}).scheme.leaf_names == ("background", "organ")
    assert read({"organ": 1}).values == {0: ("background",), 1: ("organ",)}


def test_a_hierarchy_gives_superclasses():
    found = read({"background": 0, "RV": 1, "MYO": 2, "LV": 3}, {"heart": ["RV", "MYO", "LV"]})
    assert found.scheme.superclass_names == ("background", "heart")
    assert found.scheme.leaves_of("heart") == {1, 2, 3}


def test_a_hierarchy_may_be_nested_and_leave_structures_out():
    found = read({"a": 1, "b": 2, "c": 3, "d": 4}, {"ab": ["a", "b"], "abc": ["ab", "c"], "d": ["d"]})
    assert found.scheme.superclass_names == ("background", "abc", "d")
    assert found.scheme.leaves_of("ab") == {1, 2}


def test_the_ignore_label_is_anything():
    found = read({"background": 0, "organ": 1, "ignore": 2})
    assert found.values[2] == ("*",)
    assert found.scheme.leaf_names == ("background", "organ")


def test_regions_in_regions_become_a_tree_with_a_leaf_for_what_is_left_over():
    labels = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}
    found = read(labels)
    assert found.values == {
        0: ("background",),
        1: ("rest of whole tumor",),
        2: ("rest of tumor core",),
        3: ("enhancing tumor",),
    }
    names = found.scheme.leaf_names
    for region, values in (("whole tumor", (1, 2, 3)), ("tumor core", (2, 3)), ("enhancing tumor", (3,))):
        assert {names[i] for i in found.scheme.leaves_of(region)} == {found.values[v][0] for v in values}


def test_values_that_no_name_tells_apart_are_one_leaf():
    found = read({"background": 0, "tumor": [1, 2], "organ": 3})
    assert found.values == {0: ("background",), 1: ("tumor",), 2: ("tumor",), 3: ("organ",)}


@pytest.mark.parametrize(
    ("labels", "hierarchy", "words"),
    [
        ({"background": 0}, None, "no label besides background"),
        ({}, None, "expected a table"),
        ([], None, "expected a table"),
        ({"a": "one"}, None, "the label 'a' has the value 'one'"),
        ({"a": 1.5}, None, "whole number"),
        ({"a": True}, None, "whole number"),
        ({"a": -1}, None, "whole number"),
        ({"a": []}, None, "whole number"),
        ({"1": "a", "2": "a"}, None, "listed twice"),
        ({"a": [1, 2], "b": [2, 3]}, None, "neither contains the other"),
        ({"a": 1, "b": [1]}, None, "stand for the same values"),
        ({"a": 1, "b": 2}, {"ab": ["a", "bb"]}, "did you mean 'b'"),
        ({"a": 1}, ["a"], "'hierarchy' is not a table"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(labels, hierarchy, words):
    with pytest.raises(CaseError, match=words):
        read(labels, hierarchy)


def test_a_hierarchy_in_a_circle_is_refused():
    with pytest.raises(LabelError, match="circle"):
        read({"a": 1}, {"b": ["c"], "c": ["b"]})
