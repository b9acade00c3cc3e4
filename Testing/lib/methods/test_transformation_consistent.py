"""The transformation-consistent mean teacher: turned back exactly, scaled and back, with a gradient for the student."""

import math
from dataclasses import replace

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.teachers import transformation_consistent as module
from SemiSegLib.methods.teachers.transformation_consistent import TransformationConsistent, resize
from Testing.lib.methods import tiny
from Testing.lib.methods.teachers import (
    HALFWAY,
    agreement_of,
    apart,
    check_that_it_teaches_the_student_alone,
    cut,
    gradients,
    same,
)

NAME = "transformation_consistent"
TURNS = {"turns": True, "scale": 0.0, "noise": 0.0}
SIZES = [(8, 8, 8), (7, 6, 6), (5, 8, 4)]


def unlabeled(size=(8, 8, 8)):
    return cut(tiny.batch(len(size), rows={Regime.NONE: 3})[0], size)


def by_intensity(image):
    """Leaf probabilities that depend on each voxel's own intensity alone, so they turn with the image."""
    return torch.cat([image, -image, image[:, :1] * 2, image[:, 1:] * 3], dim=1)[:, :4].softmax(1)


def both_by_intensity(built):
    """Let student and teacher be the same function of single voxels: they agree whatever way the image lies."""
    built.teach = by_intensity
    built.learner.probability = lambda outputs: by_intensity(outputs.features)
    return built


def disagreement(built, made, seed):
    outputs = replace(built.learner(made.image), features=made.image)
    torch.manual_seed(seed)
    return built.agreement(outputs, made, HALFWAY)["consistency"].item()


class Gradientless(TransformationConsistent):
    """The student computed without gradient, as in a released fork."""

    def agreement(self, student, rows, progress):
        with torch.no_grad():
            return super().agreement(student, rows, progress)


def test_the_agreement_teaches_the_student_and_never_the_teacher():
    made = tiny.batch()[0]
    for options in ({}, {"turns": True}, TURNS):
        check_that_it_teaches_the_student_alone(apart(NAME, options=options), made)
    built = apart(NAME)
    built.__class__ = Gradientless
    with pytest.raises(AssertionError, match="no gradient"):
        check_that_it_teaches_the_student_alone(built, made)


@pytest.mark.parametrize("size", [*SIZES, (8, 8), (7, 5)])
def test_what_turns_with_the_image_agrees_exactly(size, monkeypatch):
    built, made = both_by_intensity(apart(NAME, options=TURNS, dimensions=len(size))), unlabeled(size)

    def check():
        assert max(disagreement(built, made, seed) for seed in range(6)) < 1e-12

    check()
    # A quarter turn taken again instead of back.
    monkeypatch.setattr(module, "invert", module.apply)
    if size[-1] == size[-2]:
        with pytest.raises(AssertionError):
            check()
    # Not turned back at all.
    monkeypatch.setattr(module, "invert", lambda views, probability: probability)
    with pytest.raises(AssertionError):
        check()


def test_its_gradient_is_once_that_of_the_equation():
    built, made = apart(NAME, options=TURNS), unlabeled()
    seen = []
    teach = built.teach
    built.teach = lambda image: (seen.append(image), teach(image))[1]
    found = gradients(agreement_of(built, made), built)
    # The view of each row is the one of 32 that makes the image what the teacher saw.
    targets = []
    for row, turned in zip(made.image, seen[0], strict=True):
        views = [module.View(tuple(bool(code >> axis & 1) for axis in range(3)), code >> 3) for code in range(32)]
        view = next(v for v in views if torch.equal(v.apply(row), turned))
        targets.append(view.invert(teach(turned[None])[0]))
    own = built.learner(made.image)["subclass"].softmax(1)
    written = ((own - torch.stack(targets)) ** 2).mean()
    assert same(found, gradients(written, built), 1e-7)


