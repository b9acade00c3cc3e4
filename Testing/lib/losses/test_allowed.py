"""Marginal losses of voxels with sets of their own: the same as of codes, where codes say the same."""

import pytest
import torch

from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.losses.allowed import allowed_loss, deep_allowed_loss
from SemiSegLib.losses.label_set import label_set_loss
from Testing.lib.methods import tiny

MEMBERS = torch.from_numpy(RoiTable.of(tiny.SCHEME).members.copy())


def a_batch(dimensions=2, seed=0):
    made, _ = tiny.batch(dimensions, seed=seed)
    logits = torch.randn(len(made), 4, *made.codes.shape[1:], generator=torch.Generator().manual_seed(seed)) * 3
    return made, logits.requires_grad_(), made.label_sets[made.codes].movedim(-1, 1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_sets_of_codes_have_the_loss_of_the_codes(dimensions):
    made, logits, allowed = a_batch(dimensions)
    found, expected = allowed_loss(logits, allowed, MEMBERS), label_set_loss(logits, made.codes, made.label_sets)
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5), name
        slopes = [torch.autograd.grad(term, logits, retain_graph=True)[0] for term in (found[name], value)]
        assert torch.allclose(*slopes, atol=1e-7), name


def test_a_voxel_that_may_be_anything_changes_nothing():
    _, logits, allowed = a_batch()
    allowed = allowed.clone()
    allowed[:, :, :4] = True
    first = allowed_loss(logits, allowed, MEMBERS)
    other = logits.detach().clone()
    other[:, :, :4] = torch.randn_like(other[:, :, :4])
    second = allowed_loss(other, allowed, MEMBERS)
    assert all(first[name].item() == pytest.approx(second[name].item()) for name in first)
    nothing = allowed_loss(logits, torch.ones_like(allowed), MEMBERS)
    assert [value.item() for value in nothing.values()] == [0, 0]
    sum(nothing.values()).backward()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_any_precision_and_any_logit_is_finite(dtype):
    _, logits, allowed = a_batch()
    huge = (logits.detach() * 1e4).clamp(-6e4, 6e4).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = allowed_loss(huge, allowed, MEMBERS)
    sum(found.values()).backward()
    assert all(value.isfinite() and value.dtype == torch.float32 for value in found.values())
    assert huge.grad.isfinite().all()


def test_lower_resolutions_weigh_half_of_the_next_finer_one():
    _, logits, allowed = a_batch()
    coarse = torch.randn(len(logits), 4, 4, 8)
    found = deep_allowed_loss((logits, coarse), ((2, 1),), allowed, MEMBERS)
    parts = allowed_loss(logits, allowed, MEMBERS), allowed_loss(coarse, allowed[:, :, ::2], MEMBERS)
    for name, value in found.items():
        assert value.item() == pytest.approx((parts[0][name].item() + parts[1][name].item() / 2) / 1.5)
