"""Cards of the methods with one answer for each structure, for cases that each show some of them (paper 002)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        "its index, a text about it, or a file.",
        choices=("hierarchy", "learned", "one_hot", "text", "file"),
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
        name="ramp_share",
        default=0.1,
        text="Share of the training over which what the teacher says comes into force.",
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

# Paper 002: embeddings of texts, sums over structures, nothing of a structure that a case does not show.
PAPER_002 = {
    "cross_entropy_weight": 1.0,
    "dice_weight": 1.0,
    "balance": "fixed",
    "output": "sigmoid",
    "embedding": "text",
    "equalized": False,
    "exclusion": False,
    "average": "sum",
    "containment_weight": 0.0,
    "decision": "leaf",
}
# How the weights rise and who predicts it does not say.
PAPER_002_TEACHER = {**PAPER_002, "decay": 0.999, "views": "strong", "ramp_share": 0.1, "predict": "teacher"}
PAPER_002_METHOD = {
    **PAPER_002_TEACHER,
    "low": 0.1,
    "high": 0.8,
    "temperature": 0.1,
    "latent_weight": 1.0,
    "ambiguous_weight": 1.0,
    "negative_target": "teacher",
    "unseen": "sharpen",
    "confidence_weighted": False,
}
# 2,000 epochs of AdamW in batches of 12. How long an epoch is the paper does not say: taken for its 920 cases.
PAPER_002_TRAINING = {
    "steps": 154_000,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "schedule": "cosine",
    "weight_decay": 1e-5,
    "gradient_clip": None,
}
# Patches of 160 x 160 in the axial plane and 96 slices. Spacing is not stated: that of the CLIP-driven model.
PAPER_002_PLAN = {
    "dimensions": 3,
    "spacing_mm": (1.5, 1.5, 1.5),
    "patch": (96, 160, 160),
    "batch": 12,
    "backbone": "swin_unetr",
    "features": (48, 96, 192, 384, 768),
    "norm": "instance",
}
DODNET_PAPER = {
    "cross_entropy_weight": 1.0,
    "dice_weight": 1.0,
    "balance": "fixed",
    "equalized": False,
    "exclusion": False,
    "average": "mean",
    "tasks": "one",
    "decision": "leaf",
}
# Flips of all three axes; four of five crops near the box of what was drawn, here centered on it.
DODNET_TRAINING = {
    "steps": 250_000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "poly",
    "momentum": 0.99,
    "weight_decay": 0.0,
    "gradient_clip": None,
    "mirror": True,
    "target_share": 0.8,
}
DODNET_PLAN = {
    "dimensions": 3,
    "spacing_mm": (1.5, 0.8, 0.8),
    "patch": (64, 192, 192),
    "batch": 2,
    "backbone": "dodnet_unet",
    "norm": "group",
}
PAPER = "Zhao et al., Exploiting latent classes for medical image segmentation from partially labeled datasets"


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
            *TEACHER_OPTIONS,
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
                text="Temperature by which the teacher's answer is sharpened.",
                low=0.01,
                high=1.0,
            ),
            Option(
                name="latent_weight",
                default=1.0,
                text="Weight of the sharpened answers for present and absent structures at the end of its rise.",
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
                text="Weigh each voxel of a sharpened answer by how sure the teacher is.",
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
    ),
)
