"""Faults of published losses of one-vs-all heads, each caught by a check that the losses here pass."""

import pytest
import torch
from torch.nn import functional

from SemiSegLib.losses.roi import roi_cross_entropy, roi_dice

UNKNOWN = -1


def released_dice(probability, target, known):
    """DoDNet's: the smoothing stands in the denominator alone."""
    flat = [(part * known).flatten(2).sum((0, 2)) for part in (probability * target, probability, target)]
    return (1 - 2 * flat[0] / (flat[1] + flat[2] + 1e-5)).mean()


def check_that_an_absent_structure_costs_nothing_that_it_cannot_mend(dice):
    """A labeled structure without a voxel: what cannot be lowered must not be counted."""
    logits = torch.full((1, 1, 4, 4), -2.0, requires_grad=True)
    target, known = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    loss = dice(logits.sigmoid(), target, known)
    slope = torch.autograd.grad(loss, logits, allow_unused=True)[0]
    is_taught = slope is not None and slope.abs().sum() > 1e-3
    assert is_taught or loss.item() < 1e-3


def test_an_absent_structure_is_taught_by_its_cross_entropy_and_not_by_a_constant():
    check_that_an_absent_structure_costs_nothing_that_it_cannot_mend(roi_dice)
    with pytest.raises(AssertionError):
        check_that_an_absent_structure_costs_nothing_that_it_cannot_mend(released_dice)
    logits = torch.full((1, 1, 4, 4), -2.0, requires_grad=True)
    roi_cross_entropy(logits, torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)).backward()
    assert (logits.grad > 0).all()


def of_map(values):
    """Target and known maps of values 0, 1 and UNKNOWN."""
    return values == 1, values != UNKNOWN


def by_the_corner(logits, values):
    """DoDNet's: a structure is missing in a row if its first voxel says so; the mean is over the others."""
    is_there = values.flatten(2)[:, :, 0] != UNKNOWN
    losses = functional.binary_cross_entropy_with_logits(logits, values.clamp_min(0).float(), reduction="none")
    return losses.flatten(2).mean(2)[is_there].mean()


def by_maps(logits, values):
    return roi_cross_entropy(logits, *of_map(values))


def check_that_availability_is_that_of_each_voxel(loss):
    logits = torch.zeros(1, 2, 3, 3, requires_grad=True)
    values = torch.zeros(1, 2, 3, 3)
    # Not annotated at the corner alone; and drawn nowhere but at the corner.
    values[0, 0, 0, 0] = UNKNOWN
    values[0, 1] = UNKNOWN
    values[0, 1, 0, 0] = 1
    slope = torch.autograd.grad(loss(logits, values), logits)[0]
    assert torch.equal(slope != 0, values != UNKNOWN)
    nothing = torch.full((1, 2, 3, 3), float(UNKNOWN))
    assert loss(logits, nothing).item() == 0


def test_what_is_known_is_said_voxel_by_voxel_and_not_by_a_corner():
    check_that_availability_is_that_of_each_voxel(by_maps)
    with pytest.raises(AssertionError):
        check_that_availability_is_that_of_each_voxel(by_the_corner)
    assert torch.isnan(by_the_corner(torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), float(UNKNOWN))))


def check_that_the_number_of_structures_does_not_set_the_weight(loss):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 1, 5, 5), torch.rand(2, 1, 5, 5) < 0.5
    many = loss(logits.repeat(1, 9, 1, 1), target.repeat(1, 9, 1, 1), torch.ones(2, 9, 5, 5, dtype=torch.bool))
    one = loss(logits, target, torch.ones(2, 1, 5, 5, dtype=torch.bool))
    assert many.item() == pytest.approx(one.item(), rel=1e-5)


def test_nine_latent_structures_weigh_no_more_than_one():
    def added(logits, target, known):
        return sum(
            roi_cross_entropy(logits[:, k : k + 1], target[:, k : k + 1], known[:, k : k + 1])
            for k in range(logits.shape[1])
        )

    check_that_the_number_of_structures_does_not_set_the_weight(roi_cross_entropy)
    check_that_the_number_of_structures_does_not_set_the_weight(lambda z, t, k: roi_dice(z.sigmoid(), t, k))
    with pytest.raises(AssertionError):
        check_that_the_number_of_structures_does_not_set_the_weight(added)
