"""Views of one patch: turned back exactly, or changed in intensity only."""

import numpy as np
import pytest
import torch

from SemiSegLib.batches.views import View, draw_view, strengthen


def generators(count, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(count)]


def drawn(seed, shape, *, mirror=None, spacing_mm=None):
    generator, count = np.random.default_rng(seed), len(shape)
    return draw_view(generator, shape, mirror=mirror or (True,) * count, spacing_mm=spacing_mm or (1.0,) * count)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("plane", [(-2, -1), (0, 2)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
def test_every_view_is_undone_exactly_for_images_probabilities_and_codes(turns, plane, flips):
    view = View(flips, turns, plane)
    for array in (torch.randn(2, 3, 4, 5, 6), torch.randint(0, 9, (2, 4, 5, 6))):
        turned = view.apply(array)
        assert torch.equal(view.invert(turned), array)
        # Two flips and a half turn in the same plane are nothing at all.
        if (any(flips) or turns) and (flips, turns, plane) != ((True, False, True), 2, (0, 2)):
            assert turned.shape != array.shape or not torch.equal(turned, array)


def test_image_and_codes_turn_together():
    view = View((True, False), 1)
    codes = torch.arange(20).reshape(1, 4, 5)
    image = codes[:, None].float().expand(1, 2, 4, 5)
    assert torch.equal(view.apply(image)[:, 1].long(), view.apply(codes))


def test_drawn_views_keep_the_shape_and_flip_only_what_may_be_flipped():
    for seed in range(60):
        view = drawn(seed, (6, 8, 9), mirror=(True, False, True))
        assert not view.flips[1]
        assert view.quarter_turns == 0
        free = drawn(seed, (6, 8, 9))
        assert free.apply(torch.zeros(6, 8, 9)).shape == (6, 8, 9)
    assert {drawn(seed, (8, 8)).quarter_turns for seed in range(60)} == {0, 1, 2, 3}


def test_a_patch_of_as_many_voxels_that_are_longer_than_wide_turns_by_halves():
    for spacing_mm in ((0.5, 0.8), (0.8, 0.5), (3.0, 0.5, 0.8)):
        shape = (8,) * len(spacing_mm)
        assert {drawn(seed, shape, spacing_mm=spacing_mm).quarter_turns for seed in range(60)} == {0, 2}
    # Thick slices do not matter where the slice itself turns, nor what headers round.
    for spacing_mm in ((3.0, 0.5, 0.5), (0.5, 0.5001)):
        shape = (8,) * len(spacing_mm)
        assert {drawn(seed, shape, spacing_mm=spacing_mm).quarter_turns for seed in range(60)} == {0, 1, 2, 3}


@pytest.mark.parametrize("shape", [(4, 1, 8, 9), (4, 1, 5, 8, 9)])
def test_a_strong_view_changes_intensities_and_moves_nothing(shape):
    image = torch.zeros(shape)
    image[..., 4:, :] = 1.0
    before = image.clone()
    strong = strengthen(image, generators(4, 5), in_plane=False)
    assert torch.equal(image, before)
    assert strong.shape == image.shape
    assert strong.dtype == image.dtype
    assert not torch.equal(strong, image)
    assert torch.equal(strong, strengthen(image, generators(4, 5), in_plane=False))
    # The edge between dark and bright stays where it was.
    assert (strong[..., 5:, :].flatten(1).mean(1) > strong[..., :3, :].flatten(1).mean(1)).all()


def test_half_precision_stays_half_precision():
    image = torch.randn(2, 1, 6, 6, 6).half()
    assert strengthen(image, generators(2), in_plane=True).dtype == torch.float16
