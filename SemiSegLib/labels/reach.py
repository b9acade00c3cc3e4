"""How far from its largest piece a structure reaches, as far as labels tell: nearly all organs are one piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# What networks and labels differ by at borders, in voxels along the finest axis of the plan.
MARGIN = 5
# Of pieces that are nearly as large as the largest nobody knows which of them is the structure.
ALIKE = 0.5


@dataclass(frozen=True)
class Reach:
    """The largest distance of a voxel from the largest piece of its leaf, see ``batches.reach``.

    Attributes:
        image_mm: (L,) in an image that a network sees, which is a slice under a plan of two dimensions; None for a leaf
            of which nothing is known.
        case_mm: (L,) in a whole case.
    """

    image_mm: tuple[float | None, ...]
    case_mm: tuple[float | None, ...]


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest component of a bool mask (neighbors share at least a corner); the first one on a tie."""
    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count <= 1:
        return mask
    largest: np.ndarray = components == np.bincount(components.ravel())[1:].argmax() + 1
    return largest
