"""The cards of all methods, in the order in which a person should read them."""

from __future__ import annotations

from SemiSegLib.errors import ConfigError, did_you_mean, explain
from SemiSegLib.methods.catalogue import Card, Option

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

CARDS: tuple[Card, ...] = (
    Card(
        name="supervised",
        title="Supervised",
        summary="Learns from the fully labeled cases only.",
        family="supervised",
        paper="Isensee et al., nnU-Net, Nature Methods 2021",
        needs=("full",),
        uses=("full",),
        composition={"full": 1.0},
        options=SEGMENTATION_OPTIONS,
        presets={"ours": {}, "paper": PAPER_LOSS},
        training={"paper": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN},
    ),
    Card(
        name="marginal",
        title="Marginal superclass supervision",
        summary="Learns from full, coarse and partial labels: each voxel may be any structure its label allows.",
        family="subclass",
        paper="Shi et al., Marginal loss and exclusion loss, Medical Image Analysis 2021; Fidon et al., MICCAI 2021",
        needs=("full", "coarse", "partial"),
        uses=("full", "coarse", "partial"),
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5},
        options=SEGMENTATION_OPTIONS,
        presets={"ours": {}},
    ),
    Card(
        name="modified_unet",
        title="Superclass head beside the subclass head",
        summary="One head learns the superclasses from every label, another the subclasses from fully labeled cases.",
        family="subclass",
        paper="Tang et al., Efficient Subclass Segmentation in Medical Images, MICCAI 2023 ('Mod')",
        needs=("full",),
        uses=("full", "coarse", "partial"),
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5},
        options=(
            *SEGMENTATION_OPTIONS,
            Option(
                name="superclass_weight", default=1.0, text="Weight of both superclass losses.", low=0.0, high=100.0
            ),
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
        ),
        presets={"ours": {}, "paper": {**PAPER_LOSS, "combine": "subclass", "projection": True}},
        training={"paper": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN},
    ),
)


def card_of(name: str) -> Card:
    """Return the card of a method.

    Raises:
        ConfigError: there is no such method; the message names the nearest.
    """
    for card in CARDS:
        if card.name == name:
            return card
    remedy = did_you_mean(name, [card.name for card in CARDS])
    raise ConfigError(explain(f"there is no method '{name}'", where="method", remedy=remedy))
