"""A group of parameters with an optimizer and a learning rate of its own, as an adversary needs."""

import pytest
import torch
from torch import nn

from SemiSegLib.errors import ConfigError
from SemiSegLib.methods.method import GroupSettings, LossTerms, Progress
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.schedules import learning_rate
from SemiSegLib.training.trainer import Trainer
from Testing.lib.training.tiny_training import TinyMethod, batches_from, same, settings, train, weights

ADVERSARY = GroupSettings(optimizer="adam", learning_rate=1e-4, schedule="constant", weight_decay=0.0)


class WithAdversary(TinyMethod):
    """The tiny network and one number that learns with it, in a group of its own."""

    own = ADVERSARY

    def __init__(self, seed=0):
        super().__init__(seed)
        self.adversary = nn.Parameter(torch.ones(3))

    def losses(self, batch, progress):
        yield from super().losses(batch, progress)
        yield LossTerms({"adversary": self.adversary.square().sum()}, {"adversary": 1.0}, group="adversary")

    def parameter_groups(self):
        return {"main": list(self.network.parameters()), "adversary": [self.adversary]}

    def group_settings(self):
        return {"adversary": self.own}


def rates(optimizers):
    return {name: o.param_groups[0]["lr"] for name, o in optimizers._optimizers.items()}


def test_a_group_follows_its_own_settings_and_the_others_those_of_the_run():
    chosen = settings(optimizer="sgd", learning_rate=0.01, schedule="linear", weight_decay=0.1)
    optimizers = Optimizers(WithAdversary(), chosen)
    kinds = {name: type(o).__name__ for name, o in optimizers._optimizers.items()}
    assert kinds == {"main": "SGD", "adversary": "Adam"}
    decays = {name: o.param_groups[0]["weight_decay"] for name, o in optimizers._optimizers.items()}
    assert decays == {"main": 0.1, "adversary": 0.0}
    for fraction in (0.0, 0.5, 0.9):
        optimizers.set_learning_rate(Progress(3, fraction))
        assert rates(optimizers) == {"main": pytest.approx(0.01 * (1 - fraction)), "adversary": 1e-4}


def test_a_group_without_settings_of_its_own_follows_the_run_in_everything():
    method = WithAdversary()
    method.own = GroupSettings()
    chosen = settings(optimizer="adamw", learning_rate=0.02, schedule="cosine", warmup_steps=10)
    optimizers = Optimizers(method, chosen)
    progress = Progress(4, 0.3)
    optimizers.set_learning_rate(progress)
    assert set(rates(optimizers).values()) == {learning_rate(chosen, progress)}


def test_the_first_step_of_adam_is_as_long_as_the_learning_rate_of_its_group():
    trainer, _ = train(WithAdversary(), settings=settings(optimizer="sgd", steps=1))
    assert torch.allclose(trainer.method.adversary, torch.full((3,), 1 - 1e-4), atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_training_goes_on_in_every_group(optimizer):
    chosen = settings(optimizer=optimizer, schedule="poly")
    torch.manual_seed(0)
    whole, _ = train(WithAdversary(), settings=chosen)
    torch.manual_seed(0)
    first = Trainer(WithAdversary(), batches_from, chosen, device="cpu")
    for _ in first.run():
        first.clock._told = -1e9
        if first.step == 4:
            break
    state = first.state()
    assert 0 < state[1]["step"] < 8
    torch.manual_seed(99)
    second, _ = train(WithAdversary(seed=7), settings=chosen, state=state)
    assert same(weights(whole.method), weights(second.method))
    assert same(dict(whole.state()[0]), dict(second.state()[0]))


class Loud(WithAdversary):
    """The adversary's loss weighs as much as is said."""

    weight = 0.0

    def losses(self, batch, progress):
        main, adversary = super().losses(batch, progress)
        yield main
        yield LossTerms(adversary.values, {"adversary": self.weight}, group="adversary")


def check_that_groups_are_clipped_apart():
    """However large the gradient of the adversary is, the step of the network is as long as without it."""
    moved = []
    for weight in (0.0, 1e6):
        method = Loud()
        method.weight = weight
        torch.manual_seed(0)
        train(method, settings=settings(optimizer="sgd", steps=1, gradient_clip=1.0))
        moved.append(weights(method.network))
    assert same(*moved)


def test_the_gradient_of_an_adversary_does_not_shorten_the_step_of_the_other_network(monkeypatch):
    check_that_groups_are_clipped_apart()

    def together(optimizers, largest):
        return nn.utils.clip_grad_norm_([p for p in optimizers.parameters if p.grad is not None], largest)

    monkeypatch.setattr(Optimizers, "clip", together)
    with pytest.raises(AssertionError):
        check_that_groups_are_clipped_apart()


def test_the_norm_that_is_told_is_that_of_all_gradients_before_they_are_clipped():
    method = WithAdversary()
    optimizers = Optimizers(method, settings())
    for parameter in method.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    before = torch.cat([p.grad.flatten() for p in method.parameters()]).norm()
    assert optimizers.clip(3.0).item() == pytest.approx(before.item(), rel=1e-5)
    for group in optimizers.groups.values():
        assert torch.cat([p.grad.flatten() for p in group]).norm().item() == pytest.approx(3.0, rel=1e-4)
    optimizers.zero_grad()
    assert optimizers.clip(3.0) == 0
    method.adversary.grad = torch.full_like(method.adversary, torch.inf)
    assert not optimizers.clip(3.0).isfinite()


def test_settings_of_a_group_that_is_not_there_are_refused():
    class Wrong(WithAdversary):
        def group_settings(self):
            return {"advresary": ADVERSARY}

    with pytest.raises(ConfigError, match="no optimizer group 'advresary'"):
        Optimizers(Wrong(), settings())


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_momenta_of_a_group_are_its_own(optimizer):
    method = WithAdversary()
    method.own = GroupSettings(optimizer=optimizer, betas=(0.5, 0.9))
    found = {
        n: o.param_groups[0]["betas"] for n, o in Optimizers(method, settings(optimizer="adamw"))._optimizers.items()
    }
    assert found == {"main": (0.9, 0.999), "adversary": (0.5, 0.9)}


def test_settings_of_a_group_are_checked_like_those_of_the_run():
    method = WithAdversary()
    method.own = GroupSettings(optimizer="adma")
    with pytest.raises(ConfigError, match="optimizer"):
        Optimizers(method, settings())


@pytest.mark.parametrize(("given", "expected"), [({}, True), ({"nesterov": False}, False), ({"momentum": 0.0}, False)])
def test_the_momentum_is_nesterov_s_unless_the_plain_one_is_asked_for(given, expected):
    optimizers = Optimizers(TinyMethod(), settings(optimizer="sgd", **given))
    assert {group["nesterov"] for o in optimizers._optimizers.values() for group in o.param_groups} == {expected}


def test_a_step_of_plain_momentum_is_shorter_than_nesterov_s():
    def moved(**given):
        method = TinyMethod()
        optimizers = Optimizers(method, settings(optimizer="sgd", momentum=0.9, weight_decay=0.0, **given))
        before = [parameter.detach().clone() for parameter in method.parameters()]
        for parameter in method.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizers.set_learning_rate(Progress(0, 0.0))
        optimizers.step(None)
        return [old - new.detach() for old, new in zip(before, method.parameters(), strict=True)]

    for plain, nesterov in zip(moved(nesterov=False), moved(), strict=True):
        torch.testing.assert_close(nesterov, 1.9 * plain, atol=1e-6, rtol=1e-3)
