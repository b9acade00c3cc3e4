"""Signed distances as probabilities and targets, worked by hand, and what the published form of them loses."""

import numpy as np
import pytest
import torch

from SemiSegLib.batches.distance import FAR_MM, signed_distance
from SemiSegLib.losses.distance import (
    distance_error,
    distance_to_logits,
    distance_to_probability,
    published_distance,
    squash_distance,
)

VOXEL = (1.0, 1.0, 1.0)


def dice(a, b):
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def a_ball(shape, radius):
    places = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij"))
    return np.sqrt((places**2).sum(0)) < radius


def physical(mask, steepness=2.0, radius=15.0):
    squashed = squash_distance(torch.from_numpy(signed_distance(mask, VOXEL))[None, None], radius)
    return distance_to_probability(squashed, steepness * radius)[0, 0]


def test_a_probability_is_worked_by_hand():
    # k = 2: half a voxel inside 1 / (1 + e^-1) = 0.7311, half a voxel outside 0.2689; 1 voxel inside 0.8808.
    found = distance_to_probability(torch.tensor([-0.5, 0.5, -1.0, 0.0]), 2.0)
    assert found.tolist() == pytest.approx([0.7311, 0.2689, 0.8808, 0.5], abs=1e-4)
    half = distance_to_probability(torch.tensor([-0.5], dtype=torch.bfloat16), 2.0)
    assert half.dtype == torch.float32


def test_logits_of_one_structure_are_its_probability_and_of_several_sum_to_one():
    distance = torch.linspace(-3, 3, 24).view(2, 1, 3, 4)
    found = distance_to_logits(distance, 2.0).softmax(1)
    torch.testing.assert_close(found[:, 1:], distance_to_probability(distance, 2.0))
    # Leaves at distances ln 2 inside and ln 3 outside, k = 1: weights 1, 2 and 1/3, so 0.3, 0.6 and 0.1.
    two = torch.tensor([-np.log(2), np.log(3)]).view(1, 2, 1)
    assert distance_to_logits(two, 1.0).softmax(1).flatten().tolist() == pytest.approx([0.3, 0.6, 0.1], abs=1e-6)


def test_far_distances_stay_finite_with_their_gradients():
    distance = torch.tensor([FAR_MM, -FAR_MM, 0.0]).view(1, 3, 1).requires_grad_()
    total = distance_to_logits(distance, 1500.0).log_softmax(1).sum() + distance_to_probability(distance, 1500.0).sum()
    total.backward()
    assert total.isfinite()
    assert distance.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_goes_through_its_distance_and_comes_back_whole(seed):
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(1, 12, 3))
    mask = generator.random(shape) < generator.random()
    assert np.array_equal((physical(mask) > 0.5).numpy(), mask)
    logits = distance_to_logits(torch.from_numpy(signed_distance(mask, (3.0, 0.7, 1.1)))[None, None], 2.0)
    assert np.array_equal(logits.argmax(1)[0].numpy(), mask)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_structure_that_is_absent_or_everywhere_comes_back_whole(share):
    mask = np.full((4, 5, 6), bool(share))
    found = physical(mask)
    assert found.isfinite().all()
    assert np.array_equal((found > 0.5).numpy(), mask)
    assert (found - share).abs().max() < 1e-6
    assert published_distance(torch.from_numpy(mask)[None, None]).isfinite().all()


def test_touching_leaves_come_back_from_their_distances():
    leaves = np.random.default_rng(0).integers(0, 4, (5, 4, 6)).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    distances = np.stack([signed_distance(leaves == leaf, (2.0, 1.0, 1.0)) for leaf in (1, 2, 3)])
    found = distance_to_logits(torch.from_numpy(distances)[None], 2.0).argmax(1)[0]
    assert np.array_equal(found.numpy(), leaves)


