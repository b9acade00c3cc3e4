"""The training loop: one for all methods, told as events; it writes no file and prints nothing."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import to_json
from SemiSegLib.errors import CheckpointError, explain
from SemiSegLib.methods.method import Progress, Trainable
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.clock import Clock
from SemiSegLib.training.distributed import Ranks
from SemiSegLib.training.events import CheckpointDue, Event, Finished, Noticed, Started, Stepped, Tuned, Validated
from SemiSegLib.training.guards import CollapseGuard, Extremes, KeptBuffers, NonFiniteGuard
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.precision import fp32_where_tiny, set_threads, settled_choice
from SemiSegLib.training.random_numbers import random_numbers, random_state
from SemiSegLib.training.schedules import learning_rate
from SemiSegLib.training.tuning import tune
from SemiSegLib.training.validation import Scores, ValidationStoppedError

State = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""Tensors by name, and everything else as JSON data."""


@dataclass
class Tally:
    """Sums over the steps since the last event."""

    steps: int = 0
    seconds: float = 0.0
    data_seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    weights: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Trains a method, or whatever else learns from batches.

    Random numbers of the steps (dropout) continue the global generators as they are at construction; those are
    left untouched, so a host program and other threads are not disturbed.

    Args:
        method: moved to the device and trained in place.
        batches: first batch number to the batches from there on.
        settings: how long and with what.
        device: torch device.
        validate: returns the scores of the method on whole volumes; None if there is no validation case.
        state: what ``state`` returned, to go on from there.
        ranks: this process among several.
    """

    def __init__(  # noqa: PLR0913 - the contract of the loop with everything around it
        self,
        method: Trainable,
        batches: Callable[[int], Iterator[Batch]],
        settings: TrainingSettings,
        *,
        device: torch.device | str,
        validate: Callable[[Any], Scores] | None = None,
        state: State | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        tensors, data = state if state is not None else ({}, {})
        self.method, self.settings, self.validate = method, settings, validate
        self.ranks = ranks or Ranks()
        self.step = int(data.get("step", 0))
        self.best_dice: float | None = data.get("best_dice")
        self.best_step: int | None = data.get("best_step")
        self.clock = Clock(settings, state=data.get("clock"))
        self._make_batches = batches
        self._device = torch.device(device)
        self._collapse = CollapseGuard(data.get("collapse"))
        self._non_finite = NonFiniteGuard()
        self._stop = threading.Event()
        self._tally = Tally()
        self._is_saved = state is not None
        self.compute, self._is_tuned = settled_choice(settings, self._device, data.get("compute"))
        self._is_tuned = self._is_tuned or self.ranks.count > 1
        self.compute.place_method(method)
        self.method.train()
        self._optimizers = Optimizers(method, settings)
        self._scaler = torch.amp.GradScaler("cuda") if self.compute.precision == "fp16" else None
        self._random = random_state(self._device)
        if state is not None:
            self._restore(tensors, data)

    def run(self) -> Iterator[Event]:
        """Yield events until the training is done, its time is up or ``stop`` was called.

        Whoever listens saves ``state()`` on CheckpointDue, before asking for the next event.

        Raises:
            NonFiniteError: too many losses in a row were not finite.
        """
        if not self._is_tuned:
            yield self._tune()
        yield Started(step=self.step, total_steps=self.settings.steps, device=self.compute.words)
        first = self.step * self.settings.accumulation
        with (
            set_threads(self.compute.threads),
            fp32_where_tiny(self.method, self.compute),
            closing(_closable(self._make_batches(first))) as batches,
        ):
            # A stop may have come between the last step of the session before and the end of its validation.
            yield from self._validated(self.clock.validation_due(self.step))
            while (progress := self._next()) is not None:
                notice = self._advance(batches, progress)
                if notice:
                    yield Noticed(step=self.step, text=notice)
                if self.clock.tell_due():
                    yield self._stepped()
                yield from self._validated(self.clock.validation_due(self.step))
                if self.clock.checkpoint_due():
                    yield self._checkpoint()
            if self._tally.steps:
                yield self._stepped()
            yield from self._validated(self.clock.validated_step != self.step)
        if not self._is_saved:
            yield self._checkpoint()
        is_done = not self._stop.is_set()
        reason = ("done" if self.settings.steps is not None else "time") if is_done else "stopped"
        yield Finished(step=self.step, reason=reason)

    def stop(self) -> None:
        """Ask the loop, from any thread, to end after the step it is in."""
        self._stop.set()

    def should_stop(self) -> bool:
        """Return whether ``stop`` was called."""
        return self._stop.is_set()

    def state(self) -> State:
        """Return all that a later session needs to go on as if nothing had happened."""
        tensors = {f"method.{name}": value.detach().clone() for name, value in self.method.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in self._optimizers.state().items()}
        tensors |= {f"random.{name}": value.clone() for name, value in self._random.items()}
        data = {
            "step": self.step,
            "best_dice": self.best_dice,
            "best_step": self.best_step,
            "clock": self.clock.state(),
            "collapse": self._collapse.counts,
            "compute": to_json(self.compute),
            "scaler": self._scaler.state_dict() if self._scaler is not None else {},
        }
        return tensors, data

    def _tune(self) -> Tuned:
        with closing(_closable(self._make_batches(self.step * self.settings.accumulation))) as batches:
            result = tune(self.method, self.compute.place(next(batches)), self.settings, self.compute)
        self.compute, self._is_tuned = result.chosen, True
        return Tuned(seconds={trial.compute.words: trial.seconds for trial in result.trials}, chosen=self.compute.words)

    def _next(self) -> Progress | None:
        """Return the progress of the coming step, the same in every rank, or None at the end."""
        is_end = self._stop.is_set() or self.clock.is_over(self.step)
        values = self.ranks.agree([float(is_end), self.clock.fraction(self.step)])
        return None if values[0] else Progress(step=self.step, fraction=values[1])

    def _advance(self, batches: Iterator[Batch], progress: Progress) -> str:
        """Do one optimizer step; return what to tell if it had to be skipped."""
        begin = time.monotonic()
        self._optimizers.zero_grad()
        self._optimizers.set_learning_rate(progress)
        buffers = KeptBuffers(self.method)
        values: dict[str, Tensor] = {}
        with random_numbers(self._random, self._device):
            seen = [self._backpropagate(batches, progress, values) for _ in range(self.settings.accumulation)]
        numbers = {name: float(value) / self.settings.accumulation for name, value in values.items()}
        is_good = self._update(all(math.isfinite(number) for number in numbers.values()))
        notice = ""
        if is_good:
            self._non_finite.passed()
            with random_numbers(self._random, self._device):
                self.method.after_step(Progress(step=self.step + 1, fraction=progress.fraction))
            for name, number in numbers.items():
                self._tally.losses[name].append(number)
        else:
            buffers.put_back()
            notice = self._non_finite.skip(seen, step=self.step, precision=self.compute.precision)
        self.step += 1
        self._is_saved = False
        self._tally.steps += 1
        self._tally.seconds += time.monotonic() - begin
        self.clock.note_step(time.monotonic() - begin)
        return notice

    def _backpropagate(self, batches: Iterator[Batch], progress: Progress, values: dict[str, Tensor]) -> Extremes:
        """Add the gradients and loss values of the next batch; return what a skipped step is explained with."""
        before = time.monotonic()
        batch = self.compute.place(next(batches))
        self._tally.data_seconds += time.monotonic() - before
        terms = self.method.losses(batch, progress)
        while True:
            with self.compute.autocast():
                found = next(terms, None)
            if found is None:
                return Extremes.of(batch)
            total = found.total() / self.settings.accumulation
            self._optimizers.backward(total if self._scaler is None else self._scaler.scale(total), found.group)
            self._tally.weights.update(found.weights)
            for name, value in found.values.items():
                values[name] = values.get(name, torch.zeros((), device=value.device)) + value.detach().float()

    def _update(self, is_finite: bool) -> bool:
        """Step on the gradients if every one is finite; return whether it was done."""
        if self._scaler is not None:
            self._optimizers.unscale(self._scaler)
        is_finite = self.ranks.average(self._optimizers.parameters, is_finite)
        norm = self._optimizers.clip(self.settings.gradient_clip or math.inf)
        if is_finite and bool(torch.isfinite(norm)):
            self._optimizers.step(self._scaler)
            return True
        if self._scaler is not None:
            self._scaler.update(self._scaler.get_scale() / 2)
        return False

    def _stepped(self) -> Stepped:
        tally, self._tally = self._tally, Tally()
        self.clock.note_told()
        progress = Progress(step=self.step, fraction=self.clock.fraction(self.step))
        return Stepped(
            step=self.step,
            fraction=progress.fraction,
            losses={name: sum(found) / len(found) for name, found in tally.losses.items()},
            weights=tally.weights,
            learning_rate=learning_rate(self.settings, progress),
            seconds_per_step=tally.seconds / max(tally.steps, 1),
            data_seconds=tally.data_seconds / max(tally.steps, 1),
            eta_seconds=self.clock.eta_seconds(self.step),
        )

    def _validated(self, is_due: bool) -> Iterator[Event]:
        if not is_due or not self.ranks.is_first or self.validate is None or self._stop.is_set():
            return
        begin = time.monotonic()
        try:
            with random_numbers(dict(self._random), self._device):
                scores = self.validate(self.method)
        except ValidationStoppedError:
            self.stop()
            return
        seconds = time.monotonic() - begin
        self.clock.note_validation(self.step, seconds)
        # A session that goes on from here would validate once more.
        self._is_saved = False
        best = -1.0 if self.best_dice is None else self.best_dice
        is_best = scores.mean_dice is not None and scores.mean_dice > best
        if is_best:
            self.best_dice, self.best_step = scores.mean_dice, self.step
        yield Validated(
            step=self.step,
            dice=scores.dice,
            cases=scores.cases,
            mean_dice=scores.mean_dice,
            is_best=is_best,
            seconds=seconds,
        )
        for alarm in self._collapse.look(scores.predicted):
            yield Noticed(step=self.step, text=alarm)
        if is_best:
            yield self._checkpoint()

    def _checkpoint(self) -> CheckpointDue:
        self.clock.note_checkpoint()
        self._is_saved = True
        return CheckpointDue(step=self.step, is_best=self.best_step == self.step)

    def _restore(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
        try:
            self.method.load_state_dict(_below("method.", tensors))
        except RuntimeError as error:
            raise CheckpointError(
                explain(
                    f"the checkpoint's weights are not those of this network: {str(error).splitlines()[-1].strip()}",
                    where="checkpoint",
                    remedy="resume with the method, options and plan that the run was started with",
                )
            ) from error
        self.compute.place_method(self.method)
        self._optimizers.restore(_below("optimizer.", tensors))
        if self._scaler is not None and data["scaler"]:
            self._scaler.load_state_dict(dict(data["scaler"]))
        if self.ranks.is_first:
            self._random.update({k: v for k, v in _below("random.", tensors).items() if k in self._random})
        else:
            # Only rank 0's numbers are saved; the others draw new ones, all different.
            seed = self.step * self.ranks.count + self.ranks.rank
            self._random["cpu"] = torch.Generator().manual_seed(seed).get_state()


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _closable(batches: Iterator[Batch]) -> Any:
    """Return an iterator with ``close``, so that a prefetching thread ends with the loop."""
    if hasattr(batches, "close"):
        return batches
    return (batch for batch in batches)
