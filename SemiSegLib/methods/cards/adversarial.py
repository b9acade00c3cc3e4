"""Cards of the methods in which a second network judges the segmentation (comparisons of paper 003)."""

from __future__ import annotations

from dataclasses import replace

from SemiSegLib.methods.cards.dual import DUAL_CARDS, TWO_HEADS, UNMEASURED
from SemiSegLib.methods.cards.parts import (
    EVERYTHING,
    LEARNER_OPTIONS,
    PAPER_003_LEARNER,
    PAPER_003_PLAN,
    PAPER_003_TRAINING,
)
from SemiSegLib.methods.catalogue import Card, Option

# The labeled half and the unlabeled half of the papers' batches.
HALVES = dict.fromkeys(EVERYTHING, 0.5)


def _adversary_options(*, weight: float, width: int, ramp_share: float) -> tuple[Option, ...]:
    """Return the options of every adversarial method, with the defaults of one."""
    return (
        Option(
            name="adversarial_weight",
            default=weight,
            text="Weight of deceiving the network that judges.",
            low=0.0,
            high=100.0,
        ),
        Option(
            name="adversary_width",
            default=width,
            text="Channels of the first stage of the network that judges.",
            low=1,
            high=512,
        ),
        Option(
            name="adversary_learning_rate",
            default=1e-4,
            text="Learning rate of the network that judges, by Adam, constant.",
            low=0.0,
            high=1.0,
        ),
        Option(
            name="adversary_second_momentum",
            default=0.999,
            text="Share of its past that Adam's mean of squared gradients keeps; 0.99 in the code of SASSNet.",
            low=0.0,
            high=0.9999,
        ),
        Option(
            name="ramp",
            default="gaussian",
            text="How the weights of what unlabeled cases teach rise.",
            choices=("constant", "linear", "gaussian", "step"),
        ),
        Option(
            name="ramp_share", default=ramp_share, text="Share of the training in which they rise.", low=0.0, high=1.0
        ),
        Option(
            name="ramp_levels",
            default=0,
            text="Stairs of that rise; 0 is smooth, as all but papers are.",
            low=0,
            high=10_000,
        ),
    )


# The released code with its switches for semi-supervised training, at its defaults otherwise.
ASDNET = {
    **PAPER_003_LEARNER,
    "adversarial_weight": 0.05,
    "adversary_width": 32,
    "adversary_learning_rate": 1e-4,
    "adversary_second_momentum": 0.999,
    "ramp": "constant",
    "self_label_weight": 0.5,
    "self_label_wait": 0.0,
    "confidence_threshold": 0.5,
    "threshold": "fixed",
    "attention": "region",
    "sees_image": False,
    "respect_labels": False,
    "double_softmax": False,
    "detached": True,
}
ASDNET_CODE = {
    **ASDNET,
    "cross_entropy_weight": 0.0,
    "dice_weight": 1.0,
    "attention": "none",
    "threshold": "labeled_dice",
    "double_softmax": True,
    "detached": False,
}
# Its segmentation network is trained by Adam too.
ASDNET_TRAINING = {**PAPER_003_TRAINING, "optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0}

# Those of the other method with a head of leaves and a head of distances, but for what is between its heads.
BETWEEN_HEADS = ("consistency_weight", "ramp", "ramp_share", "ramp_levels")
DISTANCE_OPTIONS = tuple(
    replace(option, default="segmentation") if option.name == "prediction" else option
    for option in DUAL_CARDS[0].options
    if option.name not in BETWEEN_HEADS
)
SASSNET = {
    **TWO_HEADS,
    "adversarial_weight": 0.01,
    "adversary_width": 64,
    "adversary_learning_rate": 1e-4,
    "adversary_second_momentum": 0.99,
    "judges": "distance",
}

ADVERSARIAL_CARDS: tuple[Card, ...] = (
    Card(
        name="attention_adversarial",
        title="Attention and a confidence network",
        summary="A second network says of each voxel whether it looks drawn: labels count more where it does not, and "
        "the segmentation is believed in unlabeled cases where it does.",
        family="adversarial",
        paper="Nie et al., ASDNet, MICCAI 2018",
        needs=("full",),
        uses=EVERYTHING,
        composition=HALVES,
        options=(
            *LEARNER_OPTIONS,
            *_adversary_options(weight=0.05, width=16, ramp_share=0.1),
            Option(
                name="self_label_weight",
                default=0.5,
                text="Weight of the segmentation's own labels where they are believed.",
                low=0.0,
                high=100.0,
            ),
            Option(
                name="self_label_wait",
                default=0.3,
                text="Share of the training before they teach, while the network that judges learns to; 0 in papers.",
                low=0.0,
                high=1.0,
            ),
            Option(
                name="confidence_threshold",
                default=0.5,
                text="Confidence from which they are believed, if it is fixed.",
                low=0.0,
                high=1.0,
            ),
            Option(
                name="threshold",
                default="fixed",
                text="That confidence: fixed, or 1 minus the running Dice of labeled cases.",
                choices=("fixed", "labeled_dice"),
            ),
            Option(
                name="attention",
                default="region",
                text="Let labels count more in voxels, or in rows, that do not look drawn, or everywhere alike.",
                choices=("region", "sample", "none"),
            ),
            Option(
                name="sees_image",
                default=False,
                text="Show the confidence network the image beside the segmentation.",
            ),
            Option(
                name="respect_labels",
                default=True,
                text="Keep what is believed within the labels of coarse and partial cases.",
            ),
            Option(
                name="double_softmax",
                default=False,
                text="Take the softmax of the confidence twice, as the released code does.",
            ),
            Option(
                name="detached",
                default=True,
                text="Keep the confidence network's own loss from the segmentation; the released code does not.",
            ),
        ),
        presets={"ours": {}, "paper": ASDNET, "code": ASDNET_CODE},
        training={"paper": PAPER_003_TRAINING, "code": ASDNET_TRAINING},
        plan={"paper": PAPER_003_PLAN, "code": PAPER_003_PLAN},
    ),
    Card(
        name="shape_aware_adversarial",
        title="Shape-aware adversary",
        summary="One network segments and measures distances to the surface; a second one must not be able to tell "
        f"labeled cases from others by their distances. {UNMEASURED}",
        family="adversarial",
        paper="Li et al., Shape-aware Semi-supervised 3D Semantic Segmentation (SASSNet), MICCAI 2020",
        needs=("full",),
        uses=EVERYTHING,
        composition=HALVES,
        options=(
            *DISTANCE_OPTIONS,
            *_adversary_options(weight=0.01, width=32, ramp_share=1.0),
            Option(
                name="judges",
                default="distance",
                text="Judge the distances, or the probabilities as the deep adversarial network does.",
                choices=("distance", "probability"),
            ),
        ),
        presets={"ours": {}, "paper": SASSNET, "code": {**SASSNET, "ramp_levels": 40}},
        training={"paper": PAPER_003_TRAINING, "code": PAPER_003_TRAINING},
        plan={"paper": PAPER_003_PLAN, "code": PAPER_003_PLAN},
        maps=("signed_distance",),
    ),
)
