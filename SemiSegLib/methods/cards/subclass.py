"""Cards of supervised training and of the methods that learn subclasses from coarse labels (paper 000)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from SemiSegLib.methods.cards.parts import (
    CODE_000_SHARE,
    PAPER_000_PLAN,
    PAPER_000_TRAINING,
    PAPER_001_LOSS,
    PAPER_001_PLAN,
    PAPER_001_TRAINING,
    PAPER_001_UNETR_PLAN,
    PAPER_003_LOSS,
    PAPER_003_PLAN,
    PAPER_003_TRAINING,
    PAPER_HEADS,
    PAPER_LOSS,
    SEGMENTATION_OPTIONS,
    TWO_HEAD_OPTIONS,
    with_defaults,
)
from SemiSegLib.methods.catalogue import FORWARD, Card, Option

HIERARCHY_OPTIONS = (
    *with_defaults(TWO_HEAD_OPTIONS, balance="cube_root"),
    Option(name="superclass_head", default=True, text="Give superclasses an output of their own, as the paper does."),
    Option(
        name="subclass_labels",
        default="drawn",
        text="Whose labels teach the subclasses: those of fully and partly labeled cases, of all, or of fully labeled "
        "cases alone (paper).",
        choices=("drawn", "all", "full"),
    ),
    Option(
        name="separate_normalization",
        default=False,
        text="Give every superclass a branch with its own normalization (paper); needs the superclass output.",
    ),
    Option(
        name="prior_concatenation",
        default="none",
        text="Show the superclass logits to the subclass output (paper), or show them without training them by it; "
        "needs the superclass output.",
        choices=("none", "logits", "detached"),
    ),
)
MIX_OPTIONS = (
    Option(
        name="mix",
        default="none",
        text="What coarsely labeled cases learn beside their labels: from mixed-in structures, pseudo-labels, or both.",
        choices=("full", "mixup", "pseudo", "none"),
    ),
    Option(name="mix_weight", default=1.0, text="Weight of that loss, relative to the labels'.", low=0.0, high=100.0),
    Option(
        name="ramp",
        default="gaussian",
        text="How that loss comes into force; constant in the paper, logistic in its code.",
        choices=("constant", "linear", "gaussian", "logistic"),
    ),
    Option(
        name="ramp_share", default=0.3, text="Share of the training in which it comes into force.", low=0.0, high=1.0
    ),
    Option(name="alpha_low", default=0.5, text="Smallest share of a mixed-in structure.", low=0.0, high=1.0),
    Option(name="alpha_high", default=1.0, text="Largest share of a mixed-in structure.", low=0.0, high=1.0),
    Option(
        name="alpha_levels",
        default=0,
        text="0 draws any share, a number draws equally spaced ones (5 in the released code).",
        low=0,
        high=100,
    ),
    Option(
        name="mix_probability",
        default=0.5,
        text="Share of the coarse rows that are mixed, 1 in the paper.",
        low=0.0,
        high=1.0,
    ),
    Option(
        name="passes",
        default="one",
        text="See a coarse case once, mixed; or twice, as it is and mixed (paper); or as the released code does, whose "
        "mixed images train nothing, with pseudo_labels=student, agreement=turns, a falling threshold, and "
        "condition_on_label and renormalize off (preset code).",
        choices=("one", "two", "released"),
    ),
    Option(
        name="pseudo_labels",
        default="teacher",
        text="Who makes pseudo-labels: a running mean of the network, or the network (paper).",
        choices=("teacher", "student"),
    ),
    Option(
        name="teacher_decay", default=0.99, text="Share of the teacher that is kept at each step.", low=0.0, high=1.0
    ),
    Option(
        name="agreement",
        default="none",
        text="What must give the same subclass: the turned and flipped image (paper), the image with noise, or "
        "nothing else.",
        choices=("turns", "noise", "none"),
    ),
    Option(
        name="threshold",
        default="adaptive",
        text="Confidence that a pseudo-label needs: adapted to each subclass, or falling along the training (paper: "
        "linear; its code: exponential).",
        choices=("adaptive", "linear", "exponential"),
    ),
    Option(name="threshold_start", default=1.0, text="Falling threshold at the start.", low=0.0, high=1.0),
    Option(name="threshold_end", default=0.4, text="Falling threshold at the end.", low=0.0, high=1.0),
    Option(
        name="condition_on_label",
        default=True,
        text="Ask which subclass it is given the label, instead of refusing what the label excludes (paper).",
    ),
    Option(name="use_partial", default=True, text="Let partly labeled cases take lessons too, not only coarse ones."),
    Option(
        name="renormalize",
        default=True,
        text="Aim at probability 1 where only the mixed-in subclass is known, not at its share (paper).",
    ),
)
# Table 2 of paper 000, last row but one: every part of the method, as its text says.
PAPER_000_METHOD = {
    **PAPER_HEADS,
    "superclass_head": True,
    "subclass_labels": "full",
    "separate_normalization": True,
    "prior_concatenation": "logits",
    "mix": "full",
    "mix_weight": 1.0,
    "ramp": "constant",
    "alpha_low": 0.5,
    "alpha_high": 1.0,
    "alpha_levels": 0,
    "mix_probability": 1.0,
    "passes": "two",
    "pseudo_labels": "student",
    "agreement": "turns",
    "threshold": "linear",
    "threshold_start": 1.0,
    "threshold_end": 0.4,
    "condition_on_label": False,
    "use_partial": False,
    "renormalize": False,
    "predict_with": "student",
}
RELEASED_000_METHOD = {
    **PAPER_000_METHOD,
    **CODE_000_SHARE,
    "ramp": "logistic",
    "alpha_levels": 5,
    "passes": "released",
    "threshold": "exponential",
}

NEGATIVE_LEARNING_PAPER = {**PAPER_LOSS, "negative_weight": 1.0, "balanced": True, "negative_rows": "all"}


def _work(options: Mapping[str, Any]) -> float:
    """Return the work of the labels' pass, of mixed images' own, and of the views that pseudo-labels come from."""
    mix, passes = str(options["mix"]), str(options["passes"])
    if mix == "none" or options["mix_weight"] == 0:
        return 1.0
    views = 0 if mix == "mixup" else 1 if options["agreement"] == "none" else 2
    if passes == "released":
        # The first view is the labels' pass; mixed images are seen without a graph.
        return 1 + FORWARD * ((mix != "mixup") + (mix != "pseudo"))
    return 1 + (passes == "two" and mix != "pseudo") + FORWARD * views


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
        presets={
            "ours": {},
            "paper": PAPER_LOSS,
            "paper_001": PAPER_001_LOSS,
            "paper_001_unetr": PAPER_001_LOSS,
            "paper_003": PAPER_003_LOSS,
        },
        training={
            "paper": PAPER_000_TRAINING,
            "paper_001": PAPER_001_TRAINING,
            "paper_001_unetr": PAPER_001_TRAINING,
            "paper_003": PAPER_003_TRAINING,
        },
        plan={
            "paper": PAPER_000_PLAN,
            "paper_001": PAPER_001_PLAN,
            "paper_001_unetr": PAPER_001_UNETR_PLAN,
            "paper_003": PAPER_003_PLAN,
        },
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
        paper="Dai et al., Efficient Subclass Segmentation in Medical Images, MICCAI 2023 ('Mod')",
        needs=("full",),
        uses=("full", "coarse", "partial"),
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5},
        options=TWO_HEAD_OPTIONS,
        presets={"ours": {}, "paper": PAPER_HEADS},
        training={"paper": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN},
    ),
    Card(
        name="negative_learning",
        title="Negative learning",
        summary="Learns subclasses from fully labeled cases, and from coarse labels what a voxel is not.",
        family="subclass",
        paper="Dai et al., Efficient Subclass Segmentation in Medical Images, MICCAI 2023 ('NL')",
        needs=("full",),
        uses=("full", "coarse", "partial"),
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5},
        options=(
            *SEGMENTATION_OPTIONS,
            Option(
                name="negative_weight",
                default=1.0,
                text="Weight of what superclass labels rule out.",
                low=0.0,
                high=100.0,
            ),
            Option(
                name="balanced",
                default=False,
                text="Let every superclass count alike, however small (paper), instead of every voxel.",
            ),
            Option(
                name="negative_rows",
                default="all",
                text="Which cases learn what their labels rule out: all, or those without full labels (released code).",
                choices=("all", "unlabeled"),
            ),
        ),
        presets={
            "ours": {},
            "paper": NEGATIVE_LEARNING_PAPER,
            "code": {**NEGATIVE_LEARNING_PAPER, **CODE_000_SHARE, "negative_rows": "unlabeled"},
        },
        training={"paper": PAPER_000_TRAINING, "code": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN, "code": PAPER_000_PLAN},
    ),
    Card(
        name="efficient_subclass",
        title="Efficient subclass segmentation",
        summary="Superclasses are learned from every label, and the subclasses in them from few; on demand coarsely "
        "labeled cases also learn subclasses, from structures mixed into them and from pseudo-labels.",
        family="subclass",
        paper="Dai et al., Efficient Subclass Segmentation in Medical Images, MICCAI 2023",
        needs=("full",),
        uses=("full", "coarse", "partial"),
        composition={"full": 0.5, "coarse": 0.5, "partial": 0.5},
        work=_work,
        options=(
            *HIERARCHY_OPTIONS,
            *MIX_OPTIONS,
            Option(
                name="predict_with",
                default="student",
                text="Predict with the trained network or with its running mean.",
                choices=("teacher", "student"),
            ),
        ),
        presets={"ours": {}, "paper": PAPER_000_METHOD, "code": RELEASED_000_METHOD},
        training={"paper": PAPER_000_TRAINING, "code": PAPER_000_TRAINING},
        plan={"paper": PAPER_000_PLAN, "code": PAPER_000_PLAN},
    ),
)
