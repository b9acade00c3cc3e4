"""Softmax and marginal probability together, with their gradient written out.

These two are the whole cost of a label-set loss. Composed of PyTorch's operators they take 5 times as long on a CPU,
most of it in passes over memory that the closed form of the gradient does not need.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Below this, a float32 sum of probabilities has lost digits; such voxels are computed again with logarithms.
SMALLEST_SUM = 1e-20


class SoftmaxMarginal(torch.autograd.Function):
    r"""Softmax p of logits z and the negative log of the probability of a set A per voxel.

        n = -log sum_{l in A} p_l        dn/dz = p - r,   r_l = [l in A] p_l / sum_{A} p

    Takes (B, L, V) logits, (B, C, V) one-hot codes and the (C, L) table of sets as 0 and 1, all of one float type;
    gives p (B, L, V) and n (B, V).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, one_hot: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """Return p and n."""
        probability = logits.softmax(1)
        share = torch.matmul(table.T, one_hot).mul_(probability)
        total = share.sum(1)
        share /= total.clamp_min(SMALLEST_SUM).unsqueeze(1)
        negative_log = -total.clamp_min(SMALLEST_SUM).log()
        # Voxels whose set is nearly impossible; none in all but the worst steps.
        mend = mend_found if logits.is_cpu else mend_everywhere
        negative_log, share = mend(total < SMALLEST_SUM, negative_log, share, (logits, one_hot, table))
        ctx.save_for_backward(probability, share)
        return probability, negative_log

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_probability: Tensor, of_log: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the logits."""
        probability, share = ctx.saved_tensors
        mean = (probability * of_probability).sum(1, keepdim=True)
        weight = of_log.unsqueeze(1)
        gradient = of_probability - (mean - weight)
        gradient.mul_(probability).addcmul_(share, weight, value=-1)
        return gradient, None, None


def one_hot_codes(codes: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Return (B, count, V) with 1 at the code of each voxel, for (B, *S) int64 codes."""
    flat = codes.flatten(1).unsqueeze(1)
    result = torch.zeros(flat.shape[0], count, flat.shape[2], dtype=dtype, device=codes.device)
    return result.scatter_(1, flat, 1.0)


def mend_found(
    wrong: Tensor, negative_log: Tensor, share: Tensor, inputs: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return n and r, computed again by logarithms at the wrong voxels: looks for them, which is cheap on a CPU.

    Args:
        wrong: (B, V) bool.
        negative_log: n (B, V), changed in place.
        share: r (B, L, V), changed in place.
        inputs: those of ``SoftmaxMarginal``.
    """
    row, voxel = wrong.nonzero(as_tuple=True)
    if len(row):
        logits, one_hot, table = inputs
        exact, inside = _by_logarithms(logits[row, :, voxel], one_hot[row, :, voxel] @ table > 0)
        negative_log[row, voxel] = exact
        share[row, :, voxel] = inside
    return negative_log, share


def mend_everywhere(
    wrong: Tensor, negative_log: Tensor, share: Tensor, inputs: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return what ``mend_found`` returns, without asking how many there are, for which a host waits for its device."""
    logits, one_hot, table = inputs
    exact, inside = _by_logarithms(logits, torch.matmul(table.T, one_hot) > 0)
    return torch.where(wrong, exact, negative_log), torch.where(wrong.unsqueeze(1), inside, share)


def _by_logarithms(logits: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Return n and r of (N, L) or (B, L, V) logits by log-sum-exp, which no difference of logits can overflow."""
    inside = logits.masked_fill(~allowed, -torch.inf)
    return logits.logsumexp(1) - inside.logsumexp(1), inside.softmax(1)
