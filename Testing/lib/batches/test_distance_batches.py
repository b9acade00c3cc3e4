"""Signed distances in batches: cut, turned and scaled with the image, the same for every step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SemiSegLib.batches import source as source_file
from SemiSegLib.batches.augment import Augmentation
from SemiSegLib.batches.distance import SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN, DistanceMaps, signed_distance
from SemiSegLib.cases.volume import Volume, read_labels, write_volume
from SemiSegLib.labels.label_set import Regime
from Testing.lib.batches.study import a_plan, of_cases, put_case, put_study
from Testing.lib.batches.test_distance import NAMES, a_source

TURNS = Augmentation(
    rotation_probability=1.0,
    scaling_probability=1.0,
    scaling=(0.7, 1.4),
    mirror=True,
    noise_probability=0.0,
    blur_probability=0.0,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return put_study(tmp_path_factory.mktemp("study"), ("full", "full", "coarse", "partial", "none"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("augmentation", ["full", "crop", "crop_turned", "none"])
def test_image_and_labels_are_the_same_with_and_without_maps(study, cache, augmentation):
    with_maps, without = (a_source(study, cache, augmentation=augmentation, maps=m) for m in ((SIGNED_DISTANCE,), ()))
    for step in range(6):
        first, second = with_maps.batch(step), without.batch(step)
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.codes, second.codes)


def test_a_step_gives_the_same_maps_whoever_asks_and_whenever(study, cache):
    one, other = (a_source(study, cache) for _ in range(2))
    forward = [one.batch(step).maps for step in range(8)]
    backward = [other.batch(step).maps for step in reversed(range(8))][::-1]
    for first, second in zip(forward, backward, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in (SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN))


def test_a_batch_says_which_distances_each_row_tells(study, cache):
    source = a_source(study, cache, a_plan(batch=8))
    for step in range(4):
        batch = source.batch(step)
        found, known = batch.maps[SIGNED_DISTANCE], batch.maps[SIGNED_DISTANCE_KNOWN]
        assert found.shape == (8, len(NAMES), 6, 8, 10)
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert known.shape == (8, len(NAMES))
        assert known[batch.rows[Regime.FULL]].all()
        assert known[batch.rows[Regime.COARSE]].tolist() == [[False, False, True, True]] * 2
        assert not known[batch.rows[Regime.NONE]].any()
        assert not found[~known].any()
        part = batch.part(Regime.COARSE)
        assert torch.equal(part.maps[SIGNED_DISTANCE], found[batch.rows[Regime.COARSE]])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_patch_of_a_map_is_the_map_of_the_whole_case(tmp_path, dimensions):
    study = put_study(tmp_path, ("full",), shape=(9, 17, 15))
    patch, spacing = ((5, 7, 6), (1.6, 0.7, 0.9)) if dimensions == 3 else ((7, 6), (0.0, 0.7, 0.9))
    plan = a_plan(patch=patch, batch=2, dimensions=dimensions, spacing_mm=spacing)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none")
    whole = np.array(DistanceMaps(source.store).get("full0").maps)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (len(NAMES), *((1, *patch)[-3:])))
    windows = windows.reshape(-1, len(NAMES), *patch)
    for step in range(10):
        for found in source.batch(step).maps[SIGNED_DISTANCE]:
            assert (windows == found.numpy()).all(axis=tuple(range(1, windows.ndim))).any()


@pytest.mark.parametrize("patch", [(5, 7, 12), (12, 21, 8)])
def test_a_map_is_turned_with_its_labels(tmp_path, patch):
    study = put_study(tmp_path, ("full",), shape=(9, 17, 15), spacing_mm=(1.6, 0.7, 0.7))
    plan = a_plan(patch=patch, batch=4, spacing_mm=(1.6, 0.7, 0.7))
    source = a_source(study, tmp_path / "cache", plan, augmentation="crop_turned", composition={"full": 1})
    members = torch.from_numpy(source.table.roi_targets(source._distances.members)[0])
    for step in range(10):
        batch = source.batch(step)
        is_inside = members[batch.codes].movedim(-1, 1)
        found, known = batch.maps[SIGNED_DISTANCE], (batch.codes != 0)[:, None].expand_as(is_inside)
        assert torch.equal((found < 0)[known], is_inside[known])


def test_a_crop_s_own_distances_would_not_be_those_of_the_case(tmp_path):
    # What the released code does, to see that the test above can tell.
    study = put_study(tmp_path, ("full",), shape=(9, 17, 15))
    source = a_source(study, tmp_path / "cache", a_plan(patch=(5, 7, 6)), augmentation="none")
    batch = source.batch(0)
    inside = torch.from_numpy(source.table.roi_targets(source._distances.members)[0])[batch.codes].movedim(-1, 1)
    own = [signed_distance(mask.numpy(), (1.6, 0.7, 0.9)) for row in inside for mask in row]
    assert not np.allclose(np.stack(own), batch.maps[SIGNED_DISTANCE].flatten(0, 1).numpy(), atol=0.1)


def test_outside_the_volume_the_edge_is_continued_and_no_label_is_known(tmp_path):
    study = put_study(tmp_path, ("full",), shape=(5, 6, 7))
    source = a_source(study, tmp_path / "cache", a_plan(patch=(8, 6, 12), batch=1), augmentation="none")
    batch = source.batch(0)
    whole = torch.from_numpy(np.array(DistanceMaps(source.store).get("full0").maps)).float()
    found = batch.maps[SIGNED_DISTANCE][0]
    assert torch.equal(found[:, 2:7, :, 3:10], whole)
    assert torch.equal(found[:, 0, :, 0], whole[:, 0, :, 0])
    assert torch.equal(found[:, 7, :, 11], whole[:, -1, :, -1])
    assert not batch.codes[0, 7].any()


@pytest.mark.parametrize("seed", range(6))
def test_an_augmented_map_is_the_map_of_the_augmented_mask_within_about_a_voxel(tmp_path, monkeypatch, seed):
    # Large blocks in voxels of 1 mm, far from the edge, so that the patch holds the nearest surface too.
    case = put_case(tmp_path, "blocks", "full", shape=(40, 44, 42), spacing_mm=(1.0, 1.0, 1.0))
    labels = np.zeros((40, 44, 42), dtype=np.uint8)
    labels[13:27, 14:30, 12:22] = 1
    labels[13:27, 14:30, 22:30] = 2
    path = tmp_path / case.annotation.file
    write_volume(Volume(labels, read_labels(path).geometry), path)
    settings = replace(TURNS, turned=seed % 2 == 1)
    monkeypatch.setattr(source_file, "augmentation_named", lambda name, mirror: settings)
    plan = a_plan(patch=(36, 38, 36), batch=2, spacing_mm=(1.0, 1.0, 1.0))
    source = a_source(of_cases(tmp_path, [case]), tmp_path / "cache", plan, composition={"full": 1.0}, seed=seed)
    batch = source.batch(0)
    inside = torch.from_numpy(source.table.roi_targets(source._distances.members)[0])[batch.codes].movedim(-1, 1)
    for row in range(2):
        for structure in (NAMES.index("organ"), NAMES.index("head")):
            mask, found = inside[row, structure].numpy(), batch.maps[SIGNED_DISTANCE][row, structure].numpy()
            assert mask.any()
            # Beyond the volume nothing is known.
            error = np.abs(found - signed_distance(mask, (1.0, 1.0, 1.0)))[batch.codes[row].numpy() != 0]
            assert error.max() < 1.2
            assert error.mean() < 0.5


def put_blocks(folder, spacing_mm):
    """Write a study of one case, a block of two halves; its surfaces across and along the slices are both near."""
    shape = (14, 60, 58)
    case = put_case(folder, "blocks", "full", shape=shape, spacing_mm=spacing_mm)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[5:9, 18:42, 14:28] = 1
    labels[5:9, 18:42, 28:42] = 2
    path = folder / case.annotation.file
    write_volume(Volume(labels, read_labels(path).geometry), path)
    return of_cases(folder, [case])


@pytest.mark.parametrize(("thickness_mm", "scaled"), [(4.0, False), (2.0, True)])
@pytest.mark.parametrize("seed", range(3))
def test_a_map_of_thick_slices_is_the_map_of_the_augmented_mask(tmp_path, monkeypatch, seed, thickness_mm, scaled):
    spacing = (thickness_mm, 1.0, 1.0)
    study = put_blocks(tmp_path, spacing)
    # Nothing is turned but in the plane of the slices, so that a slice stays a slice.
    settings = replace(TURNS, rotation_probability=0.0 if scaled else 1.0)
    monkeypatch.setattr(source_file, "augmentation_named", lambda name, mirror: settings)
    drawn = []
    draw = source_file.draw_warp
    monkeypatch.setattr(source_file, "draw_warp", lambda *rest: drawn.append(draw(*rest)) or drawn[-1])
    plan = a_plan(patch=(13, 54, 52), batch=2, spacing_mm=spacing)
    source = a_source(study, tmp_path / "cache", plan, composition={"full": 1.0}, seed=seed)
    batch = source.batch(0)
    inside = torch.from_numpy(source.table.roi_targets(source._distances.members)[0])[batch.codes].movedim(-1, 1)
    for row in range(2):
        mask = inside[row, NAMES.index("organ")].numpy()
        found = batch.maps[SIGNED_DISTANCE][row, NAMES.index("organ")].numpy()
        error = np.abs(found - signed_distance(mask, spacing))[batch.codes[row].numpy() != 0]
        # A scaled surface across thick slices lies anywhere in a slice of the patch, half of it away at most.
        assert error.max() < (1.7 + thickness_mm / 2 if scaled else 1.2)
        assert error.mean() < 0.6
    assert [warp.factor != 1.0 for warp in drawn] == [scaled] * 2


def test_slices_of_a_flat_plan_and_thick_ones_without_maps_are_scaled_all_the_same(tmp_path, monkeypatch):
    spacing = (4.0, 1.0, 1.0)
    study = put_blocks(tmp_path, spacing)
    monkeypatch.setattr(source_file, "augmentation_named", lambda name, mirror: TURNS)
    drawn = []
    draw = source_file.draw_warp
    monkeypatch.setattr(source_file, "draw_warp", lambda *rest: drawn.append(draw(*rest)) or drawn[-1])
    flat = a_plan(patch=(20, 20), dimensions=2, batch=2, spacing_mm=(0.0, 1.0, 1.0))
    a_source(study, tmp_path / "cache", flat, composition={"full": 1.0}).batch(0)
    thick = a_plan(patch=(13, 20, 20), batch=2, spacing_mm=spacing)
    a_source(study, tmp_path / "cache", thick, composition={"full": 1.0}, maps=()).batch(0)
    assert all(warp.factor != 1.0 for warp in drawn)
    drawn.clear()
    # One slice of a stack has the distances of the stack.
    single = replace(thick, patch=(1, 20, 20))
    a_source(study, tmp_path / "cache", single, composition={"full": 1.0}).batch(0)
    assert all(warp.factor == 1.0 for warp in drawn)


def test_a_map_that_is_not_scaled_with_the_patch_would_be_noticed(tmp_path, monkeypatch):
    # The same patch with and without its factor: the check above tells them apart.
    study = put_study(tmp_path, ("full",), shape=(20, 22, 21), spacing_mm=(1.0, 1.0, 1.0))
    shrink = replace(TURNS, rotation_probability=0.0, scaling=(1.4, 1.4), mirror=False)
    monkeypatch.setattr(source_file, "augmentation_named", lambda name, mirror: shrink)
    plan = a_plan(patch=(12, 12, 12), batch=1, spacing_mm=(1.0, 1.0, 1.0))
    right = a_source(study, tmp_path / "cache", plan).batch(0).maps[SIGNED_DISTANCE]
    draw = source_file.draw_warp
    monkeypatch.setattr(source_file, "draw_warp", lambda *rest: replace(draw(*rest), factor=1.0))
    wrong = a_source(study, tmp_path / "cache", plan).batch(0).maps[SIGNED_DISTANCE]
    torch.testing.assert_close(wrong, right * 1.4)


@pytest.mark.parametrize("seed", range(4))
def test_every_size_of_volume_and_patch_gives_maps(tmp_path, seed):
    generator = np.random.default_rng(seed)
    sizes = [tuple(int(n) for n in generator.integers(1, 31, 3)) for _ in range(2)]
    cases = [put_case(tmp_path, f"c{i}", "full", shape=size, seed=i) for i, size in enumerate(sizes)]
    patch = tuple(int(n) for n in generator.integers(1, 31, 3))
    plan = a_plan(patch=patch, batch=2, axis_order=(2, 0, 1), spacing_mm=(0.9, 1.6, 0.7))
    for augmentation in ("full", "crop"):
        source = a_source(of_cases(tmp_path, cases), tmp_path / "cache", plan, augmentation=augmentation)
        for step in range(4):
            found = source.batch(step).maps[SIGNED_DISTANCE]
            assert found.shape == (2, len(NAMES), *patch)
            assert found.isfinite().all()
