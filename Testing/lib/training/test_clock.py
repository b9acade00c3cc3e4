import pytest

from SemiSegLib.methods.method import Progress
from SemiSegLib.training.clock import Clock
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.schedules import learning_rate
from Testing.lib.training.tiny_training import settings, train


def check_that_the_schedule_begins_with_the_first_step(monkeypatch):
    """Each of the eight steps is made with the rate of the share that was done before it."""
    taken, step = [], Optimizers.step

    def watched(optimizers, scaler):
        taken.append([group["lr"] for o in optimizers._optimizers.values() for group in o.param_groups])
        step(optimizers, scaler)

    with monkeypatch.context() as patched:
        patched.setattr(Optimizers, "step", watched)
        train(settings=settings(schedule="linear", learning_rate=1.0, steps=8))
    assert [rate for rates in taken for rate in rates] == pytest.approx([1 - number / 8 for number in range(8)])


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_schedule_that_is_an_epoch_ahead_is_noticed(epoch, monkeypatch):
    check_that_the_schedule_begins_with_the_first_step(monkeypatch)
    plain = Optimizers.set_learning_rate

    # The released code of the CLIP-driven model steps its scheduler before the optimizer steps of the epoch.
    def early(optimizers, progress):
        plain(optimizers, Progress(progress.step + epoch, min(1.0, progress.fraction + epoch / 8)))

    monkeypatch.setattr(Optimizers, "set_learning_rate", early)
    with pytest.raises(AssertionError):
        check_that_the_schedule_begins_with_the_first_step(monkeypatch)


class Time:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def rate(schedule, fraction, step=0, **more):
    chosen = settings(schedule=schedule, learning_rate=1.0, **more)
    return learning_rate(chosen, Progress(step=step, fraction=fraction))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("poly", [1.0, 0.5**0.9, 0.0]),
        ("linear", [1.0, 0.5, 0.0]),
        ("cosine", [1.0, 0.5, 0.0]),
        # Half is behind the first of the milestones 5/12 and 10/12.
        ("step", [1.0, 0.1, 0.01]),
        ("constant", [1.0, 1.0, 1.0]),
    ],
)
def test_the_learning_rate_at_the_start_the_middle_and_the_end(schedule, expected):
    assert [rate(schedule, f) for f in (0.0, 0.5, 1.0)] == pytest.approx(expected)


def test_a_warm_up_rises_in_a_line():
    assert [rate("constant", 0.0, step, warmup_steps=4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def simulate(chosen, *, step_seconds=1.0, validation_seconds=0.0):
    """Run a training of made-up time; return (steps, total seconds, validation steps, ETA by fraction)."""
    now = Time()
    clock, step, validated, etas = Clock(chosen, now=now), 0, [], []
    while not clock.is_over(step):
        now.seconds += step_seconds
        step += 1
        clock.note_step(step_seconds)
        etas.append((clock.fraction(step), now.seconds, clock.eta_seconds(step)))
        if clock.validation_due(step):
            now.seconds += validation_seconds
            clock.note_validation(step, validation_seconds)
            validated.append(step)
    if clock.validated_step != step:
        now.seconds += validation_seconds
        validated.append(step)
    return step, now.seconds, validated, etas


def test_nothing_is_validated_before_the_first_step():
    assert not Clock(settings(validate_every=2)).validation_due(0)
    now = Time()
    clock = Clock(settings(steps=None, seconds=10.0), now=now)
    now.seconds = 5.0
    assert not clock.validation_due(0)
    assert clock.validation_due(1)


def test_a_fast_validation_is_made_twelve_times():
    steps, _, validated, _ = simulate(settings(steps=240, deterministic=False), validation_seconds=0.01)
    assert steps == 240
    assert validated == [20 * k for k in range(1, 13)]


def test_a_slow_validation_takes_a_tenth_of_the_run():
    _, total, validated, _ = simulate(settings(steps=1000, deterministic=False), validation_seconds=30.0)
    assert 2 <= len(validated) <= 5
    assert 30.0 * len(validated) <= 0.15 * total


@pytest.mark.parametrize("validation_seconds", [0.0, 1.0, 20.0, 60.0])
def test_a_time_budget_is_kept_with_the_last_validation_in_it(validation_seconds):
    chosen = settings(steps=None, seconds=600.0)
    _, total, validated, _ = simulate(chosen, step_seconds=0.9, validation_seconds=validation_seconds)
    assert 600 - 0.9 - validation_seconds <= total <= 600 + 0.9
    assert validated
    assert validation_seconds * len(validated) <= 0.1 * 600 + 2 * validation_seconds


def test_the_estimate_is_within_a_quarter_after_a_tenth_of_the_run():
    for chosen in (settings(steps=300, deterministic=False), settings(steps=None, seconds=300.0)):
        _, total, _, etas = simulate(chosen, validation_seconds=4.0)
        for fraction, now, eta in etas:
            if 0.1 <= fraction <= 0.9:
                assert abs(now + eta - total) <= 0.25 * (total - now)


def test_deterministic_runs_validate_at_steps_that_do_not_depend_on_speed():
    slow = simulate(settings(steps=100), validation_seconds=500.0)[2]
    assert slow == simulate(settings(steps=100), validation_seconds=0.0)[2]
    assert len(slow) == 12


def test_a_changed_end_changes_the_schedule_from_there_on():
    clock = Clock(settings(steps=100))
    assert clock.fraction(50) == 0.5
    assert Clock(settings(steps=200), state=clock.state()).fraction(50) == 0.25


def test_time_goes_on_from_the_earlier_session():
    now = Time()
    first = Clock(settings(steps=None, seconds=100.0), now=now)
    now.seconds = 40.0
    state = first.state()
    now.seconds = 5000.0
    second = Clock(settings(steps=None, seconds=100.0), state=state, now=now)
    assert second.elapsed == 40.0
    assert second.fraction(0) == 0.4


def test_events_become_rarer_in_a_long_run_and_never_rarer_than_half_a_minute():
    now = Time()
    clock = Clock(settings(), now=now)
    told = 0
    while now.seconds < 3 * 86400:
        now.seconds += 0.5
        if clock.tell_due():
            clock.note_told()
            told += 1
    assert 3 * 86400 / 30 <= told < 12_000
