"""A teacher follows its student exactly, statistics included, and nothing else ever moves it."""

import copy

import pytest
import torch
from torch import nn

from SemiSegLib.errors import ConfigError
from SemiSegLib.methods.parts.teacher import Teacher
from SemiSegLib.networks.modes import evaluating, keeping_buffers


def student(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))


def moved(network, seed=1):
    """Give a network other weights and other running statistics."""
    torch.manual_seed(seed)
    network.train()
    network(torch.randn(2, 1, 8, 8) * 3 + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("buffers", ["average", "copy"])
def test_after_its_first_step_the_teacher_equals_the_student(buffers):
    network = student()
    teacher = Teacher(network, decay=0.999, buffers=buffers)
    teacher.follow(moved(network))
    for name, value in network.state_dict().items():
        assert torch.equal(teacher.network.state_dict()[name], value), name


def test_later_steps_are_the_running_mean():
    network = student()
    teacher = Teacher(network, decay=0.6)
    expected = None
    # Decays worked by hand: 1 - 1/1 = 0, 1 - 1/2 = 0.5, then 0.6 because 1 - 1/3 is larger.
    for seed, decay in enumerate((0.0, 0.5, 0.6, 0.6)):
        moved(network, seed)
        teacher.follow(network)
        state = {n: v.double() for n, v in network.state_dict().items() if v.is_floating_point()}
        expected = state if expected is None else {n: decay * expected[n] + (1 - decay) * v for n, v in state.items()}
    for name, value in expected.items():
        assert torch.allclose(teacher.network.state_dict()[name].double(), value, atol=1e-5), name
    assert all(p.norm() > 0 for p in teacher.network.parameters() if p.ndim > 1)


def test_statistics_stay_where_the_rule_says_so():
    network = student()
    teacher = Teacher(network, decay=0.9, buffers="keep")
    before = teacher.network[1].running_mean.clone()
    teacher.follow(moved(network))
    assert torch.equal(teacher.network[1].running_mean, before)


def test_no_gradient_and_no_training_mode_reach_the_teacher():
    teacher = Teacher(student(), decay=0.9)
    teacher.train()
    assert not any(part.training for part in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.randn(1, 1, 8, 8)).requires_grad


def test_the_student_stays_as_it_is():
    network = student()
    kept = copy.deepcopy(network.state_dict())
    teacher = Teacher(network, decay=0.5)
    teacher.follow(network)
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_the_count_of_steps_travels_with_the_weights():
    network = student()
    first, second = Teacher(network, decay=0.9), Teacher(network, decay=0.9)
    first.follow(network)
    second.load_state_dict(first.state_dict())
    moved(network)
    first.follow(network)
    second.follow(network)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    # Also when a state is loaded over a teacher that has counted on.
    later = copy.deepcopy(first.state_dict())
    for _ in range(5):
        second.follow(network)
    second.load_state_dict(later)
    moved(network, 3)
    first.follow(network)
    second.follow(network)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert int(second.updates) == int(first.updates) == 3


def test_an_unknown_rule_or_decay_is_named():
    with pytest.raises(ConfigError, match="buffers"):
        Teacher(student(), decay=0.9, buffers="none")
    with pytest.raises(ConfigError, match="decay"):
        Teacher(student(), decay=1.5)


def test_an_evaluation_pass_leaves_modes_and_statistics_alone():
    network = student()
    network[0].eval()
    modes = [part.training for part in network.modules()]
    kept = copy.deepcopy(network.state_dict())
    with evaluating(network):
        assert torch.equal(*(network(torch.ones(1, 1, 8, 8)) for _ in range(2)))
    assert [part.training for part in network.modules()] == modes
    with evaluating(network, dropout=True):
        image = torch.ones(1, 1, 8, 8)
        assert not torch.equal(network(image), network(image))
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


def test_a_training_pass_can_leave_the_statistics_alone():
    network = student()
    kept = copy.deepcopy(network.state_dict())
    with keeping_buffers(network), torch.no_grad():
        network(torch.randn(2, 1, 8, 8))
        assert not torch.equal(kept["1.running_mean"], network[1].running_mean)
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
