"""One resampling for flip, rotation, scaling and bending, from just the voxels it needs."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from SemiSegLib.batches.augment import AUGMENTATIONS, Augmentation, augmentation, flipped_axes
from SemiSegLib.batches.seeds import row_generator
from SemiSegLib.batches.spatial import Space, Warp, draw_factor, draw_warp, needed_block, resample_block
from SemiSegLib.errors import ConfigError
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan

ALWAYS = Augmentation(rotation_probability=1.0, scaling_probability=1.0, elastic_probability=1.0)
PATCH = (6, 10, 8)
NO_FLIP = (False, False, False)


def a_space(**changes) -> Space:
    options = {"patch": PATCH, "spacing_mm": (1.6, 0.7, 0.9), "in_plane": False, "mirror": (True, True, True)} | changes
    return Space(**options)


def a_volume(shape=(17, 23, 19)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *shape, generator=generator), torch.randint(0, 5, shape, generator=generator).to(torch.uint8)


def by_grid_sample(image, codes, warp, center, patch):
    """The same warp by torch's own sampler, in double precision and without bending."""
    offsets = torch.stack(
        torch.meshgrid(*[torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in patch], indexing="ij"), -1
    )
    places = offsets @ torch.from_numpy(warp.matrix).T + torch.from_numpy(center)
    size = torch.tensor(codes.shape, dtype=torch.float64)
    grid = ((2 * places + 1) / size - 1).flip(-1)[None]

    def sample(array, mode):
        return functional.grid_sample(array[None].double(), grid, mode=mode, align_corners=False)[0]

    return sample(image, "bilinear").float(), sample(codes[None], "nearest")[0].to(torch.uint8)


@pytest.mark.parametrize("seed", range(15))
def test_the_warp_agrees_with_torch_s_own_sampler(seed):
    image, codes = a_volume()
    generator = np.random.default_rng(seed)
    settings = Augmentation(rotation_probability=1.0, scaling_probability=1.0)
    warp = draw_warp(generator, settings, a_space())
    center = generator.uniform(-2, 20, 3)
    warped, warped_codes = resample_block(image, codes, warp, center=center, patch=PATCH)
    expected, expected_codes = by_grid_sample(image, codes, warp, center, PATCH)
    torch.testing.assert_close(warped, expected, atol=1e-4, rtol=0)
    assert (warped_codes != expected_codes).float().mean() < 0.01


@pytest.mark.parametrize("seed", range(15))
def test_the_block_that_is_read_is_all_that_the_warp_needs(seed):
    image, codes = a_volume()
    generator = np.random.default_rng(seed)
    warp = draw_warp(generator, ALWAYS, a_space())
    center = generator.uniform(3, 16, 3)
    whole = resample_block(image, codes, warp, center=center, patch=PATCH)
    low, high = needed_block(warp, center, PATCH, codes.shape)
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = resample_block(image[(slice(None), *block)], codes[block], warp, center=center - low, patch=PATCH)
    torch.testing.assert_close(part[0], whole[0], atol=1e-4, rtol=0)
    assert (part[1] != whole[1]).float().mean() < 0.005


def test_a_warp_that_changes_nothing_is_a_crop():
    image, codes = a_volume()
    warp = Warp(NO_FLIP, np.eye(3), None)
    center = np.array([5, 7, 6]) + (np.array(PATCH) - 1) / 2
    warped, warped_codes = resample_block(image, codes, warp, center=center, patch=PATCH)
    crop = (slice(5, 11), slice(7, 17), slice(6, 14))
    torch.testing.assert_close(warped, image[(slice(None), *crop)], atol=1e-5, rtol=0)
    assert torch.equal(warped_codes, codes[crop])


def test_outside_the_volume_is_0_and_unknown():
    image, codes = torch.ones(1, 4, 4, 4), torch.full((4, 4, 4), 3, dtype=torch.uint8)
    warp = Warp(NO_FLIP, np.eye(3) * 3.0, None)
    warped, warped_codes = resample_block(image, codes, warp, center=np.full(3, 1.5), patch=(7, 7, 7))
    assert warped[0, 3, 3, 3] == 1
    assert warped_codes[3, 3, 3] == 3
    border = torch.ones(7, 7, 7, dtype=torch.bool)
    border[3, 3, 3] = False
    assert not warped[0][border].any()
    assert not warped_codes[border].any()


def test_rotation_keeps_lengths_in_millimeters():
    settings = Augmentation(rotation_probability=1.0, scaling_probability=0.0)
    for seed in range(10):
        space = a_space()
        matrix = draw_warp(np.random.default_rng(seed), settings, space).matrix
        spacing = np.diag(space.spacing_mm)
        rotation = spacing @ matrix @ np.linalg.inv(spacing)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert not np.allclose(rotation, np.eye(3))


def test_slices_stay_slices_where_only_the_plane_may_change():
    for seed in range(20):
        space = a_space(in_plane=True)
        warp = draw_warp(np.random.default_rng(seed), ALWAYS, space)
        np.testing.assert_array_equal(warp.matrix[0], [1, 0, 0])
        np.testing.assert_array_equal(warp.matrix[:, 0], [1, 0, 0])
        assert not warp.displacement[0].any()
        assert warp.displacement.shape[1] == 1


