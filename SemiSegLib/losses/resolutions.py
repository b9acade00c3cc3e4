"""Losses of several resolutions made one: each weighs half of the next finer one, as in nnU-Net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def mean_over_resolutions(finest: Mapping[str, Tensor], coarser: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weighted mean of each loss; the weights 1, 1/2, 1/4, ... are divided by their sum.

    Args:
        finest: losses of the finest resolution, by name.
        coarser: those of the others, finest first, in the same order; their names may differ.
    """
    weight = total = 1.0
    sums = dict(finest)
    for found in coarser:
        weight /= 2
        total += weight
        for name, value in zip(sums, found.values(), strict=True):
            sums[name] = sums[name] + weight * value
    return {name: value / total for name, value in sums.items()}
