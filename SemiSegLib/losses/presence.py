"""What labels say about which structures a patch holds."""

from __future__ import annotations

import torch
from torch import Tensor


def presence_targets(codes: Tensor, label_sets: Tensor, members: Tensor, minimum: Tensor) -> tuple[Tensor, Tensor]:
    """Return which structures each patch holds, and which of these answers are known.

    A structure is there if at least ``minimum`` voxels surely belong to it. It is not there if no voxel may belong to
    it. Else it is unknown: where nobody looked, and where less of it than the minimum is there, for a sliver at the
    border of a patch would teach the network to say yes to anything.

    Args:
        codes: (B, *S) integer, rows of ``label_sets``.
        label_sets: (N, L) bool, the leaves that a voxel with each code may be.
        members: (K, L) bool, the leaves of each structure.
        minimum: (K,) voxels, at least 1.

    Returns:
        target: (B, K) bool.
        known: (B, K) bool.
    """
    flat = codes.flatten(1)
    counts = torch.zeros((len(flat), len(label_sets)), dtype=torch.float64, device=codes.device)
    counts.scatter_add_(1, flat, torch.ones((), dtype=torch.float64, device=codes.device).expand(flat.shape))
    may_be = (label_sets[:, None] & members[None]).any(-1)
    is_surely = may_be & ~(label_sets[:, None] & ~members[None]).any(-1)
    target = counts @ is_surely.double() >= minimum.double()
    absent = counts @ may_be.double() == 0
    return target, target | absent
