"""What several cards share: options of the labels' losses, and the settings that the papers trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from SemiSegLib.methods.catalogue import Option


def with_defaults(options: tuple[Option, ...], **values: Any) -> tuple[Option, ...]:
    """Return the options, some with another default."""
    return tuple(replace(option, default=values.get(option.name, option.default)) for option in options)


LABELED = ("full", "coarse", "partial")
EVERYTHING = (*LABELED, "none")
SEGMENTATION_OPTIONS = (
    Option(
        name="cross_entropy_weight", default=1.0, text="Weight of the cross entropy of the labels.", low=0.0, high=100.0
    ),
    Option(name="dice_weight", default=1.0, text="Weight of the Dice loss of the labels.", low=0.0, high=100.0),
    Option(
        name="dice",
        default="present",
        text="Dice of the structures present in the batch; of all classes with squared sums (Dai et al.); or of all "
        "but background with squared sums (Zhang and Zhang).",
        choices=("present", "paper", "foreground"),
    ),
    Option(
        name="balance",
        default="fixed",
        text="Divide the rows of a batch between fully, coarsely, partly and not labeled cases as the paper does, by "
        "the cube root or square root of their numbers, or by their numbers.",
        choices=("fixed", "cube_root", "root", "cases"),
    ),
    Option(
        name="full_share",
        default=0.5,
        text="Share of the rows of a batch that show fully labeled cases where the others are all of one other kind, "
        "before they are divided by numbers of cases; a sixth in the code of Dai et al.",
        low=0.01,
        high=0.99,
    ),
    Option(
        name="decision",
        default="superclass_first",
        text="Decide the superclass of a voxel and then the subclass inside it, or take its most probable subclass "
        "(papers).",
        choices=("superclass_first", "leaf"),
    ),
)
TWO_HEAD_OPTIONS = (
    *SEGMENTATION_OPTIONS,
    Option(name="superclass_weight", default=1.0, text="Weight of both superclass losses.", low=0.0, high=100.0),
    Option(
        name="combine",
        default="superclass_first",
        text="Predict the superclass and then the subclass inside it, or the subclass head alone (paper).",
        choices=("superclass_first", "subclass"),
    ),
    Option(
        name="projection",
        default=False,
        text="Put norm, ReLU and a 3 x 3 convolution before the heads, as the paper does.",
    ),
)
LEARNER_OPTIONS = (
    *TWO_HEAD_OPTIONS,
    Option(
        name="supervision",
        default="marginal",
        text="How labels teach: every label by what it allows, a superclass head beside the subclass head, or fully "
        "labeled cases alone.",
        choices=("marginal", "two_heads", "full"),
        # No other label teaches the leaves.
        needs=dict.fromkeys(("two_heads", "full"), ("full",)),
    ),
)
DECAY = Option(name="decay", default=0.99, text="Share of itself that the teacher keeps at a step.", low=0.0, high=1.0)
CONSISTENCY_WEIGHT = Option(
    name="consistency_weight",
    default=1.0,
    text="Weight of the agreement with the teacher at the end of its rise.",
    low=0.0,
    high=1000.0,
)
# Seg = 1/2 [CE + mean Dice over all classes, squared denominator]; paper 000 and its code, which halves the sum.
PAPER_LOSS = {
    "cross_entropy_weight": 0.5,
    "dice_weight": 0.5,
    "dice": "paper",
    "balance": "fixed",
    "full_share": 0.5,
    "decision": "leaf",
}
# Paper 000, 2-D (ACDC): 40,000 steps of SGD 0.9 at 0.01 falling linearly, batches of 24, random crops only, anywhere;
# intensities from 0 to 1.
PAPER_000_TRAINING = {
    "steps": 40_000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "linear",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "gradient_clip": None,
    "augmentation": "crop",
    "nesterov": False,
    "target_share": 0.0,
}
# Its code fills 4 of the 24 rows with fine cases unless told otherwise, where the paper says half.
CODE_000_SHARE = {"full_share": 0.166667}
PAPER_000_PLAN = {
    "dimensions": 2,
    "patch": (256, 256),
    "batch": 24,
    "backbone": "paper_unet",
    "norm": "batch",
    "normalization": "unit",
}
# The "Mod" heads of paper 000, which its adapted comparisons use too.
PAPER_HEADS = {**PAPER_LOSS, "superclass_weight": 1.0, "combine": "subclass", "projection": True}
# Paper 001: Dice alone, which it does not define: of all classes with squared sums.
PAPER_001_LOSS = {
    "cross_entropy_weight": 0.0,
    "dice_weight": 1.0,
    "dice": "paper",
    "balance": "fixed",
    "full_share": 0.5,
    "decision": "leaf",
}
# 1000 epochs of 250 patches from anywhere in batches of 4: 62,500 steps. "Scaling, rotation, flip, contrast, histogram
# and intensity shift" of unknown strength: nnU-Net's, with flips.
PAPER_001_TRAINING = {
    "steps": 62_500,
    "optimizer": "adam",
    "learning_rate": 5e-4,
    "schedule": "cosine",
    "weight_decay": 2e-5,
    "gradient_clip": None,
    "augmentation": "full",
    "mirror": True,
    "target_share": 0.0,
}
PAPER_001_PLAN = {
    "dimensions": 3,
    "patch": (128, 128, 128),
    "batch": 4,
    "backbone": "basic_unet",
    "norm": "instance",
}
# UNETR takes the first number as its feature size, MONAI's standard 16; the others are not used.
PAPER_001_UNETR_PLAN = {**PAPER_001_PLAN, "backbone": "unetr", "features": (16, 32, 64, 128)}
# Seg of paper 003 and its family: 1/2 [CE + mean Dice of the foreground, squared denominator].
PAPER_003_LOSS = {
    "cross_entropy_weight": 0.5,
    "dice_weight": 0.5,
    "dice": "foreground",
    "balance": "fixed",
    "full_share": 0.5,
    "decision": "leaf",
}
# The same of a method that could learn from other labels too, fully labeled rows only.
PAPER_003_LEARNER = {**PAPER_003_LOSS, "supervision": "full"}
# Paper 003 and its family, left atrium: 6,000 steps of SGD 0.9 at 0.01, a tenth after each 2,500; crops anywhere, with
# flips and quarter turns of the axial plane.
PAPER_003_TRAINING = {
    "steps": 6_000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "step",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "gradient_clip": None,
    "augmentation": "crop_turned",
    "nesterov": False,
    "target_share": 0.0,
}
# The published patch is 112 x 112 in the axial plane and 80 slices; batches are 2 labeled and 2 unlabeled rows.
PAPER_003_PLAN = {"dimensions": 3, "patch": (80, 112, 112), "batch": 4, "backbone": "vnet", "norm": "batch"}
