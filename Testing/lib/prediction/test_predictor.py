"""A scan in, a segmentation of exactly its voxels out: any orientation, size and spacing; left stays left."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import CaseError, ConfigError, ShapeError
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.prediction.predictor import Predictor
from Testing.lib.schemes import ORGAN_AND_VESSEL

LEAVES = len(ORGAN_AND_VESSEL.leaves)
TURNS = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


class Looking(Method):
    """Fixed weights that look at the neighbors on one side more than on the other, and at the place in the window.

    So a flipped or turned image gives another answer, unless the predictor turns it back first.
    """

    def __init__(self, *, channels=1, dimensions=3, place=2.0):
        super().__init__()
        kind = nn.Conv3d if dimensions == 3 else nn.Conv2d
        self.convolution = kind(channels, LEAVES, 5, padding=2)
        self.place = place
        generator = torch.Generator().manual_seed(11)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def losses(self, batch, progress):
        raise NotImplementedError

    def predict(self, image):
        logits = self.convolution(image) / 3
        for axis in range(2, image.ndim):
            line = torch.linspace(-self.place, self.place, image.shape[axis])
            line = line.reshape([-1 if other == axis else 1 for other in range(image.ndim)])
            weights = torch.linspace(-1, 1, logits.shape[1]).roll(axis).reshape(1, -1, *[1] * (image.ndim - 2))
            logits = logits + line * weights
        return logits.softmax(1)


def predictor(*, spacing=(1.5, 1.0, 1.0), patch=(64, 64, 64), axis_order=(0, 1, 2), channels=1, **how):
    dimensions = len(patch)
    plan = Plan(
        dimensions=dimensions,
        channels=tuple(ChannelPlan(role=f"c{i}") for i in range(channels)),
        axis_order=axis_order,
        spacing_mm=spacing,
        patch=patch,
        batch=2,
        network=NetworkPlan(),
    )
    method = Looking(channels=channels, dimensions=dimensions, place=how.pop("place", 2.0))
    provenance = {"flipped_axes": how.pop("flipped")} if "flipped" in how else {}
    return Predictor(
        Model(method, Study(scheme=ORGAN_AND_VESSEL, plan=plan), "looking", {}, provenance), device="cpu", **how
    )


def oblique(degrees=(20, -13, 8)):
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def scan(shape=(13, 22, 17), spacing=(2.0, 0.9, 1.2), *, turn=None, seed=0):
    """Return a smooth random scan whose array axes are nearly canonical, turned in space."""
    voxels = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.0).astype(np.float32) * 100
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.eye(3)[:, ::-1] * spacing
    affine[:3, 3] = (12.5, -70.0, 33.3)
    return Volume(voxels, Geometry(shape, affine))


def turned(volume, order, flips):
    """Return the same scan with its array axes permuted and flipped: every voxel keeps its place in space."""
    voxels = np.ascontiguousarray(np.flip(volume.voxels.transpose(order), [a for a in range(3) if flips[a]]))
    affine = volume.geometry.affine[:, [*order, 3]].copy()
    for axis in range(3):
        if flips[axis]:
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(voxels, Geometry(voxels.shape, affine))


@pytest.mark.parametrize("turn", [None, oblique()], ids=["straight", "oblique"])
@pytest.mark.parametrize(
    "how",
    [
        {"patch": (20, 24, 24)},
        {"patch": (8, 12, 10), "place": 0.0},
        {"patch": (32, 32), "spacing": (0.0, 1.0, 1.0)},
        {"patch": (16, 24, 24), "axis_order": (2, 0, 1), "mirror": True, "flipped": [0]},
    ],
    ids=["one window", "windows", "slices", "mirrored, reordered"],
)
def test_all_48_permutations_and_flips_of_a_scan_give_the_same_segmentation_in_space(how, turn):
    assert len(TURNS) == 48
    ours = predictor(**how)
    original = scan(turn=turn)
    expected = ours.predict([original], uncertainty=True)
    assert all((expected.leaves.voxels == leaf).sum() > 50 for leaf in range(LEAVES))
    for order, flips in TURNS:
        found = ours.predict([turned(original, order, flips)], uncertainty=True)
        again = turned(expected.leaves, order, flips)
        np.testing.assert_array_equal(found.leaves.voxels, again.voxels)
        assert found.leaves.geometry.displacement_mm(again.geometry) < 1e-9
        unsure = turned(expected.uncertainty, order, flips)
        np.testing.assert_allclose(found.uncertainty.voxels, unsure.voxels, atol=1e-6)


def test_the_network_of_these_tests_does_tell_sides_apart():
    # Without this, the test above would pass for a predictor that never turns anything.
    ours, original = predictor(), scan()
    mirrored = Volume(np.flip(original.voxels, 2).copy(), original.geometry)
    same = ours.predict([mirrored]).leaves.voxels == np.flip(ours.predict([original]).leaves.voxels, 2)
    assert same.mean() < 0.8


@pytest.mark.parametrize("patch", [(8, 12, 10), (16, 16)], ids=["volumes", "slices"])
def test_every_size_from_1_to_40_comes_back_with_its_own_shape_and_place(patch):
    spacing = (1.5, 1.0, 1.0) if len(patch) == 3 else (0.0, 1.0, 1.0)
    ours = predictor(patch=patch, spacing=spacing)
    for size in range(1, 41):
        for shape in ((size, 9, 5), (4, size, 7), (3, 6, size)):
            image = scan(shape, turn=oblique())
            found = ours.predict([image])
            assert found.leaves.voxels.shape == shape
            assert found.leaves.voxels.dtype == np.uint8
            assert found.leaves.geometry == image.geometry
            assert found.uncertainty is None


def test_a_single_voxel_and_a_large_thin_scan_are_segmented():
    ours = predictor(patch=(8, 32, 32), spacing=(5.0, 3.0, 3.0))
    assert ours.predict([scan((1, 1, 1))]).leaves.voxels.shape == (1, 1, 1)
    assert ours.predict([scan((20, 256, 256), (5.0, 0.8, 0.8))]).leaves.voxels.shape == (20, 256, 256)


def test_the_superclass_of_every_voxel_is_that_of_its_leaf():
    found = predictor().predict([scan()])
    pi = np.array(ORGAN_AND_VESSEL.superclass_of_leaf)
    assert set(np.unique(found.superclasses().voxels)) == {0, 1, 2}
    np.testing.assert_array_equal(found.superclasses().voxels, pi[found.leaves.voxels])
    assert found.superclasses().geometry == found.leaves.geometry


def test_uncertainty_is_high_between_structures_and_low_inside():
    found = predictor(spacing=(2.0, 0.9, 1.2), patch=(64, 64, 64), place=8.0).predict([scan()], uncertainty=True)
    values = found.uncertainty.voxels
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1
    edges = np.zeros(values.shape, dtype=bool)
    for axis in range(3):
        differs = np.diff(found.leaves.voxels.astype(int), axis=axis) != 0
        edges[tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))] |= differs
    assert values[edges].mean() > 1.3 * values[~edges].mean()


def test_a_scan_may_have_any_number_type_and_brightness():
    ours, image = predictor(), scan()
    expected = ours.predict([image]).leaves.voxels
    scaled = Volume(np.round(image.voxels * 50 + 500).astype(np.int16), image.geometry)
    assert (ours.predict([scaled]).leaves.voxels == expected).mean() > 0.999
    assert (ours.predict([Volume(image.voxels.astype(np.float64), image.geometry)]).leaves.voxels == expected).all()


def test_mirrored_copies_are_those_that_the_training_saw():
    assert predictor(flipped=[0, 1, 2]).settings.mirror == (False, False, False)
    assert predictor(flipped=[0, 1, 2], mirror=True).settings.mirror == (True, True, True)
    assert predictor(flipped=[1, 2], mirror=True, patch=(16, 16)).settings.mirror == (False, True, True)
    how = {"spacing": (2.0, 0.9, 1.2), "flipped": [2], "place": 8.0}
    original = scan((12, 22, 18))
    turned_round = Volume(np.flip(original.voxels, 2).copy(), original.geometry)
    for mirror, least, most in ((False, 0.0, 0.8), (True, 0.999, 1.0)):
        ours = predictor(mirror=mirror, **how)
        same = ours.predict([turned_round]).leaves.voxels == np.flip(ours.predict([original]).leaves.voxels, 2)
        assert least <= same.mean() <= most


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({}, "does not say whether the training flipped"),
        ({"flipped": "all"}, "does not say whether the training flipped"),
        ({"flipped": [0, 7]}, "does not say whether the training flipped"),
        ({"flipped": []}, "was trained without flips"),
    ],
)
def test_a_model_that_learned_no_mirrored_scans_is_not_asked_about_them(how, what):
    predictor(**how)
    with pytest.raises(ConfigError, match=what) as caught:
        predictor(mirror=True, **how)
    assert "remedy: predict without mirroring" in str(caught.value)


def test_a_prediction_leaves_nothing_behind():
    ours, first, second = predictor(), scan(seed=1), scan((9, 30, 8), seed=2)
    before = ours.predict([first]).leaves.voxels
    untouched = first.voxels.copy()
    ours.predict([second])
    np.testing.assert_array_equal(ours.predict([first]).leaves.voxels, before)
    np.testing.assert_array_equal(first.voxels, untouched)


def test_progress_goes_up_to_the_end():
    shares = []
    predictor(patch=(4, 8, 8)).predict([scan((40, 12, 12))], on_progress=shares.append)
    assert shares == sorted(shares)
    assert (len(shares) > 3, shares[-1]) == (True, 1.0)


def test_what_does_not_fit_is_named():
    image = scan()
    with pytest.raises(ShapeError, match="2 channels"):
        predictor().predict([image, image])
    with pytest.raises(ShapeError, match="resample every channel"):
        predictor(channels=2).predict([image, scan((5, 6, 7))])
    broken = Volume(image.voxels.copy(), image.geometry)
    broken.voxels[3, 4, 5] = np.nan
    with pytest.raises(CaseError, match="1 voxels are not finite"):
        predictor().predict([broken])
    with pytest.raises(ConfigError, match="did you mean 'cpu'"):
        Predictor(predictor().model, device="cpus")