def test_the_published_transform_loses_a_voxel_all_around_and_ours_does_not():
    # On the 20 test masks of the left atrium a perfect map comes back with Dice 0.945 +- 0.008; this ball has about
    # as much surface for its volume. With k = 2 per voxel even the soft Dice is 0.99.
    mask = a_ball((60, 60, 60), 27.0)
    published = published_distance(torch.from_numpy(mask)[None, None])
    back = (distance_to_probability(published, 1500.0) > 0.5)[0, 0].numpy()
    assert not (back & ~mask).any()
    assert dice(back, mask) == pytest.approx(0.945, abs=0.01)
    ours = physical(mask)
    assert dice((ours > 0.5).numpy(), mask) == 1.0
    truth = torch.from_numpy(mask).float()
    assert float(2 * (ours * truth).sum() / (ours.square().sum() + truth.sum())) > 0.98


def test_the_published_transform_is_that_of_the_released_code():
    # By hand, in one dimension: outside 2 1 . . . . 1, inside . . 1 2 2 1 .; the largest are 2 and 2.
    mask = torch.tensor([0, 0, 1, 1, 1, 1, 0], dtype=torch.bool).view(1, 1, 1, 7)
    assert published_distance(mask).flatten().tolist() == [1.0, 0.5, 0.0, -1.0, -1.0, 0.0, 0.5]
    empty, full = torch.zeros(1, 1, 2, 3, dtype=torch.bool), torch.ones(1, 1, 2, 3, dtype=torch.bool)
    assert published_distance(empty).eq(0).all()
    assert published_distance(full).eq(-1).all()
    # Rows and structures are worked out apart.
    both = torch.cat([mask, ~mask], dim=1)
    torch.testing.assert_close(published_distance(both)[:, :1], published_distance(mask))


def test_the_published_transform_depends_on_the_crop_and_ours_does_not():
    mask = a_ball((30, 28, 26), 9.0)
    crop = (slice(4, 22), slice(3, 19), slice(0, 15))
    whole = published_distance(torch.from_numpy(mask)[None, None])[0, 0]
    part = published_distance(torch.from_numpy(np.ascontiguousarray(mask[crop]))[None, None])[0, 0]
    assert (whole[crop] - part).abs().max() > 0.1


def test_squashing_keeps_the_sign_and_the_near_distances():
    distance = torch.tensor([-FAR_MM, -5.0, -0.5, 0.5, 5.0, FAR_MM])
    found = squash_distance(distance, 15.0)
    assert torch.equal(found.sign(), distance.sign())
    assert (found * 15)[1:5].tolist() == pytest.approx([-4.823, -0.4998, 0.4998, 4.823], abs=1e-3)
    assert found[0] == -1
    assert found[-1] == 1


def test_the_error_counts_known_voxels_alone():
    prediction = torch.tensor([0.5, -1.0, 0.25, 0.0]).view(1, 1, 4).requires_grad_()
    target = torch.tensor([0.0, -0.5, float("nan"), 1.0]).view(1, 1, 4)
    known = torch.tensor([True, True, False, False]).view(1, 1, 4)
    # The mean of 0.25 and 0.25, and of 0.5 and 0.5.
    assert distance_error(prediction, target, known).item() == pytest.approx(0.25)
    assert distance_error(prediction, target, known, absolute=True).item() == pytest.approx(0.5)
    distance_error(prediction, target, known).backward()
    # Twice the difference over two known voxels.
    assert prediction.grad.flatten().tolist() == pytest.approx([0.5, -0.5, 0.0, 0.0])
    nothing = distance_error(prediction, target, torch.zeros_like(known))
    assert nothing.item() == 0
    assert nothing.requires_grad


def test_no_gradient_flows_into_a_target():
    prediction, target = (torch.zeros(1, 1, 3, requires_grad=True) for _ in range(2))
    distance_error(prediction + 1, target, torch.ones(1, 1, 3, dtype=torch.bool)).backward()
    assert target.grad is None
