"""The uncertainty-aware mean teacher: several passes, their entropy, and a mask whose scale is that of the leaves."""

import math

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.soft import masked_mse
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.passes import entropy, mean_of_passes, passing
from SemiSegLib.methods.teachers import uncertainty_aware_mean_teacher as module
from Testing.lib.methods import tiny
from Testing.lib.methods.teachers import (
    agreement_of,
    apart,
    check_that_it_teaches_the_student_alone,
    gradients,
    same,
    terms_of,
)

NAME = "uncertainty_aware_mean_teacher"
START = Progress(0, 0.0)
FREE = {"respect_labels": False}


def unlabeled(count=2):
    return tiny.batch(rows={Regime.NONE: count})[0]


def saying(built, probability):
    """Let the teacher give every voxel these leaf probabilities, or those of a function of the image."""
    values = torch.tensor(probability)

    def teach(image):
        return values.view(1, -1, *(1,) * (image.ndim - 2)).expand(len(image), -1, *image.shape[2:])

    built.teach = teach
    return built


def test_the_agreement_teaches_the_student_and_never_the_teacher():
    check_that_it_teaches_the_student_alone(apart(NAME), tiny.batch()[0])
    check_that_it_teaches_the_student_alone(apart(NAME, options={"target": "pass"}, dropout=0.3), tiny.batch()[0])


