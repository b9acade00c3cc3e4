"""The largest connected piece of each structure: what released code of paper 003 and DTC keeps of a prediction."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from SemiSegLib.labels.scheme import LabelScheme


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
    labels: dict[int, np.ndarray] = {}
    for leaf in range(1, len(scheme.leaf_names)):
        pieces, count = ndimage.label(leaves == leaf, structure=np.ones((3,) * leaves.ndim))
        if count:
            largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
            kept[pieces == largest] = leaf
            pieces[pieces == largest] = 0
            labels[leaf] = pieces
    result = kept.copy()
    for leaf, pieces in labels.items():
        relatives = _relatives(leaf, scheme)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            if box is not None and relatives:
                wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
                piece = pieces[wide] == number
                result[wide][piece] = _touched(piece, kept[wide], relatives)
    return result


def _relatives(leaf: int, scheme: LabelScheme) -> list[int]:
    """Return the other leaves of a leaf's superclass."""
    owner = scheme.superclass_of_leaf
    return [other for other in range(1, len(owner)) if owner[other] == owner[leaf] and other != leaf]


def _touched(piece: np.ndarray, kept: np.ndarray, relatives: list[int]) -> int:
    """Return the relative that most voxels around a piece belong to, or 0 for background."""
    around = ndimage.binary_dilation(piece, structure=np.ones((3,) * piece.ndim)) & ~piece
    counts = np.bincount(kept[around], minlength=max(relatives) + 1)[relatives]
    return relatives[int(counts.argmax())] if counts.any() else 0
