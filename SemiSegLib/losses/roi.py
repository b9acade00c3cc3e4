"""Losses of one-vs-all heads: every structure has a target where it is known and nothing elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


def roi_maps(codes: Tensor, targets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, K, *S) bool target and known maps from the tables of ``LabelSetTable.roi_targets``.

    Args:
        codes: (B, *S) int64, rows of the tables.
        targets: (C, K) bool, the set of a code lies inside the structure.
        known: (C, K) bool, it lies inside or outside.
    """
    return targets[codes].movedim(-1, 1), known[codes].movedim(-1, 1)


def roi_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    r"""Return the binary cross entropy, averaged over the known voxels of each structure, then over structures.

        L = mean_k mean_{v known for k} -[t log s(z) + (1 - t) log(1 - s(z))],   s the sigmoid

    A structure that is known nowhere is left out. Averaging in this order gives a structure that few cases show the
    same weight as one that many show. DoDNet's code takes the mean over the one or two structures of a case, each
    averaged over the cases of a batch, which is the same for one case a batch.

    Args:
        logits: (B, K, *S) float, any range; computed in float32.
        target: (B, K, *S) bool, or 0 to 1; no gradient flows into it.
        known: (B, K, *S) bool.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing is known.
    """
    values = logits if logits.dtype == torch.float64 else logits.float()
    truth = target.detach().to(values.dtype)
    losses = functional.binary_cross_entropy_with_logits(values, truth, reduction="none")
    counts = _per_structure(known.to(values.dtype))
    means = _per_structure(torch.where(known, losses, 0.0)) / counts.clamp_min(1)
    return means.sum() / (counts > 0).sum().clamp_min(1)


def roi_dice(probability: Tensor, target: Tensor, known: Tensor, *, squared: bool = False) -> Tensor:
    r"""Return 1 minus the mean soft Dice of the structures, each over the voxels where it is known.

        D_k = (2 sum q_k t_k + e) / (sum q_k^r + sum t_k + e),   r = 1, or 2 if squared

    The smoothing e = 1e-5 stands in numerator and denominator. A structure without a positive voxel in the batch is
    left out: its Dice would be e / (sum q + e), whose gradient is next to 0 for any q that matters (DoDNet's code, with
    e in the denominator only, gives it a constant loss of 1), and ``roi_cross_entropy`` teaches that it is absent.

    Args:
        probability: (B, K, *S), 0 to 1.
        target: (B, K, *S) bool, or 0 to 1; no gradient flows into it.
        known: (B, K, *S) bool.
        squared: squares in the denominator.

    Returns:
        Scalar, 0 to 1; 0 with a zero gradient if no structure has a known positive voxel.
    """
    values = probability if probability.dtype == torch.float64 else probability.float()
    truth = torch.where(known, target.detach().to(values.dtype), 0.0)
    overlap = _per_structure(values * truth)
    mass = _per_structure(torch.where(known, values.square() if squared else values, 0.0))
    positive = _per_structure(truth)
    dice = (2 * overlap + EPSILON) / (mass + positive + EPSILON)
    return torch.where(positive > 0, 1 - dice, 0.0).sum() / (positive > 0).sum().clamp_min(1)


def _per_structure(values: Tensor) -> Tensor:
    """Return (K,) sums of (B, K, *S) over batch and space."""
    return values.sum((0, *range(2, values.ndim)))
