"""Card of cross pseudo supervision (paper 001)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SemiSegLib.methods.cards.parts import (
    EVERYTHING,
    LEARNER_OPTIONS,
    PAPER_000_PLAN,
    PAPER_000_TRAINING,
    PAPER_001_LOSS,
    PAPER_001_PLAN,
    PAPER_001_TRAINING,
    PAPER_001_UNETR_PLAN,
    PAPER_HEADS,
)
from SemiSegLib.methods.catalogue import FORWARD, Card, Option

CROSS_OPTIONS = (
    Option(
        name="pseudo_loss",
        default="both",
        text="Loss of what the other network predicts: Dice (Luque et al.), cross entropy (Dai et al.) or both.",
        choices=("both", "dice", "cross_entropy"),
    ),
    Option(
        name="pseudo_weight", default=0.5, text="Weight of that loss, relative to the labels'.", low=0.0, high=100.0
    ),
    Option(
        name="rows",
        default="unlabeled",
        text="Which cases learn from the other network: those without full labels, or all of them (Luque et al.).",
        choices=("unlabeled", "all"),
    ),
    Option(
        name="wait",
        default=0.5,
        text="Share of the training in which labels alone teach, before the networks teach each other.",
        low=0.0,
        high=1.0,
    ),
    Option(
        name="ramp",
        default="gaussian",
        text="How the loss comes into force after that; at once in Luque et al.",
        choices=("step", "linear", "gaussian"),
    ),
    Option(
        name="ramp_share", default=0.2, text="Share of the training in which it comes into force.", low=0.0, high=1.0
    ),
    Option(
        name="ramp_levels",
        default=0,
        text="Stairs in which it comes into force; 0 is smooth, Dai et al. have 200.",
        low=0,
        high=10_000,
    ),
    Option(
        name="respect_labels",
        default=True,
        text="Let what is taken from the other network never contradict a coarse or partial label.",
    ),
    Option(
        name="confidence",
        default="none",
        text="Let every voxel count alike, as much as the other network is sure of it, or as much as it is surer than "
        "by chance.",
        choices=("none", "plain", "above_chance"),
    ),
    Option(
        name="views",
        default="same",
        text="Show both networks the same image, or each a different strong change of its intensities.",
        choices=("same", "strong"),
    ),
    Option(
        name="second_backbone",
        default="same",
        text="Kind of the second network; a U-Net and a transformer see an image differently.",
        choices=("same", "basic_unet", "dodnet_unet", "paper_unet", "plan_unet", "unetr", "swin_unetr", "vnet"),
    ),
    Option(
        name="backward",
        default="sequential",
        text="One network after the other (half the memory), both at once, or both side by side in one computation; "
        "what is learned is the same.",
        choices=("sequential", "joint", "stacked"),
    ),
    Option(
        name="prediction",
        default="ensemble",
        text="Predict with the mean of both networks or with one of them.",
        choices=("ensemble", "first", "second"),
    ),
    Option(
        name="uncertainty",
        default="mutual_information",
        text="Where the two networks differ, in two measures, or the entropy of the prediction.",
        choices=("mutual_information", "disagreement", "entropy"),
    ),
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
# Neither paper weighs pseudo-labels, changes the images of one network or gives the two a kind of their own.
PUBLISHED = {"confidence": "none", "views": "same", "second_backbone": "same", "predict_with": "student"}
# Paper 001: Dice alone, full labels alone, weight 0.5 at once after 15 of 1000 epochs, on all rows.
PAPER_001_METHOD = {
    **PUBLISHED,
    **PAPER_001_LOSS,
    "supervision": "full",
    "pseudo_loss": "dice",
    "pseudo_weight": 0.5,
    "rows": "all",
    "wait": 0.015,
    "ramp": "step",
    "respect_labels": False,
    "prediction": "ensemble",
}
# Paper 000's adaptation: each network learns 1/4 (CE_c + Dice_c + CE_f + Dice_f) and 0.1 ramp(step / 150, 200) CE.
PAPER_000_METHOD = {
    **PUBLISHED,
    **PAPER_HEADS,
    "cross_entropy_weight": 0.25,
    "dice_weight": 0.25,
    "supervision": "two_heads",
    "pseudo_loss": "cross_entropy",
    "pseudo_weight": 0.1,
    "rows": "unlabeled",
    "wait": 0.0,
    "ramp": "gaussian",
    "ramp_share": 0.75,
    "ramp_levels": 200,
    "respect_labels": False,
    "prediction": "first",
}


def _work(options: Mapping[str, Any]) -> float:
    """Return the work of both networks, and of the passes without a graph that tell what they think."""
    quiet = 2 if options["views"] == "strong" else int(options["backward"] == "sequential")
    return 2 + FORWARD * quiet


CROSS_CARDS: tuple[Card, ...] = (
    Card(
        name="cross_pseudo_supervision",
        title="Cross pseudo supervision",
        summary="Two networks learn from the labels and, where these leave something open, from each other.",
        family="cross supervision",
        paper="Chen et al., CVPR 2021; Luque et al., Reducing Annotator's Burden (brain tumors in 3-D)",
        needs=("full",),
        uses=EVERYTHING,
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5, "none": 0.5},
        # torch.func keeps half as much again of the layers that it computes side by side.
        graphs={"backward": {"joint": 2, "stacked": 3}},
        work=_work,
        options=(*LEARNER_OPTIONS, *CROSS_OPTIONS),
        presets={
            "ours": {},
            "paper": PAPER_001_METHOD,
            "paper_unetr": PAPER_001_METHOD,
            "paper_000": PAPER_000_METHOD,
        },
        training={
            "paper": PAPER_001_TRAINING,
            "paper_unetr": PAPER_001_TRAINING,
            "paper_000": PAPER_000_TRAINING,
        },
        plan={"paper": PAPER_001_PLAN, "paper_unetr": PAPER_001_UNETR_PLAN, "paper_000": PAPER_000_PLAN},
    ),
)
