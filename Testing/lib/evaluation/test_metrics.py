"""Scores of a case: hand results, medpy and MONAI, empty cases, and references that know only a part."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from medpy.metric import binary as medpy
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from scipy import ndimage

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import ConfigError, LabelError, ShapeError
from SemiSegLib.evaluation.counts import count_voxels, joint_histogram, judged_structures
from SemiSegLib.evaluation.metrics import score_case
from SemiSegLib.evaluation.modes import MODES
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.reach import largest_component
from SemiSegLib.labels.scheme import LabelScheme, Structure

SPACING = (3.0, 0.7, 1.1)
SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ"),
        Structure(name="lobe", parent="organ"),
        Structure(name="top", parent="lobe"),
        Structure(name="bottom", parent="lobe"),
        Structure(name="rim", parent="organ"),
        Structure(name="vessel"),
    ),
)
# Leaves: background 0, top 1, bottom 2, rim 3, vessel 4.
LEAVES = len(SCHEME.leaves)
FULL = LabelSetTable.of(LEAVES, [frozenset({leaf}) for leaf in range(LEAVES)])


def volume(voxels: np.ndarray, spacing=SPACING) -> Volume:
    return Volume(voxels, Geometry(voxels.shape, np.diag([*spacing, 1.0])))


def codes_of(leaves: np.ndarray, table: LabelSetTable = FULL) -> np.ndarray:
    return np.array([table.code(frozenset({leaf})) for leaf in range(LEAVES)], dtype=np.uint8)[leaves]


def regions(seed: int, shape=(9, 17, 13)) -> np.ndarray:
    """Return smooth random leaf indices."""
    noise = np.random.default_rng(seed).normal(size=(LEAVES, *shape))
    return np.stack([ndimage.gaussian_filter(part, 1.5) for part in noise]).argmax(0).astype(np.uint8)


def rows_of(prediction, reference, table=FULL, *, mode="strict", spacing=SPACING):
    score = score_case("one", volume(prediction, spacing), reference, table, SCHEME, mode=mode)
    return {row.structure: row for row in score.rows}


def mask_of(leaves: np.ndarray, name: str) -> np.ndarray:
    return np.isin(leaves, sorted(SCHEME.leaves_of(name)))


@pytest.mark.parametrize("seed", range(4))
def test_every_structure_of_the_tree_is_scored_as_medpy_scores_its_mask(seed):
    prediction, reference = regions(seed), regions(seed + 10)
    rows = rows_of(prediction, codes_of(reference))
    assert [(name, row.kind) for name, row in rows.items()] == [
        ("organ", "superclass"),
        ("lobe", "group"),
        ("top", "leaf"),
        ("bottom", "leaf"),
        ("rim", "leaf"),
        ("vessel", "leaf"),
    ]
    for name, row in rows.items():
        pair = (mask_of(prediction, name), mask_of(reference, name))
        assert row.dice == pytest.approx(medpy.dc(*pair), rel=1e-9)
        assert row.jaccard == pytest.approx(medpy.jc(*pair), rel=1e-9)
        assert row.sensitivity == pytest.approx(medpy.sensitivity(*pair), rel=1e-9)
        assert row.precision == pytest.approx(medpy.precision(*pair), rel=1e-9)
        assert row.hd == pytest.approx(medpy.hd(*pair, SPACING), rel=1e-5)
        assert row.hd95 == pytest.approx(medpy.hd95(*pair, SPACING), rel=1e-5)
        assert row.asd == pytest.approx(medpy.asd(*pair, SPACING), rel=1e-5)
        assert row.assd == pytest.approx(medpy.assd(*pair, SPACING), rel=1e-5)
        assert row.prediction_ml == pytest.approx(pair[0].sum() * math.prod(SPACING) / 1000)
        assert (row.unit, row.known_fraction, row.empty) == ("mm", 1.0, "")


def test_half_an_overlap_has_the_dice_of_the_hand_calculation():
    prediction, reference = np.zeros((2, 1, 4, 8), dtype=np.uint8)
    prediction[0, :, :4], reference[0, :, 2:8] = 4, 4
    # 16 predicted, 24 in the reference, 8 in both: Dice 2 x 8 / 40, Jaccard 8 / 32.
    row = rows_of(prediction, codes_of(reference))["vessel"]
    assert (row.dice, row.jaccard, row.sensitivity, row.precision) == (0.4, 0.25, 8 / 24, 0.5)


@pytest.mark.parametrize(
    ("predicted", "drawn", "dice", "distance", "empty"),
    [(False, False, 1.0, 0.0, "both"), (False, True, 0.0, None, "prediction"), (True, False, 0.0, None, "reference")],
)
def test_strict_mode_decides_every_empty_case(predicted, drawn, dice, distance, empty):
    prediction, reference = np.zeros((2, 4, 6, 5), dtype=np.uint8)
    prediction[1, 2:4, 2] = 4 * predicted
    reference[1, 2:4, 2] = 4 * drawn
    row = rows_of(prediction, codes_of(reference))["vessel"]
    diagonal = math.sqrt((4 * 3.0) ** 2 + (6 * 0.7) ** 2 + (5 * 1.1) ** 2)
    worst = diagonal if distance is None else distance
    assert (row.dice, row.empty, row.surface_dice) == (dice, empty, dice)
    assert [row.hd, row.hd95, row.hd95_directed, row.asd, row.assd] == pytest.approx([worst] * 5)


@pytest.mark.parametrize("mode", [name for name in MODES if name != "strict"])
@pytest.mark.parametrize("seed", range(3))
def test_paper_modes_equal_the_library_the_paper_used(mode, seed):
    prediction, reference = regions(seed), regions(seed + 20)
    for name, row in rows_of(prediction, codes_of(reference), mode=mode).items():
        one, other = mask_of(prediction, name), mask_of(reference, name)
        if mode == "paper_000":
            assert row.dice == pytest.approx(medpy.dc(one, other), rel=1e-9)
            assert row.hd95 == pytest.approx(medpy.hd95(one, other), rel=1e-5)
            assert (row.unit, row.asd) == ("voxel", None)
        elif mode == "paper_001":
            pair = [torch.from_numpy(mask)[None, None].float() for mask in (one, other)]
            distance = HausdorffDistanceMetric(include_background=True, percentile=95)
            assert row.dice == pytest.approx(DiceMetric()(*pair).item(), rel=1e-6)
            assert row.hd95 == pytest.approx(distance(*pair, spacing=list(SPACING)).item(), rel=1e-5)
        elif mode == "paper_002":
            assert row.dice == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum() + 1))
            assert (row.hd95, row.jaccard) == (None, None)
        else:
            components, count = ndimage.label(one, structure=np.ones((3, 3, 3)))
            kept = components == 1 + np.argmax([(components == i + 1).sum() for i in range(count)])
            assert row.dice == pytest.approx(medpy.dc(kept, other), rel=1e-9)
            assert row.jaccard == pytest.approx(medpy.jc(kept, other), rel=1e-9)
            assert row.asd == pytest.approx(medpy.asd(kept, other), rel=1e-5)
            assert row.hd95 == pytest.approx(medpy.hd95(kept, other), rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "without_prediction", "without_reference", "without_both"),
    [
        ("paper_000", (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        ("paper_001", (0.0, None), (None, None), (None, None)),
        ("paper_002", (0.0, None), (0.0, None), (0.0, None)),
        ("paper_003", (0.0, 0.0), (0.0, None), (0.0, 0.0)),
    ],
)
def test_paper_modes_score_empty_masks_as_the_papers_did(mode, without_prediction, without_reference, without_both):
    nothing = np.zeros((3, 5, 4), dtype=np.uint8)
    something = nothing.copy()
    something[1, 1:3, 1:3] = 4
    for prediction, reference, expected in (
        (nothing, something, without_prediction),
        (something, nothing, without_reference),
        (nothing, nothing, without_both),
    ):
        row = rows_of(prediction, codes_of(reference), mode=mode)["vessel"]
        assert (row.dice, row.hd95) == expected


def test_monai_leaves_out_what_paper_001_leaves_out():
    nothing, something = torch.zeros(1, 1, 3, 5, 4), torch.zeros(1, 1, 3, 5, 4)
    something[..., 1:3] = 1
    assert DiceMetric()(nothing, something).item() == 0.0
    assert DiceMetric()(something, nothing).isnan().all()
    assert DiceMetric()(nothing, nothing).isnan().all()


def test_a_coarse_case_scores_its_superclasses_and_no_leaf_that_was_not_drawn():
    truth = regions(3)
    organ = frozenset({1, 2, 3})
    table = LabelSetTable.of(LEAVES, [frozenset({0}), organ, frozenset({4})])
    lookup = [table.code(frozenset({0})), *[table.code(organ)] * 3, table.code(frozenset({4}))]
    prediction = regions(4)
    rows = rows_of(prediction, np.array(lookup, dtype=np.uint8)[truth], table)
    assert list(rows) == ["organ", "vessel"]
    full = rows_of(prediction, codes_of(truth))
    for name, row in rows.items():
        assert (row.dice, row.hd95, row.known_fraction) == (full[name].dice, full[name].hd95, 1.0)


def test_a_partial_case_scores_only_the_structure_that_was_drawn():
    truth, prediction = regions(5), regions(6)
    others = frozenset({0, 1, 2, 3})
    table = LabelSetTable.of(LEAVES, [others, frozenset({4})])
    codes = np.where(truth == 4, table.code(frozenset({4})), table.code(others)).astype(np.uint8)
    rows = rows_of(prediction, codes, table)
    assert list(rows) == ["vessel"]
    assert rows["vessel"] == rows_of(prediction, codes_of(truth))["vessel"]


def test_annotated_slices_are_scored_by_overlap_alone_and_the_other_slices_do_not_matter():
    truth, prediction = regions(7), regions(8)
    codes = codes_of(truth)
    codes[[0, 1, 4, 5, 6, 7, 8]] = 0
    rows = rows_of(prediction, codes)
    changed = prediction.copy()
    changed[[0, 5]] = 0
    assert rows == rows_of(changed, codes)
    inside = rows_of(prediction[2:4], codes_of(truth[2:4]))
    for name, row in rows.items():
        assert (row.dice, row.hd95, row.assd) == (inside[name].dice, None, None)
        assert row.known_fraction == pytest.approx(2 / 9)


def test_a_case_without_any_label_scores_nothing():
    assert rows_of(regions(1), np.zeros((9, 17, 13), dtype=np.uint8)) == {}


def test_a_single_slice_is_judged_as_an_image():
    prediction, reference = regions(1, (1, 21, 19)), regions(2, (1, 21, 19))
    for name, row in rows_of(prediction, codes_of(reference)).items():
        pair = (mask_of(prediction, name)[0], mask_of(reference, name)[0])
        assert row.assd == pytest.approx(medpy.assd(*pair, SPACING[1:]), rel=1e-5)


def test_a_mode_can_be_changed_and_an_unknown_one_is_answered_with_the_nearest():
    prediction, reference = regions(1), regions(2)
    narrow, wide = (
        rows_of(prediction, codes_of(reference), mode=dataclasses.replace(MODES["strict"], tolerance_mm=tolerance))
        for tolerance in (0.0, 4.0)
    )
    assert narrow["organ"].surface_dice < wide["organ"].surface_dice
    with pytest.raises(ConfigError, match="did you mean 'strict'"):
        rows_of(prediction, codes_of(reference), mode="strikt")
    with pytest.raises(ConfigError, match="did you mean 'hd95'"):
        dataclasses.replace(MODES["strict"], metrics=("hd96",))


def test_the_largest_component_joins_voxels_that_share_a_corner():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[3, 3, 3] = True
    kept = largest_component(mask)
    assert kept.sum() == 2
    assert not kept[3, 3, 3]


def test_counts_cannot_overflow():
    # 2000^3 voxels of which each image holds 5e9 of the structure: more than 32 bits can count.
    joint = np.zeros((LEAVES, len(FULL)), dtype=np.int64)
    vessel, background = FULL.code(frozenset({4})), FULL.code(frozenset({0}))
    joint[4, vessel], joint[4, background], joint[0, background] = 4_000_000_000, 1_000_000_000, 3_000_000_000
    counts = count_voxels(joint, judged_structures(SCHEME, FULL)[-1])
    assert (counts.both, counts.prediction, counts.voxels) == (4_000_000_000, 5_000_000_000, 8_000_000_000)
    small = joint_histogram(np.full((3, 4, 5), 4, np.uint8), np.full((3, 4, 5), vessel, np.uint8), LEAVES, len(FULL))
    assert small.dtype == np.int64
    assert small[4, vessel] == small.sum() == 60


def test_values_and_shapes_that_do_not_fit_are_named():
    with pytest.raises(LabelError, match="the prediction holds the value 9, expected 0 to 4"):
        rows_of(np.full((2, 3, 4), 9, np.uint8), np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(LabelError, match="the reference holds the value 7"):
        rows_of(np.zeros((2, 3, 4), np.uint8), np.full((2, 3, 4), 7, np.uint8))
    with pytest.raises(ShapeError, match="case 'one'"):
        rows_of(np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 5), np.uint8))
