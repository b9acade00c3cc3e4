"""Marginal losses of voxels of which each has a set of leaves of its own: labels that a teacher has narrowed.

``label_set_loss`` is for labels, whose few sets are known before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from SemiSegLib.losses.label_set import EPSILON
from SemiSegLib.losses.marginal import SoftmaxMarginal
from SemiSegLib.losses.resolutions import mean_over_resolutions


def allowed_loss(logits: Tensor, allowed: Tensor, members: Tensor) -> dict[str, Tensor]:
    r"""Return marginal cross entropy and Dice by the names "cross_entropy" and "dice".

    With p the softmax of the logits, A(v) what voxel v may be, K the voxels that may not be everything, q_k the sum of
    p over the leaves of structure k, and V_k the voxels that surely lie in it (A inside k, t = 1) or not (t = 0):

        L_CE = mean_{v in K} -log sum_{l in A(v)} p_l(v)
        L_D  = mean_k 1 - (2 sum_{V_k} q_k t + e) / (sum_{V_k} q_k + sum_{V_k} t + e)

    Sums run over batch and space. The Dice is that of ``label_set_dice``: of leaves that are surely somewhere, and of
    structures of several leaves that some voxel is said to be, without saying which of them.

    Args:
        logits: (B, L, *S) float, any range and memory format; computed in float32 whatever autocast says.
        allowed: (B, L, *S) bool, at least one leaf at each voxel.
        members: (K, L) bool, the leaves of each structure; background is in none.

    Returns:
        Scalars, at least 0; 0 with a zero gradient where nothing is taught.
    """
    with torch.autocast(logits.device.type, enabled=False):
        flat = logits.float().flatten(2).contiguous()
        may = allowed.flatten(2).to(flat.dtype)
        leaves = torch.eye(may.shape[1], dtype=flat.dtype, device=flat.device)
        probability, negative_log = SoftmaxMarginal.apply(flat, may, leaves)  # type: ignore[no-untyped-call]
        count = may.sum(1, keepdim=True)
        taught = (count[:, 0] < may.shape[1]).to(flat.dtype)
        table = members.to(flat.dtype)
        own = torch.matmul(table, may)
        is_inside = own == count
        surely, never = is_inside.to(flat.dtype), (own == 0).to(flat.dtype)
        mass = torch.matmul(table, probability)
        size = surely.sum((0, 2))
        dice = (2 * (mass * surely).sum((0, 2)) + EPSILON) / ((mass * (surely + never)).sum((0, 2)) + size + EPSILON)
        width = table.sum(1)
        is_said = (is_inside & (count == width.view(1, -1, 1))).flatten(2).any(2).any(0)
        counted = (size > 0) & ((width == 1) | is_said)
        return {
            "cross_entropy": (negative_log * taught).sum() / taught.sum().clamp_min(1.0),
            "dice": torch.where(counted, 1 - dice, 0.0).sum() / counted.sum().clamp_min(1),
        }


def deep_allowed_loss(
    logits: Sequence[Tensor], strides: Sequence[Sequence[int]], allowed: Tensor, members: Tensor
) -> dict[str, Tensor]:
    """Return the losses averaged over resolutions, see ``mean_over_resolutions``.

    Args:
        logits: (B, L, *Si), finest first.
        strides: of each but the finest, per axis.
        allowed: (B, L, *S) bool, at the finest resolution.
        members: (K, L) bool, the leaves of each structure.
    """

    def coarser() -> Iterator[dict[str, Tensor]]:
        for values, stride in zip(logits[1:], strides, strict=True):
            under = (slice(None), slice(None), *(slice(None, None, step) for step in stride))
            yield allowed_loss(values, allowed[under], members)

    return mean_over_resolutions(allowed_loss(logits[0], allowed, members), coarser())
