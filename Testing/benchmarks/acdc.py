"""The comparison of paper 000 on ACDC, 2-D: few fine labels and the rest coarse (heart against background).

    python Testing/benchmarks/acdc.py DATA [--output acdc_reduced] [--size published|reduced|auto] [--seeds 3]
        [--only KEY ...] [--setting NAME=VALUE ...]

DATA is a folder of images/, labels/ and a dataset.json with ``labels``, ``hierarchy`` and ``split``, whose ``train``
stands in the published order: its first scans keep their fine labels. "3" in the paper's tables may be patients or
scans, since its code counts slices, so there are two tables: the first 3 patients (6 scans, 68 slices, as in SSL4MIS)
and the first 3 scans. Every scan outside ``train`` is for the test, and none for validation: the paper chose its
checkpoint with 20 fully labeled scans, which no line here may see, so each takes the model of its last step.

Published: the paper's 40,000 steps of 24 crops of 256 x 256 with its own U-Net, for the paper's lines and for the
marginal loss; "ours" with the plan, training and as many steps. Takes days on a CPU, so ``auto`` takes it on a CUDA
device only. Reduced: half the resolution, 8 crops of 64 x 64 (half of the published field of view along each edge) and
60 s for every line, "ours" with its own network and training: about 2 minutes a run with scoring.

Writes OUTPUT.md and OUTPUT.json after each line and keeps all runs in the folder OUTPUT: the same command goes on where
it ended, and more seeds or lines are added to those that are there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from published import LAST_STEP, Benchmark, Line, Part, grids, median_grid, shared_grid, stated, with_sides
from published_run import parse, run

from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.foreign import strip_ending
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.methods.cards.parts import PAPER_000_PLAN, PAPER_000_TRAINING
from SemiSegLib.methods.presets import OwnSettings

STEPS = PAPER_000_TRAINING["steps"]
REDUCED_SECONDS = 60
REDUCED_PLAN = {"patch": (64, 64), "batch": 8}
# Scans of 3 patients, and 3 scans.
FINE = {"3 patients (6 scans) fine": 6, "3 scans fine": 3}
PAPER_LOSS = "+cross_entropy_weight=0.5+dice_weight=0.5+dice=paper+decision=leaf"
# Switches of Table 2: separate normalization, prior concatenation, HierarchicalMix.
NO_SN, NO_PC, NO_HM = "+separate_normalization=false", "+prior_concatenation=none", "+mix=none"
PAIRS = (
    ("marginal", "mod"),
    ("sn", "mod"),
    ("pc", "mod"),
    ("hm", "mod"),
    ("hm", "hm_released"),
    ("full", "mod"),
    ("ours", "full"),
    ("ours", "marginal"),
    ("ours", "upper"),
    ("ours", "lower_ours"),
)
# Averages of Table 1 and 2. Which code gave those with HierarchicalMix is not known: as released it trains nothing.
LINES: tuple[tuple[str, str, str, float | None], ...] = (
    ("lower", "U-Net, fine labels alone", "supervised:paper", 0.487),
    ("lower_ours", "our network, fine labels alone", "supervised", None),
    ("mod", "Mod", "modified_unet:paper", 0.823),
    ("marginal", "marginal loss, same network and training", f"marginal{PAPER_LOSS}", None),
    ("sn", "SN", f"efficient_subclass:paper{NO_PC}{NO_HM}", 0.829),
    ("pc", "PC", f"efficient_subclass:paper{NO_SN}{NO_HM}", 0.828),
    ("hm", "HM, correct", f"efficient_subclass:paper{NO_SN}{NO_PC}", 0.865),
    # With half of the rows fine like the others, so that only HierarchicalMix differs; the code's default is 4 of 24.
    ("hm_released", "HM, as released", f"efficient_subclass:code{NO_SN}{NO_PC}+full_share=0.5", 0.865),
    ("full", "HM + PC + SN (the paper's method)", "efficient_subclass:paper", 0.873),
    ("ours", "ours", "efficient_subclass:ours", None),
    ("upper", "U-Net, every fine label", "supervised:paper", 0.914),
)
KEYS = tuple(key for key, *_ in LINES)


def benchmark(data: Path, size: str) -> Benchmark:
    """Return what is asked of the data at a size."""
    dataset = load_dataset(data)
    order = [strip_ending(name) for name in stated(data, "split", "train")]
    study = with_sides(dataset, [case.id for case in dataset.cases if case.id not in order])
    plan: dict[str, Any] = dict(PAPER_000_PLAN)
    budget = {"steps": STEPS}
    words = "2-D crops of 256 x 256, batches of 24, the paper's U-Net and training; ours with its own plan and training"
    if size == "reduced":
        plan |= {**REDUCED_PLAN, "spacing_mm": half_resolution(study, order[: max(FINE.values())])}
        budget = {"seconds": REDUCED_SECONDS}
        words = (
            "2-D crops of 64 x 64 at half resolution, batches of 8; the paper's U-Net and training, ours with its own"
        )
    counts = {side: len(study.side(side)) for side in (Side.TRAIN, Side.TEST)}
    patients = len({case.patient for case in study.side(Side.TEST)})
    differences = ["windows overlap by half", "a slice smaller than the crop lies anywhere in it, not near its middle"]
    if size == "published" and has_several_spacings(study):
        differences.append("slices are brought to their median spacing")
    facts = {
        "size": words,
        "training": f"{counts[Side.TRAIN]} scans; fine are the first of the published order, the others coarse",
        "test": f"{counts[Side.TEST]} scans of {patients} patients outside the published training split",
        "checkpoint": LAST_STEP,
        "different from the paper": "; ".join(differences),
    }
    return Benchmark(
        title="ACDC, 2-D: subclasses from coarse labels (paper 000)",
        size=size,
        study=study,
        facts=facts,
        parts=tuple(Part(heading=words, lines=_lines(plan, n), pairs=PAIRS) for words, n in FINE.items()),
        budget=budget,
        settings=ComparisonSettings(fine_order=tuple(order), other_labels="coarse"),
    )


def _lines(plan: dict[str, Any], fine: int) -> tuple[tuple[Line, int | None], ...]:
    paper = OwnSettings(training=PAPER_000_TRAINING, plan=plan)
    ours = OwnSettings(plan={"dimensions": 2, **shared_grid(plan)})
    return tuple(
        (
            Line(key=key, title=title, text=text, own=ours if key.endswith("ours") else paper, published=published),
            None if key == "upper" else fine,
        )
        for key, title, text, published in LINES
    )


def has_several_spacings(study: Dataset) -> bool:
    """Return whether slices differ in their spacing; that of the slices, the thickest axis, is left as it is."""
    _, spacings = grids(study, study.cases)
    within = np.delete(spacings, np.argmax(np.median(spacings, axis=0)), axis=1)
    return not np.allclose(within, within[0], rtol=1e-3)


def half_resolution(study: Dataset, names: Sequence[str]) -> tuple[float, float, float]:
    """Return twice the spacing within slices, as plans state it: slices, the thickest axis, stay as they are."""
    _, spacing = median_grid(study, [study.case(name) for name in names])
    first, second = np.delete(spacing, np.argmax(spacing)).tolist()
    return 0.0, 2 * first, 2 * second


def main(words: Sequence[str] | None = None) -> None:
    options = parse(__doc__, "acdc", KEYS, words)
    run(benchmark(options.data, options.size), options)


if __name__ == "__main__":
    main()
