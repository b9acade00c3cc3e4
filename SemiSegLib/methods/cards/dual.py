"""Cards of the methods that segment and measure distances (paper 003)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SemiSegLib.methods.cards.parts import (
    EVERYTHING,
    PAPER_003_LEARNER,
    PAPER_003_PLAN,
    PAPER_003_TRAINING,
    SEGMENTATION_OPTIONS,
)
from SemiSegLib.methods.catalogue import Card, Option

# What a distance cannot be measured in; the last sentence of the summaries.
UNMEASURED = (
    "Cases that show only a superclass teach no distance of its leaves, and those annotated only in some slices or a "
    "box teach none at all."
)
DISTANCE_OPTIONS = (
    *SEGMENTATION_OPTIONS,
    Option(
        name="supervision",
        default="marginal",
        text="How labels teach: every label by what it allows, or fully labeled cases alone.",
        choices=("marginal", "full"),
    ),
    Option(
        name="transform",
        default="physical",
        text="Distances of the whole case in voxels, or those of the papers, which depend on the crop.",
        choices=("physical", "published"),
    ),
    Option(
        name="steepness",
        default=2.0,
        text="How sharply a distance becomes a probability: per voxel, or 1500 with the published distances.",
        low=0.01,
        high=1e4,
    ),
    Option(name="steepness_start", default=2.0, text="The same at the start of the training.", low=0.01, high=1e4),
    Option(name="radius_voxels", default=15.0, text="Distance beyond which all is equally far.", low=1.0, high=1000.0),
)


def _weight_of_distances(default: float) -> tuple[Option, ...]:
    return (
        Option(
            name="distance_weight", default=default, text="Weight of the error of the distances.", low=0.0, high=100.0
        ),
        Option(name="absolute", default=False, text="Take the absolute error of the distances, not the squared."),
        Option(
            name="prediction",
            default="mean",
            text="Predict with the segmentation, with the distances or with the mean of both.",
            choices=("segmentation", "distance", "mean"),
        ),
    )


def _consistency(default: float) -> tuple[Option, ...]:
    return (
        Option(
            name="consistency_weight", default=default, text="Weight of the agreement, at last.", low=0.0, high=100.0
        ),
    )


RAMP_OPTIONS = (
    Option(
        name="ramp",
        default="gaussian",
        text="How the weight of the agreement rises.",
        choices=("constant", "linear", "gaussian", "step"),
    ),
    Option(name="ramp_share", default=1.0, text="Share of the training in which it rises.", low=0.0, high=1.0),
    Option(
        name="ramp_levels",
        default=0,
        text="Stairs of that rise; 0 is smooth, as all but released code is.",
        low=0,
        high=10_000,
    ),
)
LEARNER_OPTIONS = (
    Option(
        name="distance_loss",
        default="both",
        text="What teaches the distances: the mask they stand for, the distances of the labels, or both.",
        choices=("mask", "distance", "both"),
    ),
    Option(
        name="mask_cross_entropy_weight",
        default=1.0,
        text="Weight of the cross entropy of the mask that distances stand for.",
        low=0.0,
        high=100.0,
    ),
    Option(
        name="mask_dice_weight",
        default=1.0,
        text="Weight of the Dice loss of the mask that distances stand for.",
        low=0.0,
        high=100.0,
    ),
)
MUTUAL_OPTIONS = (
    Option(
        name="networks",
        default="both",
        text="Both networks, or one of them alone, taught by labels only.",
        choices=("both", "segmentation", "distance"),
    ),
    *_consistency(0.1),
    Option(name="counted_twice", default=False, text="Double the agreement, as the released code does."),
    Option(name="respect_labels", default=True, text="Agree with the label where there is one."),
    *RAMP_OPTIONS,
    Option(
        name="predict_with",
        default="student",
        text="Predict with the trained networks or with a running mean of each.",
        choices=("student", "teacher"),
    ),
    Option(
        name="teacher_decay",
        default=0.99,
        text="Share of a running mean that is kept at each step.",
        low=0.0,
        high=1.0,
    ),
)
PUBLISHED = {
    **PAPER_003_LEARNER,
    "transform": "published",
    "steepness": 1500.0,
    "steepness_start": 1500.0,
    "prediction": "segmentation",
    "ramp": "gaussian",
    "ramp_share": 1.0,
    "ramp_levels": 0,
}
# One network with both heads. Only the Dice: the released code computes the cross entropy and leaves it out.
TWO_HEADS = {
    **PUBLISHED,
    "cross_entropy_weight": 0.0,
    "dice_weight": 1.0,
    "distance_weight": 0.3,
    "absolute": False,
}
CONSISTENCY_PAPER = {**TWO_HEADS, "consistency_weight": 1.0}
# Of the three losses of the distances, the one that the paper found best.
MUTUAL_PAPER = {
    **PUBLISHED,
    "distance_loss": "mask",
    "distance_weight": 1.0,
    "absolute": False,
    "mask_cross_entropy_weight": 0.0,
    "mask_dice_weight": 1.0,
    "networks": "both",
    "consistency_weight": 0.1,
    "counted_twice": False,
    "respect_labels": False,
    "predict_with": "student",
}
# 40 stairs of 150 steps; the weight is 10 times the paper's and counts twice.
MUTUAL_CODE = {**MUTUAL_PAPER, "consistency_weight": 1.0, "counted_twice": True, "absolute": True, "ramp_levels": 40}


def _mutual_work(options: Mapping[str, Any]) -> float:
    """Return the work of both networks, or of the one that there is."""
    return 2.0 if options["networks"] == "both" else 1.0


DUAL_CARDS: tuple[Card, ...] = (
    Card(
        name="dual_task_consistency",
        title="Dual-task consistency",
        summary="One network segments and measures distances to the surface; the two must agree on every case. "
        f"{UNMEASURED}",
        family="dual task",
        paper="Luo et al., Semi-supervised Medical Image Segmentation through Dual-task Consistency (DTC), AAAI 2021",
        needs=("full",),
        uses=EVERYTHING,
        composition=dict.fromkeys(EVERYTHING, 0.5),
        options=(*DISTANCE_OPTIONS, *_weight_of_distances(0.3), *_consistency(1.0), *RAMP_OPTIONS),
        presets={"ours": {}, "paper": CONSISTENCY_PAPER, "code": {**CONSISTENCY_PAPER, "ramp_levels": 40}},
        training={"paper": PAPER_003_TRAINING, "code": PAPER_003_TRAINING},
        plan={"paper": PAPER_003_PLAN, "code": PAPER_003_PLAN},
        maps=("signed_distance",),
    ),
    Card(
        name="dual_task_mutual_learning",
        title="Dual-task mutual learning",
        summary="A network that segments and one that measures distances to the surface teach each other. "
        f"{UNMEASURED}",
        family="dual task",
        paper="Zhang and Zhang, Dual-Task Mutual Learning (DTML), PRCV 2021",
        needs=("full",),
        uses=EVERYTHING,
        composition=dict.fromkeys(EVERYTHING, 0.5),
        graphs={"networks": {"both": 2}},
        work=_mutual_work,
        options=(*DISTANCE_OPTIONS, *_weight_of_distances(1.0), *LEARNER_OPTIONS, *MUTUAL_OPTIONS),
        presets={"ours": {}, "paper": MUTUAL_PAPER, "code": MUTUAL_CODE},
        training={"paper": PAPER_003_TRAINING, "code": PAPER_003_TRAINING},
        plan={"paper": PAPER_003_PLAN, "code": PAPER_003_PLAN},
        maps=("signed_distance",),
        # The network of leaves measures nothing, and a mask is told by the labels.
        without_maps={"networks": ("segmentation",), "distance_loss": ("mask",)},
    ),
)
