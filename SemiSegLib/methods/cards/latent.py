"""Cards of the methods with one answer for each structure, for cases that each show some of them (paper 002)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from SemiSegLib.methods.cards.paper_002 import (
    DODNET_PAPER,
    DODNET_PLAN,
    DODNET_TRAINING,
    PAPER_002,
    PAPER_002_METHOD,
    PAPER_002_PLAN,
    PAPER_002_TEACHER,
    PAPER_002_TRAINING,
)
from SemiSegLib.methods.cards.parts import CONSISTENCY_WEIGHT, DECAY, EVERYTHING, LABELED, SEGMENTATION_OPTIONS
from SemiSegLib.methods.catalogue import FORWARD, Card, Option

# Weights and balance are those of every method; how the Dice is formed is not, for here it is one for each structure.
ROI_LOSS_OPTIONS = (
    *(option for option in SEGMENTATION_OPTIONS if option.name not in ("dice", "full_share")),
    Option(
        name="exclusion",
        default=True,
        text="Where a voxel surely is another structure, teach that this one is absent, also in cases that do not "
        "show this one.",
    ),
    Option(
        name="average",
        default="mean",
        text="Mean over the structures that a loss speaks of, or their sum as in Zhao et al.",
        choices=("mean", "sum"),
    ),
)
EQUALIZED = Option(
    name="equalized",
    default=True,
    text="Let the controller learn as slowly as the convolutions beside it; the papers do not.",
)
ROI_OPTIONS = (
    *ROI_LOSS_OPTIONS,
    Option(
        name="embedding",
        default="hierarchy",
        text="What the controller knows of a structure: numbers learned from those of its parent, learned from chance, "
        "its index, a text about it, or a file; with none one linear layer stands in place of the controller.",
        choices=("hierarchy", "learned", "one_hot", "text", "file", "none"),
    ),
    EQUALIZED,
    Option(
        name="output",
        default="sigmoid",
        text="One answer for each structure, or one softmax over the leaves with marginal losses, whose labels teach "
        "without exclusion, average and containment.",
        choices=("sigmoid", "softmax"),
    ),
    Option(
        name="containment_weight",
        default=0.1,
        text="Weight of the penalty for a part that is likelier than the whole it lies in; 0 in the papers.",
        low=0.0,
        high=100.0,
    ),
)
TEACHER_OPTIONS = (
    *ROI_OPTIONS,
    DECAY,
    Option(
        name="views",
        default="strong",
        text="Show the network each patch with strong changes of intensity, and the teacher as it is; or both the "
        "same.",
        choices=("strong", "same"),
    ),
    Option(
        name="wait",
        default=0.0,
        text="Share of the training before the teacher says anything.",
        low=0.0,
        high=1.0,
    ),
    Option(
        name="ramp_share",
        default=0.1,
        text="Share of the training over which what the teacher says then comes into force.",
        low=0.0,
        high=1.0,
    ),
    Option(
        name="predict",
        default="teacher",
        text="Which of the two predicts; Zhao et al. do not say.",
        choices=("teacher", "student"),
    ),
)

PAPER = "Zhao et al., Exploiting latent classes for medical image segmentation from partially labeled datasets"


def _with_defaults(options: tuple[Option, ...], **defaults: Any) -> tuple[Option, ...]:
    return tuple(replace(option, default=defaults.get(option.name, option.default)) for option in options)


def _work_with_teacher(options: Mapping[str, Any]) -> float:
    """Return the work of the network and of one look of its teacher, whatever the options."""
    return 1 + FORWARD


LATENT_CARDS: tuple[Card, ...] = (
    Card(
        name="dynamic_head",
        title="Dynamic heads",
        summary="Answers each structure by itself, with a head made for it from its embedding and the image; learns "
        "from each case what was drawn in it.",
        family="partial labels",
        answers="structures",
        paper=f"{PAPER}, Baseline; head of Liu et al., CLIP-driven universal model, ICCV 2023",
        needs=LABELED,
        uses=LABELED,
        composition=dict.fromkeys(LABELED, 0.5),
        options=ROI_OPTIONS,
        presets={"ours": {}, "paper": PAPER_002},
        training={"paper": PAPER_002_TRAINING},
        plan={"paper": PAPER_002_PLAN},
    ),
    Card(
        name="dodnet",
        title="DoDNet",
        summary="Segments one organ with its tumor at a time, with a head made for the organ from the image.",
        family="partial labels",
        answers="structures",
        paper="Zhang et al., DoDNet, CVPR 2021; compared with in Zhao et al.",
        needs=LABELED,
        uses=LABELED,
        composition=dict.fromkeys(LABELED, 0.5),
        options=(
            *ROI_LOSS_OPTIONS,
            EQUALIZED,
            Option(
                name="tasks",
                default="all",
                text="Train the heads of all organs that a case shows at once, or of one drawn by lot.",
                choices=("all", "one"),
            ),
        ),
        presets={"ours": {}, "paper": DODNET_PAPER},
        training={"paper": DODNET_TRAINING},
        plan={"paper": DODNET_PLAN},
    ),
    Card(
        name="roi_mean_teacher",
        title="Mean teacher over structures",
        summary="Dynamic heads that also agree with a running mean of themselves on every structure that was not "
        "drawn in a case.",
        family="partial labels",
        answers="structures",
        paper=f"{PAPER}, MT",
        needs=LABELED,
        uses=EVERYTHING,
        composition=dict.fromkeys(EVERYTHING, 0.5),
        work=_work_with_teacher,
        options=(*TEACHER_OPTIONS, CONSISTENCY_WEIGHT),
        presets={"ours": {}, "paper": {**PAPER_002_TEACHER, "consistency_weight": 1.0}},
        training={"paper": PAPER_002_TRAINING},
        plan={"paper": PAPER_002_PLAN},
    ),
    Card(
        name="latent_classes",
        title="Latent classes",
        summary="Learns structures that were not drawn: found where a network says that they are in the image, "
        "excluded where it says that they are not.",
        family="partial labels",
        answers="structures",
        paper=PAPER,
        needs=LABELED,
        uses=EVERYTHING,
        composition=dict.fromkeys(EVERYTHING, 0.5),
        work=_work_with_teacher,
        options=(
            *_with_defaults(TEACHER_OPTIONS, output="softmax", embedding="none", views="same", wait=0.5),
            Option(
                name="low",
                default=0.1,
                text="Probability of being in the image below which a structure is taken for absent.",
                low=0.0,
                high=1.0,
            ),
            Option(
                name="high",
                default=0.8,
                text="Probability of being in the image above which a structure is taken for present.",
                low=0.0,
                high=1.0,
            ),
            Option(
                name="temperature",
                default=0.1,
                text="Temperature by which the teacher's answer is sharpened; for sigmoids.",
                low=0.01,
                high=1.0,
            ),
            Option(
                name="sure",
                default=0.9,
                text="Probability above which the teacher decides what a voxel is among what its label allows; for a "
                "softmax.",
                low=0.5,
                high=1.0,
            ),
            Option(
                name="pieces",
                default="near",
                text="Where a structure may be, for a softmax: no farther from the largest piece that the teacher or a "
                "prediction finds of it than labels show, where enough cases show it whole; or anywhere.",
                choices=("near", "all"),
            ),
            Option(
                name="latent_weight",
                default=1.0,
                text="Weight of what present and absent structures teach at the end of its rise.",
                low=0.0,
                high=1000.0,
            ),
            Option(
                name="ambiguous_weight",
                default=1.0,
                text="Weight of the squared difference to the teacher for all others; 0 is the paper's row without it.",
                low=0.0,
                high=1000.0,
            ),
            Option(
                name="negative_target",
                default="zero",
                text="What absent structures learn: to be nowhere, or the teacher's sharpened answer as in the paper.",
                choices=("zero", "teacher"),
            ),
            Option(
                name="unseen",
                default="sharpen",
                text="What a structure learns that is in the patch and that the teacher finds nowhere in it: the "
                "sharpened answer, nowhere, as in the paper; or as an ambiguous one.",
                choices=("sharpen", "ambiguous"),
            ),
            Option(
                name="confidence_weighted",
                default=False,
                text="Weigh each voxel of a sharpened answer by how sure the teacher is; for sigmoids.",
            ),
        ),
        presets={
            "ours": {},
            "paper": PAPER_002_METHOD,
            "paper_without_squares": {**PAPER_002_METHOD, "ambiguous_weight": 0.0},
        },
        training={"paper": PAPER_002_TRAINING, "paper_without_squares": PAPER_002_TRAINING},
        plan={"paper": PAPER_002_PLAN, "paper_without_squares": PAPER_002_PLAN},
        stages=("presence",),
        reach={"pieces": ("near",), "output": ("softmax",)},
    ),
)
