"""The losses of mixed labels as the released code of paper 000 has them, kept for comparison and for nothing else.

EfficientSubclassLearning, ``trainutils/train_branched.py`` and ``utils/losses.py``. Use ``soft_cross_entropy`` and
``soft_dice`` instead: the mean over all voxels shrinks with the share of voxels that have a target, and a Dice masked
by its own target knows no false positive.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


def released_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Return the mean over all voxels of -sum_l q_l log p_l, voxels without a target included.

    Args:
        logits: (B, L, *S) float, any range; computed in float32.
        target: (B, L, *S), at least 0.

    Returns:
        Scalar, at least 0.
    """
    return -(target.detach() * functional.log_softmax(logits.float(), dim=1)).sum(1).mean()


def released_dice(probability: Tensor, target: Tensor) -> Tensor:
    r"""Return 1 minus the mean over all classes of (2 sum p q^2 + e) / (sum q^3 + sum p^2 q + e), e = 1e-5.

    Args:
        probability: (B, L, *S), 0 to 1.
        target: (B, L, *S), at least 0.

    Returns:
        Scalar, 0 to 1.
    """
    p, q = probability.float(), target.detach().float()
    axes = (0, *range(2, p.ndim))
    overlap, mass = (p * q.square()).sum(axes), (q.pow(3) + p.square() * q).sum(axes)
    return (1 - (2 * overlap + EPSILON) / (mass + EPSILON)).mean()


def released_targets(pseudo: Tensor, mixed_leaf: Tensor, alpha: Tensor) -> Tensor:
    """Return a onehot(mixed leaf) + (1 - a) pseudo with one number a for a whole image.

    Args:
        pseudo: (B, L, *S), 0 or 1.
        mixed_leaf: (B, *S) int64, background wherever nothing was mixed in: structures that the mixed-in one does not
            cover are so taught to be background, although the image there is unmixed.
        alpha: (B,), 0 to 1.
    """
    own = torch.arange(pseudo.shape[1], device=pseudo.device).view(1, -1, *(1,) * (pseudo.ndim - 2))
    share = alpha.view(-1, *(1,) * (pseudo.ndim - 1))
    return share * (mixed_leaf.unsqueeze(1) == own).to(pseudo.dtype) + (1 - share) * pseudo
