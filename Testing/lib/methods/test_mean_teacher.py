"""A mean teacher: the student agrees with it once, the teacher follows whole, and labels are never contradicted."""

import math
from dataclasses import replace

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts import passes
from SemiSegLib.methods.parts.teacher import Teacher
from SemiSegLib.methods.teachers.mean_teacher import MeanTeacher
from Testing.lib.methods import tiny
from Testing.lib.methods.teachers import (
    HALFWAY,
    agreement_of,
    apart,
    check_that_it_teaches_the_student_alone,
    gradients,
    same,
    terms_of,
)

FREE = {"respect_labels": False}


class Gradientless(MeanTeacher):
    """The student of the agreement computed without gradient, as in a released fork of TCSM."""

    def agreement(self, student, rows, progress):
        with torch.no_grad():
            return super().agreement(student, rows, progress)


class Twice(MeanTeacher):
    """The agreement counted twice, as in the released code of paper 003."""

    def agreement(self, student, rows, progress):
        found = super().agreement(student, rows, progress)
        return {name: 2 * value for name, value in found.items()}


def broken(kind, **more):
    built = apart("mean_teacher", **more)
    built.__class__ = kind
    return built


def test_the_agreement_teaches_the_student_and_never_the_teacher():
    made = tiny.batch()[0]
    check_that_it_teaches_the_student_alone(apart("mean_teacher"), made)
    with pytest.raises(AssertionError, match="no gradient"):
        check_that_it_teaches_the_student_alone(broken(Gradientless), made)


def test_its_gradient_is_once_that_of_the_equation():
    made = tiny.batch(rows={Regime.NONE: 2})[0]

    def check(built):
        found = gradients(agreement_of(built, made), built)
        torch.manual_seed(0)
        noise = (torch.randn_like(made.image) * 0.1).clamp(-0.2, 0.2)
        target = built.teacher.network(made.image + noise)["subclass"].softmax(1).detach()
        own = built.learner(made.image)["subclass"].softmax(1)
        assert same(found, gradients(((own - target) ** 2).mean(), built), 1e-7)

    check(apart("mean_teacher"))
    with pytest.raises(AssertionError):
        check(broken(Twice))


def check_that_the_teacher_follows_whole(built):
    """One step from the start: equal to the student, running statistics included, and not nothing."""
    tiny.step(built, tiny.batch()[0], tiny.optimizers(built), 0, 10)
    state = built.learner.state_dict()
    for name, value in built.teacher.network.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(p.norm() > 0 for p in built.teacher.parameters() if p.ndim > 1)


@pytest.mark.parametrize("buffers", ["average", "copy"])
def test_after_one_step_the_teacher_is_the_student(buffers):
    check_that_the_teacher_follows_whole(tiny.method("mean_teacher", norm="batch", options={"buffers": buffers}))


def test_a_teacher_without_the_students_statistics_is_noticed():
    with pytest.raises(AssertionError, match="running_mean"):
        check_that_the_teacher_follows_whole(tiny.method("mean_teacher", norm="batch", options={"buffers": "keep"}))


def test_a_teacher_that_becomes_zero_is_noticed(monkeypatch):
    """PyMIC's mean teachers say ``mul_(a).add(...)``, which throws the sum away: zero after one step, for ever."""

    def follow(self, student):
        decay = min(1 - 1 / (int(self.updates) + 1), self.decay)
        for mine, theirs in zip(self.network.parameters(), student.parameters(), strict=True):
            mine.data.mul_(decay).add((1 - decay) * theirs.data)
        self.updates += 1

    monkeypatch.setattr(Teacher, "follow", follow)
    built = tiny.method("mean_teacher")
    with pytest.raises(AssertionError):
        check_that_the_teacher_follows_whole(built)
    assert all(not p.any() for p in built.teacher.parameters())


