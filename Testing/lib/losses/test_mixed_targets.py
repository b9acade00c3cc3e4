"""Negative learning, and losses against mixed labels; each fault of the released ones is shown."""

import pytest
import torch
from torch.nn import functional

from SemiSegLib.losses.label_set import label_set_cross_entropy
from SemiSegLib.losses.negative import negative_cross_entropy
from SemiSegLib.losses.released import released_cross_entropy, released_dice, released_targets
from SemiSegLib.losses.soft import soft_cross_entropy
from SemiSegLib.losses.soft_dice import soft_dice

# Background, and one foreground superclass of three leaves.
TWO = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)
TWO_SETS = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 1]], dtype=torch.bool)
# Background, a pair, a single leaf; and a label that leaves background or the pair open.
THREE = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
THREE_SETS = torch.tensor(
    [[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 0], [0, 1, 0, 0]], dtype=torch.bool
)


def released_negative_learning(logits, y):
    """The formula of the released code, for one foreground superclass."""
    background = logits.log_softmax(1)[:, 0]
    foreground = logits[:, 1:].logsumexp(1) - logits.logsumexp(1)
    means = [
        -(part * (y == kind)).sum() / ((y == kind).sum() + 1e-8) for kind, part in ((0, background), (1, foreground))
    ]
    return sum(means)


def balanced_marginal(logits, y):
    """Class-balanced marginal cross entropy, written with probabilities: the sum of one mean per superclass."""
    p = logits.double().softmax(1)
    return sum(
        -(mass.log()[y == kind]).mean() for kind, mass in ((0, p[:, 0]), (1, p[:, 1:].sum(1))) if (y == kind).any()
    )


@pytest.mark.parametrize("share", [0.3, 0.02, 0.0, 1.0])
def test_negative_learning_equals_the_released_formula_for_one_foreground_superclass(share):
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 7) * 3
    y = (torch.rand(3, 5, 7) < share).long()
    found = negative_cross_entropy(logits, y + 1, TWO_SETS, TWO)
    assert found.item() == pytest.approx(released_negative_learning(logits, y).item(), rel=1e-5)
    assert found.item() == pytest.approx(balanced_marginal(logits, y).item(), rel=1e-5)


def test_unbalanced_negative_learning_is_the_marginal_cross_entropy():
    torch.manual_seed(0)
    logits, codes = torch.randn(2, 4, 6, 5), torch.randint(0, 5, (2, 6, 5))
    found = negative_cross_entropy(logits, codes, THREE_SETS, THREE, balanced=False)
    assert found.item() == pytest.approx(label_set_cross_entropy(logits, codes, THREE_SETS).item(), rel=1e-5)


def test_negative_learning_of_three_superclasses_is_worked_by_hand():
    # p = (1/2, 1/4, 1/8, 1/8) everywhere; one voxel each of background, of leaf 1, of the pair, of the single leaf, of
    # "background or pair", and one unknown. Superclass means: ln 2, (ln 8/3 twice) / 2 = ln 8/3, ln 8, ln 8/7.
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().view(1, 4, 1).expand(1, 4, 6)
    codes = torch.tensor([[1, 5, 2, 3, 4, 0]])
    logs = [torch.tensor(x).log() for x in (2.0, 8 / 3, 8.0, 8 / 7)]
    found = negative_cross_entropy(logits, codes, THREE_SETS, THREE)
    assert found.item() == pytest.approx(2 / 3 * sum(logs).item(), rel=1e-5)
    plain = negative_cross_entropy(logits, codes, THREE_SETS, THREE, balanced=False)
    assert plain.item() == pytest.approx((logs[0] + 2 * logs[1] + logs[2] + logs[3]).item() / 5, rel=1e-5)


def test_a_small_superclass_weighs_as_much_as_a_large_one_only_when_balanced():
    logits = torch.zeros(1, 4, 100)
    codes = torch.ones(1, 100, dtype=torch.long)
    codes[0, 0] = 3
    for is_balanced in (True, False):
        given = logits.clone().requires_grad_()
        negative_cross_entropy(given, codes, THREE_SETS, THREE, balanced=is_balanced).backward()
        ratio = given.grad[0, :, 0].abs().sum() / given.grad[0, :, 1].abs().sum()
        assert ratio.item() == pytest.approx(99 if is_balanced else 1, rel=1e-4)


def test_negative_learning_says_nothing_of_leaves_inside_a_superclass():
    torch.manual_seed(0)
    logits, codes = torch.randn(1, 4, 40), torch.randint(0, 6, (1, 40))
    swapped = logits[:, [0, 2, 1, 3]]
    before, after = (negative_cross_entropy(z, codes, THREE_SETS, THREE).item() for z in (logits, swapped))
    assert before == pytest.approx(after, rel=1e-6)


def test_negative_learning_without_labels_and_with_huge_logits_is_finite():
    for codes, scale in ((torch.zeros(1, 9, dtype=torch.long), 1.0), (torch.arange(9).view(1, 9) % 6, 1e4)):
        logits = (torch.randn(1, 4, 9) * scale).requires_grad_()
        loss = negative_cross_entropy(logits, codes, THREE_SETS, THREE)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
        if scale == 1.0:
            assert loss.item() == 0
            assert logits.grad.abs().sum() == 0


