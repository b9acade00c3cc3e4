"""Running means of two networks that predict for them: they follow, teach nothing and change nothing else."""

import copy

import pytest
import torch

from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

NAMES = {"cross_pseudo_supervision": ("first", "second"), "dual_task_mutual_learning": ("segmentation", "distance")}
each_pair = pytest.mark.parametrize("name", NAMES)
LATE = Progress(900, 0.9)


def method(name, predict_with="teacher", **options):
    return tiny.method(name, 2, options={"predict_with": predict_with, **options}, norm="batch")


def trained(name, count=3, **options):
    built, made = method(name, **options), tiny.batch_for(name, 2)[0]
    optimizer_of = tiny.optimizers(built)
    for number in range(count):
        torch.manual_seed(number)
        tiny.step(built.train(), made, optimizer_of, number, count)
    return built.eval()


@each_pair
def test_what_is_trained_does_not_depend_on_who_predicts(name):
    states = {predictor: trained(name, predict_with=predictor).state_dict() for predictor in ("student", "teacher")}
    assert not any("teachers" in key for key in states["student"])
    for key, value in states["student"].items():
        assert torch.equal(value, states["teacher"][key]), key


@each_pair
def test_the_running_means_predict_and_tell_their_doubt(name):
    built = trained(name, teacher_decay=0.6)
    alone = [trained(name, prediction=chosen, teacher_decay=0.6) for chosen in NAMES[name]]
    image = torch.randn(2, 2, 9, 7)
    pairs = zip(NAMES[name], built.teachers, strict=True)
    with torch.no_grad():
        own = [getattr(built, key).probability(teacher.network(image)) for key, teacher in pairs]
        students = [getattr(built, key).probability(getattr(built, key)(image)) for key in NAMES[name]]
        assert torch.allclose(built.predict(image), (own[0] + own[1]) / 2)
        assert not torch.allclose(built.predict(image), (students[0] + students[1]) / 2, atol=1e-4)
        for single, expected in zip(alone, own, strict=True):
            assert torch.allclose(single.predict(image), expected, atol=1e-6)
    doubtful = trained(name, teacher_decay=0.6, **({} if "first" in NAMES[name] else {"prediction": "segmentation"}))
    before = doubtful.uncertainty(image)
    with torch.no_grad():
        for key in NAMES[name]:
            for parameter in getattr(doubtful, key).parameters():
                parameter.zero_()
    assert torch.equal(doubtful.uncertainty(image), before)


@each_pair
def test_each_mean_follows_its_own_network_statistics_included(name):
    built = trained(name, count=1)
    for key, teacher in zip(NAMES[name], built.teachers, strict=True):
        theirs = teacher.network.state_dict()
        for part, value in getattr(built, key).state_dict().items():
            assert torch.equal(value, theirs[part]), part


@each_pair
def test_a_mean_is_not_trained_and_lies_in_the_state(name):
    built = trained(name)
    assert not any("teachers" in key for key, p in built.named_parameters() if p.requires_grad)
    listed = {id(p) for group in built.parameter_groups().values() for p in group}
    assert not listed & {id(p) for p in built.teachers.parameters()}
    for terms in built.train().losses(tiny.batch_for(name, 2)[0], LATE):
        terms.total().backward()
    assert all(p.grad is None for p in built.teachers.parameters())
    resumed = method(name).eval()
    resumed.load_state_dict(copy.deepcopy(built.state_dict()))
    image = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(resumed.predict(image), built.eval().predict(image))


@each_pair
def test_a_warm_start_reaches_the_means_too(name):
    rows = method(name).warm_start_rows()
    state = method(name).state_dict()
    assert {key.split(".")[0] for key in rows} == {*NAMES[name], "teachers"}
    assert all(len(state[key]) == len(names) for key, names in rows.items())
    assert sum(key.startswith("teachers.1.") for key in rows) == sum(key.startswith(NAMES[name][1]) for key in rows)


def test_one_network_alone_has_one_mean():
    built = tiny.method("dual_task_mutual_learning", 2, options={"networks": "distance", "predict_with": "teacher"})
    assert len(built.teachers) == 1
    image = torch.randn(1, 2, 8, 8)
    built.eval()
    assert torch.allclose(built.predict(image), built.distance.probability(built.teachers[0](image)))
