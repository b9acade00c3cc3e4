"""Views of one patch for consistency: turns that can be undone exactly, and strong changes of intensity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from SemiSegLib.batches.augment import AUGMENTATIONS, Augmentation
from SemiSegLib.batches.grid import is_square
from SemiSegLib.batches.intensity import change_intensity

# The noise of the teacher's input in mean-teacher methods (UA-MT, Yu et al. 2019): deviation 0.1, cut at 0.2.
WEAK_NOISE = 0.1
# Intensity changes of the strong view: every kind often, over nnU-Net's ranges. Ours.
STRONG = replace(
    AUGMENTATIONS["full"],
    noise_probability=0.5,
    blur_probability=0.5,
    brightness_probability=0.5,
    contrast_probability=0.5,
    low_resolution_probability=0.5,
    gamma_probability=0.5,
    inverted_gamma_probability=0.2,
    histogram_probability=0.5,
)


@dataclass(frozen=True)
class View:
    """A flip and quarter turns of the spatial axes, for images, probabilities and codes alike; exact both ways.

    Attributes:
        flips: spatial axes to flip, one statement per axis.
        quarter_turns: 0 to 3 turns by 90 degrees after the flips.
        plane: the two spatial axes that turn.
    """

    flips: tuple[bool, ...]
    quarter_turns: int = 0
    plane: tuple[int, int] = (-2, -1)

    def apply(self, array: Tensor) -> Tensor:
        """Return the view of a tensor (..., *S); turned by an odd number, the two axes of ``plane`` change places."""
        return torch.rot90(array.flip(self._flipped(array)), self.quarter_turns, self._plane(array))

    def invert(self, array: Tensor) -> Tensor:
        """Return what ``apply`` was given."""
        return torch.rot90(array, -self.quarter_turns, self._plane(array)).flip(self._flipped(array))

    def _flipped(self, array: Tensor) -> list[int]:
        first = array.ndim - len(self.flips)
        return [first + axis for axis, flip in enumerate(self.flips) if flip]

    def _plane(self, array: Tensor) -> tuple[int, int]:
        first, second = (axis % len(self.flips) for axis in self.plane)
        lead = array.ndim - len(self.flips)
        return lead + first, lead + second


def draw_view(
    generator: np.random.Generator, shape: Sequence[int], *, mirror: Sequence[bool], spacing_mm: Sequence[float]
) -> View:
    """Return a random view of patches of a shape.

    Args:
        generator: decides.
        shape: spatial shape; the last two axes turn only where both may be mirrored, see ``kept_turns``.
        mirror: axes that may be flipped.
        spacing_mm: along the spatial axes.
    """
    flips = tuple(bool(allowed and generator.random() < 0.5) for allowed in mirror)
    turns = int(generator.integers(4))
    if not (mirror[-1] and mirror[-2]):
        turns = 0
    return View(flips, kept_turns(turns, (-2, -1), shape, spacing_mm))


def kept_turns(turns: int, plane: tuple[int, int], shape: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """Return drawn quarter turns of a plane, or fewer so that they are half turns, where a quarter would not be one.

    That is where the axes of the patch differ in voxels, which would change its shape, or in the length of a voxel,
    which would shear what it shows: slices lie further apart than pixels.

    Args:
        turns: 0 to 3.
        plane: the two axes.
        shape: of the patch, voxels along each spatial axis.
        spacing_mm: along the same axes.
    """
    may_turn = shape[plane[0]] == shape[plane[1]] and is_square(spacing_mm, plane)
    return turns if may_turn else 2 * (turns // 2)


def strengthen(
    image: Tensor, generators: Sequence[np.random.Generator], *, in_plane: bool, settings: Augmentation = STRONG
) -> Tensor:
    """Return a copy of (B, M, *S) images with strong changes of intensity; no voxel moves.

    Args:
        image: float.
        generators: one per row.
        in_plane: leave the first of three spatial axes out of blur and low resolution.
        settings: probabilities and ranges; only those of intensities count.
    """
    is_flat = image.ndim == 4
    copies = (image.unsqueeze(2) if is_flat else image).to(torch.float32, copy=True)
    for row, generator in zip(copies, generators, strict=True):
        change_intensity(row, generator, settings, in_plane=in_plane or is_flat)
    result = copies.squeeze(2) if is_flat else copies
    return result.to(image.dtype)