def test_a_superclass_has_the_probability_of_its_leaves_together():
    # The released evaluation adds logits, which is another number; the loss must go by log-sum-exp.
    torch.manual_seed(0)
    logits, codes = torch.randn(1, 4, 30), torch.full((1, 30), 2)
    expected = -logits.softmax(1)[:, 1:].sum(1).log().mean()
    added = torch.stack([logits[:, 0], logits[:, 1:].sum(1)], 1)
    assert 2 / 2 * expected.item() == pytest.approx(
        negative_cross_entropy(logits, codes, TWO_SETS, TWO).item(), rel=1e-5
    )
    assert -added.log_softmax(1)[:, 1].mean().item() != pytest.approx(expected.item(), rel=1e-2)


def test_soft_dice_is_worked_by_hand():
    # Leaf 0: p = (1, 1/2), q = (1, 0): 2 * 1 / (1 + 1 + 1/4) = 8/9. Leaf 1: p = (0, 1/2), q = (0, 1): 1 / (1 + 1/4).
    p = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])
    q = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    known = torch.ones(1, 2, dtype=torch.bool)
    assert soft_dice(p, q, known).item() == pytest.approx(1 - (8 / 9 + 4 / 5) / 2, abs=1e-4)
    assert soft_dice(p, q, known, include_background=False).item() == pytest.approx(1 / 5, abs=1e-4)
    assert soft_dice(q, q, known).item() == pytest.approx(0, abs=1e-4)


def test_soft_dice_is_best_where_a_soft_target_is_met():
    # With plain sums a target of 0.7 would be met best by a probability of 1.
    target = torch.tensor([[[0.7, 0.3], [0.3, 0.7]]])
    known = torch.ones(1, 2, dtype=torch.bool)
    probability = target.clone().requires_grad_()
    loss = soft_dice(probability, target, known)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert probability.grad.abs().max() < 1e-4
    for sure in (torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.full((1, 2, 2), 0.5)):
        assert soft_dice(sure, target, known).item() > 0.02


def test_soft_dice_leaves_out_what_is_absent_if_asked():
    p = torch.tensor([[[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]]])
    q = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
    known = torch.ones(1, 2, dtype=torch.bool)
    own = 1 - (2 * 0.5) / (2 + 2 / 16)
    assert soft_dice(p, q, known, skip_absent=True).item() == pytest.approx(own, abs=1e-4)
    assert soft_dice(p, q, known).item() == pytest.approx((2 + own) / 3, abs=1e-3)


def test_a_voxel_without_a_target_teaches_nothing():
    logits = torch.randn(1, 3, 6, requires_grad=True)
    target = functional.one_hot(torch.tensor([[0, 1, 2, 0, 0, 0]]), 3).movedim(-1, 1).float()
    target[:, :, 3:] = 0
    known = target.sum(1) > 0
    soft_dice(logits.softmax(1), target, known).backward()
    assert logits.grad[:, :, 3:].abs().sum() == 0
    assert logits.grad[:, :, :3].abs().sum() > 0
    empty = soft_dice(logits.softmax(1), target * 0, known & False, skip_absent=True)
    empty.backward()
    assert empty.item() == 0


def false_positive_costs(dice):
    """Leaf 2 is predicted at a voxel that is known to be leaf 1: less of it must lower the loss."""
    logits = torch.tensor([[[0.0], [1.0], [1.0]]]).expand(1, 3, 4).clone().requires_grad_()
    target = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1).expand(1, 3, 4)
    probability = logits.softmax(1)
    probability.retain_grad()
    dice(probability, target).backward()
    assert (probability.grad[:, 2] > 0).all()


def test_a_false_positive_costs_where_another_leaf_is_known():
    false_positive_costs(lambda p, q: soft_dice(p, q, q.sum(1) > 0))
    with pytest.raises(AssertionError):
        false_positive_costs(released_dice)


def test_the_weight_of_a_voxel_does_not_shrink_with_the_share_of_valid_ones():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 100)
    target = functional.one_hot(torch.randint(0, 3, (1, 100)), 3).movedim(-1, 1).float()
    few = target.clone()
    few[:, :, 10:] = 0

    def keeps_its_size(loss):
        expected = functional.cross_entropy(logits[:, :, :10], target[:, :, :10].argmax(1))
        assert loss(logits, few).item() == pytest.approx(expected.item(), rel=1e-5)

    keeps_its_size(lambda z, q: soft_cross_entropy(z, q, q.sum(1) > 0))
    with pytest.raises(AssertionError):
        keeps_its_size(released_cross_entropy)
    # As torch's own loss with probabilities as target, which the released trainer calls.
    expected = functional.cross_entropy(logits, few).item()
    assert released_cross_entropy(logits, few).item() == pytest.approx(expected, rel=1e-6)
    assert expected < 0.2 * functional.cross_entropy(logits[:, :, :10], target[:, :, :10].argmax(1)).item()


def test_released_targets_have_one_share_for_the_whole_image():
    pseudo = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    found = released_targets(pseudo, torch.tensor([[1, 0, 0]]), torch.tensor([0.75]))
    # Voxel 0 mixed with leaf 1 and sure of it; voxel 1 background twice; voxel 2 background because nothing was mixed.
    assert found.tolist() == [[[0.0, 1.0, 0.75], [1.0, 0.0, 0.0]]]
