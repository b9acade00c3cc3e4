"""Signed distances as targets of a network and as probabilities of structures; negative inside, as everywhere here."""

from __future__ import annotations

import edt
import numpy as np
import torch
from torch import Tensor


def distance_to_probability(distance: Tensor, steepness: float) -> Tensor:
    r"""Return the one-vs-all probability of each structure, p = 1 / (1 + exp(k d)).

    Paper 003 prints 1 / (1 + exp(-k z)), which is inverted for distances that are negative inside; its code and DTC's
    compute this one. With d in voxels, k = 2 leaves a soft edge of about a voxel. The papers' k = 1500 on distances of
    -1 to 1, a voxel of which is about 0.015, is a step with a gradient at 1 voxel in 200.

    Args:
        distance: (B, K, *S) float, any range; computed in float32.
        steepness: k, above 0, in 1 / the unit of the distance.

    Returns:
        (B, K, *S) float32, 0 to 1; above 0.5 inside.
    """
    return torch.sigmoid(-steepness * distance.float())


def distance_to_logits(distance: Tensor, steepness: float) -> Tensor:
    r"""Return leaf logits z = (0, -k d_1, ..., -k d_K), whose softmax is the probability of each leaf.

        p_0 = 1 / (1 + sum_j exp(-k d_j)),   p_l = exp(-k d_l) / (1 + sum_j exp(-k d_j))

    With one structure this is ``distance_to_probability``. With several, the most probable leaf of true distances is
    the true one: inside a leaf its exponential is above 1 and every other below, outside all of them none is above 1.

    Args:
        distance: (B, K, *S) float, of the K foreground leaves in their order; computed in float32.
        steepness: k, above 0, in 1 / the unit of the distance.

    Returns:
        (B, K + 1, *S) float32.
    """
    foreground = -steepness * distance.float()
    return torch.cat([torch.zeros_like(foreground[:, :1]), foreground], dim=1)


def squash_distance(distance: Tensor, radius: float) -> Tensor:
    r"""Return tanh(d / r): the distance in radii near the surface, next to -1 or 1 beyond.

    A network with a tanh can reach it, far voxels weigh little, and times r it is d again, 4 % less at r / 3.

    Args:
        distance: (B, K, *S) float, any range and unit; computed in float32.
        radius: r, above 0, in the same unit.

    Returns:
        (B, K, *S) float32, -1 to 1, with the sign of the distance.
    """
    return torch.tanh(distance.float() / radius)


def published_distance(mask: Tensor) -> Tensor:
    r"""Return the targets that the released code of DTC, SASSNet and DTML makes of each crop.

        G = d_out / max d_out - d_in / max d_in,   G = 0 at voxels inside that have a face neighbor outside

    Distances are in voxels between centers, the largest are the crop's own. So the target of a voxel depends on the
    crop, and the inner boundary has p = 0.5: a perfect G loses it. A crop without the structure is 0 everywhere, as
    released; a crop full of it is -1 everywhere, where the released code divides 0 by 0.

    Source: ``compute_sdf`` in DTC's ``utils/util.py``. Computed on the CPU, as there.

    Args:
        mask: (B, K, *S) bool.

    Returns:
        (B, K, *S) float32 on the mask's device, -1 to 1; no gradient.
    """
    masks = mask.cpu().numpy()
    targets = np.zeros(masks.shape, dtype=np.float32)
    for index in np.ndindex(masks.shape[:2]):
        targets[index] = _published(np.ascontiguousarray(masks[index]))
    return torch.from_numpy(targets).to(mask.device)


def distance_error(prediction: Tensor, target: Tensor, known: Tensor, *, absolute: bool = False) -> Tensor:
    r"""Return the mean squared, or absolute, difference over the voxels and structures whose distance is known.

        L = sum_k sum_{v known for k} (d_k - G_k)^2 / number of such (k, v)

    Source: L_dis of paper 003 (eq. 3, squared here; its code takes the absolute value over labeled and unlabeled rows)
    and DTC's 0.3 MSE.

    Args:
        prediction: (B, K, *S) float; computed in float32.
        target: (B, K, *S) float; finite where known; no gradient flows into it.
        known: (B, K, *S) bool.
        absolute: |d - G| instead of its square.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing is known.
    """
    # What is unknown is replaced before it is subtracted: 0 times a NaN would be a NaN.
    difference = prediction.float() - torch.where(known, target.detach().float(), 0.0)
    errors = difference.abs() if absolute else difference.square()
    return torch.where(known, errors, 0.0).sum() / known.sum().clamp_min(1)


def _published(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    if mask.all():
        return np.full(mask.shape, -1, dtype=np.float32)
    to_other_side: np.ndarray = edt.edt(mask.astype(np.uint8) + 1)
    inside = to_other_side / to_other_side[mask].max()
    outside = to_other_side / to_other_side[~mask].max()
    # A face neighbor outside is the only one at distance 1.
    is_edge = mask & (to_other_side == 1)
    target: np.ndarray = np.where(is_edge, 0.0, np.where(mask, -inside, outside))
    return target
