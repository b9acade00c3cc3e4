"""Dice against soft targets that hold at some voxels only: mixed labels and pseudo-labels."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5


def soft_dice(
    probability: Tensor, target: Tensor, known: Tensor, *, include_background: bool = True, skip_absent: bool = False
) -> Tensor:
    r"""Return 1 minus the mean soft Dice of the classes over the known voxels, with squared sums.

        L = 1 - mean_l (2 sum_v m q_l p_l + e) / (sum_v m q_l^2 + sum_v m p_l^2 + e),   e = 1e-5

    m is the same for all classes, so a class that is predicted where the target names another one costs; the released
    code of paper 000 takes the target itself for m, which forgives that. Squares, because only then p = q is best for a
    soft q. Sums run over batch and space.

    Args:
        probability: (B, L, *S), 0 to 1.
        target: (B, L, *S), 0 to 1; no gradient flows into it.
        known: (B, *S) bool.
        include_background: count leaf 0 (paper 000).
        skip_absent: leave out classes without a target; their loss would be next to 1 and teach next to nothing.

    Returns:
        Scalar, 0 to 1; 0 with a zero gradient if nothing is known.
    """
    dtype = torch.float64 if probability.dtype == torch.float64 else torch.float32
    mask = known.unsqueeze(1)
    p = torch.where(mask, probability.to(dtype), 0.0)
    q = torch.where(mask, target.detach().to(dtype), 0.0)
    axes = (0, *range(2, p.ndim))
    size = q.square().sum(axes)
    dice = (2 * (p * q).sum(axes) + EPSILON) / (size + p.square().sum(axes) + EPSILON)
    counted = (size > 0) if skip_absent else known.any().expand(len(size))
    if not include_background:
        counted = counted & (torch.arange(len(size), device=size.device) > 0)
    return torch.where(counted, 1 - dice, 0.0).sum() / counted.sum().clamp_min(1)
