"""From the plan's grid back to the scan's: slab by slab the same as all at once, on exactly the scan's voxels."""

import numpy as np
import pytest
import torch

from SemiSegLib.batches.grid import PlanGrid
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.restore import Restorer
from SemiSegLib.prediction.window import Slab

LEAVES = 4
HEART = LabelScheme(
    name="heart",
    structures=(
        Structure(name="heart"),
        *(Structure(name=name, parent="heart") for name in ("cavity", "muscle", "right")),
    ),
)
FLAT = LabelScheme(name="flat", structures=(Structure(name="organ"),))


def grid_of(shape, spacing, wanted, *, axis_order=(0, 1, 2)):
    plan = Plan(
        dimensions=3,
        channels=(ChannelPlan(role="a"),),
        axis_order=axis_order,
        spacing_mm=wanted,
        patch=(8, 8, 8),
        batch=2,
        network=NetworkPlan(),
    )
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    # Array axes point left, to inferior and to posterior, turned by 23 degrees: nothing is canonical.
    affine[:3, :3] = turn @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]).astype(float) * spacing
    affine[:3, 3] = (3.3, -5.0, 40.0)
    return PlanGrid.of(Geometry(shape, affine), plan)


def probabilities_on(grid, seed=0):
    logits = np.random.default_rng(seed).normal(size=(LEAVES, *grid.shape)) * 2
    exponent = np.exp(logits)
    return (exponent / exponent.sum(0)).astype(np.float32)


def restored(grid, values, rows, *, uncertainty, own=None, rule="leaf"):
    restorer = Restorer(grid, Decision(HEART if len(values) == LEAVES else FLAT, rule), uncertainty=uncertainty)
    for start in range(0, values.shape[1], rows):
        part = torch.from_numpy(values[:, start : start + rows].copy())
        restorer.add(Slab(start, part, None if own is None else torch.from_numpy(own[start : start + rows].copy())))
    return restorer.finish()


