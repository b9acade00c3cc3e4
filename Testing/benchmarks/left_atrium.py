"""The comparison of paper 003 on the left atrium, 3-D: 16 labeled scans, the rest without labels.

    python Testing/benchmarks/left_atrium.py DATA [--output left_atrium_reduced] [--size published|reduced|auto]
        [--seeds 3] [--only KEY ...] [--setting NAME=VALUE ...]

DATA is a folder of images/, labels/ and a dataset.json with ``labels``, ``split_order`` and ``labelled_16``, the scans
that keep their labels. If its ``split`` has a test side, that is the test side, as published. Where the published test
scans are not at hand, the last 20 of the 64 others are (of fewer, the same share): 44 stay, without labels. Papers have
no validation scans here, so each line takes the model of its last step. Every model is scored as it predicts and with
the largest piece alone, which released code of some of these methods keeps without saying so.

Published: 6,000 steps of 2 labeled and 2 unlabeled crops of 112 x 112 x 80 with V-Net (56 x 56 x 40 if the scans are at
half resolution); "ours" with its own plan, training and as many steps. ``auto`` takes it on a CUDA device only.
Reduced: crops of 32 x 32 x 16 on a grid of a quarter of the published resolution, which see 80 x 80 x 40 mm instead of
70 x 70 x 50, and 120 s for every line: about 2.5 minutes a run with scoring. "Ours" sees the same crops
with its own network and training.

Writes OUTPUT.md and OUTPUT.json after each line and keeps all runs in the folder OUTPUT: the same command goes on where
it ended, and more seeds or lines are added to those that are there.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from published import LAST_STEP, Benchmark, Line, Part, median_grid, shared_grid, stated, with_sides
from published_run import parse, run

from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.foreign import strip_ending
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.methods.cards.parts import PAPER_003_PLAN, PAPER_003_TRAINING
from SemiSegLib.methods.presets import OwnSettings

STEPS = PAPER_003_TRAINING["steps"]
REDUCED_SECONDS = 120
# V-Net halves a crop four times. A coarser grid, since crops of 48 x 48 x 32 at half resolution have 4.5 times as many
# voxels, and so short a training would hold too few steps of them.
REDUCED_PATCH = (16, 32, 32)
# Of the scans that are not labeled, where there are no others for the test: 20 of 64.
TEST_SHARE = 20 / 64
PAPER_LOSS = "+cross_entropy_weight=0.5+dice_weight=0.5+dice=foreground"
PAIRS = (
    ("ua_mt", "lower"),
    ("dtc", "ua_mt"),
    ("dtml", "dtc"),
    ("upper", "dtml"),
    ("ua_mt_code", "ua_mt"),
    ("dtc_code", "dtc"),
    ("dtml_code", "dtml"),
    ("lower_ours", "lower"),
    *((key, "lower_ours") for key in ("ua_mt_ours", "dtc_ours", "dtml_ours", "cps_ours")),
    ("ua_mt_ours", "ua_mt"),
    ("dtc_ours", "dtc"),
    ("dtml_ours", "dtml"),
    ("dtml_ours", "dtc_ours"),
    ("dtml_ours", "upper"),
)
# Dice of paper 003, Table 3: with the largest piece alone for DTC, DTML and SASSNet, which keep it, else as predicted.
LINES: tuple[tuple[str, str, str, float | None, float | None], ...] = (
    ("lower", "V-Net, labeled scans alone", f"supervised{PAPER_LOSS}", 0.8603, None),
    ("lower_ours", "our network, labeled scans alone", "supervised", None, None),
    ("ua_mt", "UA-MT, paper", "uncertainty_aware_mean_teacher:paper", 0.8888, None),
    ("ua_mt_code", "UA-MT, code", "uncertainty_aware_mean_teacher:code", None, None),
    ("ua_mt_ours", "UA-MT, ours", "uncertainty_aware_mean_teacher:ours", None, None),
    ("dtc", "DTC, paper", "dual_task_consistency:paper", None, 0.8942),
    ("dtc_code", "DTC, code", "dual_task_consistency:code", None, None),
    ("dtc_ours", "DTC, ours", "dual_task_consistency:ours", None, None),
    ("dtml", "DTML, paper", "dual_task_mutual_learning:paper", None, 0.9012),
    ("dtml_code", "DTML, code", "dual_task_mutual_learning:code", None, None),
    ("dtml_ours", "DTML, ours", "dual_task_mutual_learning:ours", None, None),
    ("cps_ours", "CPS, ours", "cross_pseudo_supervision:ours", None, None),
    ("mt", "mean teacher", "mean_teacher:paper", None, None),
    ("asdnet", "ASDNet, paper", "attention_adversarial:paper", 0.8790, None),
    ("tcse", "TCSE, paper", "transformation_consistent:paper", 0.8815, None),
    ("sassnet", "SASSNet, paper", "shape_aware_adversarial:paper", None, 0.8954),
    ("double", "double uncertainty, our reconstruction", "double_uncertainty:paper", 0.8965, None),
    ("upper", "V-Net, every label", f"supervised{PAPER_LOSS}", 0.9114, None),
)
KEYS = tuple(key for key, *_ in LINES)


def benchmark(data: Path, size: str) -> Benchmark:
    """Return what is asked of the data at a size."""
    dataset = load_dataset(data)
    labeled = [strip_ending(name) for name in stated(data, "labelled_16")]
    tested = [case.id for case in dataset.side(Side.TEST)]
    where = "the test side of the data set, as published"
    if not tested:
        others = [case.id for case in dataset.cases if case.id not in labeled]
        tested = others[len(others) - round(TEST_SHARE * len(others)) :]
        where = f"the last {len(tested)} of the {len(others)} scans that are not labeled, in the published order"
    study = with_sides(dataset, tested)
    plan, words = _plan(study, labeled, size)
    rest = len(study.side(Side.TRAIN)) - len(labeled)
    facts = {
        "size": words,
        "training": f"{len(labeled)} labeled scans and {rest} without labels; the upper bound has the labels of all",
        "test": where,
        "checkpoint": LAST_STEP,
        "different from the papers": "windows overlap by half instead of a stride of 18 x 18 x 4; crops in all eight "
        "ways that flips and quarter turns of the axial plane give, where the released codes show four"
        + ("" if len(dataset.side(Side.TEST)) else "; fewer unlabeled scans, other test scans"),
    }
    return Benchmark(
        title="Left atrium, 3-D: learning from unlabeled scans (paper 003)",
        size=size,
        study=study,
        facts=facts,
        parts=(Part(heading=f"{len(labeled)} labeled scans", lines=_lines(plan, len(labeled)), pairs=PAIRS),),
        budget={"seconds": REDUCED_SECONDS} if size == "reduced" else {"steps": STEPS},
        settings=ComparisonSettings(fine_order=tuple(labeled), other_labels="none", largest_component=True),
    )


def _plan(study: Dataset, labeled: Sequence[str], size: str) -> tuple[dict[str, Any], str]:
    """Return the plan of the papers' lines, for the resolution at hand, and what it is in words."""
    plan: dict[str, Any] = dict(PAPER_003_PLAN)
    shape, spacing = median_grid(study, [study.case(name) for name in labeled])
    # Scans of the published resolution hold the published patch; those at half resolution have 44 slices.
    is_whole = bool(np.all(shape >= plan["patch"]))
    if size == "reduced":
        plan |= {"patch": REDUCED_PATCH, "spacing_mm": tuple(((4 if is_whole else 2) * spacing).tolist())}
    elif not is_whole:
        # Half of the published crop, up to a multiple of the V-Net's 16: it would fill the rest with zeros.
        plan["patch"] = tuple(16 * math.ceil(n / 32) for n in plan["patch"])
    slices, rows, columns = plan["patch"]
    share = "a quarter of the" if size == "reduced" else "the" if is_whole else "half the"
    crops = f"crops of {rows} x {columns} x {slices} at {share} published resolution"
    own = "network" if size == "reduced" else "plan"
    return (
        plan,
        f"{crops}, batches of {plan['batch']}; V-Net and the papers' training, ours with its own {own} and training",
    )


def _lines(plan: dict[str, Any], labeled: int) -> tuple[tuple[Line, int | None], ...]:
    paper = OwnSettings(training=PAPER_003_TRAINING, plan=plan)
    ours = OwnSettings(plan={"dimensions": 3, **shared_grid(plan)})
    return tuple(
        (
            Line(
                key=key,
                title=title,
                text=text,
                own=ours if key.endswith("_ours") else paper,
                published=published,
                published_largest=largest,
            ),
            None if key == "upper" else labeled,
        )
        for key, title, text, published, largest in LINES
    )


def main(words: Sequence[str] | None = None) -> None:
    options = parse(__doc__, "left_atrium", KEYS, words)
    run(benchmark(options.data, options.size), options)


if __name__ == "__main__":
    main()
