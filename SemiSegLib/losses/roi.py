"""Losses of one-vs-all heads: every structure has a target where it is known and nothing elsewhere."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


def roi_cross_entropy(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    r"""Return the mean binary cross entropy over the voxels and structures that are known.

        L = mean_{(k, v) known} -[t log s(z) + (1 - t) log(1 - s(z))],   s the sigmoid

    Args:
        logits: (B, K, *S) float, any range; computed in float32.
        target: (B, K, *S) bool or 0 to 1.
        known: (B, K, *S) bool.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing is known.
    """
    losses = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)


def roi_dice(probability: Tensor, target: Tensor, known: Tensor, *, squared: bool = False) -> Tensor:
    r"""Return 1 minus the mean soft Dice of the structures, each over the voxels where it is known.

        D_k = (2 sum q_k t_k + e) / (sum q_k^r + sum t_k + e),   r = 1, or 2 if squared

    The smoothing e = 1e-5 stands in numerator and denominator, so a structure that is empty in label and
    prediction has Dice 1; DoDNet's code has it in the denominator only, which makes that case a loss of 1
    without gradient. A structure that is known nowhere in the batch is left out.

    Args:
        probability: (B, K, *S), 0 to 1.
        target: (B, K, *S) bool or 0 to 1.
        known: (B, K, *S) bool.
        squared: squares in the denominator.

    Returns:
        Scalar, 0 to 1; 0 with a zero gradient if nothing is known.
    """
    axes = (0, *range(2, probability.dim()))
    mask, truth = known.to(probability.dtype), target.to(probability.dtype)
    overlap = (probability * truth * mask).sum(axes)
    mass = ((probability.square() if squared else probability) * mask).sum(axes)
    dice = (2 * overlap + EPSILON) / (mass + (truth * mask).sum(axes) + EPSILON)
    counted = known.any(dim=0).flatten(1).any(dim=1)
    return ((1 - dice) * counted).sum() / counted.sum().clamp_min(1)
