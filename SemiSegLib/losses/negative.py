"""Negative learning of paper 000: what a superclass rules out, balanced over the superclasses."""

from __future__ import annotations

import torch
from torch import Tensor

from SemiSegLib.losses.label_set import superclass_sets
from SemiSegLib.losses.marginal import SoftmaxMarginal, one_hot_codes


def negative_cross_entropy(
    logits: Tensor, codes: Tensor, label_sets: Tensor, membership: Tensor, *, balanced: bool = True
) -> Tensor:
    r"""Return the marginal cross entropy of the superclasses, computed from leaf logits.

    With p the softmax of the logits, S(v) the superclasses that the label of voxel v allows and q_S the sum of p over
    the leaves of S, over the distinct sets S that occur, but for the set of all:

        balanced:      L = (2 / R) sum_S mean_{v: S(v) = S} -log q_S(v)
        not balanced:  L = mean_{v} -log q_S(v)

    For R = 2 the first is the released formula, -mean_{y=1} log(1 - p_bg) - mean_{y=0} log p_bg, where the mean over no
    voxel is 0; 2 / R keeps its size for any number of superclasses. A partial label that leaves several superclasses
    open, but not all, is a set of its own.

    Source: paper 000 (Efficient Subclass Segmentation), row "NL", and its code (``utils/losses.py``).

    Args:
        logits: (B, L, *S) float, any range and memory format; computed in float32 whatever autocast says.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool; a row is the leaves that a voxel with that code may be.
        membership: (R, L) bool, leaf l lies in superclass r.
        balanced: every superclass counts alike, however few voxels it has.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing in the batch is annotated.
    """
    with torch.autocast(logits.device.type, enabled=False):
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        sets = superclass_sets(label_sets, membership)
        leaves = (sets[:, :, None] & membership[None]).any(1)
        one_hot = one_hot_codes(codes, len(label_sets), dtype)
        flat = logits.to(dtype).flatten(2).contiguous()
        _, negative_log = SoftmaxMarginal.apply(flat, one_hot, leaves.to(dtype))  # type: ignore[no-untyped-call]
        sums = torch.einsum("bv,bcv->c", negative_log, one_hot)
        counts = one_hot.sum((0, 2))
        is_known = (~sets.all(1)).to(dtype)
        if not balanced:
            return (is_known * sums).sum() / (is_known * counts).sum().clamp_min(1.0)
        same = (sets[:, None] == sets[None]).all(-1)
        is_first = is_known * (~same.tril(-1).any(1)).to(dtype)
        groups = same.to(dtype)
        means = (groups @ sums) / (groups @ counts).clamp_min(1.0)
        return 2 / len(membership) * (is_first * means).sum()
