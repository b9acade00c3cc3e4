"""Losses of a softmax head whose voxels are labeled with sets of leaves: marginal cross entropy and its Dice.

Both need only sums of probabilities over the voxels of each code, because everything a label says depends on the code
alone. So the voxels are passed over once, and the structures are worked out on a small (code, leaf) table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.losses.marginal import SoftmaxMarginal, one_hot_codes

EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class DiceRule:
    """How the Dice of several structures becomes one loss.

    Attributes:
        squared: squares in the denominator (V-Net; papers 000 and 003) instead of plain sums.
        include_background: count leaf 0, and sets that hold it, as structures (papers 000; nnU-Net does not).
        skip_absent: leave out structures of which the batch holds no sure voxel. Their Dice loss would be
            1 - e / (sum p + e): next to 1, with a gradient that is next to 0 until the last voxel is gone and then
            jumps to 1 / e. It would only add a constant and lower the weight of the structures that are there;
            cross entropy teaches that the absent ones are absent. The papers keep them.
        per_row: one Dice per row of the batch, averaged, instead of one over the batch.
        follows_emphasis: the loss of a structure is multiplied by the mean emphasis, 0 to 1, of its sure voxels, so
            that voxels which all count next to nothing teach next to nothing; without it they teach as if all counted
            fully.
    """

    squared: bool = False
    include_background: bool = False
    skip_absent: bool = True
    per_row: bool = False
    follows_emphasis: bool = False


def label_set_loss(
    logits: Tensor,
    codes: Tensor,
    label_sets: Tensor,
    *,
    rule: DiceRule | None = None,
    emphasis: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return ``label_set_cross_entropy`` and ``label_set_dice`` by the names "cross_entropy" and "dice".

    They share one softmax and one pass over the codes. Codes are numbers of rows and nothing else: their order in the
    table changes nothing.

    Args:
        logits: (B, L, *S) float, any range and memory format; computed in float32 whatever autocast says.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool; a row is the leaves that a voxel with that code may be.
        rule: how the Dice is formed.
        emphasis: (B, *S), at least 0, or None for 1 everywhere; no gradient flows into it. The cross entropy is the
            mean of its values times the emphasis, so 2 everywhere doubles it; every voxel counts in the sums of the
            Dice as often as its emphasis says, so 2 everywhere changes nothing, unless the rule follows it.
    """
    with torch.autocast(logits.device.type, enabled=False):
        one_hot = one_hot_codes(codes, len(label_sets), _precision(logits))
        probability, negative_log = _softmax(logits, one_hot, label_sets)
        counted = one_hot
        if emphasis is not None:
            factor = emphasis.detach().flatten(1).to(one_hot.dtype)
            negative_log, counted = negative_log * factor, one_hot * factor.unsqueeze(1)
        return {
            "cross_entropy": _mean_of_known(negative_log, one_hot, label_sets),
            "dice": _dice(probability, counted, label_sets, rule or DiceRule(), plain=one_hot),
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
        logits: (B, L, *S) float, any range and memory format; computed in float32 whatever autocast says.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool; a row is the leaves that a voxel with that code may be.

    Returns:
        Scalar, at least 0; 0 with a zero gradient if nothing in the batch is annotated.
    """
    with torch.autocast(logits.device.type, enabled=False):
        one_hot = one_hot_codes(codes, len(label_sets), _precision(logits))
        _, negative_log = _softmax(logits, one_hot, label_sets)
        return _mean_of_known(negative_log, one_hot, label_sets)


def label_set_dice(probability: Tensor, codes: Tensor, label_sets: Tensor, *, rule: DiceRule | None = None) -> Tensor:
    r"""Return 1 minus the mean soft Dice of the structures that the label sets speak of.

    The structures k are the leaves and every distinct set of several, but not all, leaves that a voxel of the batch
    carries: for full labels this is the usual Dice, whatever else the table holds. With
    q_k = sum_{l in k} p_l, over the voxels V_k at which k is known (A(v) inside k: t = 1, or apart from k: t = 0):

        D_k = (2 sum_{V_k} q_k t + e) / (sum_{V_k} q_k^r + sum_{V_k} t + e),   r = 1, or 2 if squared
        L   = 1 - mean_k D_k

    A voxel drawn as a superclass is unknown for its leaves and known for the superclass, so probability may move
    between its leaves without changing L. Sums run over batch and space, unless the rule says per row. Which
    structures count in the mean is the rule's; one that is known at no voxel never does.

    Source: leaf-Dice and its superclass counterpart, Fidon et al. 2021; Shi et al. 2021; e = 1e-5 stands in numerator
    and denominator, so a structure empty in label and prediction has Dice 1 (nnU-Net).

    Args:
        probability: (B, L, *S), 0 to 1, sums to 1 over L.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool; a row is the leaves that a voxel with that code may be.
        rule: how the structures are counted.

    Returns:
        Scalar, 0 to 1; 0 with a zero gradient if nothing in the batch is annotated.
    """
    with torch.autocast(probability.device.type, enabled=False):
        dtype = _precision(probability)
        one_hot = one_hot_codes(codes, len(label_sets), dtype)
        return _dice(probability.flatten(2).to(dtype), one_hot, label_sets, rule or DiceRule())


def superclass_sets(label_sets: Tensor, membership: Tensor) -> Tensor:
    """Return (C, R) bool: superclass r is possible under code c, the table for a superclass head.

    Args:
        label_sets: (C, L) bool.
        membership: (R, L) bool, leaf l lies in superclass r.
    """
    return (label_sets[:, None, :] & membership[None]).any(-1)


def _precision(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _softmax(logits: Tensor, one_hot: Tensor, label_sets: Tensor) -> tuple[Tensor, Tensor]:
    # Classes are few: passes over (class, voxel) rows run many times faster than over (voxel, class) ones.
    flat = logits.to(one_hot.dtype).flatten(2).contiguous()
    probability, negative_log = SoftmaxMarginal.apply(flat, one_hot, label_sets.to(one_hot.dtype))  # type: ignore[no-untyped-call]
    return probability, negative_log


def _mean_of_known(values: Tensor, one_hot: Tensor, label_sets: Tensor) -> Tensor:
    """Return the mean of (B, V) values over the voxels whose set is not everything."""
    known = (~label_sets.all(1)).to(values.dtype)
    mask = torch.matmul(known, one_hot)
    return (values * mask).sum() / mask.sum().clamp_min(1.0)


def structures_of(
    label_sets: Tensor, counts: Tensor, *, include_background: bool, only_eligible: bool
) -> tuple[Tensor, Tensor]:
    """Return (K, L) bool structures, and (K,) bool which are eligible.

    Eligible are the leaves, then the distinct sets of several but not all leaves that occur.

    Args:
        label_sets: (C, L) bool.
        counts: (C,), voxels with each code.
        include_background: structures that hold leaf 0 are eligible too.
        only_eligible: leave the others out. To know how many there are a host waits for its device; all K = L + C of
            them cost a device next to nothing.
    """
    leaf_count = label_sets.shape[1]
    sizes = label_sets.sum(1)
    same = (label_sets[:, None] == label_sets[None]).all(-1)
    is_repeated = same.tril(-1).any(1)
    occurs = (same & (counts > 0)).any(1)
    is_group = (sizes > 1) & (sizes < leaf_count) & ~is_repeated & occurs
    leaves = torch.eye(leaf_count, dtype=torch.bool, device=label_sets.device)
    structures = torch.cat([leaves, label_sets])
    is_eligible = torch.cat([torch.ones_like(leaves[0]), is_group])
    if not include_background:
        is_eligible = is_eligible & ~structures[:, 0]
    return (structures[is_eligible], is_eligible[is_eligible]) if only_eligible else (structures, is_eligible)


def _dice(
    probability: Tensor, one_hot: Tensor, label_sets: Tensor, rule: DiceRule, *, plain: Tensor | None = None
) -> Tensor:
    """Return the Dice loss of (B, L, V) probabilities.

    Args:
        probability: (B, L, V).
        one_hot: (B, C, V), each voxel's code, times its emphasis if there is one.
        label_sets: (C, L) bool.
        rule: how the structures are counted.
        plain: (B, C, V), each voxel's code; None where there is no emphasis.
    """
    dtype = probability.dtype
    counts = one_hot.sum(2, keepdim=True)
    structures, is_eligible = structures_of(
        label_sets,
        counts.sum((0, 2)),
        include_background=rule.include_background,
        only_eligible=label_sets.is_cpu,
    )
    is_inside = ~(label_sets[:, None] & ~structures[None]).any(-1)
    inside = is_inside.to(dtype)
    known = (is_inside | ~(label_sets[:, None] & structures[None]).any(-1)).to(dtype)
    members = structures.to(dtype)
    # (B, C, K): the mass of each structure over the voxels of each code.
    sums = torch.bmm(one_hot, probability.transpose(1, 2)) @ members.T
    masses = sums
    if rule.squared:
        masses = torch.bmm(one_hot, torch.matmul(members, probability).square().transpose(1, 2))
    if not rule.per_row:
        sums, masses, counts = (part.sum(0, keepdim=True) for part in (sums, masses, counts))
    positive = (inside * counts).sum(1)
    dice = (2 * (inside * sums).sum(1) + EPSILON) / ((known * masses).sum(1) + positive + EPSILON)
    counted = is_eligible & (positive > 0 if rule.skip_absent else (known * counts).sum(1) > 0)
    losses = 1 - dice
    if rule.follows_emphasis and plain is not None:
        voxels = plain.sum(2) if rule.per_row else plain.sum((0, 2)).unsqueeze(0)
        losses = losses * positive / (inside * voxels.unsqueeze(-1)).sum(1).clamp_min(1.0)
    return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp_min(1)
