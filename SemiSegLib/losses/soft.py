"""Losses against soft targets: pseudo-labels, mixed labels and what a teacher says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Return the cross entropy against soft targets, normalized by their mass.

        L = -(sum_v sum_l q_l log p_l) / (sum_v sum_l q_l),   p = softmax(z)

    Voxels without a target have q = 0 everywhere and change nothing, not even the weight of the others
    (averaging over all voxels, as torch does, shrinks the loss with the share of valid voxels).

    Args:
        logits: (B, L, *S) float, any range; computed in float32.
        target: (B, L, *S), at least 0, sums over L to 0 or 1; no gradient flows into it.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if no voxel has a target.
    """
    target = target.detach().float()
    losses = -(target * functional.log_softmax(logits.float(), dim=1)).sum()
    mass = target.sum()
    return losses / torch.where(mass > 0, mass, 1.0)


def masked_mse(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    r"""Return the mean squared difference over known voxels and all channels.

        L = sum_v m_v sum_c (a_c - b_c)^2 / (C sum_v m_v)

    Args:
        prediction: (B, C, *S).
        target: (B, C, *S); no gradient flows into it.
        known: (B, *S) bool, or (B, C, *S) bool to choose per channel.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing is known.
    """
    mask = known if known.dim() == prediction.dim() else known.unsqueeze(1).expand_as(prediction)
    squares = (prediction.float() - target.detach().float()).square()
    return (squares * mask).sum() / mask.sum().clamp_min(1)
