"""How much a look at a result is worth: more where more is in doubt or missing, with the place and a reason."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.prediction.findings import PRESENCE, Evidence, find
from SemiSegLib.prediction.review import review, worst_place
from SemiSegLib.runs.review import Review, by_rank, read_review, write_review
from Testing.lib.schemes import ORGAN_AND_VESSEL

HEAD, TAIL, VESSEL = 1, 2, 3
SHAPE, SPACING = (21, 38, 33), (2.5, 0.8, 1.1)
NAMES = RoiTable.of(ORGAN_AND_VESSEL).names


def geometry(shape=SHAPE, spacing=SPACING, seed=0):
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turned * spacing
    affine[:3, 3] = (-40.0, 12.5, 300.0)
    return Geometry(shape, affine)


def in_mm(index):
    return (geometry().affine @ [*index, 1.0])[:3]


def a_result():
    """Head, tail and vessel as boxes, all sure."""
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[3:12, 4:20, 5:25] = HEAD
    voxels[12:17, 4:20, 5:25] = TAIL
    voxels[5:10, 25:32, 8:14] = VESSEL
    return Volume(voxels, geometry()), np.zeros(SHAPE, dtype=np.uint8)


def told(leaves, scores, drawn=()):
    evidence = Evidence(scores=np.array([scores[name] for name in NAMES], dtype=float), source=PRESENCE)
    return find(leaves, ORGAN_AND_VESSEL, evidence, drawn)


SURE = dict.fromkeys(NAMES, 0.95)


def test_a_model_that_is_sure_everywhere_gives_no_reason_to_look():
    leaves, doubt = a_result()
    found = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, SURE))
    assert found == Review(
        score=0.0, reason="The model is sure nearly everywhere.", place_lps_mm=None, uncertain_ml=0.0
    )


def test_the_place_is_the_center_of_a_block_of_doubt_in_millimeters():
    leaves, doubt = a_result()
    doubt[12:16, 8:14, 18:24] = 255
    found = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, SURE))
    np.testing.assert_allclose(found.place_lps_mm, in_mm((13.5, 10.5, 20.5)), atol=2.0)
    voxel_ml = np.prod(SPACING) / 1000
    assert found.uncertain_ml == pytest.approx(4 * 6 * 6 * voxel_ml)
    segmented = np.count_nonzero(leaves.voxels)
    assert found.score == pytest.approx(144 / (144 + segmented))
    assert found.reason == "The model is unsure of 0.3 ml, 3 % of the size of what it segmented, most of all of 'tail'."


def test_a_thick_block_of_doubt_wins_over_the_shell_around_a_structure():
    leaves, doubt = a_result()
    inside = leaves.voxels == HEAD
    shell = inside.copy()
    shell[4:11, 5:19, 6:24] = False
    doubt[shell] = 255
    doubt[12:16, 26:36, 20:30] = 240
    assert np.count_nonzero(shell) > 4 * 10 * 10
    place = np.array(worst_place(doubt, geometry()))
    np.testing.assert_allclose(place, in_mm((13.5, 30.5, 24.5)), atol=3.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_place_is_a_place_of_doubt_in_whatever_map(seed):
    draw = np.random.default_rng(seed)
    shape = tuple(int(n) for n in draw.integers(1, 40, 3))
    grid = geometry(shape, tuple(draw.uniform(0.5, 6, 3)), seed)
    doubt = np.zeros(shape, dtype=np.uint8)
    first = [int(draw.integers(0, n)) for n in shape]
    box = tuple(slice(a, a + 1 + int(draw.integers(0, 8))) for a in first)
    doubt[box] = draw.integers(1, 256)
    place = np.linalg.inv(grid.affine) @ [*worst_place(doubt, grid), 1.0]
    low = np.argwhere(doubt > 0).min(0)
    high = np.argwhere(doubt > 0).max(0)
    # Within a cell, of 3 mm or one voxel, of the block.
    slack = np.maximum(3.0 / np.array(grid.spacing_mm), 1.0)
    assert (place[:3] >= low - slack).all()
    assert (place[:3] <= high + slack).all()
    assert (place[:3] <= np.array(shape) - 1).all()


def test_more_doubt_scores_higher_and_a_large_structure_may_have_more_of_it():
    leaves, doubt = a_result()
    scores = []
    for edge in (2, 4, 6):
        doubt[3 : 3 + edge, 4 : 4 + edge, 5 : 5 + edge] = 255
        scores.append(review(leaves, doubt, ORGAN_AND_VESSEL).score)
    assert all(a < b for a, b in pairwise(scores))
    small = Volume(np.where(leaves.voxels == HEAD, 0, leaves.voxels).astype(np.uint8), leaves.geometry)
    assert review(small, doubt, ORGAN_AND_VESSEL).score > scores[-1]


def test_a_structure_that_may_be_missing_is_named_and_raises_the_score():
    leaves, doubt = a_result()
    leaves.voxels[leaves.voxels == VESSEL] = 0
    unsure = told(leaves, {**SURE, "vessel": 0.5})
    found = review(leaves, doubt, ORGAN_AND_VESSEL, unsure)
    assert found.reason == "The model did not find 'vessel', but is not sure that nothing is there."
    assert found.score == pytest.approx(1 / (2 * len(NAMES)))
    absent = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, {**SURE, "vessel": 0.01}))
    assert absent.score == 0.0
    drawn = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, {**SURE, "vessel": 0.5}, drawn=("vessel",)))
    assert drawn.score == 0.0


def test_a_structure_that_is_unlikely_to_be_there_is_doubted():
    leaves, doubt = a_result()
    found = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, {**SURE, "vessel": 0.02}))
    assert found.reason == "The model segmented 'vessel', though it is unlikely to be in this scan."
    assert found.score > 0


def test_a_scan_in_which_nothing_was_found_is_worth_a_look():
    leaves, doubt = a_result()
    leaves.voxels[:] = 0
    found = review(leaves, doubt, ORGAN_AND_VESSEL, told(leaves, dict.fromkeys(NAMES, 0.01)))
    assert found.score >= 0.5
    assert "found none of the structures" in found.reason
    doubt[3:9, 4:12, 5:15] = 255
    assert review(leaves, doubt, ORGAN_AND_VESSEL).score == 1.0


def test_more_doubt_than_result_is_said_in_words():
    leaves, doubt = a_result()
    doubt[:] = 255
    assert ", more than it segmented, most of all of " in review(leaves, doubt, ORGAN_AND_VESSEL).reason


def test_a_large_scan_is_looked_at_with_little_more_memory_than_it_has():
    shape = (90, 220, 230)
    doubt = np.zeros(shape, dtype=np.uint8)
    doubt[40:60, 100:120, 100:120] = 255
    leaves = Volume(np.ones(shape, dtype=np.uint8), geometry(shape, (1.0, 0.7, 0.7)))
    tracemalloc.start()
    found = review(leaves, doubt, ORGAN_AND_VESSEL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.uncertain_ml > 1
    # Eight bytes a voxel of some rows, but never of the whole scan.
    assert peak < 3.5 * doubt.nbytes


def test_reviews_are_kept_on_file_and_ranked(tmp_path):
    middle = Review(score=0.5, reason="Größe unklar.", place_lps_mm=(1.5, -2.0, 3.0), uncertain_ml=2.0)
    write_review(middle, tmp_path / "0000_review.json")
    assert read_review(tmp_path / "0000_review.json") == middle
    sure = Review(score=0.0, reason="sure", place_lps_mm=None, uncertain_ml=0.0)
    worst = Review(score=0.5, reason="more", place_lps_mm=None, uncertain_ml=3.0)
    assert [name for name, _ in by_rank({"a": sure, "b": middle, "c": worst})] == ["c", "b", "a"]
    (tmp_path / "0000_review.json").write_text('{"score": 3, "reason": "", "place_lps_mm": null, "uncertain_ml": 0}')
    with pytest.raises(ConfigError):
        read_review(tmp_path / "0000_review.json")
