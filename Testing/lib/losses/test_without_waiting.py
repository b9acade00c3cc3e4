"""Losses on a device that nobody waits for give what they give on a CPU."""

import pytest
import torch

from SemiSegLib.losses import label_set as module
from SemiSegLib.losses.label_set import DiceRule, label_set_dice, structures_of
from SemiSegLib.losses.marginal import SoftmaxMarginal, mend_everywhere, mend_found, one_hot_codes

SETS = torch.tensor(
    [[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], dtype=torch.bool
)
RULES = [DiceRule(), DiceRule(squared=True, include_background=True, skip_absent=False), DiceRule(per_row=True)]


def case(scale, seed=0):
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, len(SETS), (2, 30), generator=draw)
    return torch.randn(2, 4, 30, generator=draw) * scale, codes


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_what_is_nearly_impossible_is_mended_alike_in_both_ways(scale):
    logits, codes = case(scale)
    table = SETS.float()
    one_hot = one_hot_codes(codes, len(SETS), torch.float32)
    share = torch.matmul(table.T, one_hot) * logits.softmax(1)
    total = share.sum(1)
    wrong = total < 1e-20
    assert wrong.any() == (scale > 1)
    start = -total.clamp_min(1e-20).log(), share / total.clamp_min(1e-20).unsqueeze(1)
    found = mend_found(wrong, start[0].clone(), start[1].clone(), (logits, one_hot, table))
    everywhere = mend_everywhere(wrong, *start, (logits, one_hot, table))
    for first, second in zip(found, everywhere, strict=True):
        torch.testing.assert_close(first, second)
    # By the definition, in double precision.
    allowed = SETS[codes].movedim(-1, 1)
    exact = logits.double().logsumexp(1) - logits.double().masked_fill(~allowed, -torch.inf).logsumexp(1)
    torch.testing.assert_close(everywhere[0].double(), exact, rtol=1e-5, atol=1e-5)
    negative_log = SoftmaxMarginal.apply(logits, one_hot, table)[1]
    torch.testing.assert_close(negative_log, everywhere[0])


@pytest.mark.parametrize("background", [False, True])
def test_structures_that_are_not_eligible_are_left_out_or_marked(background):
    counts = torch.tensor([5.0, 1, 1, 0, 3, 2, 1])
    few, all_of_them = (
        structures_of(SETS, counts, include_background=background, only_eligible=only) for only in (True, False)
    )
    assert few[1].all()
    assert torch.equal(all_of_them[0][all_of_them[1]], few[0])
    assert len(all_of_them[0]) == 4 + len(SETS)
    # The pair is listed twice and occurs by its second number; "not the last leaf" holds the background.
    expected = [{1}, {2}, {3}, {1, 2}] if not background else [{0}, {1}, {2}, {3}, {1, 2}, {0, 1, 2}]
    assert [set(row.nonzero().flatten().tolist()) for row in few[0]] == expected


@pytest.mark.parametrize("rule", RULES)
def test_marked_structures_cost_nothing(rule, monkeypatch):
    logits, codes = case(2.0)
    found = []
    for only in (True, False):
        monkeypatch.setattr(
            module,
            "structures_of",
            lambda sets, counts, *, include_background, only_eligible, only=only: structures_of(
                sets, counts, include_background=include_background, only_eligible=only
            ),
        )
        given = logits.clone().requires_grad_()
        loss = label_set_dice(given.softmax(1), codes, SETS, rule=rule)
        loss.backward()
        found.append((loss.detach(), given.grad))
    torch.testing.assert_close(found[0], found[1])
