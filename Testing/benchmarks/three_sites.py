"""Partly drawn scans on the built-in cohort of three sites: naive reading < baseline <= everything drawn.

    python Testing/benchmarks/three_sites.py [--seeds 3] [--output three_sites] [--json]

Trains the lines of ``Testing/lib/site_lines.py`` as the test of their order does, each seed on a cohort of its own, on
one CPU thread: about 2 minutes a seed. Runs are kept in the folder OUTPUT, and the same command goes on where it
ended. The test sees seed 0.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from reporting import Result, add_output_option, say, show

from Testing.lib.site_lines import JUDGED, LINES, STEPS, judged, mean_dice, train_line, write_both

STRUCTURES = ("organ", "head", "tail", "vessel", "node")


def measure(folder: Path, seed: int) -> dict[str, dict[str, float]]:
    """Return the Dice of each structure by line, of one cohort and training; finished runs are not trained again."""
    data = write_both(folder / f"cohort_{seed}", seed=seed)
    found = {}
    for name, line in LINES.items():
        root = data[line.is_drawn].root
        found[name] = mean_dice(train_line(folder / "runs", root, name, seed=seed), root)
        say(f"{name}, seed {seed}: {judged(found[name]):.3f}")
    return found


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def result_of(found: Sequence[Mapping[str, Mapping[str, float]]]) -> Result:
    """Return the table of all seeds."""
    rows = []
    for name, line in LINES.items():
        dice = [one[name] for one in found]
        rows.append(
            (line.title, *(spread([d[s] for d in dice]) for s in STRUCTURES), spread([judged(d) for d in dice]))
        )
    over = {
        f"{name} - {other}": [judged(one[name]) - judged(one[other]) for one in found]
        for name, other in (
            ("baseline", "naive"),
            ("latent", "baseline"),
            ("narrowed", "baseline"),
            ("upper", "baseline"),
        )
    }
    return Result(
        title="Dice on fully drawn test scans, mean ± standard deviation over seeds",
        facts={
            "seeds": len(found),
            "training": f"18 scans of three sites, {STEPS} steps, slice by slice",
            "presence network": "calibrated on one of the six scans of each site, from which it does not learn",
            "test": "4 scans",
            "torch": torch.__version__,
            **{f"{pair}, by seed": ", ".join(f"{gap:+.3f}" for gap in gaps) for pair, gaps in over.items()},
        },
        columns=("", *STRUCTURES, f"mean of {', '.join(JUDGED)}"),
        rows=rows,
        values={pair: float(np.min(gaps)) for pair, gaps in over.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("three_sites"))
    add_output_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    show(result_of([measure(options.output, seed) for seed in range(options.seeds)]), as_json=options.json)


if __name__ == "__main__":
    main()
