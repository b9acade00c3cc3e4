"""What one network takes voxels for, how much surer of it than by chance it is, and how far two are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A voxel whose pseudo-label is no surer than this above chance is left out, so that rounding names no structure.
LEAST = 0.01


@dataclass(frozen=True)
class Opinion:
    """What one network takes the voxels of a batch for, without a graph.

    Attributes:
        leaf: (B, *S) int64, the pseudo-label.
        confidence: (B, *S) probability of it, among what the label allows.
        choices: (B, *S) int64, the leaves among which it is the likeliest; at least 1.
    """

    leaf: Tensor
    confidence: Tensor
    choices: Tensor


def above_chance(confidence: Tensor, choices: Tensor) -> Tensor:
    """Return how much surer than by chance: (c - 1/n) / (1 - 1/n), 0 to 1, and 0 below ``LEAST``.

    Args:
        confidence: (B, *S) c, the largest probability of some leaves that sum to 1; at least 1/n.
        choices: (B, *S) int64 n, how many leaves; where it is one there is nothing to be unsure of: 1.
    """
    chance = 1 / choices.to(confidence.dtype)
    share = (confidence - chance) / (1 - chance).clamp_min(1e-6)
    return torch.where(choices > 1, torch.where(share < LEAST, 0.0, share), 1.0).clamp_max(1.0)


def apart(first: Tensor, second: Tensor, *, measure: str) -> Tensor:
    """Return (B, *S) how far the (B, L, *S) probabilities of two networks are apart, 0 to 1.

    Args:
        first: of one network.
        second: of the other.
        measure: "mutual_information" of leaf and network, H((p_1 + p_2) / 2) - (H(p_1) + H(p_2)) / 2, at most ln 2,
            divided by it; or "disagreement", sum_l |p_1l - p_2l| / 2.
    """
    if measure == "disagreement":
        return (first - second).abs().sum(1).div(2).clamp(0.0, 1.0)
    entropy = torch.special.entr
    information = entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2
    share: Tensor = information.sum(1) / math.log(2)
    return share.clamp(0.0, 1.0)