def test_half_turns_in_the_plane_need_an_anatomy_without_sides():
    settings = Augmentation(rotation_probability=1.0, scaling_probability=0.0, mirror=True)

    def largest_degrees(mirror):
        space = a_space(in_plane=True, mirror=mirror, spacing_mm=(5.0, 1.0, 1.0))
        matrices = [draw_warp(np.random.default_rng(seed), settings, space).matrix for seed in range(200)]
        return max(abs(np.degrees(np.arctan2(m[1, 2], m[1, 1]))) for m in matrices)

    assert largest_degrees((True, True, True)) > 150
    assert 25 < largest_degrees((True, False, True)) <= 30


def test_flips_happen_half_of_the_time_and_only_where_allowed():
    flips = np.array(
        [
            draw_warp(
                np.random.default_rng(s), augmentation("full", mirror=True), a_space(mirror=(True, False, True))
            ).flips
            for s in range(600)
        ]
    )
    assert not flips[:, 1].any()
    assert abs(flips[:, 0].mean() - 0.5) < 0.06
    assert abs(flips[:, 2].mean() - 0.5) < 0.06


@pytest.mark.parametrize("name", AUGMENTATIONS.keys() - {"crop_turned"})
def test_scans_are_flipped_only_when_asked(name):
    space = a_space(spacing_mm=(1.0, 1.0, 1.0))
    drawn = [draw_warp(np.random.default_rng(seed), AUGMENTATIONS[name], space) for seed in range(40)]
    assert not any(any(warp.flips) or warp.is_transposed for warp in drawn)


@pytest.mark.parametrize("name", ["crop", "none"])
def test_what_is_not_turned_draws_the_numbers_that_it_always_drew(name):
    # A run that goes on must draw what it would have drawn.
    generator, plain = np.random.default_rng(3), np.random.default_rng(3)
    draw_warp(generator, AUGMENTATIONS[name], a_space(spacing_mm=(1.0,) * 3))
    plain.random(7)
    assert generator.random() == plain.random()


def test_turned_crops_lie_all_eight_ways_in_the_plane_and_no_other():
    settings, space = augmentation("crop_turned"), a_space(mirror=(False, True, True), spacing_mm=(5.0, 0.7, 0.7))
    drawn = [draw_warp(np.random.default_rng(s), settings, space) for s in range(1600)]
    ways = Counter((warp.flips, warp.is_transposed) for warp in drawn)
    assert len(ways) == 8
    assert all(abs(count / 1600 - 1 / 8) < 0.03 for count in ways.values())
    assert not any(warp.flips[0] or warp.matrix is not None for warp in drawn)
    assert drawn[0].facing((1, 2, 3)) in ((1, 2, 3), (1, 3, 2))


def test_a_quarter_turn_needs_square_voxels():
    settings, space = augmentation("crop_turned"), a_space(spacing_mm=(5.0, 0.7, 0.9))
    drawn = [draw_warp(np.random.default_rng(s), settings, space) for s in range(100)]
    assert not any(warp.is_transposed for warp in drawn)
    assert {warp.flips[1:] for warp in drawn} == {(False, False), (False, True), (True, False), (True, True)}


def test_rows_are_resampled_as_often_as_the_settings_say():
    drawn = [draw_warp(np.random.default_rng(s), AUGMENTATIONS["full"], a_space()).matrix for s in range(2000)]
    # Rotation or scaling, each 0.2: 1 - 0.8 * 0.8.
    assert abs(np.mean([m is not None for m in drawn]) - 0.36) < 0.03


def test_bending_is_bounded_in_millimeters_and_gone_at_0():
    bent = Augmentation(elastic_probability=1.0, elastic_mm=3.0)
    for seed in range(10):
        warp = draw_warp(np.random.default_rng(seed), bent, a_space())
        in_mm = np.abs(warp.displacement) * np.array(a_space().spacing_mm)[:, None, None, None]
        assert 0 < in_mm.max() <= 3.0 + 1e-5
    assert all(
        draw_warp(np.random.default_rng(s), AUGMENTATIONS["full"], a_space()).displacement is None for s in range(50)
    )


def test_a_factor_is_above_and_below_1_equally_often():
    generator = np.random.default_rng(0)
    factors = np.array([draw_factor(generator, (0.7, 1.4)) for _ in range(2000)])
    assert abs((factors < 1).mean() - 0.5) < 0.04
    assert factors.min() >= 0.7
    assert factors.max() <= 1.4


@pytest.mark.parametrize(
    ("patch", "axes"),
    [((8, 16, 12), (True, True, True)), ((1, 16, 12), (False, True, True)), ((16, 12), (False, True, True))],
)
def test_patches_are_flipped_along_every_axis_they_have_or_none(patch, axes):
    plan = Plan(
        dimensions=len(patch),
        channels=(ChannelPlan(role="T1"),),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=patch,
        batch=1,
        network=NetworkPlan(),
    )
    assert flipped_axes(augmentation("crop", mirror=True), plan) == axes
    assert flipped_axes(augmentation("crop"), plan) == (False, False, False)
    assert flipped_axes(augmentation("crop_turned"), plan) == (False, True, True)


def test_settings_are_found_by_name_and_mirroring_is_a_switch():
    assert not augmentation("full").mirror
    assert augmentation("full", mirror=True).mirror
    assert augmentation("crop", mirror=True).mirror
    assert not augmentation("crop").mirror
    with pytest.raises(ConfigError, match="did you mean 'full'"):
        augmentation("ful")


def test_generators_of_different_rows_steps_and_purposes_are_different():
    draws = {
        row_generator(seed, step, row, purpose).random()
        for seed in (0, 1)
        for step in (0, 1)
        for row in (-1, 0, 1)
        for purpose in ("pick", "place")
    }
    assert len(draws) == 24
    assert row_generator(3, 4, 5, "x").random() == row_generator(3, 4, 5, "x").random()
