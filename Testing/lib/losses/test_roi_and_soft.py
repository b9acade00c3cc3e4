"""Losses of one-vs-all heads and soft targets: worked by hand, and silent where nothing is known."""

import math

import pytest
import torch

from SemiSegLib.losses.roi import roi_cross_entropy, roi_dice, roi_maps
from SemiSegLib.losses.soft import masked_mse, soft_cross_entropy


def row(*channels):
    return torch.tensor(channels, dtype=torch.float32)[None]


def known(*channels):
    return torch.tensor(channels, dtype=torch.bool)[None]


def test_structure_cross_entropy_averages_voxels_then_structures():
    # Structure 1: voxels -log s(0) = log 2 twice. Structure 2: one known voxel, t = 0, z = log 3: -log(1/4) = log 4.
    logits = row((0, 0, 5), (math.log(3), 9, 9))
    target = known((1, 0, 1), (0, 1, 1))
    found = roi_cross_entropy(logits, target, known((1, 1, 0), (1, 0, 0)))
    assert found.item() == pytest.approx((math.log(2) + math.log(4)) / 2, abs=1e-6)


def test_a_missing_structure_changes_neither_loss_nor_gradient():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=draw).requires_grad_()
    target = torch.rand(2, 3, 4, 5, generator=draw) < 0.4
    mask = torch.ones_like(target)
    mask[:, 1] = False
    for loss in (roi_cross_entropy(logits, target, mask), roi_dice(logits.sigmoid(), target, mask)):
        slope = torch.autograd.grad(loss, logits)[0]
        assert (slope[:, 1] == 0).all()
        assert (slope[:, 0] != 0).any()
    without = roi_cross_entropy(logits[:, [0, 2]], target[:, [0, 2]], mask[:, [0, 2]])
    assert roi_cross_entropy(logits, target, mask).item() == pytest.approx(without.item(), abs=1e-6)


def test_structure_dice_is_worked_by_hand():
    # Structure 1: overlap 1, mass 2, positive 1: 2 / 3. Structure 2 has no positive voxel: left out.
    probability = row((1, 1, 0, 0.3), (0.5, 0.5, 0.5, 0.5))
    target = known((1, 0, 0, 1), (0, 0, 0, 0))
    found = roi_dice(probability, target, known((1, 1, 1, 0), (1, 1, 1, 1)))
    assert found.item() == pytest.approx(1 / 3, abs=1e-4)


def test_squared_structure_dice_is_worked_by_hand():
    # overlap 0.5, mass 0.25 + 0.25, positive 1: 1 / 1.5.
    found = roi_dice(row((0.5, 0.5)), known((1, 0)), known((1, 1)), squared=True)
    assert found.item() == pytest.approx(1 / 3, abs=1e-4)


def test_structure_maps_look_codes_up():
    targets = torch.tensor([[False, False], [True, False], [False, True]])
    sure = torch.tensor([[False, False], [True, True], [False, True]])
    found, mask = roi_maps(torch.tensor([[[0, 1], [2, 1]]]), targets, sure)
    assert found.tolist() == [[[[False, True], [False, True]], [[False, False], [True, False]]]]
    assert mask.tolist() == [[[[False, True], [False, True]], [[False, True], [True, True]]]]


def test_soft_cross_entropy_is_normalized_by_what_is_known():
    # Voxel 1: target (1, 0), p = 1/2: log 2. Voxel 2: target (.5, .5), p = (1/4, 3/4). Voxel 3 is not known.
    logits = row((0, 0, 7), (0, math.log(3), 0))
    target = row((1, 0.5, 1), (0, 0.5, 0))
    expected = (math.log(2) + 0.5 * math.log(4) + 0.5 * math.log(4 / 3)) / 2
    assert soft_cross_entropy(logits, target, known(1, 1, 0)).item() == pytest.approx(expected, abs=1e-6)
    # A voxel without target changes nothing, as if it were not known.
    empty = row((1, 0.5, 0), (0, 0.5, 0))
    assert soft_cross_entropy(logits, empty, known(1, 1, 1)).item() == pytest.approx(expected, abs=1e-6)


def test_masked_mse_is_worked_by_hand():
    # Known voxels 1 and 2, two channels: (1 + 0 + 4 + 1) / 4.
    prediction, target = row((1, 2, 3), (0, 1, 9)), row((0, 0, 0), (0, 0, 0))
    assert masked_mse(prediction, target, known(1, 1, 0)).item() == pytest.approx(6 / 4)
    assert masked_mse(prediction, target, known((1, 0, 0), (0, 0, 1))).item() == pytest.approx((1 + 81) / 2)


def test_nothing_known_costs_nothing_and_teaches_nothing():
    values = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target = torch.full((2, 3, 4), 0.5)
    nowhere, voxel = torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)
    for loss in (
        roi_cross_entropy(values, target, nowhere),
        roi_dice(values.sigmoid(), target, nowhere),
        soft_cross_entropy(values, target, voxel),
        masked_mse(values, target, voxel),
    ):
        assert loss.item() == 0
        assert (torch.autograd.grad(loss, values)[0] == 0).all()


def test_a_value_nobody_knows_may_be_anything_even_not_a_number():
    values = torch.tensor([[[0.0, float("inf")]]])
    target, mask = torch.tensor([[[1.0, float("nan")]]]), torch.tensor([[[True, False]]])
    assert roi_cross_entropy(values, target, mask).item() == pytest.approx(math.log(2), abs=1e-6)
    assert masked_mse(values, target, mask).item() == 1.0


def test_no_gradient_flows_into_a_soft_target():
    logits = torch.randn(1, 2, 3).requires_grad_()
    target = torch.rand(1, 2, 3).requires_grad_()
    loss = soft_cross_entropy(logits, target, torch.ones(1, 3, dtype=torch.bool))
    slopes = torch.autograd.grad(loss, (logits, target), allow_unused=True)
    assert slopes[0].abs().sum() > 0
    assert slopes[1] is None


def test_the_gradients_equal_finite_differences():
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(2, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    target = torch.rand(2, 2, 3, generator=draw, dtype=torch.float64)
    mask = torch.rand(2, 2, 3, generator=draw) < 0.7
    for function in (
        lambda z: roi_cross_entropy(z, target, mask),
        lambda z: roi_dice(z.sigmoid(), target > 0.5, mask),
        lambda z: soft_cross_entropy(z, target, mask[:, 0]),
        lambda z: masked_mse(z, target, mask),
    ):
        assert torch.autograd.gradcheck(function, (values,), eps=1e-6, atol=1e-6)
