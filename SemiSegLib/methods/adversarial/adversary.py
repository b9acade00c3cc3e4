"""What adversarial methods share: the options of the adversary, its optimizer group, and when it has its say."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.methods.method import GroupSettings, Progress
from SemiSegLib.methods.parts.ramps import RAMPS, ramp
from SemiSegLib.methods.parts.supervision import SegmentationOptions

# The optimizer group of the network that judges.
ADVERSARY = "adversary"
# Share of its past that its mean of gradients keeps, in both released codes.
FIRST_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class AdversaryOptions(SegmentationOptions):
    """How the network that judges is made and trained, beside how labels teach the one that it judges.

    Attributes:
        adversarial_weight: of deceiving the adversary.
        adversary_width: channels of the adversary's first stage; ours half of the published number, which makes it
            four times as fast.
        adversary_learning_rate: of the adversary, constant, by Adam; 0.0001 in both released codes.
        adversary_second_momentum: share of its past that Adam's mean of squared gradients keeps at a step; 0.99 in
            SASSNet's code.
        ramp: how the weights of what unlabeled rows teach rise: "constant", "linear", "gaussian" or "step".
        ramp_share: of the training in which they rise, 0 to 1.
        ramp_levels: stairs of that rise, or 0 for none; 40 in SASSNet's code (one every 150 steps).
    """

    adversarial_weight: float = 0.01
    adversary_width: int = 32
    adversary_learning_rate: float = 1e-4
    adversary_second_momentum: float = 0.999
    ramp: str = "gaussian"
    ramp_share: float = 0.1
    ramp_levels: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("adversarial_weight", self.adversarial_weight, low=0.0, high=100.0)
        check_range("adversary_width", self.adversary_width, low=1, high=512)
        check_range("adversary_learning_rate", self.adversary_learning_rate, low=0.0, high=1.0)
        check_range("adversary_second_momentum", self.adversary_second_momentum, low=0.0, high=0.9999)
        check_choice("ramp", self.ramp, RAMPS)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_range("ramp_levels", self.ramp_levels, low=0, high=10_000)

    def force(self, progress: Progress, *, wait: float = 0.0) -> float:
        """Return how much of a weight of what unlabeled rows teach is in force, 0 to 1; 0 before ``wait``."""
        if progress.fraction < wait:
            return 0.0
        return ramp(progress, self.ramp, share=self.ramp_share, wait=wait, levels=self.ramp_levels or None)

    def group_settings(self) -> dict[str, GroupSettings]:
        """Return what the adversary's optimizer does otherwise than the run's: Adam without weight decay."""
        return {
            ADVERSARY: GroupSettings(
                optimizer="adam",
                learning_rate=self.adversary_learning_rate,
                schedule="constant",
                weight_decay=0.0,
                betas=(FIRST_MOMENTUM, self.adversary_second_momentum),
            )
        }


def two_groups(learner: nn.Module, adversary: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of a network and of the one that judges it, as optimizer groups."""
    return {
        "main": [p for p in learner.parameters() if p.requires_grad],
        ADVERSARY: [p for p in adversary.parameters() if p.requires_grad],
    }
