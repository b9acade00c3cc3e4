import math
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch

from SemiSegLib.errors import ConfigError, TrainingError
from SemiSegLib.methods.method import LossTerms
from SemiSegLib.training.events import CheckpointDue, Finished, Noticed, Started, Stepped, Validated
from SemiSegLib.training.guards import NonFiniteError
from SemiSegLib.training.instructions import LIMIT_VARIABLE, try_bf16
from SemiSegLib.training.trainer import Trainer
from SemiSegLib.training.validation import ValidationStoppedError
from Testing.lib.training.tiny_training import TinyMethod, a_batch, batches_from, same, scores, settings, train, weights


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_training_lowers_the_loss_and_tells_from_start_to_finish():
    _, events = train(settings=settings(steps=60, learning_rate=0.05))
    assert events[0] == Started(step=0, total_steps=60, device="cpu fp32, channels first, 1 thread")
    assert events[-1] == Finished(step=60, reason="done")
    assert of_kind(events, CheckpointDue)[-1].step == 60
    told = of_kind(events, Stepped)
    assert told[-1].step == 60
    assert told[-1].fraction == 1.0
    assert told[-1].losses["cross_entropy"] < 0.6
    assert told[-1].weights == {"cross_entropy": 1.0}


def test_batches_are_asked_for_by_number_and_progress_is_the_share_of_steps_done():
    method = TinyMethod()
    train(method, settings=settings(steps=4, accumulation=2))
    ids = [ids[0] for _, ids in method.seen]
    assert ids == [f"case_{number}_0" for number in range(8)]
    assert [progress.step for progress, _ in method.seen] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [progress.fraction for progress, _ in method.seen][::2] == [0.0, 0.25, 0.5, 0.75]


def test_two_runs_of_one_seed_give_the_same_weights_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, _ = train()
    assert torch.equal(torch.get_rng_state(), before)
    second, _ = train()
    assert same(weights(first.method), weights(second.method))
    torch.manual_seed(4)
    third, _ = train()
    assert not same(weights(first.method), weights(third.method)), "dropout does not depend on the seed"


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("interrupted_at", [1, 5])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(optimizer, channels_last, interrupted_at):
    chosen = settings(optimizer=optimizer, channels_last=channels_last, accumulation=2, warmup_steps=3)
    torch.manual_seed(0)
    whole, _ = train(settings=chosen)
    torch.manual_seed(0)
    first = Trainer(TinyMethod(), batches_from, chosen, device="cpu")
    for event in first.run():
        if first.step == interrupted_at and not isinstance(event, Finished):
            break
        if first.step >= interrupted_at:
            break
        first.clock._told = -math.inf
    state = first.state()
    torch.manual_seed(99)
    second, _ = train(TinyMethod(seed=7), settings=chosen, state=state)
    assert state[1]["step"] < 8
    assert same(weights(whole.method), weights(second.method))
    tensors, _ = whole.state()
    assert same(dict(tensors), dict(second.state()[0]))


def test_accumulating_two_batches_equals_one_batch_of_twice_the_rows():
    class Plain(TinyMethod):
        def __init__(self):
            super().__init__()
            self.network = self.network[0:1].append(torch.nn.Conv3d(4, 2, 1))

    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, second = Plain(), Plain()
    second.load_state_dict(first.state_dict())

    def pair(number):
        while True:
            halves = a_batch(2 * number), a_batch(2 * number + 1)
            yield halves[0].__class__(
                image=torch.cat([h.image for h in halves]),
                codes=torch.cat([h.codes for h in halves]),
                label_sets=halves[0].label_sets,
                rows={},
                case_ids=halves[0].case_ids + halves[1].case_ids,
                maps={},
            )
            number += 1

    list(Trainer(first, batches_from, settings(accumulation=2, optimizer="sgd"), device="cpu").run())
    list(Trainer(second, pair, settings(optimizer="sgd"), device="cpu").run())
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_the_gradient_norm_is_clipped():
    taken = []

    class Watched(TinyMethod):
        def after_step(self, progress):
            taken.append(torch.cat([p.grad.flatten() for p in self.parameters()]).norm().item())

    train(Watched(), settings=settings(gradient_clip=1e-3, steps=3))
    assert max(taken) == pytest.approx(1e-3, rel=1e-2)


