"""A few timed trials at the start of a run: threads, precision and memory format, chosen by measurement.

Nothing of the training changes: weights are not stepped, and buffers and random numbers are put back exactly.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from SemiSegLib.batches.batch import Batch
from SemiSegLib.methods.method import Progress, Trainable
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.guards import KeptBuffers
from SemiSegLib.training.instructions import bf16_is_quick
from SemiSegLib.training.precision import Compute, fp32_where_tiny, set_threads

MAX_SECONDS = 10.0
BUDGET_FRACTION = 0.04
REPEATS = 3
# Steps of the shortest trial: the first one compiles kernels.
LEAST_STEPS = 2
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
        seconds: of the fastest step (forward and backward): what other programs do can only make a step longer.
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


def tune(method: Trainable, batch: Batch, settings: TrainingSettings, start: Compute) -> Tuning:
    """Return the fastest setting whose numbers agree with fp32.

    Trials: first the plain setting; then bf16 and channels last, together and each alone, channels last alone first
    where the processor has no tiles for bf16; then the best of these on
    one thread, which a tiny network or a busy computer may prefer. What the settings fix is not tried. The trials
    share the time evenly, so that a slow method, which gains most, tries bf16 too; none begins that would end after
    the time is up.

    Args:
        method: on the device; unchanged afterward.
        batch: a real one.
        settings: what is fixed, and the time budget of which the trials may take a few percent.
        start: the plain setting; the method lies in its memory format.
    """
    end = time.monotonic() + min(MAX_SECONDS, BUDGET_FRACTION * (settings.seconds or math.inf))
    saved = {name: value.detach().clone() for name, value in method.state_dict().items()}
    chosen = start
    variants = _variants(settings, start)
    is_free = settings.threads is None and torch.device(start.device).type == "cpu" and start.threads > 1
    left = 1 + len(variants) + is_free
    try:
        trials = [_try(method, batch, start, _share(end, left))]
        for precision, channels_last in variants:
            left -= 1
            if time.monotonic() + LEAST_STEPS * _fastest(trials).seconds > end:
                break
            compute = replace(start, precision=precision, channels_last=channels_last)
            trials.append(_try(method, batch, compute, _share(end, left)))
        base = _fastest(trials)
        # One thread takes at most as many times longer as there were threads.
        if is_free and time.monotonic() + LEAST_STEPS * start.threads * base.seconds < end:
            trials.append(_try(method, batch, replace(base.compute, threads=1), end))
        chosen = _fastest(trials).compute
    finally:
        method.load_state_dict(saved)
        chosen.place_method(method)
    return Tuning(chosen=chosen, trials=tuple(trials))


def _share(end: float, left: int) -> float:
    """Return when the next of the trials that are left is to end."""
    now = time.monotonic()
    return now + (end - now) / left


def _variants(settings: TrainingSettings, start: Compute) -> list[tuple[str, bool]]:
    """Return precision and memory format of the further trials, the most promising first."""
    is_cpu = torch.device(start.device).type == "cpu"
    fast = "bf16" if settings.precision == "auto" and is_cpu else start.precision
    last = True if settings.channels_last is None else start.channels_last
    wanted = [(fast, last), (fast, start.channels_last), (start.precision, last)]
    if is_cpu and not bf16_is_quick():
        # There may be time for one further trial only.
        wanted = [wanted[-1], *wanted[:-1]]
    plain = (start.precision, start.channels_last)
    return [variant for variant in dict.fromkeys(wanted) if variant != plain]


def _try(method: Trainable, batch: Batch, compute: Compute, end: float) -> Trial:
    compute.place_method(method)
    placed = compute.place(batch)
    # Every trial draws the same random numbers, else dropout alone would make their losses differ.
    with torch.random.fork_rng(), set_threads(compute.threads), fp32_where_tiny(method, compute):
        begin = time.monotonic()
        loss, gradient = _step(method, placed, compute)
        # The first step of a setting compiles kernels; it counts only where there is no time for another.
        first = time.monotonic() - begin
        seconds: list[float] = []
        while len(seconds) < REPEATS and time.monotonic() < end:
            begin = time.monotonic()
            _step(method, placed, compute)
            seconds.append(time.monotonic() - begin)
    return Trial(compute, min(seconds or [first]), loss, gradient)


def _step(method: Trainable, batch: Batch, compute: Compute) -> tuple[float, float]:
    """Return loss and gradient norm of one forward and backward pass (reading them waits for the device)."""
    # Methods collect what a step has seen in buffers until it is taken; this one never is.
    buffers, loss = KeptBuffers(method), 0.0
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
    buffers.put_back()
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
