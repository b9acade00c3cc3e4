"""Cards of the methods in which a network agrees with a running mean of itself (papers 000 and 003)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SemiSegLib.methods.cards.parts import (
    CODE_000_SHARE,
    CONSISTENCY_WEIGHT,
    DECAY,
    EVERYTHING,
    LABELED,
    LEARNER_OPTIONS,
    PAPER_000_PLAN,
    PAPER_000_TRAINING,
    PAPER_003_LEARNER,
    PAPER_003_PLAN,
    PAPER_003_TRAINING,
    PAPER_HEADS,
    with_defaults,
)
from SemiSegLib.methods.catalogue import FORWARD, Card, Option

TEACHER_OPTIONS = (
    *LEARNER_OPTIONS,
    DECAY,
    Option(
        name="buffers",
        default="average",
        text="Running statistics of the teacher: averaged like its weights, copied, or its own.",
        choices=("average", "copy", "keep"),
    ),
    Option(
        name="teacher_mode",
        default="evaluation",
        text="How the teacher looks: nothing random in it, with dropout, or with dropout and the batch's statistics.",
        choices=("evaluation", "dropout", "training"),
    ),
    Option(
        name="noise",
        default=0.1,
        text="Deviation of the noise that the teacher sees, where intensities have deviation 1.",
        low=0.0,
        high=1.0,
    ),
    CONSISTENCY_WEIGHT,
    Option(
        name="ramp_share",
        default=0.25,
        text="Share of the training over which that weight rises.",
        low=0.0,
        high=1.0,
    ),
    Option(
        name="ramp_levels",
        default=0,
        text="Stairs of that rise; 0 is smooth, as all but papers are.",
        low=0,
        high=10_000,
    ),
    Option(
        name="rows",
        default="unlabeled",
        text="Where the two must agree: in cases whose labels say less than all, or in all.",
        choices=("unlabeled", "all"),
    ),
    Option(
        name="respect_labels",
        default=True,
        text="Restrict what the teacher says to what the label of each voxel allows.",
    ),
    Option(
        name="predict",
        default="teacher",
        text="Which of the two predicts; the student in the papers.",
        choices=("teacher", "student"),
    ),
)
PASSES = Option(name="passes", default=4, text="Random passes of the teacher; 8 in the papers.", low=1, high=64)

# What the papers say of the teacher: it keeps 0.99 and sees noise of 0.1, with dropout; lambda is 0.1; the student
# predicts.
PAPER_TEACHER = {
    "decay": 0.99,
    "buffers": "average",
    "teacher_mode": "dropout",
    "noise": 0.1,
    "consistency_weight": 0.1,
    "rows": "unlabeled",
    "respect_labels": False,
    "predict": "student",
}
# What released code does besides: the teacher trains along, with statistics of its own.
CODE_TEACHER = {"teacher_mode": "training", "buffers": "keep"}
# Left atrium: lambda rises over 40 x 150 of 6,000 steps.
LEFT_ATRIUM = {**PAPER_003_LEARNER, **PAPER_TEACHER, "ramp_share": 1.0, "ramp_levels": 40}
# Paper 000's adaptation: two heads; lambda rises over 200 x 150 of 40,000 steps.
ADAPTED = {**PAPER_HEADS, **PAPER_TEACHER, "supervision": "two_heads", "ramp_share": 0.75, "ramp_levels": 200}
# Paper 000 speaks of one learning rate, falling linearly; its code trains this comparison with that of its origin.
CODE_000_TRAINING = {**PAPER_000_TRAINING, "schedule": "poly"}
YU_PASSES = {"passes": 8, "threshold_start": 0.75, "target": "pass", "entropy_base": "leaves"}


def _work(options: Mapping[str, Any]) -> float:
    """Return the work of the student and of what the teacher looks at: once, or in all its passes."""
    looks = int(options.get("passes", 1)) + int(options.get("target") == "pass")
    return 1 + FORWARD * looks


# The labeled half and the unlabeled half of the papers' batches.
HALVES = dict.fromkeys(EVERYTHING, 0.5)

TEACHER_CARDS: tuple[Card, ...] = (
    Card(
        name="mean_teacher",
        title="Mean teacher",
        summary="Also learns from cases with few or no labels, by agreeing on them with a running mean of itself.",
        family="teacher",
        paper="Tarvainen and Valpola, NIPS 2017",
        needs=LABELED,
        uses=EVERYTHING,
        composition=HALVES,
        work=_work,
        options=TEACHER_OPTIONS,
        presets={"ours": {}, "paper": LEFT_ATRIUM, "code": {**LEFT_ATRIUM, **CODE_TEACHER}, "paper_000": ADAPTED},
        training={"paper": PAPER_003_TRAINING, "code": PAPER_003_TRAINING, "paper_000": PAPER_000_TRAINING},
        plan={"paper": PAPER_003_PLAN, "code": PAPER_003_PLAN, "paper_000": PAPER_000_PLAN},
    ),
    Card(
        name="uncertainty_aware_mean_teacher",
        title="Uncertainty-aware mean teacher",
        summary="A mean teacher that is believed only where several random passes of it agree; a planned network has "
        "no dropout unless asked for, and its passes then differ by noise alone.",
        family="teacher",
        paper="Yu et al., Uncertainty-aware self-ensembling model, MICCAI 2019; adapted by Dai et al., MICCAI 2023",
        needs=LABELED,
        uses=EVERYTHING,
        composition=HALVES,
        work=_work,
        options=(
            *with_defaults(TEACHER_OPTIONS, teacher_mode="dropout"),
            PASSES,
            Option(
                name="threshold_start",
                default=0.75,
                text="Share of the largest entropy up to which the teacher is believed at the start; 1 at the end.",
                low=0.0,
                high=1.0,
            ),
            Option(
                name="target",
                default="mean",
                text="What the student agrees with: the mean of the passes, or one more pass.",
                choices=("mean", "pass"),
            ),
            Option(
                name="entropy_base",
                default="leaves",
                text="Largest entropy of the number of structures, or of two as in the code of Dai et al.",
                choices=("leaves", "two"),
            ),
        ),
        presets={
            "ours": {},
            "paper": {**LEFT_ATRIUM, **YU_PASSES},
            "code": {**LEFT_ATRIUM, **YU_PASSES, **CODE_TEACHER},
            "paper_000": {**ADAPTED, **YU_PASSES},
            "code_000": {**ADAPTED, **YU_PASSES, **CODE_TEACHER, **CODE_000_SHARE, "entropy_base": "two"},
        },
        training={
            "paper": PAPER_003_TRAINING,
            "code": PAPER_003_TRAINING,
            "paper_000": PAPER_000_TRAINING,
            "code_000": CODE_000_TRAINING,
        },
        plan={
            "paper": PAPER_003_PLAN,
            "code": PAPER_003_PLAN,
            "paper_000": PAPER_000_PLAN,
            "code_000": PAPER_000_PLAN,
        },
    ),
    Card(
        name="transformation_consistent",
        title="Transformation-consistent mean teacher",
        summary="A mean teacher that sees the image scaled; flipped and turned too, where a structure may lie any way.",
        family="teacher",
        paper="Li et al., Transformation-consistent self-ensembling model, IEEE TNNLS 2021",
        needs=LABELED,
        uses=EVERYTHING,
        composition=HALVES,
        work=_work,
        options=(
            *TEACHER_OPTIONS,
            Option(
                name="turns",
                default=False,
                text="Flip and turn by quarters; only for structures that are not told apart by left and right or up.",
            ),
            Option(
                name="scale",
                default=0.2,
                text="Largest change of size, as a share; 0 for none.",
                low=0.0,
                high=0.5,
            ),
        ),
        presets={
            "ours": {},
            "paper": {
                **LEFT_ATRIUM,
                "consistency_weight": 1.0,
                "decay": 0.999,
                "rows": "all",
                "turns": True,
                "scale": 0.2,
            },
        },
        training={"paper": PAPER_003_TRAINING},
        plan={"paper": PAPER_003_PLAN},
    ),
    Card(
        name="double_uncertainty",
        title="Double uncertainty (our reconstruction)",
        summary="A mean teacher whose agreement in classes and in features is weighed by its doubt; rebuilt from an "
        "abstract, not a reproduction; a planned network has no dropout unless asked for, and its passes then differ "
        "by noise alone.",
        family="teacher",
        paper="After Wang et al., Double-uncertainty weighted method, MICCAI 2020 (abstract only)",
        needs=LABELED,
        uses=EVERYTHING,
        composition=HALVES,
        work=_work,
        options=(
            *with_defaults(TEACHER_OPTIONS, teacher_mode="dropout", consistency_weight=0.1, rows="all"),
            PASSES,
            Option(name="penalty", default=0.1, text="Weight of the doubt itself.", low=0.0, high=10.0),
            Option(
                name="feature_weight",
                default=1.0,
                text="Weight of the agreement in features beside that in classes.",
                low=0.0,
                high=100.0,
            ),
        ),
        presets={
            "ours": {},
            "paper": {**LEFT_ATRIUM, "rows": "all", "passes": 8, "penalty": 0.1, "feature_weight": 1.0},
        },
        training={"paper": PAPER_003_TRAINING},
        plan={"paper": PAPER_003_PLAN},
    ),
)