def test_terms_of_a_group_teach_that_group_alone_and_graphs_are_freed_between_yields():
    class Adversarial(TinyMethod):
        def __init__(self):
            super().__init__()
            self.critic = torch.nn.Linear(2, 1)

        def losses(self, batch, progress):
            logits = self.network(batch.image)
            yield LossTerms(values={"fool": -self.critic(logits.mean((2, 3, 4))).mean()}, weights={"fool": 1.0})
            judged = self.critic(self.network(batch.image).mean((2, 3, 4))).mean()
            yield LossTerms(values={"judge": judged}, weights={"judge": 0.0}, group="critic")

        def parameter_groups(self):
            return {"main": list(self.network.parameters()), "critic": list(self.critic.parameters())}

    torch.manual_seed(0)
    method = Adversarial()
    before = weights(method)
    train(method, settings=settings(weight_decay=0.0, steps=2))
    after = weights(method)
    assert torch.equal(before["critic.weight"], after["critic.weight"]), "the first terms taught the critic"
    assert not torch.equal(before["network.0.weight"], after["network.0.weight"])


def test_terms_of_an_unknown_group_are_refused():
    class Wrong(TinyMethod):
        def losses(self, batch, progress):
            for terms in super().losses(batch, progress):
                yield LossTerms(values=terms.values, weights=terms.weights, group="critic")

    with pytest.raises(ConfigError, match="group 'critic'"):
        train(Wrong())


def spoil(numbers):
    def change(number, batch):
        if number in numbers:
            batch.image[0, 0, 0, 0, 0] = math.inf
        return batch

    return change


def test_a_loss_that_is_not_finite_is_skipped_and_told():
    method = TinyMethod()
    _, events = train(method, change=spoil({3}))
    notices = of_kind(events, Noticed)
    assert len(notices) == 1
    assert "case_3_0" in notices[0].text
    assert "case_3_1" not in notices[0].text
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
    assert events[-1] == Finished(step=8, reason="done")


def test_a_skipped_step_leaves_no_trace_in_running_statistics():
    method, before, after = TinyMethod(), [], []

    def watched(first):
        for number, batch in enumerate(batches_from(first, spoil({3})), start=first):
            if number in (3, 4):
                (before if number == 3 else after).append(weights(method))
            yield batch

    list(Trainer(method, watched, settings(steps=5), device="cpu").run())
    assert same(before[0], after[0])


def test_of_the_batches_of_one_step_no_two_are_kept():
    seen, alive = [], []

    class Watching(TinyMethod):
        def losses(self, batch, progress):
            alive.append(sum(image() is not None for image in seen))
            seen.append(weakref.ref(batch.image))
            yield from super().losses(batch, progress)

    _, events = train(Watching(), change=spoil({2}), settings=settings(steps=2, accumulation=4))
    assert alive == [0] * 8
    notices = of_kind(events, Noticed)
    assert len(notices) == 1
    assert "(case_2_0)" in notices[0].text, "the batch to blame is the third of four"


def test_twenty_losses_in_a_row_that_are_not_finite_end_the_training_with_the_names_of_the_cases():
    with pytest.raises(NonFiniteError, match="step 24, cases: case_5_0, case_6_0") as caught:
        train(change=spoil(range(5, 100)), settings=settings(steps=100))
    assert isinstance(caught.value, TrainingError)
    assert caught.value.case_ids[0].endswith("_0")


def test_an_absurd_learning_rate_ends_with_a_remedy():
    class Unstable(TinyMethod):
        def losses(self, batch, progress):
            for terms in super().losses(batch, progress):
                yield LossTerms(values={"x": terms.values["cross_entropy"].exp()}, weights={"x": 1.0})

    with pytest.raises(NonFiniteError, match="lower the learning rate"):
        train(Unstable(), settings=settings(learning_rate=1e6, steps=400, optimizer="sgd", gradient_clip=None))


def test_the_best_of_several_validations_is_marked_and_saved():
    values = iter([0.2, 0.6, 0.5, 0.4])
    trainer, events = train(settings=settings(validate_every=2), validate=lambda method: scores(next(values)))
    assert [(e.step, e.is_best) for e in of_kind(events, Validated)] == [(2, True), (4, True), (6, False), (8, False)]
    saved = [(e.step, e.is_best) for e in of_kind(events, CheckpointDue)]
    assert saved == [(2, True), (4, True), (8, False)]
    assert (trainer.best_dice, trainer.best_step) == (0.6, 4)


