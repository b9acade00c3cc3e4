"""What coarse labels are worth on the hippocampus: the methods of paper 000 and its Table 2, CPS, UA-MT, DTML and DTC.

    python Testing/benchmarks/hippocampus.py DATA [--output hippocampus] [--seeds 3] [--only KEY ...]
        [--setting NAME=VALUE ...]

DATA is Task04 of the Medical Segmentation Decathlon, its dataset.json with one more line that makes the two parts one
superclass: "hierarchy": {"hippocampus": ["anterior", "posterior"]}. A tenth of the patients chooses the best
checkpoint, a fifth is kept for the tables, the others are to train; of these 6 (or 3, or 2) keep their fine labels and
the rest the coarse one. The published numbers are of 200 scans: 140, 20 and 40. Every training gets 240 s with its
validations, whatever its method. Plan, optimizer and augmentation are the planner's and our defaults in all lines;
presets of papers bring their losses and options, not their networks. ``--setting threads=1`` gives every run one core.

KEY names a line in all tables, KEY_6 in those of 6 fine cases alone.

Writes OUTPUT.md and OUTPUT.json after each line and keeps all runs in the folder OUTPUT: the same command goes on where
it ended, and more seeds or lines are added to those that are there.
"""

from collections.abc import Sequence
from pathlib import Path

from published import Benchmark, Line, Part
from published_run import parse, run

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.split import make_split
from SemiSegLib.comparison import ComparisonSettings

SECONDS = 240
FINE, FEW = 6, (3, 2)
PAPER = "efficient_subclass:paper"
NO_SN, NO_PC, NO_HM = "+separate_normalization=false", "+prior_concatenation=none", "+mix=none"

METHODS: tuple[tuple[str, str, str], ...] = (
    ("lower", "fine labels alone", "supervised"),
    ("nl_paper", "negative learning, Dai et al.", "negative_learning:paper"),
    ("cps_paper", "CPS, Dai et al.", "cross_pseudo_supervision:paper_000"),
    ("uamt_paper", "UA-MT, Dai et al.", "uncertainty_aware_mean_teacher:paper_000"),
    ("mod_paper", "Mod, Dai et al.", "modified_unet:paper"),
    ("full_paper", "HM + PC + SN, Dai et al.", PAPER),
    # With half of the rows fine like the others; the code's default is 4 of 24.
    ("full_code", "HM + PC + SN as released", "efficient_subclass:code+full_share=0.5"),
    ("marginal", "marginal loss", "marginal"),
    ("mod", "Mod, ours", "modified_unet"),
    ("cps", "CPS, ours", "cross_pseudo_supervision"),
    ("uamt", "UA-MT, ours", "uncertainty_aware_mean_teacher"),
    ("dtml", "DTML, ours", "dual_task_mutual_learning"),
    ("dtc", "DTC, ours", "dual_task_consistency"),
    ("ours", "efficient_subclass, ours", "efficient_subclass"),
    ("upper", "every fine label", "supervised"),
)
# Switches of Table 2: HierarchicalMix, prior concatenation, separate normalization.
PARTS: tuple[tuple[str, str, str], ...] = (
    ("hm", "HM", f"{PAPER}{NO_SN}{NO_PC}"),
    ("pc", "PC", f"{PAPER}{NO_SN}{NO_HM}"),
    ("sn", "SN", f"{PAPER}{NO_PC}{NO_HM}"),
    ("hm_pc", "HM + PC", f"{PAPER}{NO_SN}"),
    ("hm_sn", "HM + SN", f"{PAPER}{NO_PC}"),
    ("pc_sn", "PC + SN", f"{PAPER}{NO_HM}"),
    ("mixup", "mixup + PC + SN", f"{PAPER}+mix=mixup"),
    ("pseudo", "pseudo-labels + PC + SN", f"{PAPER}+mix=pseudo"),
)
PAIRS = (
    *((key, "ours") for key in ("marginal", "mod", "cps", "uamt", "dtml", "dtc")),
    *(("ours", key) for key in ("mod_paper", "full_paper", "upper")),
    ("full_paper", "mod_paper"),
    ("full_paper", "full_code"),
)
# The best five with 6 fine cases, between the two bounds.
BEST = ("lower", "mod_paper", "marginal", "mod", "cps", "ours", "upper")
LINES = {key: Line(key=key, title=title, text=text) for key, title, text in (*METHODS, *PARTS)}


def benchmark(data: Path) -> Benchmark:
    """Return what is asked of the data."""
    settings = ComparisonSettings(other_labels="coarse")
    study = make_split(
        load_dataset(data),
        seed=settings.split_seed,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
    )
    parts = [
        _part(f"{FINE} fine", [key for key, *_ in METHODS], FINE, PAIRS),
        _part(
            f"Table 2 of Dai et al., {FINE} fine",
            ["mod_paper", *(key for key, *_ in PARTS), "full_paper"],
            FINE,
            tuple(("full_paper", key) for key, *_ in PARTS),
        ),
        *(_part(f"{fine} fine", BEST, fine, PAIRS) for fine in FEW),
    ]
    return Benchmark(
        title="Hippocampus: what coarse labels are worth",
        size="",
        study=study,
        facts={
            "cases": ", ".join(f"{len(study.side(side))} {side.value}" for side in Side) + ", split by patient",
            "labels": "the first cases of a fixed order keep the two parts, all others the hippocampus as a whole",
            "plan and training": "the planner's and our defaults in every line; presets bring losses and options alone",
        },
        parts=tuple(parts),
        budget={"seconds": SECONDS},
        settings=settings,
    )


def _part(heading: str, keys: Sequence[str], fine: int, pairs: tuple[tuple[str, str], ...]) -> Part:
    """Return a table of lines on so many fine cases, the upper bound on all."""
    lines = tuple((LINES[key], None if key == "upper" else fine) for key in keys)
    return Part(heading=heading, lines=lines, pairs=tuple(pair for pair in pairs if set(pair) <= set(keys)))


def main(words: Sequence[str] | None = None) -> None:
    few = (f"{key}_{fine}" for key in BEST if key != "upper" for fine in FEW)
    several = (*(f"{key}_{FINE}" for key in LINES if key != "upper"), *few)
    options = parse(__doc__, "hippocampus", (*LINES, *several), words, sizes=())
    run(benchmark(options.data), options)


if __name__ == "__main__":
    main()
