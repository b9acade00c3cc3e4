"""What every method shares: the segmentation loss of its labels, at every resolution, and a loss of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import DiceRule, label_set_loss
from SemiSegLib.losses.resolutions import mean_over_resolutions
from SemiSegLib.methods.catalogue import BALANCES, DECISIONS
from SemiSegLib.methods.method import Study
from SemiSegLib.networks.backbone import Backbone
from SemiSegLib.networks.backbones import build_backbone

LABELED = (Regime.FULL, Regime.COARSE, Regime.PARTIAL)
DICE_RULES = {
    "present": DiceRule(),
    "paper": DiceRule(squared=True, include_background=True, skip_absent=False),
    "foreground": DiceRule(squared=True, skip_absent=False),
}


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions:
    """The loss of labels.

    Attributes:
        cross_entropy_weight: of the label-set cross entropy; ours 1 (nnU-Net), papers 000 and 003 0.5.
        dice_weight: of the label-set Dice; the same.
        dice: "present" (foreground structures that the batch holds, plain sums; nnU-Net's choice, without absent
            structures), "paper" (paper 000: all classes with background, squared sums, absent ones included) or
            "foreground" (paper 003 and its family: the same without background).
        balance: how the rows of a batch are divided between cases with full, coarse, partial and no labels: "fixed"
            (the shares of the method's card; halves in the papers), "cube_root" or "root" (these times that root of
            the number of such cases) or "cases" (times their number).
        full_share: share of full rows beside rows of one other kind, before ``balance``: 0.5, or 1/6 in the code of
            paper 000 (4 of 24).
        decision: "superclass_first" (ours) or "leaf" (papers): how leaves are decided from their probabilities.
    """

    cross_entropy_weight: float = 1.0
    dice_weight: float = 1.0
    dice: str = "present"
    balance: str = "fixed"
    full_share: float = 0.5
    decision: str = "superclass_first"

    def __post_init__(self) -> None:
        check_choice("balance", self.balance, BALANCES)
        check_range("full_share", self.full_share, low=0.01, high=0.99)
        check_choice("decision", self.decision, DECISIONS)
        check_range("cross_entropy_weight", self.cross_entropy_weight, low=0.0, high=100.0)
        check_range("dice_weight", self.dice_weight, low=0.0, high=100.0)
        check_choice("dice", self.dice, DICE_RULES)

    def weights(self, prefix: str = "", *, factor: float = 1.0) -> dict[str, float]:
        """Return the weights of the two terms, their names preceded by ``prefix``."""
        return {
            f"{prefix}cross_entropy": factor * self.cross_entropy_weight,
            f"{prefix}dice": factor * self.dice_weight,
        }


def study_backbone(study: Study) -> Backbone:
    """Return the backbone that the study's plan asks for."""
    plan = study.plan
    return build_backbone(
        plan.network, in_channels=len(plan.channels), dimensions=plan.dimensions, patch=tuple(plan.patch)
    )


def segmentation_terms(
    logits: Tensor,
    codes: Tensor,
    label_sets: Tensor,
    options: SegmentationOptions,
    *,
    prefix: str = "",
    emphasis: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the label-set cross entropy and Dice by term name.

    Args:
        logits: (B, L, *S).
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool.
        options: which Dice.
        prefix: of the term names.
        emphasis: (B, *S) how much each voxel counts, or None for 1 everywhere.
    """
    found = label_set_loss(logits, codes, label_sets, rule=DICE_RULES[options.dice], emphasis=emphasis)
    return {f"{prefix}{name}": value for name, value in found.items()}


def with_deep_terms(
    terms: dict[str, Tensor],
    deep: Sequence[Tensor],
    strides: Sequence[Sequence[int]],
    batch: Batch,
    options: SegmentationOptions,
    *,
    emphasis: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the terms averaged with those of lower resolutions, see ``mean_over_resolutions``.

    Voxel i of a map of stride s is the label of voxel i * s, the center of the strided convolutions it comes from.

    Args:
        terms: of the finest resolution, by name.
        deep: (B, L, *Si) logits, finest first.
        strides: of each, per axis.
        batch: whose codes these are logits of.
        options: which Dice.
        emphasis: (B, *S) how much each voxel counts, or None for 1 everywhere.
    """

    def coarser() -> Iterator[dict[str, Tensor]]:
        for logits, stride in zip(deep, strides, strict=True):
            under = (slice(None), *(slice(None, None, step) for step in stride))
            weighed = None if emphasis is None else emphasis[under]
            yield segmentation_terms(logits, batch.codes[under], batch.label_sets, options, emphasis=weighed)

    return mean_over_resolutions(terms, coarser())


def nothing(module: nn.Module) -> Tensor:
    """Return 0 with a graph, for a term that no row of the batch teaches."""
    return next(p for p in module.parameters() if p.requires_grad).sum() * 0.0
