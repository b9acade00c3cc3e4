"""The options of HierarchicalMix, with the schedules they name in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.hierarchy_learner import HierarchyOptions
from SemiSegLib.methods.parts.ramps import between, ramp

MIXES = ("full", "mixup", "pseudo", "none")
PASSES = ("one", "two", "released")
LOOKERS = ("teacher", "student")
AGREEMENTS = ("turns", "noise", "none")
THRESHOLDS = ("adaptive", "linear", "exponential")
MIX_RAMPS = ("constant", "linear", "gaussian", "logistic")
# Steps of the released training, in which its schedules are written; other lengths run through the same schedules.
RELEASED_STEPS = 40_000
# What its pass over mixed images does whatever the options say, by option: the values that say so.
RELEASED_PASS: dict[str, tuple[str | bool, ...]] = {
    "pseudo_labels": ("student",),
    "agreement": ("turns",),
    "threshold": ("exponential", "linear"),
    "condition_on_label": (False,),
    "renormalize": (False,),
}


@dataclass(frozen=True, kw_only=True)
class MixOptions(HierarchyOptions):
    """What rows without leaf labels learn beside their labels.

    Attributes:
        mix: "full" (HierarchicalMix), "mixup" (mixed-in structures alone), "pseudo" (pseudo-labels alone, on unmixed
            images) or "none"; rows of the paper's Table 2. Ours "none": measured on the hippocampus, each of the
            others cost accuracy in the same time.
        mix_weight: of L_p after its ramp; 1 in the paper.
        ramp: how L_p comes into force: "gaussian" (ours), "constant" (paper, which mentions no ramp), "linear" or
            "logistic" (released code: 0.5 at once, 0.73 from its first step, 0.993 at an eighth of the training).
        ramp_share: share of the training in which "gaussian" and "linear" rise. Ours 0.3: pseudo-labels of a network
            that has learned little are wrong, and adapted thresholds let them in.
        alpha_low, alpha_high: the share of the donor is drawn between them; 0.5 and 1 in the paper, which says 0.5 in
            another place. Released code in 3-D: 0 and 1.
        alpha_levels: 0 draws any share, n one of n + 1 equally spaced ones; released code in 2-D: 5.
        mix_probability: share of the rows that are mixed; 1 in the paper. The others learn from pseudo-labels. Ours
            0.5, so that the network still sees coarse scans as they are.
        passes: "one" (ours: a coarse row is seen once, mixed; its label stays true of the mixed image, so one pass
            serves the label and L_p), "two" (paper: once as it is, once mixed, without moving running statistics) or
            "released" (the released code, faults included: no gradient from mixed images, one share for the whole
            image, a Dice masked by its own target, a mean over all voxels, pseudo-labels made in training mode). With
            this one, options must not say other than it does: see ``RELEASED_PASS``.
        pseudo_labels: who makes them: "teacher" (ours, a running mean of the network) or "student" (paper).
        teacher_decay: share of the teacher kept at each step; 0.99 as in the paper's mean-teacher comparison.
        agreement: what else must give the same leaf: the image after random "turns" and flips (paper), the image with
            weak "noise", or "none" (ours: a network whose training flips nothing does not agree with itself on flipped
            scans, and the teacher already averages over many steps).
        threshold: of confidence: "adaptive" (ours, per leaf, see ``AdaptiveThreshold``), "linear" from start to end
            (paper) or "exponential" (released: 0.999 to the power of a tenth of the step, at least the end).
        threshold_start, threshold_end: of "linear" and "exponential"; 1 and 0.4 in the paper.
        condition_on_label: probabilities are taken given the label, p(leaf | superclass) (ours), instead of refusing
            what the label excludes (paper).
        use_partial: partly labeled rows are pupils too (ours); the paper has coarse rows only.
        renormalize: a voxel that knows only the mixed-in leaf aims at probability 1, not a, in the Dice (ours).
    """

    balance: str = "cube_root"
    mix: str = "none"
    mix_weight: float = 1.0
    ramp: str = "gaussian"
    ramp_share: float = 0.3
    alpha_low: float = 0.5
    alpha_high: float = 1.0
    alpha_levels: int = 0
    mix_probability: float = 0.5
    passes: str = "one"
    pseudo_labels: str = "teacher"
    teacher_decay: float = 0.99
    agreement: str = "none"
    threshold: str = "adaptive"
    threshold_start: float = 1.0
    threshold_end: float = 0.4
    condition_on_label: bool = True
    use_partial: bool = True
    renormalize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mix", self.mix, MIXES)
        check_range("mix_weight", self.mix_weight, low=0.0, high=100.0)
        check_choice("ramp", self.ramp, MIX_RAMPS)
        for name in ("ramp_share", "alpha_low", "alpha_high", "mix_probability", "teacher_decay"):
            check_range(name, getattr(self, name), low=0.0, high=1.0)
        check_range("alpha_levels", self.alpha_levels, low=0, high=100)
        check_choice("passes", self.passes, PASSES)
        check_choice("pseudo_labels", self.pseudo_labels, LOOKERS)
        check_choice("agreement", self.agreement, AGREEMENTS)
        check_choice("threshold", self.threshold, THRESHOLDS)
        check_range("threshold_start", self.threshold_start, low=0.0, high=1.0)
        check_range("threshold_end", self.threshold_end, low=0.0, high=1.0)
        if self.passes == "released" and self.is_mixing:
            self._require_released()

    @property
    def is_mixing(self) -> bool:
        """There is an L_p at all."""
        return self.mix != "none" and self.mix_weight > 0

    @property
    def needs_pseudo_labels(self) -> bool:
        """L_p has pseudo-labels in its target."""
        return self.is_mixing and self.mix != "mixup"

    def ramp_at(self, progress: Progress) -> float:
        """Return how much of L_p is in force, 0 to 1."""
        if self.ramp == "logistic":
            # The code negates before it divides, so the exponent is -1 from the first step on.
            return 1 / (1 + math.exp(-released_step(progress) // 1000))
        return ramp(progress, self.ramp, share=self.ramp_share)

    def threshold_at(self, progress: Progress) -> float:
        """Return the confidence that a pseudo-label needs, by "linear" or "exponential"."""
        if self.threshold == "exponential":
            return max(self.threshold_start * 0.999 ** (released_step(progress) // 10), self.threshold_end)
        return between(progress, self.threshold_start, self.threshold_end)

    def _require_released(self) -> None:
        """Raise ConfigError where an option asks for what the released pass does not do."""
        # Without pseudo-labels nobody makes them, and without mixed-in structures there is no share to aim at.
        idle = {"mixup": set(RELEASED_PASS) - {"renormalize"}, "pseudo": {"renormalize"}}.get(self.mix, set())
        wrong = {n: can for n, can in RELEASED_PASS.items() if n not in idle and getattr(self, n) not in can}
        if not wrong:
            return
        asked = ", ".join(f"{name}={getattr(self, name)}" for name in wrong)
        needed = ", ".join(f"{name}={values[0]}" for name, values in wrong.items())
        raise ConfigError(
            explain(
                f"passes=released does not do what is asked for with {asked.lower()}",
                where="options: passes",
                remedy=f"choose the preset 'code', set {needed.lower()}, or take other passes",
            )
        )


def released_step(progress: Progress) -> int:
    """Return the step of the released training that is as far; the small term keeps a whole step from rounding down."""
    return math.floor(progress.fraction * RELEASED_STEPS + 1e-6)