def test_each_row_lies_its_own_way_and_each_step_another():
    built, made, seen = apart(NAME, options=TURNS), unlabeled(), []
    one = replace(made, image=made.image[:1].expand_as(made.image))
    teach = built.teach
    built.teach = lambda image: (seen.append(image), teach(image))[1]
    torch.manual_seed(0)
    for _ in range(4):
        next(iter(built.losses(one, HALFWAY)))
    rows = torch.cat(seen)
    assert len({tuple(row.flatten().tolist()) for row in rows}) > 6
    assert agreement_of(built, made, seed=5).item() == agreement_of(built, made, seed=5).item()


def test_the_teacher_sees_weak_noise():
    built, made, seen = apart(NAME, options={"scale": 0.0}), unlabeled(), []
    teach = built.teach
    built.teach = lambda image: (seen.append(image.clone()), teach(image))[1]
    for seed in (1, 1, 2):
        agreement_of(built, made, seed=seed)
    noises = [image - made.image for image in seen]
    assert all(0.15 < noise.abs().max() <= 0.2 + 1e-6 for noise in noises)
    assert torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])


def test_the_weight_of_the_paper_is_1_and_rises_in_the_stairs_of_its_comparison():
    built, made = tiny.method(NAME, 2, preset="paper"), tiny.batch(2, rows={Regime.FULL: 1, Regime.NONE: 1})[0]
    assert built.teacher.decay == 0.999
    for step in (0, 149, 150, 2999, 5999):
        found = next(built.losses(made, Progress(step, step / 6000))).weights["consistency"]
        assert found == pytest.approx(math.exp(-5 * (1 - (step // 150) / 40) ** 2))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_teacher_sees_the_whole_patch_on_another_grid(dimensions):
    built, made, seen = apart(NAME, dimensions=dimensions), unlabeled((8, 8, 8)[:dimensions]), []
    teach = built.teach
    built.teach = lambda image: (seen.append(tuple(image.shape[2:])), teach(image))[1]
    for seed in range(12):
        assert 0 < agreement_of(built, made, seed=seed).item() < 1
    assert {max(size) for size in seen} <= {6, 7, 8, 9, 10}
    assert len(set(seen)) > 2


def test_probabilities_stay_probabilities_on_another_grid():
    probability = torch.randn(2, 4, 7, 9, 5).softmax(1)
    found = resize(resize(probability, [8, 11, 6]), [7, 9, 5])
    assert torch.allclose(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-5)
    assert resize(probability, [7, 9, 5]) is probability
    # A straight slope comes back as it was, but for the ends, where there is nothing to lean on.
    slope = torch.linspace(0, 1, 40).view(1, 1, 40, 1).expand(1, 1, 40, 4)
    back = resize(resize(slope, [47, 5]), [40, 4])
    assert torch.allclose(back[:, :, 3:-3], slope[:, :, 3:-3], atol=1e-3)


def test_labels_are_respected_where_they_lie_not_where_the_teacher_saw_them():
    built, made = apart(NAME, options=TURNS), tiny.batch(rows={Regime.COARSE: 2})[0]
    built.learner.probability = lambda outputs: torch.full((2, 4, 8, 8, 8), 0.25)
    built.teach = lambda image: torch.full((2, 4, 8, 8, 8), 0.25)
    torch.manual_seed(0)
    found = built.agreement(built.learner(made.image), made, HALFWAY)["consistency"].item()
    allowed = made.label_sets[made.codes].movedim(-1, 1).float()
    expected = ((allowed / allowed.sum(1, keepdim=True) - 0.25) ** 2).mean().item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_transformer_s_teacher_sees_another_grid_too(monkeypatch):
    tiny.small_unetr(monkeypatch)
    built, made = tiny.method(NAME, options={"scale": 0.2}, backbone="unetr", features=(4, 8)).train(), unlabeled()
    seen, teach = set(), built.teach
    built.teach = lambda image: (seen.add(tuple(image.shape[2:])), teach(image))[1]
    for seed in range(8):
        built.zero_grad()
        agreement_of(built, made, seed=seed).backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in built.learner.parameters())
    assert len(seen) > 2
