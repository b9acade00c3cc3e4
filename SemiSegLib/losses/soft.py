"""Losses against soft targets: pseudo-labels, mixed labels and what a teacher says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    r"""Return the cross entropy against soft targets, normalized by their mass.

        L = -(sum_{v known} sum_l q_l log p_l) / (sum_{v known} sum_l q_l),   p = softmax(z)

    Voxels that are not known, or whose target is 0 for every class, change nothing, not even the weight of the others
    (averaging over all voxels, as torch does, shrinks the loss with the share of valid voxels).

    Args:
        logits: (B, L, *S) float, any range; computed in float32.
        target: (B, L, *S), at least 0, usually sums over L to 1; no gradient flows into it.
        known: (B, *S) bool.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if no known voxel has a target.
    """
    values = _precise(logits)
    weights = torch.where(known.unsqueeze(1), target.detach().to(values.dtype), 0.0)
    mass = weights.sum()
    return -(weights * functional.log_softmax(values, dim=1)).sum() / torch.where(mass > 0, mass, 1.0)


def masked_mse(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    r"""Return the mean squared difference over known voxels and all channels.

        L = sum_v m_v sum_c (a_c - b_c)^2 / (C sum_v m_v)

    Args:
        prediction: (B, C, *S).
        target: (B, C, *S); gradient flows into it too, so detach what must not learn.
        known: (B, *S) bool, or (B, C, *S) bool to choose per channel.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing is known.
    """
    mask = known if known.ndim == prediction.ndim else known.unsqueeze(1).expand_as(prediction)
    squares = torch.where(mask, (_precise(prediction) - _precise(target)).square(), 0.0)
    return squares.sum() / mask.sum().clamp_min(1)


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
