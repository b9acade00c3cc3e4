"""Which segments cover each voxel, in one byte a voxel and slab by slab."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from SemiSegLib.errors import LabelError, explain

# Index arithmetic needs 8 bytes a voxel; in slabs of this size that is 8 MB, whatever the size of the image.
_SLAB_VOXELS = 1 << 20


def group_voxels(
    masks: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> tuple[np.ndarray, list[tuple[str, ...]], list[int]]:
    """Return a group number for each voxel, and for each group the segments that cover it and its voxel count.

    A voxel's group is the set of segments that cover it; groups are numbered as they are met, 0 is no segment.

    Args:
        masks: segment name to (D, H, W) bool; each is asked for once, so they may be made when they are.
        shape: of all of them.

    Raises:
        LabelError: a mask has another shape, or more than 65535 combinations of segments overlap.
    """
    groups = np.zeros(shape, dtype=np.uint8)
    covering: list[tuple[str, ...]] = [()]
    voxels = [int(groups.size)]
    for name in sorted(masks):
        mask = masks[name].astype(bool, copy=False)
        if mask.shape != shape:
            raise LabelError(
                explain(
                    f"expected segments of one shape, found {shape} and '{name}' {mask.shape}",
                    where="segmentation",
                    remedy="bring all segments to the grid of the image",
                )
            )
        joined: dict[int, int] = {}
        for slab in slabs(shape, _bounds(mask)):
            before = groups[slab][mask[slab]]
            counts = np.bincount(before).tolist()
            for group in (number for number, count in enumerate(counts) if count):
                if group not in joined:
                    joined[group] = len(covering)
                    covering.append((*covering[group], name))
                    voxels.append(0)
                voxels[group] -= counts[group]
                voxels[joined[group]] += counts[group]
            groups = _wide_enough(groups, len(covering))
            step = np.arange(len(covering), dtype=groups.dtype)
            step[list(joined)] = list(joined.values())
            groups[slab][mask[slab]] = step[before]
        # Before the next one is made.
        del mask
    return groups, covering, voxels


def slabs(shape: tuple[int, ...], box: tuple[slice, ...] | None = None) -> Iterator[tuple[slice, ...]]:
    """Yield boxes along the first axis that together make up ``box``, each of about a million voxels."""
    box = box or tuple(slice(0, length) for length in shape)
    layer = math.prod(part.stop - part.start for part in box[1:])
    thickness = max(1, _SLAB_VOXELS // max(layer, 1))
    for start in range(box[0].start, box[0].stop, thickness):
        yield (slice(start, min(start + thickness, box[0].stop)), *box[1:])


def _wide_enough(groups: np.ndarray, count: int) -> np.ndarray:
    """Return the image in a type that holds group numbers below ``count``."""
    if count <= np.iinfo(groups.dtype).max + 1:
        return groups
    if count > np.iinfo(np.uint16).max + 1:
        raise LabelError(
            explain(
                f"more than {np.iinfo(np.uint16).max} combinations of segments overlap",
                where="segmentation",
                remedy="split the segmentation into several files",
            )
        )
    return groups.astype(np.uint16)


def _bounds(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds every true voxel, of length 0 if there is none."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask[tuple(box)].any(axis=others))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0))
    return tuple(box)
