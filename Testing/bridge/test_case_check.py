"""What a check says of empty segments and of regions that hold nothing, and what its fix makes of the labels."""

from dataclasses import replace

import numpy as np
import pytest

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge import drawing
from SemiSegModule.bridge.case_check import check, lookedForWithout, snapshot
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.region import SLICES, Region, requireSlices
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT
from Testing.bridge import scenes
from Testing.bridge.exports import a_case, exported, names_of

NOTHING = np.zeros(scenes.SHAPE, bool)


def masks_of():
    masks = scenes.blobs(np.random.default_rng(0))
    return {**masks, "organ": masks["head"] | masks["tail"]}


def a_drawn_case(drawn, meanings, lookedFor, **changes):
    """A case with one segment for each name, empty if it is not among those drawn."""
    masks, volume = masks_of(), scenes.a_volume(np.random.default_rng(1))
    node = scenes.a_segmentation(volume, {name: masks.get(drawn.get(name), NOTHING) for name in meanings})
    said = {f"id {name}": meaning for name, meaning in meanings.items()}
    return a_case(volume, node, meanings=said, lookedFor=lookedFor, **changes)


def found(case):
    checked = check(snapshot(case, scenes.SCHEME))
    return {finding.code for finding in checked.findings}, checked.emptySegments


def test_the_place_of_a_finding_is_told_in_the_language_of_slicer(scene, monkeypatch):
    monkeypatch.setattr(drawing, "_", lambda text: f"<{text}>")
    checked = check(snapshot(a_drawn_case({}, {"vessel": "vessel"}, ("vessel",)), scenes.SCHEME))
    assert [finding.where for finding in checked.findings] == ["<segmentation 'labels'>"]


def test_one_of_two_segments_of_a_structure_may_be_empty(scene):
    meanings = {"left": "vessel", "right": "vessel"}
    assert found(a_drawn_case({"left": "vessel"}, meanings, ("vessel",))) == (set(), ())
    assert found(a_drawn_case({}, meanings, ("vessel",))) == ({"empty_segment"}, ("id left", "id right"))


def test_a_whole_that_is_drawn_by_its_parts_is_not_absent(scene):
    meanings = {"organ": "organ", "head": "head", "tail": "tail"}
    assert found(a_drawn_case({"head": "head", "tail": "tail"}, meanings, ("organ", "head", "tail"))) == (set(), ())


def test_an_empty_segment_of_what_was_not_looked_for_says_nothing(scene):
    meanings = {"head": "head", "vessel": "vessel"}
    assert found(a_drawn_case({"head": "head"}, meanings, ("head",))) == (set(), ())
    assert found(a_drawn_case({"head": "head"}, meanings, ("head", "vessel"))) == ({"empty_segment"}, ("id vessel",))


@pytest.mark.parametrize(
    ("drawn", "lookedFor", "kept", "inside", "outside"),
    [
        # Every structure was ticked: the whole must not say any more that its part is absent.
        ("tail", ("organ", "head", "tail", "vessel"), ("tail", "vessel"), "tail", "background+head"),
        # A whole that was drawn is nowhere else; which of its voxels are the part is not known.
        ("organ", ("organ", "head", "vessel"), ("organ", "vessel"), "organ", "background"),
    ],
)
def test_what_was_not_looked_for_may_be_wherever_nothing_else_is(
    scene, tmp_path, drawn, lookedFor, kept, inside, outside
):
    case = a_drawn_case({drawn: drawn}, {drawn: drawn, "head": "head"}, lookedFor)
    codes, empty = found(case)
    assert (codes, empty) == ({"empty_segment"}, ("id head",))
    fixed = replace(case, lookedFor=lookedForWithout(case, empty, scenes.SCHEME))
    fixed = replace(fixed, meanings={**fixed.meanings, "id head": LEFT_OUT})
    assert fixed.lookedFor == kept
    study, _, labels = exported(tmp_path, fixed)
    names, mask = names_of(study, labels), masks_of()[drawn]
    assert set(names[mask]) == {inside}
    assert set(names[~mask]) == {outside}


def test_an_empty_segment_that_says_where_the_case_was_annotated_is_an_error_of_its_own(scene):
    meanings = {"head": "head", "here": ANNOTATED_REGION}
    assert found(a_drawn_case({"head": "head"}, meanings, ("head",))) == ({"nowhere_annotated"}, ())


def test_a_region_beside_the_scan_is_an_error(scene):
    case = a_drawn_case({"head": "head"}, {"head": "head"}, ("head",))
    beside = replace(case, region=Region(kind=SLICES, ranges=((90, 95),)))
    assert found(beside) == ({"nowhere_annotated"}, ())
    assert found(replace(case, region=Region(kind=SLICES, ranges=((3, 95),)))) == (set(), ())


@pytest.mark.parametrize("axis", range(3))
def test_slices_that_the_scan_does_not_have_are_refused(scene, axis):
    grid = worldGrid(scenes.a_volume(np.random.default_rng(0)))
    last = scenes.SHAPE[2 - axis] - 1
    requireSlices(((0, last),), grid, axis)
    with pytest.raises(CaseError, match=f"slice {last + 1} is not in the scan"):
        requireSlices(((0, 1), (3, last + 1)), grid, axis)
