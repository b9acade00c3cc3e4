"""Losses of a softmax head whose voxels are labeled with sets of leaves: marginal cross entropy and its Dice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class DiceRule:
    """How the Dice of several structures becomes one loss.

    Attributes:
        squared: squares in the denominator (V-Net; papers 000 and 003) instead of plain sums.
        include_background: count leaf 0, and sets that hold it, as structures.
        skip_absent: leave out structures of which the batch holds no sure voxel. Their Dice would be
            1 - e / (sum p + e): nearly 1 with nearly no gradient, so it only hides the others; cross entropy
            teaches that they are absent. The papers keep them.
        per_row: one Dice per row of the batch, averaged, instead of one over the batch.
    """

    squared: bool = False
    include_background: bool = False
    skip_absent: bool = True
    per_row: bool = False


def label_set_loss(
    logits: Tensor, codes: Tensor, label_sets: Tensor, *, rule: DiceRule | None = None
) -> dict[str, Tensor]:
    """Return both losses, sharing one softmax: {"cross_entropy": scalar, "dice": scalar}.

    Args:
        logits: (B, L, *S) float, any range.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool; a row is the leaves that a voxel with that code may be.
        rule: how the Dice is formed.
    """
    log_probability = functional.log_softmax(logits.float(), dim=1)
    return {
        "cross_entropy": _cross_entropy(log_probability, codes, label_sets),
        "dice": label_set_dice(log_probability.exp(), codes, label_sets, rule=rule),
    }


def label_set_cross_entropy(logits: Tensor, codes: Tensor, label_sets: Tensor) -> Tensor:
    r"""Return the mean negative log probability of what each voxel may be.

    With p the softmax of the logits and A(v) the label set of voxel v, over the voxels whose set is not all
    leaves:

        L = mean_v -log sum_{l in A(v)} p_l(v)

    It is 0 where p lies wholly inside A, does not change when p moves between the leaves of A, and has no
    gradient where A is everything. For a single leaf it is the usual cross entropy.

    Source: marginal loss, Shi et al. 2021, eq. 3; label-set losses, Fidon et al. 2021.

    Args:
        logits: (B, L, *S) float, any range; computed in float32.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing in the batch is annotated.
    """
    return _cross_entropy(functional.log_softmax(logits.float(), dim=1), codes, label_sets)


def label_set_dice(probability: Tensor, codes: Tensor, label_sets: Tensor, *, rule: DiceRule | None = None) -> Tensor:
    r"""Return 1 minus the mean soft Dice of the structures that the label sets speak of.

    The structures k are the leaves and every distinct set of several leaves that occurs in the table. With
    q_k = sum_{l in k} p_l, over the voxels V_k at which k is known (A(v) inside k: t = 1, or apart from k: t = 0):

        D_k = (2 sum_{V_k} q_k t + e) / (sum_{V_k} q_k^r + sum_{V_k} t + e),   r = 1, or 2 if squared
        L   = 1 - mean_k D_k

    A voxel drawn as a superclass is unknown for its leaves and known for the superclass, so probability may move
    between its leaves without changing L. Sums run over batch and space, unless the rule says per row.

    Source: leaf-Dice and its superclass counterpart, Fidon et al. 2021; Shi et al. 2021; e = 1e-5.

    Args:
        probability: (B, L, *S), 0 to 1, sums to 1 over L.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool.
        rule: how the structures are counted.

    Returns:
        Scalar, 0 to 1; 0 with a zero gradient if nothing in the batch is annotated.
    """
    rule = rule or DiceRule()
    structures = _structures(label_sets, rule)
    inside = ~(label_sets[:, None, :] & ~structures[None]).any(-1)
    known = inside | ~(label_sets[:, None, :] & structures[None]).any(-1)
    # "Anything" lies inside a structure of all leaves only, which _structures never makes; it is known to none.
    rows = [slice(i, i + 1) for i in range(len(codes))] if rule.per_row else [slice(None)]
    losses = [_dice(probability[row], codes[row], structures, (inside, known), rule) for row in rows]
    return torch.stack(losses).mean() if losses else probability.sum() * 0.0


def downsampled_codes(codes: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return codes (B, *s) on a coarser grid of ``shape`` by taking the nearest voxel, for deep supervision."""
    index = [
        torch.div((torch.arange(n, device=codes.device) * 2 + 1) * size, 2 * n, rounding_mode="floor")
        for n, size in zip(shape, codes.shape[1:], strict=True)
    ]
    for axis, chosen in enumerate(index, start=1):
        codes = codes.index_select(axis, chosen)
    return codes


def superclass_sets(label_sets: Tensor, membership: Tensor) -> Tensor:
    """Return (C, R) bool: superclass r is possible under code c, the table for a superclass head.

    Args:
        label_sets: (C, L) bool.
        membership: (R, L) bool, leaf l lies in superclass r.
    """
    return (label_sets[:, None, :] & membership[None]).any(-1)


def _cross_entropy(log_probability: Tensor, codes: Tensor, label_sets: Tensor) -> Tensor:
    known = ~label_sets.all(1)[codes]
    count = known.sum()
    allowed = functional.embedding(codes, label_sets).movedim(-1, 1)
    marginal = log_probability.masked_fill(~allowed, -torch.inf).logsumexp(1)
    return -torch.where(known, marginal, 0.0).sum() / count.clamp_min(1)


def _structures(label_sets: Tensor, rule: DiceRule) -> Tensor:
    """Return (K, L) bool: leaves, then distinct sets of several but not all leaves."""
    leaves = torch.eye(label_sets.shape[1], dtype=torch.bool, device=label_sets.device)
    sizes = label_sets.sum(1)
    groups = label_sets[(sizes > 1) & (sizes < label_sets.shape[1])]
    structures = torch.cat([leaves, torch.unique(groups, dim=0)])
    return structures if rule.include_background else structures[~structures[:, 0]]


def _dice(
    probability: Tensor, codes: Tensor, structures: Tensor, targets: tuple[Tensor, Tensor], rule: DiceRule
) -> Tensor:
    inside, known = (table.to(probability.dtype) for table in targets)
    flat = probability.movedim(1, -1).reshape(-1, structures.shape[1])
    structure_probability = flat @ structures.to(flat.dtype).T
    codes = codes.reshape(-1)
    # Sums per code, so that every structure's sums are a small product: one pass over the voxels serves all.
    one_hot = (codes[None] == torch.arange(len(inside), device=codes.device)[:, None]).to(flat.dtype)
    sums = one_hot @ structure_probability
    counts = one_hot.sum(1)
    overlap = (inside * sums).sum(0)
    mass = (known * (one_hot @ structure_probability.square() if rule.squared else sums)).sum(0)
    positive = inside.T @ counts
    dice = (2 * overlap + EPSILON) / (mass + positive + EPSILON)
    counted = (positive > 0) if rule.skip_absent else (known.T @ counts > 0)
    return torch.where(counted, 1 - dice, 0.0).sum() / counted.sum().clamp_min(1)
