"""The tree of structures: what it derives, and what it refuses."""

import numpy as np
import pytest

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology, name_key


def scheme(*structures, name="test"):
    return LabelScheme(name=name, structures=tuple(structures))


def tumor():
    return scheme(
        Structure(name="Whole Tumor"),
        Structure(name="edema", parent="Whole Tumor"),
        Structure(name="core", parent="whole_tumor", aliases=("TC",)),
        Structure(name="necrosis", parent="TC"),
        Structure(name="enhancing", parent="core", aliases=("ET",)),
        Structure(name="vessel"),
    )


def coded(value, *, category="123037004", modifier=None):
    return Terminology(
        category=Code(scheme="SCT", value=category, meaning="Anatomical Structure"),
        type=Code(scheme="SCT", value=value, meaning="x"),
        type_modifier=Code(scheme="SCT", value=modifier, meaning="y") if modifier else None,
    )


def test_background_is_added_as_the_first_leaf_and_superclass():
    tree = tumor()
    assert tree.leaf_names == ("background", "edema", "necrosis", "enhancing", "vessel")
    assert tree.superclass_names == ("background", "Whole Tumor", "vessel")


def test_background_listed_anywhere_comes_first():
    tree = scheme(Structure(name="a"), Structure(name="Background", color=(1.0, 0.0, 0.0)), Structure(name="b"))
    assert tree.leaf_names == ("Background", "a", "b")
    assert tree.leaves[0].color == (1.0, 0.0, 0.0)


def test_each_leaf_knows_its_superclass():
    tree = tumor()
    assert tree.superclass_of_leaf == (0, 1, 1, 1, 2)
    expected = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)
    assert np.array_equal(tree.membership, expected)


def test_a_parent_may_be_named_by_its_alias():
    assert tumor().leaves_of("core") == {2, 3}


def test_a_group_is_the_leaves_inside_it():
    tree = tumor()
    assert tree.leaves_of("whole tumor") == {1, 2, 3}
    assert tree.leaf_set(["edema", "TC"]) == {1, 2, 3}
    assert tree.leaf_set(["*"]) == {0, 1, 2, 3, 4}
    assert [s.name for s in tree.ancestors("ET")] == ["enhancing", "core", "Whole Tumor"]


@pytest.mark.parametrize("name", ["Whole Tumor", "whole_tumor", "WHOLE-TUMOR", "wholetumor", " whole  tumor "])
def test_names_are_compared_without_case_spaces_hyphens_and_underscores(name):
    assert tumor().find(name).name == "Whole Tumor"


def test_full_width_letters_are_the_same_name():
    assert name_key("Ｌｉｖｅｒ") == name_key("liver")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(LabelError, match="did you mean 'enhancing'"):
        tumor().find("enhanceing")


def test_a_label_set_in_words_uses_the_largest_structures():
    tree = tumor()
    assert tree.cover(frozenset({0, 1, 2, 3})) == ("Whole Tumor", "background")
    assert tree.describe(frozenset({0, 1, 2, 3})) == "Whole Tumor or background"
    assert tree.cover(frozenset(range(5))) == ("*",)
    assert tree.describe(frozenset(range(5))) == "anything"
    assert tree.describe(frozenset()) == "nothing"


def test_the_cover_of_any_set_is_that_set():
    tree = tumor()
    for bits in range(1, 2**5):
        wanted = frozenset(i for i in range(5) if bits >> i & 1)
        assert tree.leaf_set(list(tree.cover(wanted))) == wanted


def test_codes_decide_before_names():
    tree = scheme(Structure(name="a", terminology=coded("1")), Structure(name="b", terminology=coded("2")))
    assert tree.match("b", coded("1")).name == "a"


def test_codes_match_whatever_the_category_is_called():
    tree = scheme(Structure(name="a", terminology=coded("1")), Structure(name="b"))
    assert tree.match("unknown", coded("1", category="91723000")).name == "a"


def test_a_refined_code_is_another_structure():
    tree = scheme(
        Structure(name="whole", terminology=coded("1")),
        Structure(name="front", parent="whole", terminology=coded("1", modifier="9")),
        Structure(name="back", parent="whole", terminology=coded("1", modifier="8")),
    )
    assert tree.match("?", coded("1")).name == "whole"
    assert tree.match("?", coded("1", modifier="8")).name == "back"
    assert tree.match("?", coded("1", modifier="7")) is None


def test_codes_shared_by_two_structures_decide_nothing():
    tree = scheme(Structure(name="a", terminology=coded("1")), Structure(name="b", terminology=coded("1")))
    assert tree.match("B", coded("1")).name == "b"
    assert tree.match("c", coded("1")) is None


REFUSED = {
    "a name used twice": ((Structure(name="liver"), Structure(name="Liver")), "'Liver' stands for two structures"),
    "a child with two parents": (
        (Structure(name="a"), Structure(name="b"), Structure(name="c", parent="a"), Structure(name="c", parent="b")),
        "'c' stands for two structures",
    ),
    "an alias that is another's name": (
        (Structure(name="liver"), Structure(name="spleen", aliases=("LIVER",))),
        "'LIVER' stands for two structures",
    ),
    "an alias called background": (
        (Structure(name="a"), Structure(name="b", aliases=("Background",))),
        "'Background' stands for two structures",
    ),
    "an orphan": (
        (Structure(name="kidney"), Structure(name="tumor", parent="kidny")),
        "'tumor' has the parent 'kidny', which is not a structure[^$]*did you mean 'kidney'",
    ),
    "a cycle": (
        (Structure(name="a", parent="c"), Structure(name="b", parent="a"), Structure(name="c", parent="b")),
        "circle: a > c > b > a",
    ),
    "a structure that is its own parent": ((Structure(name="a", parent="A"), Structure(name="b")), "circle: a > a"),
    "a child of background": (
        (Structure(name="a"), Structure(name="air", parent="background")),
        "'air' lies inside background",
    ),
    "a parent of background": (
        (Structure(name="body"), Structure(name="background", parent="body")),
        "background has the parent 'body'",
    ),
    "an empty name": ((Structure(name=" - "),), "empty name ' - '"),
    "the name that stands for anything": ((Structure(name="*"),), "is the name of a structure"),
    "nothing but background": ((Structure(name="background"),), "no structure besides background"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_scheme_refuses(case):
    structures, message = REFUSED[case]
    with pytest.raises(LabelError, match=message) as caught:
        scheme(*structures, name="mine")
    assert "label scheme 'mine'" in str(caught.value)


@pytest.mark.parametrize("color", [(0.0, 1.1, 0.0), (-0.1, 0.0, 0.0), (float("nan"), 0.0, 0.0)])
def test_a_color_outside_its_range_is_refused_with_the_structure(color):
    with pytest.raises(LabelError, match="structure 'liver'"):
        Structure(name="liver", color=color)
