"""A few timed trials at the start of a run: threads, precision and memory format, chosen by measurement.

Nothing of the training changes: weights are not stepped, and buffers and random numbers are put back exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.methods.method import Method, Progress
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.precision import Compute, fp32_where_tiny, set_threads

MAX_SECONDS = 10.0
BUDGET_FRACTION = 0.03
REPEATS = 2
# The rounding of bf16 is 0.4 %; a loss or gradient norm that is further off is not rounding.
LOSS_TOLERANCE = 0.05
GRADIENT_TOLERANCE = 0.5
# A setting must be clearly faster to replace the plainer one: timings carry that much noise.
GAIN = 0.97


@dataclass(frozen=True)
class Trial:
    """One timed setting.

    Attributes:
        compute: the setting.
        seconds: least seconds of a step (forward and backward) over the repeats.
        loss: total loss of the batch.
        gradient: norm of its gradient.
    """

    compute: Compute
    seconds: float
    loss: float
    gradient: float


@dataclass(frozen=True)
class Tuning:
    """The trials and what they led to.

    Attributes:
        chosen: the setting to use.
        trials: those that were made, the plainest first.
    """

    chosen: Compute
    trials: tuple[Trial, ...]


def tune(method: Method, batch: Batch, settings: TrainingSettings, start: Compute) -> Tuning:
    """Return the fastest setting whose numbers agree with fp32.

    Trials: first the plain setting, then bf16 and channels last, together and each alone, then the best of them on
    one thread. What the settings fix is not tried. Trials end when their time is up.

    Args:
        method: on the device; unchanged afterward.
        batch: a real one.
        settings: what is fixed, and the time budget of which the trials may take a few percent.
        start: the plain setting; the method lies in its memory format.
    """
    end = time.monotonic() + min(MAX_SECONDS, BUDGET_FRACTION * (settings.seconds or math.inf))
    trials: list[Trial] = []
    saved = _snapshot(method)
    try:
        for candidate in _candidates(settings, start):
            if trials and time.monotonic() + 3 * trials[0].seconds > end:
                break
            trials.append(_try(method, batch, candidate))
        fastest = _fastest(trials)
        if settings.threads is None and start.device == "cpu" and fastest.compute.threads > 1:
            single = replace(fastest.compute, threads=1)
            if time.monotonic() + 3 * fastest.compute.threads * fastest.seconds < end:
                trials.append(_try(method, batch, single))
                fastest = _fastest(trials)
    finally:
        method.load_state_dict(saved)
        chosen = _fastest(trials).compute if trials else start
        chosen.place_method(method)
    return Tuning(chosen=chosen, trials=tuple(trials))


def _candidates(settings: TrainingSettings, start: Compute) -> Iterator[Compute]:
    is_cpu = torch.device(start.device).type == "cpu"
    precisions = ["fp32", "bf16"] if settings.precision == "auto" and is_cpu else [start.precision]
    layouts = [False, True] if settings.channels_last is None else [start.channels_last]
    yield replace(start, precision=precisions[0], channels_last=layouts[0])
    others = [(precisions[-1], layouts[-1]), (precisions[-1], layouts[0]), (precisions[0], layouts[-1])]
    seen = {(precisions[0], layouts[0])}
    for precision, channels_last in others:
        if (precision, channels_last) not in seen:
            seen.add((precision, channels_last))
            yield replace(start, precision=precision, channels_last=channels_last)


def _try(method: Method, batch: Batch, compute: Compute) -> Trial:
    compute.place_method(method)
    placed = compute.place(batch)
    # Every trial draws the same random numbers, else dropout alone would make their losses differ.
    with torch.random.fork_rng(), set_threads(compute.threads), fp32_where_tiny(method, compute):
        # The first step of a setting compiles kernels and is not timed.
        loss, gradient = _step(method, placed, compute)
        seconds = []
        for _ in range(REPEATS):
            begin = time.monotonic()
            _step(method, placed, compute)
            seconds.append(time.monotonic() - begin)
    return Trial(compute, min(seconds), loss, gradient)


def _step(method: Method, batch: Batch, compute: Compute) -> tuple[float, float]:
    """Return loss and gradient norm of one forward and backward pass (reading them waits for the device)."""
    loss = 0.0
    terms = method.losses(batch, Progress(step=0, fraction=0.0))
    while True:
        with compute.autocast():
            found = next(terms, None)
        if found is None:
            break
        total = found.total()
        total.backward()  # type: ignore[no-untyped-call]
        loss += float(total.detach())
    gradients = [p.grad.detach().float().norm() for p in method.parameters() if p.grad is not None]
    norm = float(torch.stack(gradients).norm()) if gradients else 0.0
    for parameter in method.parameters():
        parameter.grad = None
    return loss, norm


def _fastest(trials: list[Trial]) -> Trial:
    best = plain = trials[0]
    for trial in trials[1:]:
        if _agrees(trial, plain) and trial.seconds < GAIN * best.seconds:
            best = trial
    return best


def _agrees(trial: Trial, plain: Trial) -> bool:
    loss = abs(trial.loss - plain.loss) <= LOSS_TOLERANCE * max(abs(plain.loss), 0.1)
    gradient = abs(trial.gradient - plain.gradient) <= GRADIENT_TOLERANCE * plain.gradient + 1e-6
    return loss and gradient


def _snapshot(method: Method) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in method.state_dict().items()}
