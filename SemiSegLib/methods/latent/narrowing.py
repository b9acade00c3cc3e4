"""Labels narrowed by a teacher and by what is in the image: what a voxel may be becomes less (ours).

Of voxel v of a row the labels allow the leaves A(v). What the presence network and the teacher know of structures that
the row leaves open there takes leaves away from it:

    A'(v) = A(v) without the leaves of negative structures, and without those from whose largest piece, where the
            teacher sees it, v lies farther than labels show, see ``pieces``
    A''(v) = {l*} and the leaves of ambiguous structures in A'(v),  l* = argmax_{l in A'} t_l,
             where t_l* / sum_{l in A'} t_l > sure and l* is not ambiguous; else A'(v)

with t the teacher's probabilities. What a label says stays true: A'' is never anything but a part of A. A structure
that was drawn, and a part of an organ that was drawn as a whole, are not narrowed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from SemiSegLib.losses.marginal import one_hot_codes
from SemiSegLib.methods.latent.pieces import Pieces

# Keeps quotients of probabilities that may all be 0 finite in float32.
SMALLEST = 1e-30


def allowed_leaves(codes: Tensor, label_sets: Tensor) -> Tensor:
    """Return (B, L, *S) bool, what the label of each voxel allows.

    Args:
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool.
    """
    # A product with one-hot codes; looking each voxel's code up in the table takes several times as long.
    one_hot = one_hot_codes(codes, len(label_sets), torch.float32)
    with torch.autocast(codes.device.type, enabled=False):
        found = torch.matmul(label_sets.T.float(), one_hot) > 0.5
    return found.view(len(codes), label_sets.shape[1], *codes.shape[1:])


def narrowed(  # noqa: PLR0913 - all that is known of a voxel
    allowed: Tensor,
    teacher: Tensor,
    *,
    is_open: Tensor,
    negative: Tensor,
    ambiguous: Tensor,
    sure: float,
    pieces: Pieces | None = None,
) -> Tensor:
    """Return (B, L, *S) bool, what each voxel may be, at least one leaf; see the module.

    Args:
        allowed: (B, L, *S) bool, what the labels allow, at least one leaf.
        teacher: (B, L, *S) leaf probabilities.
        is_open: (B, L, *S) bool, no label teaches the leaf there; background is not open.
        negative: (B, L) bool, leaves that are not in the image.
        ambiguous: (B, L) bool, leaves that may be in it.
        sure: share of what the label leaves possible, above which the teacher is believed; 0.5 to 1.
        pieces: tells where a leaf cannot be; None if it may be anywhere.
    """
    spread = (*negative.shape, *(1,) * (allowed.ndim - 2))
    absent, unclear = negative.view(spread), ambiguous.view(spread)
    less = _without(is_open & absent, allowed)
    # Of what was looked for a label has said all that anybody knows.
    is_asked = ~(allowed & ~is_open)[:, 1:].any(1, keepdim=True)
    if pieces is not None:
        index, is_sure = _decision(teacher, less, sure)
        far = pieces.too_far(index[:, 0], is_sure[:, 0], is_open.flatten(2).any(2))
        less = _without(is_asked & far, less)
    index, is_sure = _decision(teacher, less, sure)
    decided = torch.zeros_like(less).scatter_(1, index, True)
    is_taught = is_asked & is_sure & ~(decided & unclear).any(1, keepdim=True)
    return torch.where(is_taught, decided | (less & unclear), less)


def _decision(teacher: Tensor, allowed: Tensor, sure: float) -> tuple[Tensor, Tensor]:
    """Return (B, 1, *S) the most probable leaf of those that are allowed, and whether the teacher is sure of it."""
    share = teacher * allowed
    best, index = share.max(1, keepdim=True)
    return index, best > sure * share.sum(1, keepdim=True).clamp_min(SMALLEST)


def _without(excluded: Tensor, allowed: Tensor) -> Tensor:
    """Return what is allowed without what is excluded; where that is all of it, the label holds."""
    less = allowed & ~excluded
    return torch.where(less.any(1, keepdim=True), less, allowed)


def without_background(leaves: Tensor) -> Tensor:
    """Return (B, L, *) bool in which background is False, for (B, L - 1, *) of the leaves from 1 on."""
    return torch.cat([torch.zeros_like(leaves[:, :1]), leaves], dim=1)
