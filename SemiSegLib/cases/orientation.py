"""The exact way to the canonical axis order and back: axes are permuted and flipped, nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from SemiSegLib.cases.volume import Geometry

# Canonical array axes (D, H, W) point toward superior, posterior and left: LPS coordinates 2, 1 and 0.
CANONICAL_AXES = (2, 1, 0)


@dataclass(frozen=True)
class Orientation:
    """How to bring array axes to canonical order.

    Attributes:
        order: for each canonical axis the axis of the given array.
        flips: for each canonical axis whether it runs backward in the given array.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return an array (*, D, H, W) in canonical order, contiguous; leading axes are kept."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.ascontiguousarray(np.flip(turned, self._flipped(lead)))

    def undo(self, array: np.ndarray) -> np.ndarray:
        """Return a canonical array (*, D, H, W) in the order it came in, contiguous."""
        lead = array.ndim - 3
        back = np.argsort(self.order)
        turned = np.flip(array, self._flipped(lead)).transpose(*range(lead), *(lead + int(axis) for axis in back))
        return np.ascontiguousarray(turned)

    def apply_geometry(self, geometry: Geometry) -> Geometry:
        """Return the grid of the canonical array; every voxel keeps its place in space."""
        to_source = np.zeros((4, 4))
        to_source[3, 3] = 1.0
        for axis, (source, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            to_source[source, axis] = -1.0 if flip else 1.0
            to_source[source, 3] = geometry.shape[source] - 1 if flip else 0.0
        d, h, w = (geometry.shape[source] for source in self.order)
        return Geometry((d, h, w), geometry.affine @ to_source)

    def _flipped(self, lead: int) -> tuple[int, ...]:
        return tuple(lead + axis for axis, flip in enumerate(self.flips) if flip)


def closest_orientation(geometry: Geometry) -> Orientation:
    """Return the permutation and flips after which array axes run closest to superior, posterior and left."""
    direction = geometry.direction
    best, best_score = Orientation((0, 1, 2), (False, False, False)), -np.inf
    for first, second, third in permutations(range(3)):
        order = (first, second, third)
        along = [direction[target, axis] for target, axis in zip(CANONICAL_AXES, order, strict=True)]
        flip_d, flip_h, flip_w = (bool(value < 0) for value in along)
        candidate = Orientation(order, (flip_d, flip_h, flip_w))
        turned = candidate.apply_geometry(geometry).direction
        # At exactly 45 degrees two orders are equally close. The small term depends on the place in space alone,
        # so that every permuted copy of one scan gets the same canonical axes.
        score = sum(abs(value) for value in along) + 1e-6 * float(turned[0, 0] + 2 * turned[0, 1] + 4 * turned[1, 0])
        if score > best_score:
            best, best_score = candidate, score
    return best
