"""The way to the plan's grid and back: exact without resampling, true in space with it."""

from itertools import permutations, product

import numpy as np
import pytest

from SemiSegLib.batches.grid import PlanGrid, resample, resample_codes
from SemiSegLib.batches.prepare import prepare_codes, prepare_image
from SemiSegLib.cases.orientation import Orientation
from SemiSegLib.cases.volume import Geometry, Volume
from Testing.lib.batches.study import a_plan, drawing
from Testing.lib.cases.tiny import oblique

NEVER = (False, False, False)


def turned_copies(volume: Volume):
    """The scan stored in all 48 axis orders and directions: voxels move in memory, not in space."""
    for order in permutations(range(3)):
        for flips in product((False, True), repeat=3):
            turn = Orientation(order, flips)
            yield Volume(turn.apply(volume.voxels), turn.apply_geometry(volume.geometry))


@pytest.mark.parametrize("axis_order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("spacing_mm", [(1.6, 0.7, 0.9), (1.1, 1.3, 0.8)])
def test_all_48_ways_to_store_one_scan_give_the_same_prepared_arrays(axis_order, spacing_mm):
    generator = np.random.default_rng(3)
    scan = Volume(generator.normal(0, 50, (5, 7, 9)).astype(np.float32), oblique((5, 7, 9), (1.6, 0.7, 0.9)))
    labels = Volume(drawing((5, 7, 9), 1), scan.geometry)
    plan = a_plan(axis_order=axis_order, spacing_mm=tuple(spacing_mm[a] for a in axis_order))
    expected, grid = prepare_image([scan], plan)
    expected_codes = prepare_codes(labels.voxels, grid)
    assert expected.shape[1:] == grid.shape == expected_codes.shape
    copies = list(zip(turned_copies(scan), turned_copies(labels), strict=True))
    assert len(copies) == 48
    for copy, copied_labels in copies:
        image, grid = prepare_image([copy], plan)
        assert np.array_equal(image, expected)
        codes = prepare_codes(copied_labels.voxels, grid)
        assert np.array_equal(codes, expected_codes)
        back = grid.restore_labels(codes)
        assert back.shape == copy.voxels.shape
        if grid.shape == grid.native_shape:
            assert np.array_equal(back, copied_labels.voxels)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_restored_has_the_scan_s_shape_and_still_sums_to_one(seed):
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(1, 41, 3))
    spacing = tuple(float(mm) for mm in generator.uniform(0.5, 4.0, 3))
    plan = a_plan(spacing_mm=tuple(float(mm) for mm in generator.uniform(0.7, 3.0, 3)), axis_order=(1, 2, 0))
    geometry = oblique(shape, spacing, degrees_z=float(generator.uniform(-40, 40)))
    grid = PlanGrid.of(geometry, plan)
    probability = generator.random((3, *grid.shape)).astype(np.float32)
    probability /= probability.sum(axis=0)
    restored = grid.restore(probability)
    assert restored.shape == (3, *shape)
    assert restored.min() >= 0
    np.testing.assert_allclose(restored.sum(axis=0), 1, atol=1e-5)
    extent = np.array(grid.shape) * grid.spacing_mm
    canonical = grid.orientation.apply_geometry(geometry)
    expected = (np.array(canonical.shape) * canonical.spacing_mm)[[1, 2, 0]]
    np.testing.assert_allclose(extent, expected)


def test_a_ramp_in_space_stays_that_ramp_after_resampling():
    positions = np.arange(12, dtype=np.float32) + 0.5
    ramp = np.broadcast_to(positions[:, None, None], (12, 3, 2))
    for kind in ("cubic", "linear"):
        finer = resample(ramp, (24, 3, 2), kind=kind, nearest=NEVER)
        coarser = resample(ramp, (6, 3, 2), kind=kind, nearest=NEVER)
        np.testing.assert_allclose(finer[4:-4, 0, 0], ((np.arange(24) + 0.5) / 2)[4:-4], atol=1e-5)
        np.testing.assert_allclose(coarser[2:-2, 1, 1], ((np.arange(6) + 0.5) * 2)[2:-2], atol=1e-5)


def test_fine_texture_is_averaged_and_not_sampled_when_voxels_get_coarser():
    stripes = np.tile(np.array([1.0, -1.0], dtype=np.float32), 16).reshape(32, 1, 1)
    coarser = resample(stripes, (8, 1, 1), kind="cubic", nearest=NEVER)
    assert np.abs(coarser[1:-1]).max() < 0.03
    assert np.abs(coarser).max() < 0.2


def test_resampled_codes_are_codes_that_were_drawn_and_ties_say_nothing():
    codes = np.zeros((1, 1, 4), dtype=np.uint8)
    codes[..., 1:] = (7, 7, 2)
    finer = resample_codes(codes, (1, 1, 12), nearest=NEVER)
    assert list(finer[0, 0]) == [0, 0, 0, 7, 7, 7, 7, 7, 7, 2, 2, 2]
    # Two voxels become one between them: both weigh a half, and "anything" wins.
    assert resample_codes(codes[..., :2], (1, 1, 1), nearest=NEVER)[0, 0, 0] == 0


def test_no_slice_is_interpolated_between_thick_slices():
    slices = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 6, 6), dtype=np.float32)
    geometry = Geometry((4, 6, 6), np.diag([5.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    grid = PlanGrid.of(geometry, a_plan(spacing_mm=(2.5, 1.0, 1.0)))
    assert grid.nearest == (True, False, False)
    assert set(np.unique(grid.resample_image(slices))) == {0.0, 1.0, 2.0, 3.0}


def test_a_plan_of_slices_keeps_the_slices_of_the_scan():
    geometry = oblique((5, 12, 14), (8.0, 1.0, 1.0))
    grid = PlanGrid.of(geometry, a_plan(dimensions=2, patch=(8, 8), spacing_mm=(0.0, 2.0, 2.0)))
    assert grid.shape == (5, 6, 7)
