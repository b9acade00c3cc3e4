"""What a network takes for true of unlabeled rows gets no gradient, and the network that learns from it does."""

import pytest
import torch

from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny
from Testing.lib.methods.latent import SIGMOIDS

LATE = Progress(900, 0.9)
UNSURE = {"threshold_start": 0.25, "threshold_end": 0.25}
TAUGHT = [
    ("roi_mean_teacher", None, {}, {"consistency"}),
    ("roi_mean_teacher", "paper", {}, {"consistency"}),
    ("roi_mean_teacher", None, {"output": "softmax"}, {"consistency"}),
    ("latent_classes", None, {"views": "strong"}, {"latent_cross_entropy", "latent_dice", "ambiguous"}),
    ("latent_classes", None, SIGMOIDS, {"latent", "ambiguous"}),
    ("latent_classes", "paper", {}, {"latent", "ambiguous"}),
    ("latent_classes", None, {**SIGMOIDS, "unseen": "ambiguous", "confidence_weighted": True}, {"latent", "ambiguous"}),
    ("double_uncertainty", None, {}, {"segmentation_consistency", "feature_consistency"}),
    ("double_uncertainty", "paper", {}, {"segmentation_consistency", "feature_consistency"}),
]


def reached(value, built):
    """The first parts of the names of the parameters that a term moves."""
    named = {name: p for name, p in built.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
    moved = zip(named, found, strict=True)
    return {name.split(".")[0] for name, part in moved if part is not None and part.abs().sum() > 0}


def check_that_the_teacher_is_not_reached(built, expected):
    # Its weights ask for a gradient here, so that only what is done with its answer can keep one away.
    built.requires_grad_(True)
    torch.manual_seed(0)
    values = {}
    for terms in built.losses(tiny.batch(2)[0], LATE):
        values |= terms.values
    assert expected <= set(values)
    for name in expected:
        assert reached(values[name], built) == {"learner"}, name


@pytest.mark.parametrize(("name", "preset", "options", "terms"), TAUGHT)
def test_what_a_teacher_says_has_no_graph_and_what_it_is_compared_with_has(name, preset, options, terms):
    check_that_the_teacher_is_not_reached(tiny.method(name, 2, preset=preset, options=options), terms)


@pytest.mark.parametrize("name", ["roi_mean_teacher", "double_uncertainty"])
def test_a_teacher_with_a_graph_is_noticed(name, monkeypatch):
    built = tiny.method(name, 2)
    monkeypatch.setattr(type(built.teacher), "forward", lambda self, *inputs: self.network(*inputs))
    terms = {"consistency"} if name == "roi_mean_teacher" else {"segmentation_consistency"}
    if name == "double_uncertainty":
        monkeypatch.setattr(type(built), "_look", type(built)._look.__wrapped__)
    with pytest.raises(AssertionError):
        check_that_the_teacher_is_not_reached(built, terms)


@pytest.mark.parametrize("confidence", ["none", "plain", "above_chance"])
@pytest.mark.parametrize("backward", ["sequential", "joint", "stacked"])
def test_an_opinion_and_its_weight_have_no_graph(backward, confidence, monkeypatch):
    built = tiny.method("cross_pseudo_supervision", 2, options={"backward": backward, "confidence": confidence})
    said, keep = [], built._opinion
    monkeypatch.setattr(built, "_opinion", lambda *given: said.append(keep(*given)) or said[-1])
    values = {}
    for terms in built.losses(tiny.batch(2)[0], LATE):
        values |= terms.values
    assert not any(part.requires_grad for opinion in said for part in vars(opinion).values())
    for learner in ("first", "second"):
        for term in ("cross_entropy", "dice"):
            assert reached(values[f"{learner}_pseudo_{term}"], built) == {learner}


@pytest.mark.parametrize("labels", ["teacher", "student"])
@pytest.mark.parametrize("threshold", ["adaptive", "linear"])
def test_targets_of_mixed_images_have_no_graph_whoever_makes_them(labels, threshold, monkeypatch):
    options = {"mix": "full", "mix_probability": 1.0, "pseudo_labels": labels, "threshold": threshold, **UNSURE}
    built = tiny.method("efficient_subclass", 2, options={**options, "passes": "two", "superclass_head": False})
    built.requires_grad_(True)
    lessons, teach = [], built.mix.lesson
    monkeypatch.setattr(built.mix, "lesson", lambda *given: lessons.append(teach(*given)) or lessons[-1])
    torch.manual_seed(0)
    values = {}
    for terms in built.losses(tiny.batch(2)[0], LATE):
        values |= terms.values
    assert [part.requires_grad for lesson in lessons for part in (lesson.image, lesson.target)] == [False, False]
    assert lessons[0].target.sum() > 0
    for name in ("mix_cross_entropy", "mix_dice"):
        assert reached(values[name], built) == {"learner"}


def test_a_target_that_gets_a_gradient_by_mistake_gets_none():
    # L_p of the released code hangs on nothing; of one whose target had a graph it would hang on the wrong pass.
    built = tiny.method("efficient_subclass", 2, options={"mix": "full"})
    logits, target = (torch.rand(1, 4, 4, 4, requires_grad=True) for _ in range(2))
    for value in built.mix.terms(logits, target).values():
        first, second = torch.autograd.grad(value, (logits, target), allow_unused=True)
        assert first.abs().sum() > 0
        assert second is None or second.abs().sum() == 0
