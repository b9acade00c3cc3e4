"""Share of data and augmentation in a training step, without worker processes; a thread against inline batches.

    python Testing/benchmarks/data_cost.py [DATASET] [--method supervised] [--augmentation full]
        [--precision auto] [--threads N] [--rounds 8] [--steps 12] [--warmup 3] [--json]

Without a dataset the built-in cohort is used. The Trainer of a run, in the environment that a run's process gets and
with threads, precision and memory format as the timed trials of its start choose them, does some steps in turn

- with one batch that is already there,
- with each batch made in a thread during the step before (what a training does),
- with each batch made before its step, inline,

so that a busy neighbor of the machine hits all of them. The share of data and augmentation is what a step takes longer
than with the batch already there: it holds both the waiting and the work that the thread takes from the step. Also
told are the time that the step waited for its batch, and the time that a batch takes on one thread with nothing beside
it. Shares are of means, the slowest tenth left out.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmark_study import add_study_options, prepare_study
from reporting import Cell, Result, add_output_option, percent, show
from turns import Seconds, Turns, players

from SemiSegLib.methods.cards import CARDS
from SemiSegLib.runs.process import WAITING

THERE, THREAD, INLINE = "batch already there", "batch made in a thread", "batch made before the step"
ALONE = "a batch alone, on one thread"


def measure(task: Path, turns: Turns) -> tuple[dict[str, Seconds], Cell]:
    """Return the times of every loop, and how the training computes."""
    with ExitStack() as stack:
        (ours,) = players(stack, task, {"our_loop.py": WAITING})
        loops = {
            THERE: (ours, "there"),
            THREAD: (ours, "in a thread"),
            INLINE: (ours, "made before"),
            ALONE: (ours, "alone"),
        }
        return turns.take(loops), ours.about["compute"]


def result_of(found: dict[str, Seconds], facts: dict[str, Cell]) -> Result:
    there, thread, inline, alone = (found[name] for name in (THERE, THREAD, INLINE, ALONE))
    values = {
        "share in a thread": 1 - there.mean / thread.mean,
        "share made before": 1 - there.mean / inline.mean,
        "waiting share in a thread": thread.waiting,
        "batch alone of a step in a thread": alone.mean / thread.mean,
        "inline takes times the thread": inline.mean / thread.mean,
        **{f"{name}: median s": seconds.median for name, seconds in found.items()},
        **{f"{name}: mean s": seconds.mean for name, seconds in found.items()},
    }
    rows: list[tuple[Cell, ...]] = [
        (THERE, there.median, there.mean, None, None),
        (THREAD, thread.median, thread.mean, percent(values["share in a thread"]), percent(thread.waiting)),
        (INLINE, inline.median, inline.mean, percent(values["share made before"]), percent(inline.waiting)),
        (ALONE, alone.median, alone.mean, percent(values["batch alone of a step in a thread"]), None),
    ]
    return Result(
        title="Data and augmentation in a training step",
        facts=facts,
        columns=("step with its", "median s", "mean s", "data and augmentation", "waiting for the batch"),
        rows=rows,
        values=values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study_options(parser)
    parser.add_argument("--method", default="supervised", choices=[card.name for card in CARDS])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    add_output_option(parser)
    options = parser.parse_args()
    turns = Turns(options.rounds, options.steps, options.warmup)
    with tempfile.TemporaryDirectory() as name:
        task, facts = prepare_study(options, Path(name), method=options.method)
        found, facts["computes on"] = measure(task, turns)
    facts["method"] = options.method
    facts["steps"] = f"{turns.rounds} turns of {turns.steps} steps, {turns.warmup} steps before each not counted"
    show(result_of(found, facts), as_json=options.json)


if __name__ == "__main__":
    main()
