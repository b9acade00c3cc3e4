"""Share of data and augmentation in a training step, without worker processes.

    python Testing/benchmarks/data_cost.py [--dataset FOLDER] [--method supervised] [--augmentation full]
        [--precision fp32] [--threads 2] [--rounds 12] [--steps 8] [--fine N] [--json]

Without a dataset the built-in cohort is written and used. Three loops take turns, a few steps each, so that a busy
neighbor hits all of them: one repeats a batch that is already there, one makes each batch before its step, one makes
the next batch in a thread during the step (what a training does). The share is what the step takes longer than with
the batch already there. Planning and preparation are timed as well.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.source import BatchSource, prefetch
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Method, Progress, Study
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.request import PlanSettings
from SemiSegLib.training.precision import Compute


class Loop:
    """Training steps on batches from somewhere, each timed."""

    def __init__(self, method: Method, compute: Compute) -> None:
        self.method, self.compute = method, compute
        self.optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
        self.progress = Progress(0, 0.0)

    def step(self, batch: Batch) -> None:
        placed = self.compute.place(batch)
        self.optimizer.zero_grad()
        losses = self.method.losses(placed, self.progress)
        while True:
            with self.compute.autocast():
                terms = next(losses, None)
            if terms is None:
                break
            terms.total().backward()
        self.optimizer.step()

    def time(self, batches: Iterator[Batch], steps: int) -> list[float]:
        """Return the seconds of each step, waiting for its batch included."""
        seconds = []
        for _step in range(steps):
            start = time.perf_counter()
            self.step(next(batches))
            seconds.append(time.perf_counter() - start)
        return seconds


def repeated(batch: Batch) -> Iterator[Batch]:
    while True:
        yield batch


def made_before(source: BatchSource, first: int) -> Iterator[Batch]:
    while True:
        yield source.batch(first)
        first += 1


def measure(source: BatchSource, method: Method, compute: Compute, *, rounds: int, steps: int) -> dict[str, float]:
    """Return median milliseconds of a step in the three loops, and of a batch alone."""
    loop = Loop(method, compute)
    batch = source.batch(0)
    loop.time(repeated(batch), 3)
    seconds: dict[str, list[float]] = {"batch there": [], "made before": [], "made in a thread": []}
    alone = []
    for number in range(rounds):
        first = number * steps
        seconds["batch there"] += loop.time(repeated(batch), steps)
        seconds["made before"] += loop.time(made_before(source, first), steps)
        with closing(prefetch(source, first)) as batches:
            # The first batch of a new thread has no step to hide behind.
            loop.step(next(batches))
            seconds["made in a thread"] += loop.time(batches, steps)
        for step in range(first, first + steps):
            start = time.perf_counter()
            source.batch(step)
            alone.append(time.perf_counter() - start)
    result = {f"step, {name}": 1e3 * statistics.median(values) for name, values in seconds.items()}
    # Steps differ in how many rows are warped: the mean is what a training pays.
    means = {name: statistics.fmean(sorted(values)[: -max(1, len(values) // 10)]) for name, values in seconds.items()}
    result["batch alone"] = 1e3 * statistics.fmean(alone)
    there = means["batch there"]
    result["share made before"] = 1 - there / means["made before"]
    result["share made in a thread"] = 1 - there / means["made in a thread"]
    return result


def prepared(dataset: Dataset, folder: Path, facts: dict[str, float]) -> tuple[PreparedStore, Study]:
    start = time.perf_counter()
    seen = fingerprint(dataset)
    facts["fingerprint s"] = time.perf_counter() - start
    plan = make_plan(seen, dataset, PlanSettings(), device="cpu")
    store = PreparedStore(folder, dataset, plan)
    start = time.perf_counter()
    store.prepare()
    facts["prepare s"] = time.perf_counter() - start
    start = time.perf_counter()
    PreparedStore(folder, dataset, plan).prepare()
    facts["find prepared again s"] = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts["prepared MB"] = size / 1e6
    facts["cases"] = len(dataset.cases)
    return store, Study(scheme=dataset.scheme, plan=plan)


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--method", default="supervised")
    parser.add_argument("--augmentation", default="full")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = load_dataset(arguments.dataset) if arguments.dataset else write_cohort(folder / "cohort")
        store, study = prepared(dataset, folder / "prepared", facts)
        (card,) = (card for card in CARDS if card.name == arguments.method)
        cases = dataset.side(Side.TRAIN) or dataset.cases
        source = BatchSource(
            store, cases, study.plan, composition=card.composition, seed=0, augmentation=arguments.augmentation
        )
        torch.manual_seed(0)
        method = build_method(arguments.method, study, {})
        compute = Compute(device="cpu", precision=arguments.precision, channels_last=True, threads=arguments.threads)
        compute.place_method(method)
        facts |= measure(source, method, compute, rounds=arguments.rounds, steps=arguments.steps)
    if arguments.json:
        show(json.dumps({key: round(value, 4) for key, value in facts.items()}))
        return
    plan = study.plan
    show(f"{arguments.method}, {arguments.augmentation}, {compute.words}; torch {torch.__version__}")
    show(f"patch {plan.patch}, batch {plan.batch}, features {plan.network.features}, stem {plan.network.stem_stride}")
    for key, value in facts.items():
        unit = "%" if key.startswith("share") else "ms" if key.startswith(("step", "batch")) else ""
        show(f"{key:32} {100 * value if unit == '%' else value:10.2f} {unit}")


if __name__ == "__main__":
    main()
