from dataclasses import replace

import pytest
import torch

from SemiSegLib.training import tuning
from SemiSegLib.training.events import Tuned
from SemiSegLib.training.precision import Compute, settled_choice
from SemiSegLib.training.tuning import Trial, tune
from Testing.lib.training.tiny_training import TinyMethod, a_batch, batches_from, same, settings, train, weights

PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, threads=2)
# Which settings are tried and chosen is tested with bf16 replaced, so that it does not depend on this CPU.
FREE = settings(deterministic=False, threads=None, channels_last=None)


def test_trials_change_neither_weights_nor_buffers_nor_random_numbers():
    method = TinyMethod()
    before, random = weights(method), torch.get_rng_state()
    result = tune(method, a_batch(0), FREE, PLAIN)
    assert len(result.trials) >= 2
    assert same(before, weights(method))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_trials_leave_nothing_in_what_a_step_collects():
    class Collecting(TinyMethod):
        def __init__(self):
            super().__init__()
            self.register_buffer("collected", torch.zeros(()), persistent=False)

        def losses(self, batch, progress):
            self.collected = self.collected + 1
            yield from super().losses(batch, progress)

    method = Collecting()
    tune(method, a_batch(0), FREE, PLAIN)
    assert len(method.seen) >= 2
    assert method.collected == 0


def test_weights_lie_in_the_chosen_memory_format():
    for channels_last in (False, True):
        method = TinyMethod()
        tune(method, a_batch(0), settings(deterministic=False, threads=None, channels_last=channels_last), PLAIN)
        assert method.network[0].weight.is_contiguous(memory_format=torch.channels_last_3d) or not channels_last


@pytest.fixture
def invented(monkeypatch):
    """Replace the timing by a table from setting to (seconds, loss, gradient)."""

    def use(table):
        def found(method, batch, compute, end):
            key = (compute.precision, compute.channels_last, compute.threads)
            return Trial(compute, *table.get(key, (9.0, 1.0, 1.0)))

        monkeypatch.setattr(tuning, "_try", found)
        monkeypatch.setattr(tuning, "MAX_SECONDS", 1e9)
        chosen = tune(
            TinyMethod(),
            a_batch(0),
            settings(deterministic=False, threads=None, channels_last=None, precision="auto"),
            PLAIN,
        ).chosen
        return chosen.precision, chosen.channels_last, chosen.threads

    return use


def test_the_fastest_setting_is_chosen(invented):
    assert invented({("bf16", True, 2): (1.0, 1.01, 1.1)}) == ("bf16", True, 2)
    assert invented({("fp32", True, 2): (1.0, 1.0, 1.0)}) == ("fp32", True, 2)


def test_one_thread_is_tried_with_the_best_of_the_other_settings(invented):
    table = {("bf16", True, 2): (2.0, 1.0, 1.0), ("bf16", True, 1): (1.0, 1.0, 1.0), ("fp32", False, 1): (0.1, 1, 1)}
    assert invented(table) == ("bf16", True, 1)


@pytest.mark.parametrize("wrong", [(1.0, 1.5, 1.0), (1.0, 1.0, 9.0), (1.0, float("nan"), 1.0), (1.0, 1.0, 0.1)])
def test_a_fast_setting_whose_numbers_differ_from_fp32_is_not_chosen(invented, wrong):
    assert invented({("bf16", True, 2): wrong, ("bf16", False, 2): wrong}) == ("fp32", False, 2)


def test_a_gain_within_the_noise_changes_nothing(invented):
    assert invented({("bf16", True, 2): (8.9, 1.0, 1.0)}) == ("fp32", False, 2)


def test_trials_end_when_their_time_is_up(monkeypatch):
    made = []

    def slow(method, batch, compute, end):
        made.append(compute)
        return Trial(compute, 100.0, 1.0, 1.0)

    monkeypatch.setattr(tuning, "_try", slow)
    tune(TinyMethod(), a_batch(0), FREE, PLAIN)
    assert made == [PLAIN]


def test_a_slow_method_tries_every_setting_too(monkeypatch):
    """Steps so long that three repeats of each setting would not fit into the time."""
    now, made = [0.0], []

    def step(method, batch, compute):
        made.append(compute)
        now[0] += 0.9
        return 1.0, 1.0

    monkeypatch.setattr(tuning, "_step", step)
    monkeypatch.setattr(tuning.time, "monotonic", lambda: now[0])
    free = settings(deterministic=False, threads=1, channels_last=None, precision="auto")
    result = tune(TinyMethod(), a_batch(0), free, replace(PLAIN, threads=1))
    tried = [(trial.compute.precision, trial.compute.channels_last) for trial in result.trials]
    assert set(tried) == {("fp32", False), ("fp32", True), ("bf16", True), ("bf16", False)}
    # Each setting is timed beside its first step, which compiles.
    assert min(made.count(trial.compute) for trial in result.trials) >= 2
    assert now[0] < tuning.MAX_SECONDS + 0.9


def test_a_step_slower_than_all_trials_together_is_made_once(monkeypatch):
    made = []
    real = tuning._step

    def counted(method, batch, compute):
        made.append(compute)
        return real(method, batch, compute)

    monkeypatch.setattr(tuning, "_step", counted)
    monkeypatch.setattr(tuning, "MAX_SECONDS", 0.0)
    result = tune(TinyMethod(), a_batch(0), FREE, PLAIN)
    assert made == [PLAIN]
    assert result.trials[0].seconds > 0


def test_what_is_fixed_is_not_tried():
    device = torch.device("cpu")
    assert settled_choice(settings(), device, None)[1], "deterministic runs make no trials"
    fixed = settings(deterministic=False)
    assert settled_choice(fixed, device, None)[1]
    assert not settled_choice(FREE, device, None)[1]


def test_a_resumed_run_computes_as_before_and_makes_no_trials():
    trainer, events = train(settings=FREE)
    assert sum(isinstance(event, Tuned) for event in events) == 1
    again, events = train(settings=FREE, state=trainer.state())
    assert not any(isinstance(event, Tuned) for event in events)
    assert again.compute == trainer.compute


def test_a_setting_fixed_later_comes_before_the_recorded_one():
    recorded = {"device": "cpu", "precision": "bf16", "channels_last": True, "threads": 3}
    compute, is_settled = settled_choice(settings(precision="fp32"), torch.device("cpu"), recorded)
    assert is_settled
    assert (compute.precision, compute.channels_last, compute.threads) == ("fp32", False, 1)


def test_the_trial_of_a_fresh_training_uses_its_first_batch():
    seen = []

    def source(first):
        for batch in batches_from(first):
            seen.append(batch.case_ids)
            yield batch

    method = TinyMethod()
    from SemiSegLib.training.trainer import Trainer

    list(Trainer(method, source, FREE, device="cpu").run())
    assert seen[0] == seen[1] == ("case_0_0", "case_0_1")


@pytest.mark.parametrize(("is_quick", "first"), [(True, ("bf16", True)), (False, ("fp32", True))])
def test_the_most_promising_setting_of_this_processor_is_tried_first(monkeypatch, is_quick, first):
    monkeypatch.setattr(tuning, "bf16_is_quick", lambda: is_quick)
    monkeypatch.setattr(tuning, "MAX_SECONDS", 1e9)
    free = settings(deterministic=False, threads=None, channels_last=None, precision="auto")
    trial = tune(TinyMethod(), a_batch(0), free, PLAIN).trials[1].compute
    assert (trial.precision, trial.channels_last) == first
