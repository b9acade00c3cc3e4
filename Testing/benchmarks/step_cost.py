"""Seconds of a training step, end to end: ours against a bare MONAI loop with the same network.

    python Testing/benchmarks/step_cost.py [DATASET] [--rounds 4] [--steps 12] [--warmup 3] [--json]

Both sides take the fully labeled cases of a dataset (or of the built-in cohort), the same network of the same plan, the
same patch, batch and optimizer (AdamW), and the same random changes with the same probabilities:

- ours: the Trainer as a run has it, batches made one ahead in a thread, threads, precision and memory format as the
  timed trials of a run's start choose them; in the environment that a run's process gets, freed memory kept as there.
- MONAI: the loop of its tutorials (``monai_loop.py``): CacheDataset, dictionary transforms, DataLoader without workers,
  DiceCELoss, fp32, torch's own threads and memory format; once more without any augmentation.

The second part repeats one batch that is already there, so that only forward pass, loss, backward pass and optimizer
are left; there ours is also timed as torch comes (fp32, channels first, torch's threads).

Each side is a process of its own; they take turns of a few steps, so that a busy neighbor of the machine hits both. The
first steps of a turn do not count. A factor says how many times longer than ours, of the medians; in brackets the least
and the largest of the rounds.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmark_study import add_study_options, prepare_study
from reporting import Cell, Result, add_output_option, percent, show
from turns import Seconds, Turns, players

from SemiSegLib.runs.process import WAITING

METHOD = "supervised"
OURS, MONAI, MONAI_PLAIN = "ours", "MONAI", "MONAI without augmentation"
OURS_STEP, PLAIN_STEP, MONAI_STEP = "step alone, ours", "step alone, ours as torch comes", "step alone, MONAI"


def measure(task: Path, turns: Turns) -> tuple[dict[str, Seconds], dict[str, Cell]]:
    """Return the times of every loop, and how each side computes."""
    with ExitStack() as stack:
        ours, monai = players(stack, task, {"our_loop.py": WAITING, "monai_loop.py": None})
        loops = {
            OURS: (ours, "in a thread"),
            MONAI: (monai, "augmented"),
            MONAI_PLAIN: (monai, "without augmentation"),
            OURS_STEP: (ours, "there"),
            PLAIN_STEP: (ours, "plain"),
            MONAI_STEP: (monai, "there"),
        }
        how: dict[str, Cell] = {"ours computes on": ours.about["compute"], "MONAI computes on": monai.about["compute"]}
        return turns.take(loops), how


def result_of(found: dict[str, Seconds], facts: dict[str, Cell]) -> Result:
    rows: list[tuple[Cell, ...]] = []
    values: dict[str, float] = {}
    for name, seconds in found.items():
        base = found[OURS_STEP if name.startswith("step") else OURS]
        factor, low, high = base.factor(seconds)
        words = "1" if base is seconds else f"{factor:.2f} ({low:.2f} to {high:.2f})"
        waiting = None if name.startswith("step") else percent(seconds.waiting)
        rows.append((name, seconds.median, seconds.mean, waiting, words))
        values |= {f"{name}: median s": seconds.median, f"{name}: mean s": seconds.mean}
        values |= {f"{name}: factor": factor, f"{name}: least factor": low, f"{name}: largest factor": high}
        values[f"{name}: waiting share"] = seconds.waiting
    return Result(
        title="Seconds of a training step",
        facts=facts,
        columns=("loop", "median s", "mean s", "waiting for batches", "times ours"),
        rows=rows,
        values=values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study_options(parser)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    add_output_option(parser)
    options = parser.parse_args()
    turns = Turns(options.rounds, options.steps, options.warmup)
    with tempfile.TemporaryDirectory() as name:
        task, facts = prepare_study(options, Path(name), method=METHOD)
        found, how = measure(task, turns)
    facts |= how
    facts["steps"] = f"{turns.rounds} turns of {turns.steps} steps, {turns.warmup} steps before each not counted"
    show(result_of(found, facts), as_json=options.json)


if __name__ == "__main__":
    main()