def check_that_four_leaves_have_their_own_threshold(options):
    """(0.8, 0.067, 0.067, 0.067) has entropy 0.72: above ln 2, below 0.75 ln 4 = 1.04, so it is to be believed."""
    built = saying(apart(NAME, options=options), [0.8, 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert agreement_of(built, unlabeled(), START).item() > 0, "a sure voxel is not believed"


def test_the_threshold_is_that_of_the_number_of_leaves():
    check_that_four_leaves_have_their_own_threshold({})
    with pytest.raises(AssertionError, match="not believed"):
        check_that_four_leaves_have_their_own_threshold({"entropy_base": "two"})


def test_the_code_of_paper_000_doubles_the_term_of_four_leaves():
    sure = [0.97, 0.01, 0.01, 0.01]
    values = [
        agreement_of(saying(apart(NAME, options={"entropy_base": base}), sure), unlabeled()).item()
        for base in ("leaves", "two")
    ]
    assert values[1] == pytest.approx(2 * values[0], rel=1e-5)


def test_the_threshold_rises_from_its_share_to_the_largest_entropy():
    built = tiny.method(NAME)
    for fraction in (0.0, 0.3, 0.7, 1.0):
        expected = (0.75 + 0.25 * math.exp(-5 * (1 - fraction) ** 2)) * math.log(4)
        assert built.threshold(Progress(round(100 * fraction), fraction)) == pytest.approx(expected)


def test_the_mean_runs_over_believed_voxels_alone(monkeypatch):
    made = unlabeled()
    half = torch.zeros_like(made.codes, dtype=torch.bool)
    half[:, :4] = True
    sure = torch.tensor([0.97, 0.01, 0.01, 0.01]).view(1, 4, 1, 1, 1)

    def teach(image):
        return torch.where(half.unsqueeze(1), sure, torch.tensor(0.25)).expand(-1, 4, -1, -1, -1).clone()

    built = apart(NAME, options=FREE)
    built.teach = teach
    own = built.learner(made.image)["subclass"].softmax(1)
    expected = ((own - sure) ** 2).movedim(1, -1)[half].mean().item()

    def check():
        assert agreement_of(built, made).item() == pytest.approx(expected, rel=1e-5)

    check()

    def over_all(prediction, target, known):
        return masked_mse(prediction, target, known) * known.float().mean()

    monkeypatch.setattr(module, "masked_mse", over_all)
    with pytest.raises(AssertionError):
        check()


def test_its_gradient_is_once_that_of_the_equation():
    made, built = unlabeled(), apart(NAME, options={"passes": 3, "target": "pass", **FREE})

    def look():
        noise = (torch.randn_like(made.image) * 0.1).clamp(-0.2, 0.2)
        return built.teacher.network(made.image + noise)["subclass"].softmax(1).detach()

    torch.manual_seed(0)
    mean = sum(look() for _ in range(3)) / 3
    doubt = -(mean * mean.log()).sum(1, keepdim=True)
    target, own = look(), built.learner(made.image)["subclass"].softmax(1)
    # So that half of the voxels are believed.
    built.threshold = lambda progress: doubt.median().item()
    mask = (doubt < doubt.median()).float()
    written = (mask * (own - target) ** 2).sum() / (4 * mask.sum())
    found = gradients(agreement_of(built, made), built)
    assert same(found, gradients(written, built), 1e-7)


@pytest.mark.parametrize(("target", "looks"), [("mean", 5), ("pass", 6)])
def test_the_teacher_looks_as_often_as_asked(target, looks):
    built, made, seen = apart(NAME, options={"passes": 5, "target": target}), unlabeled(), []
    teach = built.teach
    built.teach = lambda image: (seen.append(image.clone()), teach(image))[1]
    agreement_of(built, made)
    assert len(seen) == looks
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_passes_differ_by_dropout_and_by_noise():
    made = unlabeled()
    for dropout, noise, differ in ((0.0, 0.0, False), (0.0, 0.1, True), (0.5, 0.0, True)):
        built = apart(NAME, options={"noise": noise}, dropout=dropout)
        with passing(built.teacher, "dropout"):
            means = [mean_of_passes(built.teach, made.image, count=2, deviation=noise) for _ in range(2)]
            one = built.teach(made.image)
        assert torch.equal(*means) != differ
        assert torch.allclose(means[0], one, atol=1e-6) != differ


def test_a_mean_of_passes_is_their_mean_and_leaves_them_alone():
    said = [torch.full((1, 1, 2), value) for value in (1.0, 2.0, 6.0)]
    left = iter(said)
    found = mean_of_passes(lambda image: next(left), torch.zeros(1, 1, 2), count=3, deviation=0.0)
    assert found.tolist() == [[[3.0, 3.0]]]
    assert [float(part.mean()) for part in said] == [1.0, 2.0, 6.0]


def test_entropy_is_that_of_the_textbook_and_has_a_gradient_at_its_ends():
    probability = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    found = entropy(probability)
    assert found.tolist() == pytest.approx([math.log(4), 0.0, math.log(2)], abs=1e-4)
    found.sum().backward()
    assert probability.grad.isfinite().all()


def test_doubt_about_an_image_needs_dropout_and_can_be_repeated():
    image = torch.randn(2, 2, 7, 5, 6)
    assert apart(NAME).eval().uncertainty(image) is None
    for predict in ("teacher", "student"):
        built = apart(NAME, options={"predict": predict}, dropout=0.5).eval()
        before = torch.get_rng_state()
        first, second = built.uncertainty(image), built.uncertainty(image)
        assert torch.equal(before, torch.get_rng_state())
        assert torch.equal(first, second)
        assert first.shape == (2, 7, 5, 6)
        assert 0 <= float(first.min()) < float(first.max()) <= 1
        assert not any(part.training for part in built.modules())


@pytest.mark.parametrize(
    ("preset", "steps", "levels"),
    [
        ("paper", 6_000, 40),
        ("code", 6_000, 40),
        ("paper_000", 40_000, 200),
        ("code_000", 40_000, 200),
    ],
)
def test_the_weight_of_the_papers_rises_in_their_stairs(preset, steps, levels):
    built = tiny.method(NAME, preset=preset)
    assert built.options.passes == 8
    for step in (0, 151, 30_000):
        found = terms_of(built, unlabeled(1), Progress(step, min(1.0, step / steps))).weights["consistency"]
        assert found == pytest.approx(0.1 * math.exp(-5 * (1 - min(step // 150, levels) / levels) ** 2))
