"""Losses of several resolutions are averaged as nnU-Net does it."""

import pytest
import torch

from SemiSegLib.losses.resolutions import mean_over_resolutions


def losses(first, second):
    return {"cross_entropy": torch.tensor(first), "dice": torch.tensor(second)}


def test_each_resolution_weighs_half_of_the_next_finer_one():
    found = mean_over_resolutions(losses(1.0, 7.0), [losses(2.0, 7.0), losses(6.0, 7.0)])
    # Of 1, half of 2 and a quarter of 6, together 3.5, shared by weights of 1.75.
    assert found["cross_entropy"].item() == pytest.approx(2.0)
    assert found["dice"].item() == pytest.approx(7.0)


def test_one_resolution_alone_stays_as_it_is():
    assert mean_over_resolutions(losses(0.3, 0.7), []) == losses(0.3, 0.7)


def test_the_finest_resolution_gives_the_names():
    finest = {f"coarse_{name}": value for name, value in losses(1.0, 4.0).items()}
    found = mean_over_resolutions(finest, [losses(4.0, 1.0)])
    assert {name: value.item() for name, value in found.items()} == {"coarse_cross_entropy": 2.0, "coarse_dice": 3.0}


def test_a_resolution_that_lacks_a_loss_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        mean_over_resolutions(losses(1.0, 2.0), [{"dice": torch.tensor(1.0)}])
