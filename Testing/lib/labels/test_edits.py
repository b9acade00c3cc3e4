"""Edits of a label scheme: what is refused, what follows, and which weights can be kept afterwards."""

import numpy as np
import pytest

from SemiSegLib.errors import LabelError
from SemiSegLib.labels import edits, name_steps
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology

TERM = Terminology(
    category=Code(scheme="SCT", value="123037004", meaning="Anatomical Structure"),
    type=Code(scheme="SCT", value="64033007", meaning="Kidney"),
)
SCHEME = LabelScheme(
    name="test",
    description="kept",
    source="here",
    structures=(
        Structure(name="organ"),
        Structure(name="head", parent="organ", aliases=("caput",)),
        Structure(name="tail", parent="organ"),
        Structure(name="vessel", terminology=TERM),
    ),
)


def tree(scheme):
    return {s.name: s.parent for s in scheme.structures if s.name != "background"}


def test_a_structure_is_added_alone_or_as_a_part_and_a_whole_without_parts_is_split():
    alone = edits.add_structure(SCHEME, " cyst ")
    assert tree(alone.scheme)["cyst"] is None
    assert alone.steps == (name_steps.Step(kind="add", before=(), after="cyst"),)
    part = edits.add_structure(SCHEME, "arch", parent="VESSEL")
    assert tree(part.scheme)["arch"] == "vessel"
    assert part.steps == (name_steps.Step(kind="split", before=("vessel",), after="arch"),)
    assert (part.scheme.description, part.scheme.source) == ("kept", "here")
    assert alone.scheme.find("cyst").color not in {s.color for s in SCHEME.structures}


def test_the_rest_of_a_whole_is_a_part_of_it_and_is_added_once():
    scheme = edits.move_structure(SCHEME, "tail", None).scheme
    assert scheme.leaves_of("organ") == scheme.leaves_of("head")
    edit = edits.add_rest(scheme, "ORGAN")
    assert tree(edit.scheme)["rest of organ"] == "organ"
    assert edit.scheme.leaves_of("organ") > edit.scheme.leaves_of("head")
    with pytest.raises(LabelError, match="there is a structure 'rest of organ' already"):
        edits.add_rest(edit.scheme, "organ")


def test_a_renamed_structure_keeps_its_parts_and_is_found_by_its_old_name():
    edit = edits.rename_structure(SCHEME, "organ", "pancreas")
    assert tree(edit.scheme) == {"pancreas": None, "head": "pancreas", "tail": "pancreas", "vessel": None}
    assert edit.scheme.find("organ").name == "pancreas"
    assert (edit.name_now("organ"), edit.name_now("head")) == ("pancreas", "head")
    again = edits.rename_structure(edit.scheme, "pancreas", "Organ")
    assert again.scheme.find("organ").aliases == ("pancreas",)


def test_a_spelling_can_be_corrected():
    edit = edits.rename_structure(SCHEME, "head", "Head")
    assert edit.scheme.find("head").name == "Head"
    assert edit.scheme.find("caput").name == "Head"


def test_an_alias_gives_way_to_a_structure_of_that_name():
    edit = edits.add_structure(SCHEME, "caput")
    assert edit.scheme.find("caput").name == "caput"
    assert edit.scheme.find("head").aliases == ()
    renamed = edits.rename_structure(SCHEME, "tail", "Caput")
    assert renamed.scheme.find("caput").name == "Caput"


def test_parts_of_a_removed_whole_move_up():
    edit = edits.remove_structure(SCHEME, "organ")
    assert tree(edit.scheme) == {"head": None, "tail": None, "vessel": None}
    assert edit.name_now("organ") is None


def test_moving_takes_the_parts_along():
    edit = edits.move_structure(SCHEME, "organ", "vessel")
    assert tree(edit.scheme) == {"organ": "vessel", "head": "organ", "tail": "organ", "vessel": None}
    assert tree(edits.move_structure(edit.scheme, "organ", None).scheme) == tree(SCHEME)


def test_merged_structures_are_one_with_all_names_and_parts():
    scheme = edits.add_structure(SCHEME, "tip", parent="tail").scheme
    edit = edits.merge_structures(scheme, ["tail"], "head")
    assert tree(edit.scheme) == {"organ": None, "head": "organ", "tip": "head", "vessel": None}
    assert edit.scheme.find("head").aliases == ("caput", "tail")
    assert edit.steps == (name_steps.Step(kind="merge", before=("head", "tail"), after="head"),)
    assert edit.name_now("tail") == "head"


