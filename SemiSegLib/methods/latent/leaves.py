"""Between ROIs and leaves: probabilities of leaves from one-vs-all logits, and logits of ROIs from a softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from SemiSegLib.labels.rois import RoiTable

# Keeps quotients of sums that may be 0, and logarithms, finite in float32.
SMALLEST = 1e-30


def leaf_probability(logits: Tensor, table: RoiTable) -> Tensor:
    """Return (B, L, *S) float32 leaf probabilities, summing to 1, by the rules of ``SemiSegLib.labels.rois``.

    Args:
        logits: (B, K, *S) of the ROIs, any range.
        table: the ROIs.
    """
    values = logits.float()
    inside = _within_parents(values, table)
    roots = torch.stack([inside[k] for k in table.roots], dim=1)
    shares = functional.pad(roots, (0, 0) * (roots.ndim - 2) + (1, 0)).softmax(1)
    has: dict[int, Tensor] = {k: shares[:, 1 + place] for place, k in enumerate(table.roots)}
    for k in table.downward:
        children = table.children[k]
        if not children:
            continue
        own = functional.logsigmoid(inside[k])
        claims = torch.stack([(functional.logsigmoid(inside[c]) - own).exp() for c in children], dim=1)
        for place, part in enumerate(_divided(claims).unbind(1)):
            has[children[place]] = has[k] * part
    return torch.stack([shares[:, 0], *(has[k] for k in table.leaf_rois)], dim=1)


def _within_parents(values: Tensor, table: RoiTable) -> dict[int, Tensor]:
    """Return the logits of each ROI, at most those of its parent."""
    inside: dict[int, Tensor] = {}
    for k in table.downward:
        parent = table.parents[k]
        inside[k] = values[:, k] if parent < 0 else torch.minimum(values[:, k], inside[parent])
    return inside


def _divided(claims: Tensor) -> Tensor:
    """Return shares that sum to 1 of (B, n, *S) claims, each 0 to 1: raised, or what the likeliest leaves divided."""
    total = claims.sum(1, keepdim=True)
    best, index = claims.max(1, keepdim=True)
    places = torch.arange(claims.shape[1], device=claims.device).view(1, -1, *(1,) * (claims.ndim - 2))
    # Claims that are all 0, at logits far below any, are equal.
    raised = (claims + SMALLEST) / (total + claims.shape[1] * SMALLEST)
    left = (1 - best) * claims / (total - best).clamp_min(SMALLEST)
    return torch.where(total <= 1, raised, torch.where(places == index, best, left))


def with_background(logits: Tensor) -> Tensor:
    """Return (B, L, *S) float32 leaf logits for those of all leaves but background, whose logit is 0."""
    return functional.pad(logits.float(), (0, 0) * (logits.ndim - 2) + (1, 0))


def roi_logits_of(leaves: Tensor, members: Tensor) -> Tensor:
    """Return (B, K, *S) float32 logits of ROIs from leaf logits: log of the odds of the sum of each ROI's leaves.

        z_k = log sum_{l in k} exp z_l - log sum_{l not in k} exp z_l

    Both sums are formed, so nothing is lost near probabilities of 0 and 1; beyond odds of e^60 it stays there.

    Args:
        leaves: (B, L, *S) float32.
        members: (K, L) bool.
    """
    with torch.autocast(leaves.device.type, enabled=False):
        flat = leaves.float().flatten(2)
        sizes = (flat - flat.detach().amax(1, keepdim=True)).exp()
        own = torch.matmul(members.float(), sizes).clamp_min(SMALLEST)
        others = torch.matmul((~members).float(), sizes).clamp_min(SMALLEST)
        return (own.log() - others.log()).view(len(leaves), len(members), *leaves.shape[2:])
