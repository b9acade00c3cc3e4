"""What several cards share: options of the labels' losses, and the settings that the papers trained with."""

from __future__ import annotations

from SemiSegLib.methods.catalogue import Option

SEGMENTATION_OPTIONS = (
    Option(
        name="cross_entropy_weight", default=1.0, text="Weight of the cross entropy of the labels.", low=0.0, high=100.0
    ),
    Option(name="dice_weight", default=1.0, text="Weight of the Dice loss of the labels.", low=0.0, high=100.0),
    Option(
        name="dice",
        default="present",
        text="Dice of the structures present in the batch, or of all classes with squared sums as in the paper.",
        choices=("present", "paper"),
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
    ),
)
# Seg = 1/2 [CE + mean Dice over all classes, squared denominator]; paper 000 and its code, which halves the sum.
PAPER_LOSS = {"cross_entropy_weight": 0.5, "dice_weight": 0.5, "dice": "paper"}
# Paper 000, 2-D (ACDC): 40,000 steps of SGD 0.9 at 0.01 falling linearly, batches of 24, random crops only.
PAPER_000_TRAINING = {
    "steps": 40_000,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "linear",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "gradient_clip": None,
    "augmentation": "crop",
}
PAPER_000_PLAN = {"dimensions": 2, "patch": (256, 256), "batch": 24, "backbone": "paper_unet", "norm": "batch"}
# The "Mod" heads of paper 000, which its adapted comparisons use too.
PAPER_HEADS = {**PAPER_LOSS, "combine": "subclass", "projection": True}
