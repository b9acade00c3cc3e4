"""The options of cross pseudo supervision."""

from __future__ import annotations

from dataclasses import dataclass

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.methods.parts.learner import LearnerOptions
from SemiSegLib.networks.backbone import BACKBONES

# The terms that each choice of loss has.
PSEUDO_LOSSES = {"both": ("cross_entropy", "dice"), "dice": ("dice",), "cross_entropy": ("cross_entropy",)}
ROWS = ("all", "unlabeled")
RAMPS = ("step", "linear", "gaussian")
CONFIDENCES = ("none", "plain", "above_chance")
VIEWS = ("same", "strong")
BACKWARDS = ("sequential", "joint", "stacked")
PREDICTIONS = ("ensemble", "first", "second")
PREDICTORS = ("student", "teacher")
UNCERTAINTIES = ("mutual_information", "disagreement", "entropy")


@dataclass(frozen=True, kw_only=True)
class CrossPseudoSupervisionOptions(LearnerOptions):
    """What the two networks learn from labels and from each other.

    Attributes:
        pseudo_loss: "dice" (paper 001), "cross_entropy" (paper 000 and Chen et al.) or "both" (ours).
        pseudo_weight: w once it is in full force, relative to the labels'; paper 001 0.5, paper 000 0.1.
        rows: that learn pseudo-labels: "all" (paper 001) or "unlabeled", those without full labels (paper 000; ours,
            because at a labeled voxel the other network's word is the label or wrong).
        wait: share of the training before it, in which only labeled rows are computed; paper 001 15 of 1000 epochs.
            Ours half of it: networks of 300 steps that began to teach each other after 0.015 let one of two siblings
            have every voxel of their group, for neither knew them apart by then.
        ramp: "step" (paper 001), "linear" or "gaussian" (ours; paper 000): how w comes into force after the wait.
        ramp_share: share of the training in which it does; ours 0.2, paper 000 30,000 of 40,000 steps.
        ramp_levels: stairs of the ramp, 0 for a smooth one; paper 000 200.
        respect_labels: take the likeliest leaf that a coarse or partial label allows, not any (ours). Rows with full
            labels keep the plain pseudo-label: theirs would be the label a second time.
        confidence: how much a voxel counts: "none", every voxel alike (papers); "plain", the probability c that the
            other network gives to its pseudo-label, which is at least 1/n among n leaves; "above_chance",
            (c - 1/n) / (1 - 1/n), which is 0 where the other network does not know. n are the leaves that c is the
            largest of: those of the label set, or all where ``respect_labels`` lets any be taken. A voxel that the
            label leaves no choice counts fully.
        views: "same" (papers) or "strong": rows without full labels are changed strongly in intensity, differently for
            each network, and get the pseudo-labels of the unchanged image (after FixMatch; costs two passes more).
        second_backbone: "same" or the backbone of the second network; "unetr" beside a U-Net makes a pair of
            convolutions and attention.
        backward: "sequential" (one network's memory), "joint" or "stacked"; the gradients are the same.
        prediction: "ensemble", the mean of both networks (paper 001), "first" or "second".
        uncertainty: "mutual_information" (how much the two probabilities differ, as a share of the largest),
            "disagreement" (half of their absolute difference) or "entropy" (of the prediction).
        predict_with: "student", the trained networks, or "teacher", a running mean of each, which teaches nothing and
            costs a copy of the weights.
        teacher_decay: share of a running mean that is kept at each step.
    """

    pseudo_loss: str = "both"
    pseudo_weight: float = 0.5
    rows: str = "unlabeled"
    wait: float = 0.5
    ramp: str = "gaussian"
    ramp_share: float = 0.2
    ramp_levels: int = 0
    respect_labels: bool = True
    confidence: str = "none"
    views: str = "same"
    second_backbone: str = "same"
    backward: str = "sequential"
    prediction: str = "ensemble"
    uncertainty: str = "mutual_information"
    predict_with: str = "student"
    teacher_decay: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("pseudo_loss", self.pseudo_loss, PSEUDO_LOSSES)
        check_range("pseudo_weight", self.pseudo_weight, low=0.0, high=100.0)
        check_choice("rows", self.rows, ROWS)
        check_range("wait", self.wait, low=0.0, high=1.0)
        check_choice("ramp", self.ramp, RAMPS)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_range("ramp_levels", self.ramp_levels, low=0, high=10_000)
        check_choice("confidence", self.confidence, CONFIDENCES)
        check_choice("views", self.views, VIEWS)
        check_choice("second_backbone", self.second_backbone, ("same", *BACKBONES))
        check_choice("backward", self.backward, BACKWARDS)
        check_choice("prediction", self.prediction, PREDICTIONS)
        check_choice("uncertainty", self.uncertainty, UNCERTAINTIES)
        check_choice("predict_with", self.predict_with, PREDICTORS)
        check_range("teacher_decay", self.teacher_decay, low=0.0, high=1.0)
