"""Which connected pieces of each structure stay of a prediction.

The largest alone, as in the released code of paper 003 and DTC; or those that are not farther from it than in labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import edt
import numpy as np
from scipy import ndimage

from SemiSegLib.labels.reach import ALIKE
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

    def largest(_leaf: int, _pieces: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = np.arange(len(sizes)) == sizes.argmax()
        return chosen

    return _with_pieces(leaves, scheme, largest)


def near_components(
    leaves: np.ndarray, scheme: LabelScheme, limits_mm: Sequence[float | None], spacing_mm: Sequence[float]
) -> np.ndarray:
    """Return leaves without the pieces that lie too far from the largest piece of their leaf.

    A piece stays if a part of it is near enough, or if it is at least half as large as the largest. What becomes of the
    others is as in ``largest_components``.

    Args:
        leaves: (D, H, W) integer leaf indices.
        scheme: what they mean.
        limits_mm: (L,) how far the pieces of each leaf may be; None for a leaf whose pieces may be anywhere.
        spacing_mm: along the axes.

    Returns:
        (D, H, W) of the same type.
    """

    def near(leaf: int, pieces: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        limit = limits_mm[leaf]
        stays: np.ndarray = sizes >= (0 if limit is None else ALIKE * sizes.max())
        if limit is not None and not stays.all():
            distance = edt.edt(pieces != sizes.argmax() + 1, anisotropy=tuple(spacing_mm))
            near_by = np.unique(pieces[distance <= limit])
            stays[near_by[near_by > 0] - 1] = True
        return stays

    return _with_pieces(leaves, scheme, near)


def _with_pieces(
    leaves: np.ndarray, scheme: LabelScheme, choose: Callable[[int, np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return leaves with the chosen pieces of each.

    Args:
        leaves: (D, H, W) integer leaf indices.
        scheme: what they mean.
        choose: returns which pieces of a leaf stay; given its index, its pieces, numbered from 1 on, in a box around
            them, and how many voxels each has.
    """
    kept = np.zeros_like(leaves)
    # What a piece touches is known only when the chosen pieces of all leaves are. Until then a piece is kept in its
    # own box: the numbers of the pieces of one leaf take 4 bytes a voxel of the scan.
    strays: list[tuple[int, Box, np.ndarray]] = []
    for leaf, box in enumerate(ndimage.find_objects(leaves, max_label=len(scheme.leaf_names) - 1), start=1):
        if box is None:
            continue
        place = _grown(box)
        pieces, count = ndimage.label(leaves[place] == leaf, structure=np.ones((3,) * leaves.ndim))
        # Slice by slice: counting takes 8 bytes a voxel.
        sizes = sum((np.bincount(plane.ravel(), minlength=count + 1) for plane in pieces), start=np.zeros(count + 1))
        stays = np.concatenate([[False], choose(leaf, pieces, sizes[1:])])
        kept[place][stays[pieces]] = leaf
        if _relatives(leaf, scheme):
            for number, own in enumerate(ndimage.find_objects(pieces), start=1):
                if not stays[number]:
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
