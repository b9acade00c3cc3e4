"""The losses of one-vs-all heads: what labels teach, and means over the ROIs of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.losses.resolutions import mean_over_resolutions
from SemiSegLib.losses.roi import roi_cross_entropy, roi_dice
from SemiSegLib.methods.catalogue import BALANCES, DECISIONS
from SemiSegLib.methods.latent.roi_maps import RoiMaps

AVERAGES = ("mean", "sum")


@dataclass(frozen=True, kw_only=True)
class RoiLossOptions:
    """What labels teach a one-vs-all head.

    Attributes:
        cross_entropy_weight: of the binary cross entropy; 1 (DoDNet, paper 002).
        dice_weight: of the Dice; 1 (DoDNet, paper 002).
        balance: how the rows of a batch are divided between cases with full, coarse, partial and no labels: "fixed",
            "cube_root", "root" or "cases", see ``SegmentationOptions``.
        decision: how leaves are decided from their probabilities, see ``SegmentationOptions``.
        exclusion: where a voxel surely belongs to another structure, teach that a ROI is absent, also in cases that do
            not show the ROI (ours); papers leave such a ROI out.
        average: "mean" over the ROIs that a loss speaks of (ours, DoDNet) or their "sum" (paper 002), in which a loss
            over nine ROIs weighs nine times one over a single ROI.
    """

    cross_entropy_weight: float = 1.0
    dice_weight: float = 1.0
    balance: str = "fixed"
    decision: str = "superclass_first"
    exclusion: bool = True
    average: str = "mean"

    def __post_init__(self) -> None:
        check_range("cross_entropy_weight", self.cross_entropy_weight, low=0.0, high=100.0)
        check_range("dice_weight", self.dice_weight, low=0.0, high=100.0)
        check_choice("balance", self.balance, BALANCES)
        check_choice("decision", self.decision, DECISIONS)
        check_choice("average", self.average, AVERAGES)

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of what labels teach."""
        return {"cross_entropy": self.cross_entropy_weight, "dice": self.dice_weight}


def label_terms(logits: Tensor, maps: RoiMaps, average: str) -> dict[str, Tensor]:
    """Return cross entropy and Dice of the ROIs by term name, over the voxels where they are known.

    "mean": every ROI over all rows that know it, then over ROIs. "sum": every ROI of every row by itself, the sum over
    the ROIs of a row averaged over rows, as where each row is a case of its own.

    Args:
        logits: (B, K, *S), any range.
        maps: of the same rows.
        average: "mean" or "sum".
    """
    with torch.autocast(logits.device.type, enabled=False):
        values, target, known = logits.float(), maps.target, maps.known
        if average == "mean":
            return {
                "cross_entropy": roi_cross_entropy(values, target, known),
                "dice": roi_dice(values.sigmoid(), target, known),
            }
        rows = len(values)
        values, target, known = (part.flatten(0, 1).unsqueeze(0) for part in (values, target, known))
        pairs = known.flatten(2).any(2).sum() / rows
        positive = (known & target).flatten(2).any(2).sum() / rows
        return {
            "cross_entropy": pairs * roi_cross_entropy(values, target, known),
            "dice": positive * roi_dice(values.sigmoid(), target, known),
        }


def with_deep_label_terms(
    terms: dict[str, Tensor], deep: Sequence[Tensor], strides: Sequence[tuple[int, ...]], maps: RoiMaps, average: str
) -> dict[str, Tensor]:
    """Return the terms averaged with those of lower resolutions, see ``mean_over_resolutions``."""
    coarser = (label_terms(logits, maps.strided(stride), average) for logits, stride in zip(deep, strides, strict=True))
    return mean_over_resolutions(terms, coarser)


def set_mean(values: Tensor, chosen: Tensor, *, average: str, rows: int) -> Tensor:
    """Return values averaged over the chosen voxels of each ROI of each row, then over the ROIs of the set.

    Args:
        values: (B, K, *S) float32.
        chosen: (B, K, *S) bool, the voxels of the ROIs of the set.
        average: "mean" over the ROIs of all rows that have a chosen voxel; "sum" over the ROIs of a row, averaged over
            ``rows``.
        rows: of the whole batch.

    Returns:
        Scalar; 0 with a zero gradient if nothing is chosen.
    """
    counts = chosen.flatten(2).sum(2)
    means = torch.where(chosen, values, 0.0).flatten(2).sum(2) / counts.clamp_min(1)
    return means.sum() / ((counts > 0).sum().clamp_min(1) if average == "mean" else rows)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy of each value in float32, against targets of 0 to 1 that get no gradient."""
    return functional.binary_cross_entropy_with_logits(logits.float(), target.detach().float(), reduction="none")


def binary_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each sigmoid as a share of its largest, ln 2: 0 to 1, stable at any logit."""
    size = logits.float().abs()
    # With s the sigmoid of -|z|: -s log s - (1 - s) log(1 - s) = softplus(-|z|) + s |z|; s |z| is 0 at infinity.
    small = torch.sigmoid(-size)
    return ((functional.softplus(-size) + small * size.clamp_max(1e4)) / 0.6931471805599453).clamp(0.0, 1.0)