def test_a_best_at_the_very_end_stays_marked():
    values = iter([0.2, 0.6])
    _, events = train(settings=settings(validate_every=4), validate=lambda method: scores(next(values)))
    assert [(e.step, e.is_best) for e in of_kind(events, CheckpointDue)] == [(4, True), (8, True)]


def test_random_numbers_of_a_validation_do_not_change_the_training():
    def noisy(method):
        torch.rand(7)
        return scores()

    quiet, _ = train()
    loud, _ = train(validate=noisy, settings=settings(validate_every=1))
    assert same(weights(quiet.method), weights(loud.method))


def test_a_class_that_is_never_predicted_raises_an_alarm_after_five_validations():
    never = scores(0.0, predicted={"organ": 0, "vessel": 4})
    _, events = train(settings=settings(validate_every=1), validate=lambda method: never)
    alarms = [event for event in of_kind(events, Noticed) if "predicted empty in 5 validations" in event.text]
    assert [event.step for event in alarms] == [5]
    assert "class 'organ'" in alarms[0].text


def test_stop_ends_after_the_step_with_a_checkpoint_and_without_another_validation():
    trainer = Trainer(TinyMethod(), batches_from, settings(steps=100_000), device="cpu", validate=lambda m: scores())
    threading.Timer(0.3, trainer.stop).start()
    begin = time.monotonic()
    events = list(trainer.run())
    assert time.monotonic() - begin < 5
    assert events[-1].reason == "stopped"
    assert events[-2] == CheckpointDue(step=trainer.step, is_best=False)
    assert 0 < trainer.step < 100_000


def test_a_validation_that_was_stopped_ends_the_run():
    def stopped(method):
        raise ValidationStoppedError

    trainer, events = train(settings=settings(validate_every=3), validate=stopped)
    assert events[-1] == Finished(step=3, reason="stopped")
    assert trainer.best_dice is None


def test_a_time_budget_ends_in_time_with_a_validation_and_a_low_learning_rate():
    def slow(method):
        time.sleep(0.2)
        return scores()

    budget = settings(steps=None, seconds=3.0)
    begin = time.monotonic()
    trainer, events = train(settings=budget, validate=slow)
    assert 2.5 < time.monotonic() - begin < 3.5
    assert events[-1].reason == "time"
    validations = of_kind(events, Validated)
    assert validations[-1].step == trainer.step
    assert sum(e.seconds for e in validations) < 0.35 * 3.0
    told = of_kind(events, Stepped)
    assert told[-1].learning_rate < 0.1 * 0.01
    assert told[-1].fraction > 0.9


def test_a_resumed_time_budget_counts_the_time_before():
    budget = settings(steps=None, seconds=20.0)
    state = Trainer(TinyMethod(), batches_from, budget, device="cpu").state()
    state[1]["clock"]["elapsed"] = 19.5
    trainer = Trainer(TinyMethod(), batches_from, budget, device="cpu", state=state)
    begin = time.monotonic()
    list(trainer.run())
    assert time.monotonic() - begin < 2


BF16 = """
import torch
from SemiSegLib.training.precision import Compute, fp32_where_tiny
from Testing.lib.training.tiny_training import settings, train
from SemiSegLib.training.events import Stepped

trainer, events = train(settings=settings(steps=60, precision="bf16", learning_rate=0.05))
assert [e for e in events if isinstance(e, Stepped)][-1].losses["cross_entropy"] < 0.6
assert all(p.dtype == torch.float32 for p in trainer.method.parameters())

torch.manual_seed(0)
compute = Compute(device="cpu", precision="bf16")
shapes = [(3, 4, width) for width in (1, 2, 3, 5)] + [(depth, 4, 5) for depth in (1, 2)] + [(4, 2, 5), (2, 8, 8)]
for shape in shapes:
    layer = torch.nn.Conv3d(8, 8, 3, padding=1)
    image = torch.randn(2, 8, *shape)
    layer(image).square().mean().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    for _ in range(5):
        layer.weight.grad = None
        with fp32_where_tiny(layer, compute), compute.autocast():
            layer(image).float().square().mean().backward()
        assert (layer.weight.grad - expected).abs().max() < 0.05 * expected.abs().max(), shape
"""


def test_bf16_on_the_cpu_trains_and_gives_true_gradients_also_for_tiny_maps():
    # In a child, because the limit of the instruction set must be known before the first kernel is made.
    support = try_bf16()
    if not support.works:
        pytest.skip("this CPU does not run bf16")
    limit = {} if support.limit is None else {LIMIT_VARIABLE: support.limit}
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, **limit, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", BF16], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
