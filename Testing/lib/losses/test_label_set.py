"""The label-set losses: worked by hand, and the truths that make every kind of label one thing."""

import math

import pytest
import torch
from torch.nn import functional

from SemiSegLib.losses.label_set import (
    DiceRule,
    label_set_cross_entropy,
    label_set_dice,
    label_set_loss,
    superclass_sets,
)

# Leaves: background, head, tail, vessel. Codes: anything, each leaf, the organ {head, tail}, "not vessel".
SETS = torch.tensor(
    [
        [1, 1, 1, 1],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 1, 1, 0],
        [1, 1, 1, 0],
    ],
    dtype=torch.bool,
)
ANYTHING, BACKGROUND, HEAD, TAIL, VESSEL, ORGAN, NOT_VESSEL = range(7)
RULES = [
    DiceRule(),
    DiceRule(squared=True, include_background=True, skip_absent=False),
    DiceRule(include_background=True, per_row=True),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def case(seed, *, codes=None, leaves=4, size=(3, 5, 2), dtype=torch.float32):
    draw = generator(seed)
    logits = torch.randn((2, leaves, *size), generator=draw, dtype=dtype) * 2
    return logits.requires_grad_(), torch.randint(0, len(SETS) if codes is None else codes, (2, *size), generator=draw)


def total(logits, codes, sets, rule=None):
    terms = label_set_loss(logits, codes, sets, rule=rule)
    return terms["cross_entropy"] + terms["dice"]


def gradient(logits, codes, sets, rule=None):
    return torch.autograd.grad(total(logits, codes, sets, rule), logits)[0]


def voxels(*probabilities):
    """A batch of one row, one axis, with these probabilities."""
    return torch.tensor(probabilities, dtype=torch.float32).T[None]


def test_cross_entropy_is_worked_by_hand():
    # Voxel 1 is head: -log 0.5. Voxel 2 is head or tail: -log(0.25 + 0.25). Voxel 3 may be anything: not counted.
    logits = voxels((0.25, 0.5, 0.125, 0.125), (0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.1, 0.1)).log()
    found = label_set_cross_entropy(logits, torch.tensor([[HEAD, ORGAN, ANYTHING]]), SETS)
    assert found.item() == pytest.approx((math.log(2) + math.log(2)) / 2, abs=1e-6)


def test_cross_entropy_of_single_leaves_is_the_usual_one():
    logits, codes = case(1)
    codes = codes % 4 + 1
    assert label_set_cross_entropy(logits, codes, SETS).item() == pytest.approx(
        functional.cross_entropy(logits, codes - 1).item(), abs=1e-6
    )


def test_cross_entropy_is_exact_where_the_label_is_next_to_impossible():
    # Leaf 1 is 1000 below leaf 0: -log p = 1000, and the gradient is p - target = (1, -1).
    logits = torch.tensor([[[0.0], [-1000.0], [-2000.0], [-2000.0]]], requires_grad=True)
    loss = label_set_cross_entropy(logits, torch.tensor([[HEAD]]), SETS)
    assert loss.item() == pytest.approx(1000.0)
    assert torch.autograd.grad(loss, logits)[0].flatten().tolist() == pytest.approx([1, -1, 0, 0], abs=1e-6)


def test_dice_is_worked_by_hand():
    # Voxels: head, head, vessel, background, organ. Prediction is sure: head, background, vessel, head, head.
    # head, known at the first four: overlap 1, mass 2, positive 2: 2 / 4. tail: absent, left out. vessel: 2 / 2.
    # organ {head, tail}: overlap 2, mass 3, positive 3: 4 / 6.
    probability = voxels((0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (0, 1, 0, 0))
    codes = torch.tensor([[HEAD, HEAD, VESSEL, BACKGROUND, ORGAN]])
    assert label_set_dice(probability, codes, SETS).item() == pytest.approx(1 - (1 / 2 + 1 + 2 / 3) / 3, abs=1e-4)


def test_dice_knows_a_structure_only_where_the_label_speaks_of_it():
    # Voxels: organ, head, background, all predicted head with 0.5 and tail with 0.5.
    # head is known at voxels 2, 3: overlap 0.5, mass 1, positive 1: 1 / 2.
    # tail is known at 2, 3 but never positive: left out. organ is known at all: overlap 2, mass 3, positive 2: 4 / 5.
    probability = voxels((0, 0.5, 0.5, 0), (0, 0.5, 0.5, 0), (0, 0.5, 0.5, 0))
    codes = torch.tensor([[ORGAN, HEAD, BACKGROUND]])
    found = label_set_dice(probability, codes, SETS[:6])
    assert found.item() == pytest.approx(1 - (1 / 2 + 4 / 5) / 2, abs=1e-4)


def test_the_papers_dice_is_worked_by_hand():
    # Two classes, voxels 0, 1 with p_1 = 0.5, 0.5. Squared: class 0: 2*0.5/(0.25+0.25+1) = 2/3, class 1 the same.
    sets = torch.tensor([[True, True], [True, False], [False, True]])
    probability = voxels((0.5, 0.5), (0.5, 0.5))
    rule = DiceRule(squared=True, include_background=True, skip_absent=False)
    assert label_set_dice(probability, torch.tensor([[1, 2]]), sets, rule=rule).item() == pytest.approx(1 / 3, abs=1e-4)
    # Both voxels class 0: class 0 gives 2*1/(0.5+2) = 0.8, the absent class e/(0.5+e) = 0, and the papers keep it.
    assert label_set_dice(probability, torch.tensor([[1, 1]]), sets, rule=rule).item() == pytest.approx(0.6, abs=1e-4)


def test_dice_of_full_labels_does_not_depend_on_what_else_the_table_holds():
    logits, codes = case(11)
    codes = codes % 4 + 1
    for rule in RULES:
        short, long = (label_set_dice(logits.softmax(1), codes, sets, rule=rule).item() for sets in (SETS[:5], SETS))
        assert short == pytest.approx(long, abs=1e-6)


def test_dice_per_row_is_the_mean_of_the_rows():
    probability = torch.softmax(case(2)[0], 1).detach()
    codes = torch.randint(1, 7, (2, 3, 5, 2), generator=generator(3))
    # Both rows show every structure, so both count the same ones.
    codes[:, 0, :, 0], codes[:, 1, 0, 0] = torch.tensor([1, 2, 3, 4, 5]), NOT_VESSEL
    rule = DiceRule(per_row=True)
    rows = [label_set_dice(probability[i : i + 1], codes[i : i + 1], SETS) for i in range(2)]
    assert label_set_dice(probability, codes, SETS, rule=rule).item() == pytest.approx(sum(rows).item() / 2, abs=1e-6)


def test_a_perfect_prediction_costs_nothing():
    codes = torch.tensor([[BACKGROUND, HEAD, TAIL, VESSEL, ORGAN, NOT_VESSEL]])
    leaves = torch.tensor([0, 1, 2, 3, 2, 0])
    logits = 60.0 * functional.one_hot(leaves, 4).T[None].float()
    terms = label_set_loss(logits, codes, SETS)
    assert terms["cross_entropy"].item() == pytest.approx(0, abs=1e-6)
    assert terms["dice"].item() == pytest.approx(0, abs=1e-5)


def test_one_of_two_terms_alone_equals_the_shared_computation():
    logits, codes = case(4)
    terms = label_set_loss(logits, codes, SETS)
    assert terms["cross_entropy"].item() == label_set_cross_entropy(logits, codes, SETS).item()
    assert terms["dice"].item() == pytest.approx(label_set_dice(logits.softmax(1), codes, SETS).item(), abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_moving_probability_between_the_leaves_of_one_set_changes_nothing(rule):
    for seed in range(20):
        logits, codes = case(seed)
        codes = torch.where(
            codes < 5, torch.tensor([ANYTHING, BACKGROUND, ORGAN, ORGAN, VESSEL])[codes.clamp(max=4)], ORGAN
        )
        probability = logits.detach().softmax(1)
        share = torch.rand(codes.shape, generator=generator(seed))
        organ = probability[:, 1] + probability[:, 2]
        inside = (codes == ORGAN) | (codes == ANYTHING)
        moved = probability.clone()
        moved[:, 1] = torch.where(inside, organ * share, probability[:, 1])
        moved[:, 2] = torch.where(inside, organ * (1 - share), probability[:, 2])
        before, after = (label_set_loss(p.log(), codes, SETS, rule=rule) for p in (probability, moved))
        for name in before:
            assert after[name].item() == pytest.approx(before[name].item(), abs=1e-6)


def test_leaves_that_no_label_tells_apart_may_as_well_be_one():
    # Head and tail merged into one leaf, of their probability together, where labels say organ, background or vessel.
    sets = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.bool)
    logits, codes = case(3)
    codes = codes % 4
    merged = torch.stack([logits[:, 0], logits[:, 1:3].logsumexp(1), logits[:, 3]], dim=1)
    given = torch.tensor([ANYTHING, BACKGROUND, ORGAN, VESSEL])[codes]
    # The Dice counts the leaves that are there; head and tail are not, so the structures are the same.
    before, after = label_set_loss(logits, given, SETS), label_set_loss(merged, codes, sets)
    for name in before:
        assert after[name].item() == pytest.approx(before[name].item(), abs=1e-6)


def test_a_superclass_of_one_leaf_is_that_leaf():
    logits, codes = case(6)
    alias = torch.cat([SETS, SETS[VESSEL : VESSEL + 1]])
    named = torch.where(codes == VESSEL, len(SETS), codes)
    for rule in RULES:
        before, after = (gradient(logits, c, s, rule) for c, s in ((codes, SETS), (named, alias)))
        assert torch.allclose(before, after, atol=1e-7)


@pytest.mark.parametrize("rule", RULES)
def test_no_gradient_at_all_where_a_voxel_may_be_anything(rule):
    logits, codes = case(5)
    found = gradient(logits, codes, SETS, rule)
    unknown = (codes == ANYTHING).unsqueeze(1).expand_as(found)
    assert unknown.any()
    assert (found[unknown] == 0).all()
    assert (found[~unknown] != 0).any()


def test_a_batch_without_labels_costs_nothing_and_teaches_nothing():
    logits, codes = case(6)
    for rule in RULES:
        terms = label_set_loss(logits, torch.zeros_like(codes), SETS, rule=rule)
        assert all(value.item() == 0 for value in terms.values())
        assert (torch.autograd.grad(sum(terms.values()), logits)[0] == 0).all()


def test_a_structure_absent_from_the_batch_costs_no_dice_and_is_pushed_down_by_cross_entropy():
    logits, codes = case(7)
    codes = torch.where(codes % 2 == 0, BACKGROUND, HEAD)
    # Without vessel, head is the only structure there is to count; so the vessel's logit cannot matter by itself.
    probability = logits.detach().softmax(1)
    only_head = 2 * probability[:, 1][codes == HEAD].sum() / (probability[:, 1].sum() + (codes == HEAD).sum())
    found = label_set_dice(probability, codes, SETS[:5])
    assert found.item() == pytest.approx(1 - only_head.item(), abs=1e-4)
    slope = torch.autograd.grad(label_set_cross_entropy(logits, codes, SETS), logits)[0]
    assert (slope[:, 3] > 0).all()


def test_code_numbers_and_their_order_mean_nothing():
    for seed in range(500):
        draw = generator(1000 + seed)
        leaves, count = int(torch.randint(2, 6, (1,), generator=draw)), int(torch.randint(2, 9, (1,), generator=draw))
        sets = torch.rand(count, leaves, generator=draw) < 0.5
        sets[:, 0] |= ~sets.any(1)
        sets[0] = True
        logits = torch.randn(2, leaves, 4, 3, generator=draw)
        codes = torch.randint(0, count, (2, 4, 3), generator=draw)
        order = torch.randperm(count, generator=draw)
        renamed = torch.empty_like(order)
        renamed[order] = torch.arange(count)
        rule = RULES[seed % len(RULES)]
        before, after = (
            label_set_loss(logits, c, s, rule=rule) for c, s in ((codes, sets), (renamed[codes], sets[order]))
        )
        for name in before:
            assert after[name].item() == pytest.approx(before[name].item(), abs=1e-6), seed


def test_a_set_listed_twice_counts_once():
    logits, codes = case(8)
    twice = torch.cat([SETS, SETS[ORGAN : ORGAN + 1]])
    once = label_set_loss(logits, codes, SETS)
    split = label_set_loss(logits, torch.where(codes % 2 == 1, torch.where(codes == ORGAN, 7, codes), codes), twice)
    assert split["dice"].item() == pytest.approx(once["dice"].item(), abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_the_gradient_equals_finite_differences(rule):
    logits, codes = case(9, size=(2, 3), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: total(z, codes, SETS, rule), (logits,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda z: label_set_cross_entropy(z, codes, SETS), (logits,), eps=1e-6, atol=1e-6)


def test_memory_format_and_half_precision_change_nothing_that_matters():
    logits, codes = case(10, size=(3, 4, 2))
    expected = gradient(logits, codes, SETS)
    last = logits.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    assert torch.allclose(gradient(last, codes, SETS), expected, atol=1e-7)
    with torch.autocast("cpu", torch.bfloat16):
        loss = total(logits, codes, SETS)
    assert torch.equal(torch.autograd.grad(loss, logits)[0], expected)
    half = logits.detach().bfloat16()
    assert total(half, codes, SETS).item() == total(half.float(), codes, SETS).item()
    assert total(half, codes, SETS).dtype == torch.float32


def test_emphasis_is_worked_by_hand():
    # Voxels head, tail, head; predicted head with 0.5, 0.5, 1. Emphasis 3, 1, 1.
    # Cross entropy: (3 log 2 + log 2 + 0) / 3. Dice of head: overlap 3 * 0.5 + 1, mass 3 * 0.5 + 0.5 + 1, positive 4;
    # of tail: overlap 0.5, mass 3 * 0.5 + 0.5, positive 1.
    probability = voxels((0, 0.5, 0.5, 0), (0, 0.5, 0.5, 0), (0, 1, 0, 0))
    emphasis = torch.tensor([[3.0, 1.0, 1.0]], requires_grad=True)
    logits = probability.clamp_min(1e-30).log()
    found = label_set_loss(logits, torch.tensor([[HEAD, TAIL, HEAD]]), SETS, emphasis=emphasis)
    assert found["cross_entropy"].item() == pytest.approx(4 * math.log(2) / 3, abs=1e-5)
    assert found["dice"].item() == pytest.approx(1 - (2 * 2.5 / (3 + 4) + 2 * 0.5 / (2 + 1)) / 2, abs=1e-4)
    assert not found["dice"].requires_grad


@pytest.mark.parametrize("rule", RULES)
def test_equal_emphasis_scales_the_cross_entropy_and_leaves_the_dice(rule):
    logits, codes = case(12)
    plain = label_set_loss(logits, codes, SETS, rule=rule)
    for factor in (1.0, 3.0):
        found = label_set_loss(logits, codes, SETS, rule=rule, emphasis=torch.full(codes.shape, factor))
        assert found["cross_entropy"].item() == pytest.approx(factor * plain["cross_entropy"].item(), rel=1e-5)
        assert found["dice"].item() == pytest.approx(plain["dice"].item(), abs=1e-5)


def test_a_voxel_without_emphasis_teaches_nothing():
    logits, codes = case(13)
    emphasis = (torch.rand(codes.shape, generator=generator(1)) < 0.5).float()
    terms = label_set_loss(logits, codes, SETS, emphasis=emphasis)
    found = torch.autograd.grad(sum(terms.values()), logits)[0]
    silent = (emphasis == 0).unsqueeze(1).expand_as(found)
    assert (found[silent] == 0).all()
    assert (found[~silent] != 0).any()


def test_superclass_sets_follow_the_tree():
    membership = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    found = superclass_sets(SETS, membership).int().tolist()
    assert found == [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0]]
