"""The largest connected piece of each structure: what released code of paper 003 and DTC keeps of a prediction."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SemiSegLib.labels.scheme import LabelScheme

Box = tuple[slice, ...]


def largest_components(leaves: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    """Return leaves of which each foreground leaf is one piece, the largest; a leaf that is absent stays absent.

    Voxels belong together that share a face, an edge or a corner, as in the released code. A smaller piece becomes what
    it touches most of its own superclass, so that no hole is left inside an organ, and background where it touches
    none. Off by default: paired organs drawn as one leaf lose one of the pair.

    Args:
        leaves: (D, H, W) integer leaf indices.
        scheme: what they mean.

    Returns:
        (D, H, W) of the same type.
    """
    kept = np.zeros_like(leaves)
    # What a piece touches is known only when the largest pieces of all leaves are. Until then a piece is kept in its
    # own box: the numbers of the pieces of one leaf take 4 bytes a voxel of the scan.
    strays: list[tuple[int, Box, np.ndarray]] = []
    for leaf, box in enumerate(ndimage.find_objects(leaves, max_label=len(scheme.leaf_names) - 1), start=1):
        if box is None:
            continue
        place = _grown(box)
        pieces, count = ndimage.label(leaves[place] == leaf, structure=np.ones((3,) * leaves.ndim))
        # Slice by slice: counting takes 8 bytes a voxel.
        sizes = sum((np.bincount(plane.ravel(), minlength=count + 1) for plane in pieces), start=np.zeros(count + 1))
        largest = int(sizes[1:].argmax()) + 1
        kept[place][pieces == largest] = leaf
        if _relatives(leaf, scheme):
            for number, own in enumerate(ndimage.find_objects(pieces), start=1):
                if number != largest:
                    strays.append((leaf, _inside(place, _grown(own)), pieces[_grown(own)] == number))
    result = kept.copy()
    for leaf, wide, piece in strays:
        result[wide][piece] = _touched(piece, kept[wide], _relatives(leaf, scheme))
    return result


def _grown(box: Box) -> Box:
    """Return a box with one more voxel on each side, as far as there are any."""
    return tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)


def _inside(place: Box, box: Box) -> Box:
    """Return a box, counted from the start of another, as counted from the start of the scan."""
    return tuple(
        slice(whole.start + part.start, whole.start + part.stop) for whole, part in zip(place, box, strict=True)
    )


def _relatives(leaf: int, scheme: LabelScheme) -> list[int]:
    """Return the other leaves of a leaf's superclass."""
    owner = scheme.superclass_of_leaf
    return [other for other in range(1, len(owner)) if owner[other] == owner[leaf] and other != leaf]


def _touched(piece: np.ndarray, kept: np.ndarray, relatives: list[int]) -> int:
    """Return the relative that most voxels around a piece belong to, or 0 for background."""
    around = ndimage.binary_dilation(piece, structure=np.ones((3,) * piece.ndim)) & ~piece
    counts = np.bincount(kept[around], minlength=max(relatives) + 1)[relatives]
    return relatives[int(counts.argmax())] if counts.any() else 0
