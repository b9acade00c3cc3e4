"""Intensities in the network's range, by the rule of each channel."""

import numpy as np
import pytest

from SemiSegLib.batches.prepare import normalize, prepare_image
from SemiSegLib.cases.volume import Volume
from SemiSegLib.errors import CaseError, ShapeError
from SemiSegLib.planning.plan import ChannelPlan
from Testing.lib.batches.study import a_plan
from Testing.lib.cases.tiny import moved, oblique


def test_a_z_score_has_mean_0_and_deviation_1():
    image = np.random.default_rng(0).integers(-1000, 3000, (6, 7, 8)).astype(np.int16)
    result = normalize(image, ChannelPlan(role="T1"))
    assert result.dtype == np.float32
    assert abs(result.mean()) < 1e-5
    assert abs(result.std() - 1) < 1e-5


@pytest.mark.parametrize("rule", ["zscore", "zscore_nonzero", "unit", "ct"])
@pytest.mark.parametrize("value", [0, 7, 30000])
def test_a_constant_image_stays_finite_and_constant(rule, value):
    result = normalize(np.full((3, 4, 5), value, dtype=np.int16), ChannelPlan(role="T1", normalization=rule, high=100))
    assert np.isfinite(result).all()
    assert np.ptp(result) == 0
    if rule in ("zscore", "unit"):
        assert not result.any()


def test_a_blanked_surrounding_stays_0_and_does_not_move_the_tissue():
    image = np.zeros((4, 6, 6), dtype=np.float32)
    image[1:3, 1:4, 1:4] = np.random.default_rng(0).normal(500, 20, (2, 3, 3))
    result = normalize(image, ChannelPlan(role="T1", normalization="zscore_nonzero"))
    assert not result[image == 0].any()
    assert abs(result[image != 0].mean()) < 1e-5
    assert abs(result[image != 0].std() - 1) < 1e-4


def test_ct_is_clipped_then_scaled_by_the_training_foreground():
    plan = ChannelPlan(role="CT", normalization="ct", low=-100, high=300, mean=50, deviation=25)
    result = normalize(np.array([[[-1000, -100, 50, 75, 4000]]], dtype=np.int16), plan)
    np.testing.assert_allclose(result[0, 0], [-6, -6, 0, 1, 10])


def test_an_image_that_is_not_finite_is_refused():
    image = np.zeros((2, 2, 2), dtype=np.float32)
    image[0, 1, 1] = np.nan
    with pytest.raises(CaseError, match="1 voxels are not finite"):
        normalize(image, ChannelPlan(role="T1"))


def test_channels_that_do_not_fit_the_plan_are_refused():
    volume = Volume(np.zeros((2, 3, 4), dtype=np.float32), oblique((2, 3, 4)))
    with pytest.raises(ShapeError, match="2 channels, the plan has 1"):
        prepare_image([volume, volume], a_plan())
    other = Volume(np.zeros((2, 3, 5), dtype=np.float32), oblique((2, 3, 5)))
    two = a_plan(channels=(ChannelPlan(role="T1"), ChannelPlan(role="T2")))
    with pytest.raises(ShapeError, match="channel 'T2' has shape"):
        prepare_image([volume, other], two)
    displaced = Volume(volume.voxels, moved(volume.geometry, (0.0, 2.1, 0.0)))
    with pytest.raises(ShapeError, match="channel 'T2' lies on another grid than the first: corners are 3 voxels"):
        prepare_image([volume, displaced], two)
    rounded = Volume(volume.voxels, moved(volume.geometry, (0.0, 1e-5, 0.0)))
    assert prepare_image([volume, rounded], two)[0].shape[0] == 2
