"""Pseudo-labels: leaves that a network is sure of, twice if asked, and that the label of the voxel allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from SemiSegLib.batches.views import View, kept_turns

# No class asks for more confidence than this (FixMatch, Sohn et al. 2020): a network that is always sure would
# otherwise leave out half of what it is sure of.
MOST_CONFIDENCE = 0.95
# Share of its past that a running mean of confidence keeps at each step; 50 steps of memory. Ours.
KEPT = 0.98


def conditioned(probability: Tensor, allowed: Tensor) -> Tensor:
    """Return p_l / sum over the allowed leaves, 0 for the others: which leaf, given what the label says.

    Args:
        probability: (B, L, *S), sums to 1 over L.
        allowed: (B, L, *S) bool, at least one leaf per voxel.
    """
    inside = torch.where(allowed, probability, 0.0)
    # Where the network finds every allowed leaf next to impossible the result stays below any threshold.
    return inside / inside.sum(1, keepdim=True).clamp_min(1e-6)


def least_confidence(choices: Tensor) -> Tensor:
    """Return what an adapted threshold is at least, half of the way from chance to certainty: 1/n + (1 - 1/n) / 2.

    The running mean of a network that does not know two leaves apart is 1/2, and half of its guesses lie above it.

    Args:
        choices: (B, *S) int64 n, the leaves that confidence is divided between; where it is one, nothing is asked.
    """
    return torch.where(choices > 1, (1 + 1 / choices) / 2, 0.0)


def agreed(probability: Tensor, other: Tensor | None, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Return what two views agree on: the likeliest leaf of the first, and how sure both are of it.

        c* = argmax_l p_l;   confidence = min(p_c*, p'_c*), or 0 if argmax p' is not c* or the label excludes c*

    Args:
        probability: (B, L, *S) of the image.
        other: the same of another view of it, turned back, or None if there is one view only.
        allowed: (B, L, *S) bool, what the label says.

    Returns:
        (B, *S) int64 leaf, (B, *S) float confidence.
    """
    confidence, leaf = probability.max(1)
    index = leaf.unsqueeze(1)
    is_kept = allowed.gather(1, index).squeeze(1)
    if other is not None:
        is_kept = is_kept & (other.argmax(1) == leaf)
        confidence = torch.minimum(confidence, other.gather(1, index).squeeze(1))
    return leaf, torch.where(is_kept, confidence, 0.0)


def one_hot(leaf: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Return (B, count, *S) float with 1 at the leaf of each chosen voxel, for (B, *S) leaves."""
    own = torch.arange(count, device=leaf.device).view(1, -1, *(1,) * (leaf.ndim - 1))
    return ((leaf.unsqueeze(1) == own) & chosen.unsqueeze(1)).float()


def released_pseudo_labels(probability: Tensor, other: Tensor, of_superclass: Tensor, threshold: float) -> Tensor:
    """Return (B, L, *S) float pseudo-labels by the rule of paper 000's released code.

    A leaf is taken where both views give it more than the threshold: below 0.5 that can be two leaves at one voxel.

    Args:
        probability: (B, L, *S) of the image.
        other: the same of another view of it, turned back.
        of_superclass: (B, L, *S) bool, the leaf lies in the superclass of the label.
        threshold: 0 to 1.
    """
    return ((probability > threshold) & (other > threshold) & of_superclass).float()


def draw_turn(shape: tuple[int, ...], spacing_mm: Sequence[float], *, always_flips: bool = False) -> View:
    """Return a random turn and flip that keeps the shape of a patch, from torch's generator.

    Any plane may turn, by quarters where its two axes and its voxels are equally long along both and by halves where
    not; each axis is flipped with probability 0.5. The released code turns the first two axes and always flips exactly
    one of them.

    Args:
        shape: spatial shape.
        spacing_mm: along the same axes.
        always_flips: do as the released code does.
    """
    count = len(shape)
    planes = [(0, 1)] if always_flips else [(a, b) for a in range(count) for b in range(a + 1, count)]
    plane = planes[_draw(len(planes))]
    turns = kept_turns(_draw(4), plane, shape, spacing_mm)
    if always_flips:
        flipped = _draw(2)
        return View(tuple(axis == flipped for axis in range(count)), turns, plane)
    return View(tuple(bool(_draw(2)) for _ in range(count)), turns, plane)


def _draw(count: int) -> int:
    return int(torch.randint(count, ()))


class AdaptiveThreshold(nn.Module):
    """A threshold per leaf that follows how sure the network is of it: the running mean of its confidence.

    So about half of what is taken for a leaf becomes a pseudo-label, for rare and hard leaves as for others (after
    FreeMatch, Wang et al. 2023, arXiv 2205.07246, whose threshold of a class is relative to the surest one). The mean
    counts the current step too, all of its batches so far, but takes them in for good only in ``follow``: a step that
    is skipped leaves no trace, once the trainer has put the buffers back.

    Args:
        count: leaves.
    """

    mean: Tensor
    seen: Tensor
    step_counts: Tensor
    step_sums: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("seen", torch.zeros(count))
        # Voxels of the current step by leaf, and their confidence; a step may be several batches.
        self.register_buffer("step_counts", torch.zeros(count), persistent=False)
        self.register_buffer("step_sums", torch.zeros(count), persistent=False)

    @torch.no_grad()
    def forward(self, leaf: Tensor, confidence: Tensor, counted: Tensor) -> Tensor:
        """Return (L,) thresholds.

        Args:
            leaf: (B, *S) int64, the likeliest leaf.
            confidence: (B, *S) of it.
            counted: (B, *S) bool, voxels whose label leaves a choice and whose two views agree.
        """
        weight = counted.flatten().to(self.mean.dtype)
        index, empty = leaf.flatten(), torch.zeros_like(self.mean)
        self.step_counts = self.step_counts + empty.index_add(0, index, weight)
        sums = empty.index_add(0, index, weight * confidence.flatten().to(self.mean.dtype))
        self.step_sums = self.step_sums + sums
        return (self.mean + self._change()).clamp_max(MOST_CONFIDENCE)

    @torch.no_grad()
    def follow(self) -> None:
        """Take the step in for good."""
        self.mean += self._change()
        self.seen += (self.step_counts > 0).to(self.seen.dtype)
        self.step_counts = torch.zeros_like(self.step_counts)
        self.step_sums = torch.zeros_like(self.step_sums)

    def _change(self) -> Tensor:
        """Return what the current step adds to the mean."""
        now = self.step_sums / self.step_counts.clamp_min(1.0)
        # The mean of the steps in which the leaf was seen, until there are enough of them to forget the first.
        rate = (self.step_counts > 0).to(self.mean.dtype) * torch.clamp_min(1 / (self.seen + 1), 1 - KEPT)
        return rate * (now - self.mean)