def test_the_teacher_keeps_weights_and_goes_on_following():
    built, made = tiny.method("mean_teacher", options={"decay": 0.5}), tiny.batch()[0]
    optimizer_of, distances = tiny.optimizers(built), []
    for number in range(4):
        tiny.step(built, made, optimizer_of, number, 10)
        pairs = zip(built.teacher.parameters(), built.learner.parameters(), strict=True)
        distances.append(sum((a - b).detach().norm().item() for a, b in pairs))
    assert distances[0] == 0
    assert all(distance > 0 for distance in distances[1:])
    assert all(p.norm() > 0 for p in built.teacher.parameters() if p.ndim > 1)


def check_that_noise_is_new_at_each_step(built, made):
    torch.manual_seed(3)
    first, second = (next(iter(built.losses(made, HALFWAY))).values["consistency"].item() for _ in range(2))
    assert first != second
    assert [agreement_of(built, made, seed=3).item() for _ in range(2)] == [first, first]


def test_two_steps_see_different_noise_and_one_seed_gives_one_run(monkeypatch):
    built, made = apart("mean_teacher"), tiny.batch()[0]
    check_that_noise_is_new_at_each_step(built, made)

    def same_noise(image, deviation):
        return image + torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * deviation

    monkeypatch.setattr("SemiSegLib.methods.teachers.mean_teacher.noisy", same_noise)
    with pytest.raises(AssertionError):
        check_that_noise_is_new_at_each_step(built, made)


def test_two_runs_with_one_seed_are_equal():
    runs = []
    for _ in range(2):
        built, made = tiny.method("mean_teacher", dropout=0.3), tiny.batch()[0]
        optimizer_of = tiny.optimizers(built)
        torch.manual_seed(5)
        runs.append([tiny.step(built.train(), made, optimizer_of, n, 5)[0].total().item() for n in range(3)])
    assert runs[0] == runs[1]


def test_noise_has_its_deviation_and_is_cut_at_twice_that():
    image = torch.ones(2, 1, 20, 20, 20)
    torch.manual_seed(0)
    noise = passes.noisy(image, 0.1) - image
    # A normal distribution cut at two deviations, the rest put at the ends, has deviation 0.96.
    assert float(noise.std()) == pytest.approx(0.096, abs=0.002)
    assert float(noise.abs().max()) == pytest.approx(0.2, abs=1e-6)
    assert torch.equal(passes.noisy(image, 0.0), image)


def test_what_the_teacher_says_never_contradicts_a_label():
    built, made = apart("mean_teacher"), tiny.batch()[0]
    said = built.teach(made.image)
    target = built.allowed(said, made)
    allowed = made.label_sets[made.codes].movedim(-1, 1)
    assert (said[~allowed] > 0).all()
    assert not target[~allowed].any()
    assert torch.allclose(target.sum(1), torch.ones_like(target[:, 0]), atol=1e-6)
    # Where nothing is known nothing changes; inside a superclass the leaves keep their ratio.
    none, coarse = made.rows[Regime.NONE], made.rows[Regime.COARSE]
    assert torch.allclose(target[none], said[none], atol=1e-5)
    organ = (made.codes == tiny.TABLE.code(frozenset([tiny.HEAD, tiny.TAIL])))[coarse]
    ratio = (said[coarse, tiny.HEAD] / (said[coarse, tiny.HEAD] + said[coarse, tiny.TAIL]))[organ]
    assert torch.allclose(target[coarse, tiny.HEAD][organ], ratio, atol=1e-4)


def test_a_label_that_the_teacher_finds_impossible_gets_equal_shares():
    made = tiny.batch(rows={Regime.COARSE: 1})[0]
    said = torch.zeros(1, 4, *made.codes.shape[1:])
    said[:, tiny.VESSEL] = 1.0
    target = passes.within_labels(said, made)
    organ = made.codes == tiny.TABLE.code(frozenset([tiny.HEAD, tiny.TAIL]))
    assert organ.any()
    assert torch.allclose(target.movedim(1, -1)[organ], torch.tensor([0.0, 0.5, 0.5, 0.0]), atol=1e-6)


