"""Random changes of intensity, one kind at a time against what it should do."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from SemiSegLib.batches import intensity
from SemiSegLib.batches.augment import AUGMENTATIONS, Augmentation
from SemiSegLib.batches.intensity import change_intensity

QUIET = replace(
    Augmentation(), **{f.name: 0.0 for f in fields(Augmentation) if f.name.endswith("_probability")}, mirror=False
)
KINDS = ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma", "inverted_gamma", "histogram")


def an_image(channels=1, shape=(9, 14, 11)):
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(1))


def changed(settings, seed=0, image=None, in_plane=False):
    image = an_image() if image is None else image
    return change_intensity(image.clone(), np.random.default_rng(seed), settings, in_plane=in_plane)


def only(kind):
    return replace(QUIET, **{f"{kind}_probability": 1.0})


def test_nothing_drawn_changes_nothing():
    assert torch.equal(changed(QUIET), an_image())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_the_image_the_same_way_for_the_same_seed(kind):
    results = [changed(only(kind), seed) for seed in range(8)]
    assert all(torch.isfinite(r).all() for r in results)
    assert any(not torch.equal(r, an_image()) for r in results)
    assert all(torch.equal(r, changed(only(kind), seed)) for seed, r in enumerate(results))
    assert len({r.numpy().tobytes() for r in results}) >= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (2, 1, 40)])
def test_every_kind_takes_every_size_and_constant_images(kind, shape):
    for image in (torch.full((2, *shape), 3.0), an_image(2, shape)):
        for seed in range(4):
            result = changed(only(kind), seed, image)
            assert result.shape == image.shape
            assert torch.isfinite(result).all()


def test_noise_has_the_drawn_deviation():
    settings = replace(only("noise"), noise_deviation=(0.25, 0.25))
    difference = changed(settings, image=torch.zeros(1, 30, 30, 30))
    assert abs(float(difference.std()) - 0.25) < 0.01


@pytest.mark.parametrize("deviation", [0.5, 0.8, 1.0])
def test_blur_is_scipy_s_gaussian(deviation):
    channel = an_image()[0]
    expected = ndimage.gaussian_filter(channel.numpy(), deviation, mode="nearest", radius=int(np.ceil(3 * deviation)))
    intensity._blur(channel, deviation, in_plane=False)
    np.testing.assert_allclose(channel.numpy(), expected, atol=1e-5)


def test_blur_and_low_resolution_leave_thick_slices_apart():
    planes = torch.arange(6.0)[:, None, None].expand(6, 12, 12).clone()
    for change in (
        lambda c: intensity._blur(c, 1.0, in_plane=True),
        lambda c: intensity._coarsen(c, 0.5, in_plane=True),
    ):
        result = planes.clone()
        change(result)
        torch.testing.assert_close(result, planes)


def test_contrast_keeps_mean_and_range_of_an_image_that_is_compressed():
    channel = an_image()[0]
    before = channel.clone()
    intensity._stretch(channel, 0.8)
    torch.testing.assert_close(channel, (before - before.mean()) * 0.8 + before.mean())
    intensity._stretch(channel, 1.25)
    assert channel.min() >= 0.8 * (before.min() - before.mean()) + before.mean() - 1e-5


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_keeps_mean_deviation_and_order(inverted):
    channel = an_image()[0]
    before = channel.clone()
    intensity._gamma(channel, 0.7, inverted=inverted)
    assert abs(float(channel.mean() - before.mean())) < 1e-5
    assert abs(float(channel.std() - before.std())) < 1e-4
    assert torch.equal(channel.flatten().argsort(), before.flatten().argsort())
    # Dark parts gain contrast with gamma below 1, bright parts when the negative is taken.
    low, middle, high = (float(channel.flatten()[before.flatten().argsort()[i]]) for i in (20, 693, 1365))
    assert ((middle - low) > (high - middle)) is not inverted


def test_a_shifted_histogram_keeps_range_and_order():
    channel = an_image()[0]
    before = channel.clone()
    intensity._shift_histogram(channel, np.random.default_rng(0))
    assert not torch.equal(channel, before)
    torch.testing.assert_close(torch.stack(channel.aminmax()), torch.stack(before.aminmax()))
    order = before.flatten().argsort()
    assert (channel.flatten()[order].diff() >= -1e-5).all()


def test_channels_are_blurred_one_by_one():
    image = an_image(4)
    results = [changed(only("blur"), seed, image) for seed in range(10)]
    patterns = {tuple(bool(torch.equal(a, b)) for a, b in zip(image, r, strict=True)) for r in results}
    assert len(patterns) > 3


def test_kinds_happen_as_often_as_the_settings_say():
    image = torch.randn(1, 3, 4, 5)
    settings = AUGMENTATIONS["full"]
    unchanged = np.mean([torch.equal(changed(settings, seed, image), image) for seed in range(1500)])
    # Blur and low resolution skip the one channel half of the time.
    expected = 0.9 * 0.9 * 0.85 * 0.85 * 0.875 * 0.9 * 0.7 * 0.9
    assert abs(unchanged - expected) < 0.04
