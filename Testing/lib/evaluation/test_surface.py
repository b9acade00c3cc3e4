"""Surface distances against hand results, medpy and MONAI."""

import threading

import edt
import numpy as np
import pytest
import torch
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from SemiSegLib.errors import ShapeError
from SemiSegLib.evaluation.surface import bounding_box, surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 1.3), (0.31, 4.0, 0.9)]


def blob(seed: int, shape: tuple[int, ...], *, share: float = 0.3) -> np.ndarray:
    """Return a random smooth mask that may touch the edges of the array."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 1.2)
    return smooth > np.quantile(smooth, 1 - share)


def as_monai(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(6))
def test_every_distance_equals_medpy(seed, spacing):
    shape = (11 + seed, 17, 13 - seed)
    one, other = blob(seed, shape), blob(seed + 100, shape, share=0.1 + 0.1 * seed)
    found = surface_distances(one, other, spacing)
    assert found.hausdorff == pytest.approx(medpy.hd(one, other, spacing), rel=1e-5)
    assert found.hausdorff95 == pytest.approx(medpy.hd95(one, other, spacing), rel=1e-5)
    assert found.asd == pytest.approx(medpy.asd(one, other, spacing), rel=1e-5)
    assert found.assd == pytest.approx(medpy.assd(one, other, spacing), rel=1e-5)
    assert surface_distances(other, one, spacing).asd == pytest.approx(medpy.asd(other, one, spacing), rel=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_directed_percentile_and_surface_dice_equal_monai(seed, spacing):
    one, other = blob(seed, (9, 21, 15)), blob(seed + 50, (9, 21, 15))
    found = surface_distances(one, other, spacing)
    pair = (as_monai(one), as_monai(other))
    options = {"include_background": True, "spacing": list(spacing)}
    assert found.hausdorff95_directed == pytest.approx(
        compute_hausdorff_distance(*pair, percentile=95, **options).item(), rel=1e-5
    )
    assert found.asd == pytest.approx(compute_average_surface_distance(*pair, **options).item(), rel=1e-5)
    assert found.surface_dice(1.5) == pytest.approx(
        compute_surface_dice(*pair, class_thresholds=[1.5], **options).item(), rel=1e-5
    )


def test_two_flat_plates_have_the_distance_between_them():
    # Plates at depth 2 and 7, slices 3 mm apart: every distance is 5 x 3 = 15 mm.
    one, other = np.zeros((2, 11, 5, 7), dtype=bool)
    one[2], other[7] = True, True
    found = surface_distances(one, other, (3.0, 0.5, 0.5))
    assert (found.hausdorff, found.hausdorff95, found.hausdorff95_directed) == (15.0, 15.0, 15.0)
    assert (found.asd, found.assd) == (15.0, 15.0)
    assert (found.surface_dice(14.9), found.surface_dice(15.0)) == (0.0, 1.0)


def test_directed_distances_differ_where_one_mask_has_an_island():
    reference = np.zeros((1, 30), dtype=bool)
    reference[0, 3] = True
    prediction = reference.copy()
    prediction[0, 23] = True
    found = surface_distances(prediction, reference, (1.0, 2.0))
    # The island is 20 voxels x 2 mm away; the reference's one surface voxel is inside the prediction.
    assert found.asd == 20.0
    assert surface_distances(reference, prediction, (1.0, 2.0)).asd == 0.0
    assert found.hausdorff == 40.0


def test_the_empty_mask_is_infinitely_far_from_a_mask_and_at_no_distance_from_another_empty_one():
    mask, nothing = np.ones((2, 3, 4), dtype=bool), np.zeros((2, 3, 4), dtype=bool)
    for found in (surface_distances(mask, nothing, (1, 1, 1)), surface_distances(nothing, mask, (1, 1, 1))):
        assert (found.hausdorff, found.hausdorff95, found.hausdorff95_directed) == (np.inf, np.inf, np.inf)
        assert (found.asd, found.assd, found.surface_dice(100)) == (np.inf, np.inf, 0.0)
    both = surface_distances(nothing, nothing, (1, 1, 1))
    assert (both.hausdorff, both.hausdorff95, both.assd, both.surface_dice(0)) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 9), (5, 1, 7), (40, 2, 3), (33,), (8, 12)])
def test_the_surface_is_what_erosion_takes_away(shape):
    mask = np.random.default_rng(3).random(shape) > 0.3
    np.testing.assert_array_equal(surface(mask), mask ^ ndimage.binary_erosion(mask))


def test_cropping_to_the_bounding_box_changes_nothing():
    small, other = blob(5, (7, 9, 8)), blob(6, (7, 9, 8))
    wide = [np.pad(mask, ((3, 11), (0, 5), (20, 1))) for mask in (small, other)]
    tight = [np.pad(mask, 1) for mask in (small, other)]
    np.testing.assert_array_equal(
        surface_distances(*wide, (2, 1, 0.5)).pooled, surface_distances(*tight, (2, 1, 0.5)).pooled
    )
    lone = np.zeros((4, 5, 6), dtype=bool)
    lone[1, 2:4, 5] = True
    assert bounding_box(lone) == (slice(1, 2), slice(2, 4), slice(5, 6))


def test_a_wrong_shape_or_spacing_is_named():
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(3, 2\)"):
        surface_distances(np.ones((2, 3), bool), np.ones((3, 2), bool), (1, 1))
    with pytest.raises(ShapeError, match="with 2 spacings"):
        surface_distances(np.ones((2, 3, 4), bool), np.ones((2, 3, 4), bool), (1, 1))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", [(1, 23, 9), (15, 1, 4), (20, 31, 17)])
def test_the_distance_transform_package_equals_scipy(shape, spacing):
    seeds = np.random.default_rng(0).random(shape) > 0.97
    seeds.flat[3] = True
    for mask in (~seeds, np.asfortranarray(~seeds), (~seeds)[::-1, :, ::-1]):
        expected = ndimage.distance_transform_edt(mask, sampling=spacing)
        np.testing.assert_allclose(edt.edt(mask, anisotropy=spacing), expected, rtol=1e-5)


def test_the_distance_transform_package_gives_the_same_from_many_threads():
    generator = np.random.default_rng(1)
    jobs = [(generator.random((31, 33, 35)) < 0.998, tuple(generator.uniform(0.3, 4.0, 3))) for _ in range(6)]
    expected = [edt.edt(mask, anisotropy=spacing) for mask, spacing in jobs]
    wrong = []

    def work(index):
        for _ in range(15):
            mask, spacing = jobs[index]
            if not np.array_equal(edt.edt(mask, anisotropy=spacing), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