def test_colors_and_codes_change_alone():
    edit = edits.recolor_structure(SCHEME, "head", (0.1, 0.2, 0.3))
    assert edit.scheme.find("head").color == (0.1, 0.2, 0.3)
    assert edits.code_structure(SCHEME, "vessel", None).scheme.find("vessel").terminology is None
    assert edits.code_structure(SCHEME, "head", TERM).scheme.find("head").terminology == TERM


def test_structures_of_another_scheme_come_in_by_codes_name_and_alias():
    more = LabelScheme(
        name="more",
        structures=(
            Structure(name="Caput"),
            Structure(name="artery", terminology=TERM),
            Structure(name="arch", parent="artery"),
            Structure(name="cyst", aliases=("tail", "bubble")),
        ),
    )
    edit = edits.add_structures(SCHEME, more)
    assert tree(edit.scheme) == {**tree(SCHEME), "arch": "vessel", "cyst": None}
    assert edit.scheme.find("cyst").aliases == ("bubble",)
    assert edits.add_structures(None, more).scheme is more


def test_a_scheme_begins_with_its_first_structure():
    edit = edits.add_structure(None, " liver ")
    assert [s.name for s in edit.scheme.structures] == ["background", "liver"]
    assert [(step.kind, step.after) for step in edit.steps] == [("add", "liver")]
    with pytest.raises(LabelError, match="background"):
        edits.add_structure(None, "background")
    with pytest.raises(LabelError, match="organ"):
        edits.add_structure(None, "liver", parent="organ")
    assert edits.add_structures(SCHEME, SCHEME).scheme is SCHEME


def test_wholes_of_another_scheme_come_in_above_their_parts_but_for_those_that_a_person_put_elsewhere():
    more = LabelScheme(
        name="more",
        structures=(
            Structure(name="body"),
            Structure(name="organ", parent="body"),
            Structure(name="front", parent="organ"),
            Structure(name="head", parent="front"),
            Structure(name="tubes", parent="body"),
            Structure(name="vessel", parent="tubes"),
        ),
    )
    expected = {"organ": "body", "head": "front", "tail": "organ", "vessel": "tubes"}
    new = {"body": None, "front": "organ", "tubes": "body"}
    assert tree(edits.add_structures(SCHEME, more).scheme) == {**expected, **new}
    moved = edits.move_structure(SCHEME, "head", "vessel").scheme
    assert tree(edits.add_structures(moved, more).scheme) == {**expected, **new, "head": "vessel"}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda: edits.add_structure(SCHEME, "  "), "a structure needs a name"),
        (lambda: edits.add_structure(SCHEME, "- _"), "a structure needs a name"),
        (lambda: edits.add_structure(SCHEME, "HEAD"), "there is a structure 'head' already"),
        (lambda: edits.add_structure(SCHEME, "Background"), "there is a structure 'background' already"),
        (lambda: edits.add_structure(SCHEME, 'a "b"'), "cannot be a name"),
        (lambda: edits.add_structure(SCHEME, "a|b"), "cannot be a name"),
        (lambda: edits.add_structure(SCHEME, "*"), "cannot be a name"),
        (lambda: edits.add_structure(SCHEME, "x", parent="background"), "background cannot get parts"),
        (lambda: edits.rename_structure(SCHEME, "head", "tail"), "there is a structure 'tail' already"),
        (lambda: edits.rename_structure(SCHEME, "head", ""), "a structure needs a name"),
        (lambda: edits.rename_structure(SCHEME, "background", "air"), "background cannot be renamed"),
        (lambda: edits.remove_structure(SCHEME, "background"), "background cannot be removed"),
        (lambda: edits.move_structure(SCHEME, "organ", "organ"), "'organ' cannot be part of itself"),
        (lambda: edits.move_structure(SCHEME, "organ", "head"), "so 'organ' cannot be part of it"),
        (lambda: edits.move_structure(SCHEME, "head", "background"), "background cannot get parts"),
        (lambda: edits.merge_structures(SCHEME, ["organ"], "head"), "'head' is a part of 'organ'"),
        (lambda: edits.merge_structures(SCHEME, ["background"], "head"), "background cannot be merged"),
        (lambda: edits.recolor_structure(SCHEME, "hea", (0, 0, 0)), "'hea' is not a structure"),
    ],
)
def test_what_makes_no_scheme_is_refused_with_a_sentence(edit, words):
    with pytest.raises(LabelError, match=words):
        edit()


