"""Child of step_cost.py and data_cost.py: the real Trainer on batches from somewhere, with the settings of a run."""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from benchmark_study import Task, read_task
from turns import Marks, serve

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.source import BatchSource, prefetch
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.allocation import keep_freed_memory
from SemiSegLib.training.events import Started, Tuned
from SemiSegLib.training.precision import set_threads
from SemiSegLib.training.settling import find_bf16_support, settle
from SemiSegLib.training.trainer import State, Trainer

CPU = torch.device("cpu")
MakeBatches = Callable[[int], Iterator[Batch]]


class Training:
    """One training that goes on from turn to turn, as a run goes on from session to session."""

    def __init__(self, method: Method, settings: TrainingSettings) -> None:
        self.method, self.settings = method, settings
        self.state: State | None = None
        self.step = 0
        self.compute = ""
        self.trials: dict[str, float] = {}

    def run(self, batches: MakeBatches, steps: int) -> dict[str, list[float]]:
        """Do the next steps and return their times."""
        marks = Marks()
        settings = replace(self.settings, steps=self.step + steps)
        trainer = Trainer(
            self.method, lambda first: marks.watch(batches(first)), settings, device=CPU, state=self.state
        )
        for event in trainer.run():
            if isinstance(event, Tuned):
                self.trials = dict(event.seconds)
            elif isinstance(event, Started):
                # The timed trials before took a batch too.
                marks.clear()
        self.state, self.step, self.compute = trainer.state(), trainer.step, trainer.compute.words
        return marks.times()


class Batches:
    """The same source of batches in the ways in which a loop can get them."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source
        self.one = source.batch(0)
        self.step = 0

    def in_a_thread(self, first: int) -> Iterator[Batch]:
        return prefetch(self.source, first)

    def made_before(self, first: int) -> Iterator[Batch]:
        while True:
            yield self.source.batch(first)
            first += 1

    def there(self, first: int) -> Iterator[Batch]:
        while True:
            yield self.one

    def alone(self, steps: int) -> dict[str, list[float]]:
        """Return the times of making batches on one thread, as the prefetching thread does, with nothing beside it."""
        seconds = []
        with set_threads(1):
            for step in range(self.step, self.step + steps):
                start = time.perf_counter()
                self.source.batch(step)
                seconds.append(time.perf_counter() - start)
        self.step += steps
        return {"seconds": seconds, "waited": [0.0] * steps}


def settings_of(task: Task) -> TrainingSettings:
    """Return the settings of a run, settled as the worker does it."""
    settings = TrainingSettings(
        steps=1, precision=task.precision, threads=task.threads, augmentation=task.augmentation, schedule="constant"
    )
    return settle(settings, CPU, support=find_bf16_support(settings, CPU, None), before=None)


def main() -> None:
    # As the worker of a run does.
    keep_freed_memory()
    task = read_task(sys.argv[1])
    dataset = task.open()
    settings = settings_of(task)
    source = BatchSource(
        PreparedStore(Path(task.prepared), dataset, task.plan),
        dataset.cases,
        task.plan,
        composition=card_of(task.method).composition,
        seed=0,
        augmentation=task.augmentation,
    )
    torch.manual_seed(0)
    method = build_method(task.method, Study(scheme=dataset.scheme, plan=task.plan), {})
    plain_settings = replace(settings, precision="fp32", channels_last=False, threads=torch.get_num_threads())
    plain = Training(copy.deepcopy(method), plain_settings)
    training = Training(method, settings)
    batches = Batches(source)
    # The timed trials of a run's start.
    training.run(batches.there, 1)
    serve(
        {"compute": training.compute, "trials": training.trials},
        {
            "in a thread": lambda steps: training.run(batches.in_a_thread, steps),
            "made before": lambda steps: training.run(batches.made_before, steps),
            "there": lambda steps: training.run(batches.there, steps),
            "plain": lambda steps: plain.run(batches.there, steps),
            "alone": batches.alone,
        },
    )


if __name__ == "__main__":
    main()