CASES = [
    ((17, 13, 21), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ((17, 13, 21), (1.0, 0.7, 1.3), (1.5, 1.5, 1.5)),
    ((40, 9, 11), (1.0, 2.0, 1.0), (2.3, 0.8, 1.0)),
    ((9, 60, 7), (4.5, 0.8, 0.8), (1.0, 3.0, 0.8)),
    ((1, 13, 21), (1.0, 1.0, 1.0), (2.0, 0.5, 1.0)),
    ((70, 5, 6), (1.0, 1.0, 1.0), (0.31, 1.0, 1.0)),
]


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("axis_order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize(("shape", "spacing", "wanted"), CASES)
def test_slab_by_slab_is_the_same_as_restoring_everything_at_once(shape, spacing, wanted, axis_order, rows):
    grid = grid_of(shape, spacing, wanted, axis_order=axis_order)
    values = probabilities_on(grid)
    expected = grid.restore(values)
    leaves, uncertainty = restored(grid, values, rows, uncertainty=True)
    assert leaves.shape == shape
    assert (leaves.dtype, uncertainty.dtype) == (np.uint8, np.float32)
    ordered = np.sort(expected, axis=0)
    is_clear = ordered[-1] - ordered[-2] > 1e-5
    np.testing.assert_array_equal(leaves[is_clear], expected.argmax(0)[is_clear])
    assert is_clear.mean() > 0.99
    entropy = -(expected * np.log(np.maximum(expected, 1e-12))).sum(0) / np.log(LEAVES)
    np.testing.assert_allclose(uncertainty, entropy, atol=1e-5)


@pytest.mark.parametrize(("shape", "spacing", "wanted"), CASES)
def test_the_methods_own_uncertainty_is_restored_like_a_probability(shape, spacing, wanted):
    grid = grid_of(shape, spacing, wanted)
    values = probabilities_on(grid)
    own = np.random.default_rng(1).random(grid.shape).astype(np.float32)
    leaves, uncertainty = restored(grid, values, 5, uncertainty=True, own=own)
    np.testing.assert_allclose(uncertainty, grid.restore(own[None])[0], atol=1e-5)
    np.testing.assert_array_equal(leaves, restored(grid, values, 5, uncertainty=False)[0])


@pytest.mark.parametrize(("shape", "spacing", "wanted"), CASES)
def test_a_structure_is_found_where_its_parts_together_are_likelier_than_background(shape, spacing, wanted):
    grid = grid_of(shape, spacing, wanted)
    values = probabilities_on(grid)
    expected = grid.restore(values)
    inner = expected[1:].sum(0)
    is_clear = (np.abs(inner - expected[0]) > 1e-5) & (np.ptp(np.sort(expected[1:], axis=0)[-2:], axis=0) > 1e-5)
    wanted_leaves = np.where(inner > expected[0], 1 + expected[1:].argmax(0), 0)
    leaves, _none = restored(grid, values, 5, uncertainty=False, rule="superclass_first")
    np.testing.assert_array_equal(leaves[is_clear], wanted_leaves[is_clear])
    assert (wanted_leaves != expected.argmax(0)).mean() > 0.02


def test_no_uncertainty_is_made_that_nobody_asked_for():
    grid = grid_of((5, 6, 7), (1.0, 1.0, 1.0), (2.0, 1.0, 1.0))
    own = np.zeros(grid.shape, dtype=np.float32)
    assert restored(grid, probabilities_on(grid), 2, uncertainty=False, own=own)[1] is None


def test_uncertainty_is_0_for_a_sure_model_and_1_for_one_that_knows_nothing():
    grid = grid_of((5, 6, 7), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    sure = np.zeros((LEAVES, *grid.shape), dtype=np.float32)
    sure[2] = 1
    leaves, uncertainty = restored(grid, sure, 2, uncertainty=True)
    assert (leaves == 2).all()
    np.testing.assert_array_equal(uncertainty, 0)
    np.testing.assert_allclose(restored(grid, np.full_like(sure, 1 / LEAVES), 2, uncertainty=True)[1], 1, atol=1e-6)


def test_a_thin_structure_is_decided_after_interpolation_and_not_before():
    # 12 voxels of 1 mm from 4 of 3 mm, whose centers lie at voxels 1, 4, 7 and 10. The first leaf falls from 0.9 at
    # voxel 4 to 0.4 at voxel 7, so it has 0.73 at 5 and 0.57 at 6: the border lies between 6 and 7. Labels alone
    # would have put it between 5 and 6.
    grid = grid_of((1, 1, 12), (1.0, 1.0, 1.0), (1.0, 3.0, 1.0))
    first = np.array([0.9, 0.9, 0.4, 0.4], dtype=np.float32).reshape(grid.shape)
    leaves, _none = restored(grid, np.stack([first, 1 - first]), 1, uncertainty=False)
    assert sorted(leaves.ravel().tolist()) == [0] * 7 + [1] * 5


@pytest.mark.parametrize("with_own", [False, True])
@pytest.mark.parametrize(("shape", "spacing", "wanted"), CASES)
def test_doubt_is_the_entropy_in_bits_whatever_the_method_says_of_itself(shape, spacing, wanted, with_own):
    grid = grid_of(shape, spacing, wanted)
    values = probabilities_on(grid)
    own = np.random.default_rng(1).random(grid.shape).astype(np.float32) if with_own else None
    restorer = Restorer(grid, Decision(HEART, "leaf"), uncertainty=with_own, doubt=True)
    for start in range(0, values.shape[1], 5):
        part = torch.from_numpy(values[:, start : start + 5].copy())
        restorer.add(Slab(start, part, None if own is None else torch.from_numpy(own[start : start + 5].copy())))
    _leaves, uncertainty = restorer.finish()
    expected = grid.restore(values)
    bits = (-expected * np.log2(np.maximum(expected, 1e-12))).sum(0).clip(0, 1)
    doubt = restorer.finished_doubt()
    assert (doubt.shape, doubt.dtype) == (shape, np.uint8)
    np.testing.assert_allclose(doubt / 255, bits, atol=0.003)
    if own is not None:
        np.testing.assert_allclose(uncertainty, grid.restore(own[None])[0], atol=1e-5)
