"""Cards of supervised training and of the methods that learn subclasses from coarse labels (paper 000)."""

from __future__ import annotations

from SemiSegLib.methods.card_parts import (
    PAPER_000_PLAN,
    PAPER_000_TRAINING,
    PAPER_HEADS,
    PAPER_LOSS,
    SEGMENTATION_OPTIONS,
    TWO_HEAD_OPTIONS,
)
from SemiSegLib.methods.catalogue import Card

SUBCLASS_CARDS: tuple[Card, ...] = (
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
        options=TWO_HEAD_OPTIONS,
        presets={"ours": {}, "paper": PAPER_HEADS},
        training={"paper": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN},
    ),
)
