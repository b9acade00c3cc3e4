"""How much a pseudo-label counts by how sure the other network is of it: by chance it teaches nothing."""

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import DiceRule, label_set_loss
from SemiSegLib.methods.cross.opinion import LEAST, Opinion, above_chance
from Testing.lib.methods import tiny
from Testing.lib.methods.cross import LATE, gradients_of, method, yielded

COARSE = {Regime.COARSE: 2}


def says(built, *shares):
    """Let the second network say the same of every voxel: the probability of each leaf."""
    given = torch.tensor(shares)
    built.second.probability = lambda outputs: given.view(1, -1, 1, 1, 1).expand_as(outputs["subclass"])


def pseudo_terms(built, rows, leaves=range(4)):
    values = yielded(built, tiny.batch(rows=rows, leaves=leaves)[0], LATE)[0]
    return {name: values[f"first_pseudo_{name}"] for name in ("cross_entropy", "dice")}


def test_the_weight_of_a_voxel_in_closed_form():
    confidence = torch.tensor([0.5, 0.75, 1.0, 0.25, 0.625, 0.5 + LEAST / 4, 1.0, 1 / 3])
    choices = torch.tensor([2, 2, 2, 4, 4, 2, 1, 3])
    assert above_chance(confidence, choices).tolist() == pytest.approx([0, 0.5, 1, 0, 0.5, 0, 1, 0])
    # What is not sure by the plain confidence is what this is for.
    assert confidence[0] == 0.5


def test_siblings_at_chance_teach_nothing_and_a_sure_one_teaches_fully():
    rows, inside = COARSE, [tiny.HEAD, tiny.TAIL]
    for shares, weight in (((0.0, 0.5, 0.5, 0.0), 0.0), ((0.0, 1.0, 0.0, 0.0), 1.0), ((0.5, 0.375, 0.125, 0.0), 0.5)):
        found = {}
        for confidence in ("none", "above_chance"):
            built = method(confidence=confidence)
            says(built, *shares)
            found[confidence] = pseudo_terms(built, rows, inside)
        for name, value in found["above_chance"].items():
            assert value.item() == pytest.approx(weight * found["none"][name].item(), abs=1e-4), (shares, name)
            assert gradients_of(value, built) == ({"first"} if weight else set())


def test_the_plain_confidence_lets_siblings_at_chance_teach():
    for confidence in ("none", "plain"):
        built = method(confidence=confidence)
        says(built, 0.0, 0.5, 0.5, 0.0)
        for name, value in pseudo_terms(built, COARSE, [tiny.HEAD, tiny.TAIL]).items():
            assert gradients_of(value, built) == {"first"}, (confidence, name)


def test_chance_is_among_the_leaves_that_may_be_taken():
    # Without a label, and where labels are disregarded, half of the probability is a third above that of four leaves.
    for rows, options in (({Regime.NONE: 2}, {}), (COARSE, {"respect_labels": False})):
        plain, weighted = (method(confidence=word, **options) for word in ("none", "above_chance"))
        for built in (plain, weighted):
            says(built, 0.1, 0.5, 0.3, 0.1)
        expected = pseudo_terms(plain, rows)["cross_entropy"].item() / 3
        assert pseudo_terms(weighted, rows)["cross_entropy"].item() == pytest.approx(expected, rel=1e-4)


def test_full_rows_count_by_all_leaves_and_a_label_without_a_choice_counts_fully():
    built = method(confidence="above_chance", rows="all")
    made = tiny.batch(rows={Regime.FULL: 1, Regime.COARSE: 1, Regime.NONE: 1})[0]
    found = built._opinion(1, built.second(made.image), made)
    sizes = made.label_sets.sum(1)[made.codes]
    assert isinstance(found, Opinion)
    assert found.choices.dtype == torch.int64
    assert (found.choices[[0, 2]] == 4).all()
    assert torch.equal(found.choices[1], sizes[1])
    is_only = sizes[1] == 1
    assert is_only.any()
    assert (above_chance(found.confidence, found.choices)[1][is_only] == 1).all()


def test_the_dice_of_a_structure_follows_the_emphasis_of_its_voxels_where_the_rule_says_so():
    torch.manual_seed(0)
    logits, leaf = torch.randn(2, 3, 5, 7), torch.randint(0, 3, (2, 5, 7))
    leaves, emphasis = torch.eye(3, dtype=torch.bool), torch.rand(2, 5, 7)
    p = logits.softmax(1)
    losses, means = [], []
    for k in (1, 2):
        own = (leaf == k).float()
        overlap, mass = (emphasis * own * p[:, k]).sum(), (emphasis * (p[:, k] + own)).sum()
        losses.append(1 - 2 * overlap / mass)
        means.append((emphasis * own).sum() / own.sum())
    plain = label_set_loss(logits, leaf, leaves, emphasis=emphasis)["dice"]
    assert plain.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)
    for per_row in (False, True):
        rule = DiceRule(follows_emphasis=True, per_row=per_row)
        found, faint = (label_set_loss(logits, leaf, leaves, rule=rule, emphasis=e)["dice"] for e in (None, emphasis))
        unweighted = label_set_loss(logits, leaf, leaves, rule=DiceRule(per_row=per_row))["dice"]
        assert found.item() == pytest.approx(unweighted.item())
        if not per_row:
            expected = torch.stack([a * b for a, b in zip(losses, means, strict=True)]).mean().item()
            assert faint.item() == pytest.approx(expected, rel=1e-4)
        nothing = label_set_loss(logits, leaf, leaves, rule=rule, emphasis=torch.zeros(2, 5, 7))["dice"]
        assert nothing.item() == 0
