"""The comparison of paper 002 on ACDC, 2-D: of each patient exactly one of RV, MYO and LV is drawn.

    python Testing/benchmarks/acdc_partial.py DATA [--output acdc_partial_reduced] [--size published|reduced|auto]
        [--seeds 3] [--only KEY ...] [--setting NAME=VALUE ...]

DATA is the folder that ``acdc.py`` takes; its published training scans train, the others are for the test, and none for
validation, so each line takes the model of its last step. Which structure a patient keeps is drawn once, each as often
as the others, and stands in OUTPUT/drawn.json: a file that is there is used. Label files stay untouched; a voxel that
was not drawn may be background or any structure but the one that was. The upper bound has every label. The naive line
takes what was not drawn for background: if it is not clearly worse, the comparison is too weak to tell anything.

The paper's own data (MOTS, CT) are not these, so no number is published to compare with. Every line has the same
network (the plan's U-Net), training and budget; a presence network that a method needs takes a tenth of its time, or a
tenth more steps where steps are the budget. Each model is scored twice: as it predicts, and with the largest piece of
each structure alone, which DoDNet's evaluation keeps.
The paper's lines embed structures by their index instead of by text, so that nothing has to be fetched, and their
controllers learn as slowly as the convolutions beside them: at the learning rate of these lines no head is learned
without. The presence network is calibrated on training patients that it does not learn from.

Published size: 20,000 steps of 24 crops of 256 x 224 on the grid that the data ask for. Takes days on a CPU, so
``auto`` takes it on a CUDA device only. Reduced: half the resolution, 8 crops of 64 x 64, 16 to 256 channels and 300 s
of one core for every line: 9 lines and 3 seeds take two and a half hours, or 75 minutes in two commands at once, each
with a core, half of the lines (``--only``) and a folder of its own. In so few steps the paper's teacher, which keeps
0.999 of itself, would stay the mean of a third of the training, so there it keeps 0.99.

Writes OUTPUT.md and OUTPUT.json after each line and keeps all runs in the folder OUTPUT: the same command goes on where
it ended, and more seeds or lines are added to those that are there.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acdc import half_resolution
from published import LAST_STEP, Benchmark, Line, Part, stated, with_sides
from published_run import parse, run

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.foreign import strip_ending
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.recast import Assignment, assign_structures, read_assignment, write_assignment
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.methods.presets import OwnSettings

STEPS = 20_000
REDUCED_SECONDS = 300
PUBLISHED_PLAN = {"patch": (256, 224), "batch": 24}
# Planned for 300 s, the network would be twice as wide, and a training a third of the steps.
REDUCED_PLAN = {"patch": (64, 64), "batch": 8, "features": (16, 32, 64, 128, 256)}
STRUCTURES = ("RV", "MYO", "LV")
FILE = "drawn.json"
INDEX = "+embedding=one_hot+equalized=true"
# For teachers at the reduced size.
SHORT = "+decay=0.99"
TEACHERS = ("mt", "no_square", "full")
PAIRS = (
    ("baseline", "naive"),
    ("mt", "baseline"),
    ("no_square", "mt"),
    ("full", "no_square"),
    ("full", "baseline"),
    ("dodnet", "baseline"),
    ("marginal", "full"),
    ("ours", "full"),
    ("ours", "marginal"),
    ("ours", "upper"),
)
# The rows of the paper's Table 1, then ours. Labels: as they are, one structure a patient, or those read naively.
LINES = (
    ("naive", "dynamic heads, undrawn is background", f"dynamic_head:paper{INDEX}", "naive"),
    ("baseline", "dynamic heads (Baseline)", f"dynamic_head:paper{INDEX}", "drawn"),
    ("mt", "MT", f"roi_mean_teacher:paper{INDEX}", "drawn"),
    (
        "no_square",
        "latent classes without the squared loss",
        f"latent_classes:paper_without_squares{INDEX}",
        "drawn",
    ),
    ("full", "latent classes (the paper's method)", f"latent_classes:paper{INDEX}", "drawn"),
    ("dodnet", "DoDNet's heads", "dodnet:paper+equalized=true", "drawn"),
    ("marginal", "marginal loss", "marginal", "drawn"),
    ("ours", "latent classes, ours", "latent_classes:ours", "drawn"),
    ("upper", "U-Net, everything drawn", "supervised", ""),
)
KEYS = tuple(key for key, *_ in LINES)


def benchmark(data: Path, size: str, drawn: Assignment | None = None) -> tuple[Benchmark, Assignment]:
    """Return what is asked of the data at a size, and which structure each patient keeps, drawn if not given."""
    dataset = load_dataset(data)
    order = [strip_ending(name) for name in stated(data, "split", "train")]
    study = with_sides(dataset, [case.id for case in dataset.cases if case.id not in order])
    drawn = drawn or assign_structures(study, STRUCTURES)
    # Planned alone, lines that answer structure by structure would get smaller batches than the others.
    plan: dict[str, Any] = {"dimensions": 2, **PUBLISHED_PLAN}
    budget, words = {"steps": STEPS}, "2-D crops of 256 x 224 on the grid that the data ask for, batches of 24"
    if size == "reduced":
        plan |= {**REDUCED_PLAN, "spacing_mm": half_resolution(study, order[:6])}
        budget, words = {"seconds": REDUCED_SECONDS}, "2-D crops of 64 x 64 at half resolution, batches of 8"
    tested = study.side(Side.TEST)
    shares = Counter(drawn.patients.values())
    facts = {
        "size": f"{words}; the plan's U-Net and the same training for every line",
        "training": f"{len(study.side(Side.TRAIN))} scans; patients by the structure that is drawn: "
        + ", ".join(f"{shares[name]} {name}" for name in STRUCTURES),
        "test": f"{len(tested)} fully drawn scans of {len({case.patient for case in tested})} patients outside the "
        "published training split",
        "checkpoint": LAST_STEP,
        "presence network": "calibrated on one in six of the training patients, from whom it does not learn",
        "different from the paper": "other data, a U-Net instead of SwinUNETR, structures embedded by index, not text, "
        "equalized controllers" + (", a teacher that keeps 0.99 instead of 0.999" if size == "reduced" else ""),
    }
    own = OwnSettings(plan=plan)
    short = SHORT if size == "reduced" else ""
    lines = tuple(
        (Line(key=key, title=title, text=f"{text}{short if key in TEACHERS else ''}", own=own, labels=labels), None)
        for key, title, text, labels in LINES
    )
    asked = Benchmark(
        title="ACDC, 2-D: one structure drawn a patient (paper 002)",
        size=size,
        study=study,
        facts=facts,
        parts=(Part(heading="One of RV, MYO and LV drawn a patient", lines=lines, pairs=PAIRS),),
        budget=budget,
        settings=ComparisonSettings(drawn=drawn.patients, largest_component=True),
    )
    return asked, drawn


def main(words: Sequence[str] | None = None) -> None:
    options = parse(__doc__, "acdc_partial", KEYS, words)
    file = options.output / FILE
    known = read_assignment(file) if file.exists() else None
    asked, drawn = benchmark(options.data, options.size, known)
    if known is None:
        options.output.mkdir(parents=True, exist_ok=True)
        write_assignment(drawn, file)
    run(asked, options)


if __name__ == "__main__":
    main()
