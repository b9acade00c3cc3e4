"""Double uncertainty, our reconstruction: doubt weighs the disagreement and is itself made small, by the student."""

import math

import pytest
import torch

from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.parts.passes import entropy
from SemiSegLib.methods.teachers import double_uncertainty as module
from SemiSegLib.methods.teachers.double_uncertainty import feature_agreement, gather, segmentation_agreement
from Testing.lib.methods import tiny
from Testing.lib.methods.teachers import apart, check_that_it_teaches_the_student_alone, terms_of

NAME = "double_uncertainty"
TERMS = ("segmentation_consistency", "feature_consistency")


def voxel(*probability):
    return torch.tensor(probability).view(1, -1, 1, 1)


def passes_of(count=3, channels=4):
    torch.manual_seed(0)
    return [torch.randn(2, channels, 6, 5) * 3 + 1 for _ in range(count)]


def looks_of(features):
    squares = sum(part.flatten(2).square().mean(2) for part in features)
    probability = torch.full((2, 2, 6, 5), 0.5 * len(features))
    return gather(probability, sum(features), squares, count=len(features))


@pytest.mark.parametrize("term", TERMS)
def test_each_agreement_teaches_the_student_and_never_the_teacher(term):
    check_that_it_teaches_the_student_alone(apart(NAME), tiny.batch()[0], term)
    check_that_it_teaches_the_student_alone(apart(NAME, dropout=0.4, norm="batch"), tiny.batch()[0], term)


def test_the_agreement_in_classes_is_worked_by_hand():
    # Teacher (0.9, 0.1) in 3 passes, student (0.5, 0.5): Q = (0.8, 0.2), U = H(Q) / ln 2, |p - P|^2 = 0.32.
    doubt = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(2)
    expected = math.exp(-doubt) * 0.32 + 0.1 * doubt
    found = segmentation_agreement(voxel(0.5, 0.5), voxel(0.9, 0.1), count=3, penalty=0.1)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    sure = voxel(1.0, 0.0)
    assert segmentation_agreement(sure, sure, count=3, penalty=0.1).item() == pytest.approx(0, abs=1e-5)


def test_the_doubt_about_features_is_the_variance_of_all_passes():
    passes, student = passes_of(), passes_of(4)[3]
    looks = looks_of(passes)
    unit = torch.stack(passes).mean(0).var((0, 2, 3), correction=0).mean().sqrt()
    distance = ((student - torch.stack(passes).mean(0)) / unit).square().mean((2, 3))
    doubt = (torch.stack([*passes, student]) / unit).var(0, correction=0).mean((2, 3))
    expected = ((-doubt).exp() * distance + 0.1 * doubt).mean().item()
    assert feature_agreement(student, looks, penalty=0.1).item() == pytest.approx(expected, rel=1e-4)


def test_the_scale_of_features_changes_nothing():
    passes, student = passes_of(), passes_of(4)[3]
    values = [
        feature_agreement(scale * student, looks_of([scale * part for part in passes]), penalty=0.1).item()
        for scale in (1.0, 10.0, 100.0)
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_a_channel_on_which_passes_differ_counts_less():
    sure = passes_of(1) * 3
    unsure = [part.clone() for part in sure]
    unsure[0][:, 0] += 4
    unsure[1][:, 0] -= 4
    student = sure[0].clone()
    student[:, 0] += 1
    values = [feature_agreement(student, looks_of(part), penalty=0.0).item() for part in (sure, unsure)]
    assert 0 < values[1] < values[0]


def check_that_doubt_has_a_gradient():
    """Student and teacher say the same unsure thing: only the penalty of doubt is left to teach."""
    probability = voxel(0.7, 0.3).requires_grad_()
    value = segmentation_agreement(probability, voxel(0.7, 0.3), count=4, penalty=0.1)
    (found,) = torch.autograd.grad(value, probability, allow_unused=True)
    # b / ((T + 1) ln 2) * (-ln q - 1) for each q.
    expected = [0.1 / (5 * math.log(2)) * (-math.log(q) - 1) for q in (0.7, 0.3)]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-4)


def test_doubt_is_learned_through_the_student(monkeypatch):
    check_that_doubt_has_a_gradient()
    monkeypatch.setattr(module, "entropy", lambda probability: entropy(probability.detach()))
    with pytest.raises(AssertionError):
        check_that_doubt_has_a_gradient()


def test_doubt_grows_where_the_two_disagree_by_more_than_its_penalty():
    def slope(penalty):
        probability = voxel(0.9, 0.1).requires_grad_()
        mean = (4 * voxel(0.2, 0.8) + probability) / 5
        doubt = entropy(mean) / math.log(2)
        distance = (probability - voxel(0.2, 0.8)).square().sum(1).detach()
        return torch.autograd.grad(((-doubt).exp() * distance + penalty * doubt).sum(), doubt)[0].item()

    assert slope(0.1) < 0 < slope(2.0)


def test_features_of_half_precision_are_compared_in_single():
    passes = passes_of()
    student = passes[0].bfloat16().requires_grad_()
    value = feature_agreement(student, looks_of(passes), penalty=0.1)
    assert value.dtype == torch.float32
    value.backward()
    assert student.grad.isfinite().all()


def test_a_feature_map_of_nothing_is_finite():
    passes = [torch.zeros(2, 4, 6, 5)] * 2
    assert feature_agreement(torch.zeros(2, 4, 6, 5), looks_of(passes), penalty=0.1).item() == 0


def test_both_weights_rise_together():
    built, made = tiny.method(NAME, options={"feature_weight": 0.5}), tiny.batch()[0]
    weights = terms_of(built, made).weights
    assert weights["segmentation_consistency"] == pytest.approx(0.1)
    assert weights["feature_consistency"] == pytest.approx(0.05)


def test_the_passes_are_as_many_as_asked_and_all_different():
    built, made, seen = apart(NAME, options={"passes": 3}), tiny.batch()[0], []
    look = built.teacher.network.forward
    built.teacher.network.forward = lambda image: (seen.append(image.clone()), look(image))[1]
    terms_of(built, made)
    assert len(seen) == 3
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_it_is_called_what_it_is():
    card = card_of(NAME)
    assert "reconstruction" in card.title
    assert "not a reproduction" in card.summary
    assert "reconstruction" in module.__doc__