def test_the_last_structure_stays():
    scheme = LabelScheme(name="one", structures=(Structure(name="organ"),))
    with pytest.raises(LabelError, match="'organ' is the only structure"):
        edits.remove_structure(scheme, "organ")


def steps_of(*changes):
    scheme, steps = SCHEME, []
    for change in changes:
        edit = change(scheme)
        scheme, steps = edit.scheme, [*steps, *edit.steps]
    return steps


def test_renames_in_a_row_lead_back_to_what_the_model_knows():
    steps = steps_of(
        lambda s: edits.rename_structure(s, "head", "front"), lambda s: edits.rename_structure(s, "front", "anterior")
    )
    assert name_steps.origins(steps) == ({"anterior": "head"}, {})
    assert name_steps.origins(steps, {"front", "tail"}) == ({"anterior": "front"}, {})


def test_a_name_that_comes_back_needs_no_help():
    steps = steps_of(
        lambda s: edits.rename_structure(s, "head", "front"), lambda s: edits.rename_structure(s, "front", "head")
    )
    assert name_steps.origins(steps) == ({}, {})


def test_merged_structures_lead_back_to_all_their_names():
    steps = steps_of(
        lambda s: edits.rename_structure(s, "tail", "back"), lambda s: edits.merge_structures(s, ["back"], "head")
    )
    assert name_steps.origins(steps) == ({}, {"head": ("head", "tail")})
    steps += steps_of(lambda s: edits.rename_structure(s, "head", "all"))
    assert name_steps.origins(steps) == ({}, {"all": ("head", "tail")})


def test_a_part_of_a_split_structure_is_new_and_a_removed_one_is_forgotten():
    steps = steps_of(
        lambda s: edits.add_structure(s, "arch", parent="vessel"), lambda s: edits.rename_structure(s, "tail", "end")
    )
    assert name_steps.origins(steps) == ({"end": "tail"}, {})
    steps = steps_of(lambda s: edits.rename_structure(s, "tail", "end"), lambda s: edits.remove_structure(s, "end"))
    assert name_steps.origins(steps) == ({}, {})


def test_a_new_structure_of_an_old_name_has_nothing_to_do_with_it():
    steps = steps_of(
        lambda s: edits.rename_structure(s, "head", "front"),
        lambda s: edits.add_structure(s, "head"),
        lambda s: edits.rename_structure(s, "head", "face"),
    )
    assert name_steps.origins(steps) == ({"front": "head"}, {})


def any_edit(scheme, generator, number):
    """One of the five edits with names at random, good or bad."""
    names = [s.name for s in scheme.structures]
    one, two = (str(generator.choice(names)) for _ in range(2))
    new = str(generator.choice([f"new {number}", one, "head", ""]))
    kind = int(generator.integers(5))
    if kind == 0:
        return edits.add_structure(scheme, new, parent=two if number % 2 else None)
    if kind == 1:
        return edits.rename_structure(scheme, one, new)
    if kind == 2:
        return edits.remove_structure(scheme, one)
    if kind == 3:
        return edits.move_structure(scheme, one, two if number % 3 else None)
    return edits.merge_structures(scheme, [one], two)


@pytest.mark.parametrize("seed", range(20))
def test_any_row_of_edits_leaves_a_whole_scheme_and_traceable_names(seed):
    """200 random edits: each is refused with a sentence or gives a valid tree; origins speak of names of today."""
    generator = np.random.default_rng(seed)
    scheme, steps, refused = SCHEME, [], []
    for number in range(200):
        try:
            edit = any_edit(scheme, generator, number)
        except LabelError as error:
            refused.append(str(error))
            continue
        scheme, steps = edit.scheme, [*steps, *edit.steps]
        assert all(scheme.find(alias) is s for s in scheme.structures for alias in s.aliases)
        renamed, merged = name_steps.origins(steps)
        assert set(renamed) | set(merged) <= {s.name for s in scheme.structures}
    assert 0 < len(refused) < 200
    assert all("remedy" in text for text in refused)