def test_labels_can_be_disregarded_as_in_the_papers():
    made = tiny.batch(rows={Regime.COARSE: 2})[0]
    values = [agreement_of(apart("mean_teacher", options=o), made).item() for o in ({}, FREE)]
    unlabeled = replace(
        tiny.without_labels(made, Regime.COARSE),
        image=made.image,
        rows={regime: slice(0, 2) if regime is Regime.NONE else slice(0, 0) for regime in Regime},
    )
    assert values[0] != values[1]
    assert agreement_of(apart("mean_teacher"), unlabeled).item() == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize(("rows", "sees_full_rows"), [("unlabeled", False), ("all", True)])
def test_the_two_agree_where_labels_say_less_than_all_or_everywhere(rows, sees_full_rows):
    built, made = apart("mean_teacher", options={"rows": rows, "noise": 0.0}), tiny.batch()[0]
    other = tiny.without_labels(made, Regime.FULL)
    assert (agreement_of(built, made).item() != agreement_of(built, other).item()) == sees_full_rows
    only_full = agreement_of(built, tiny.batch(rows={Regime.FULL: 2})[0]).item()
    assert (only_full > 0) == sees_full_rows


def test_labels_of_coarse_rows_teach_unless_only_full_ones_shall():
    made = tiny.batch(rows={Regime.COARSE: 2})[0]
    for supervision, teaches in (("marginal", True), ("two_heads", True), ("full", False)):
        built = apart("mean_teacher", options={"supervision": supervision})
        values = terms_of(built, made).values
        labels = sum(value.item() for name, value in values.items() if name != "consistency")
        assert (labels > 0) == teaches
        assert values["consistency"].item() > 0


def test_the_weight_of_the_papers_rises_in_their_stairs():
    for preset, steps, levels in (("paper", 6_000, 40), ("paper_000", 40_000, 200)):
        built, made = tiny.method("mean_teacher", preset=preset), tiny.batch(rows={Regime.FULL: 1})[0]
        for step in (0, 149, 150, 2_999, 5_999):
            found = terms_of(built, made, Progress(step, step / steps)).weights["consistency"]
            assert found == pytest.approx(0.1 * math.exp(-5 * (1 - min(step // 150, levels) / levels) ** 2))


def test_without_weight_the_teacher_is_not_asked(monkeypatch):
    built, made = apart("mean_teacher", options={"consistency_weight": 0.0}), tiny.batch()[0]
    monkeypatch.setattr(built, "teach", None)
    terms = terms_of(built, made)
    assert terms.values["consistency"].item() == 0
    assert terms.values["consistency"].requires_grad


def test_either_of_the_two_predicts():
    image = tiny.batch()[0].image
    for predict in ("teacher", "student"):
        built = apart("mean_teacher", options={"predict": predict}).eval()
        network = built.teacher.network if predict == "teacher" else built.learner
        assert torch.equal(built.predict(image), network(image)["subclass"].softmax(1))


@pytest.mark.parametrize(
    ("mode", "is_random", "gathers"),
    [
        ("evaluation", False, False),
        ("dropout", True, False),
        ("training", True, True),
    ],
)
def test_what_is_random_in_the_teacher(mode, is_random, gathers):
    options = {"teacher_mode": mode, "noise": 0.0, "buffers": "keep"}
    built, made = apart("mean_teacher", options=options, norm="batch", dropout=0.5), tiny.batch()[0]
    before = {name: value.clone() for name, value in built.teacher.state_dict().items()}
    with passes.passing(built.teacher, mode):
        assert torch.equal(built.teach(made.image), built.teach(made.image)) != is_random
    after = built.teacher.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert bool(changed) == gathers
    assert all("running" in name or "num_batches" in name for name in changed)
    assert not any(part.training for part in built.teacher.modules())


def test_a_warm_start_reaches_both_networks():
    built = tiny.method("mean_teacher", options={"supervision": "two_heads"})
    rows = built.warm_start_rows()
    assert {name.split(".")[0] for name in rows} == {"learner", "teacher"}
    assert {len(names) for names in rows.values()} == {len(tiny.LEAVES), len(tiny.SCHEME.superclass_names)}
