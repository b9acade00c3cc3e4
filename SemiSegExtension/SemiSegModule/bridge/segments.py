"""Segments of a segmentation node as masks on the grid of a volume, without touching the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform

from SemiSegModule.bridge.geometry import SAME_GRID_VOXELS, Grid
from SemiSegModule.bridge.layers import Layer


@dataclass(frozen=True)
class Masks:
    """Segments on the grid of a volume, cropped to the box that holds all of them.

    Attributes:
        box: first voxel and size of the box, array order ((k, j, i), (k, j, i)).
        masks: segment ID to (K, J, I) bool of the box's size.
        outside: segment ID to voxels (of the segment's own grid) that lie outside the volume.
        resampled: segment IDs whose grid differed, so that they were brought over by nearest neighbor.
    """

    box: tuple[tuple[int, int, int], tuple[int, int, int]]
    masks: Mapping[str, np.ndarray]
    outside: Mapping[str, int]
    resampled: tuple[str, ...]


def segmentIds(segmentationNode: Any) -> tuple[str, ...]:
    """Return the IDs of all segments, in the node's order."""
    segmentation = segmentationNode.GetSegmentation()
    return tuple(segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments()))


def placeLayers(layers: Iterable[Layer], ids: Iterable[str], reference: Grid) -> Masks:
    """Return segments on the grid of a volume; touches no node.

    Where the voxels of both grids coincide (shifts, flips and permutations included) they are copied; otherwise the
    segment's voxel nearest to each voxel center is taken.

    Args:
        layers: what ``readLayers`` returned.
        ids: segment IDs; one that no layer holds is empty.
        reference: world grid of the volume.
    """
    placed: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    outside: dict[str, int] = {}
    resampled: list[str] = []
    for layer in layers:
        first, voxels, exact = _place(layer, reference)
        resampled += [] if exact else list(layer.values)
        for segmentId, value in layer.values.items():
            placed[segmentId] = (first, voxels == value)
            outside[segmentId] = _countOutside(layer, value, reference)
    empty = (np.zeros(3, dtype=int), np.zeros((0, 0, 0), dtype=bool))
    return _onOneBox({i: placed.get(i, empty) for i in ids}, {i: outside.get(i, 0) for i in ids}, tuple(resampled))


def _place(layer: Layer, reference: Grid) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return first reference voxel (k, j, i), the layer's voxels on the reference grid from there, and if exact."""
    toReference = layer.grid.indicesIn(reference)
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(layer.grid.shape[::-1]) - 1
    whole = np.rint(toReference)
    exact = float(np.abs(corners @ (toReference - whole).T).max()) <= SAME_GRID_VOXELS
    exact = exact and np.array_equal(np.abs(whole[:3, :3]).sum(axis=0), [1, 1, 1]) and abs(_det(whole)) == 1
    ends = (corners @ (whole if exact else toReference).T)[:, 2::-1]
    # Half a voxel around the outermost centers still belongs to the layer's voxels.
    half = 0 if exact else np.abs(toReference[:3, :3]).sum(axis=1)[::-1] / 2
    low = np.clip(np.floor(ends.min(axis=0) - half), 0, np.array(reference.shape)).astype(int)
    high = np.clip(np.ceil(ends.max(axis=0) + half) + 1, low, np.array(reference.shape)).astype(int)
    toLayer = np.linalg.inv(whole if exact else toReference)
    if exact:
        return low, _copied(layer.voxels, toLayer, low, high), True
    # scipy works in array order: reverse rows and columns of the index matrix.
    linear, shift = toLayer[2::-1, 2::-1], toLayer[2::-1, 3]
    voxels = affine_transform(
        layer.voxels, linear, shift + linear @ low, tuple(high - low), order=0, mode="constant", cval=0, prefilter=False
    )
    return low, voxels, False


def _det(matrix: np.ndarray) -> int:
    return round(float(np.linalg.det(matrix[:3, :3])))


def _copied(voxels: np.ndarray, toLayer: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the layer's voxels in the reference box low..high by transposing, flipping and cutting alone."""
    linear, shift = np.rint(toLayer[2::-1, 2::-1]).astype(int), np.rint(toLayer[2::-1, 3]).astype(int)
    # Row a of ``linear`` has one entry +-1: layer axis a runs along that reference axis.
    order = [int(np.argmax(np.abs(linear[:, axis]))) for axis in range(3)]
    result = voxels.transpose(order)
    cut = []
    for axis in range(3):
        sign, offset = linear[order[axis], axis], shift[order[axis]]
        if sign > 0:
            first, last = low[axis] + offset, high[axis] + offset
        else:
            result = np.flip(result, axis)
            size = result.shape[axis]
            first, last = size - 1 - (offset - low[axis]), size - 1 - (offset - high[axis])
        cut.append(slice(max(0, int(first)), max(0, int(last))))
    return result[tuple(cut)]


def _countOutside(layer: Layer, value: int, reference: Grid) -> int:
    """Return the voxels of a segment whose centers lie outside the volume."""
    toReference = layer.grid.indicesIn(reference)[:3]
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(layer.grid.shape[::-1]) - 1
    if _inside(toReference @ corners.T, reference).all():
        return 0
    count = 0
    for k, plane in enumerate(layer.voxels):
        j, i = np.nonzero(plane == value)
        centers = toReference @ np.stack([i, j, np.full_like(i, k), np.ones_like(i)])
        count += int(len(i) - _inside(centers, reference).sum())
    return count


def _inside(centers: np.ndarray, reference: Grid) -> np.ndarray:
    """Return which of (3, n) indices (i, j, k) are inside a grid."""
    # A hundredth of a voxel of slack: centers on the border of the grid belong to it.
    limits = np.array(reference.shape[::-1])[:, None] - 0.5 + SAME_GRID_VOXELS
    inside: np.ndarray = ((centers > -0.5 - SAME_GRID_VOXELS) & (centers < limits)).all(axis=0)
    return inside


def _onOneBox(
    placed: Mapping[str, tuple[np.ndarray, np.ndarray]], outside: Mapping[str, int], resampled: tuple[str, ...]
) -> Masks:
    boxes = {}
    for segmentId, (first, mask) in placed.items():
        if mask.size and mask.any():
            where = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
            boxes[segmentId] = (
                first + [w[0] for w in where],
                mask[tuple(slice(w[0], w[-1] + 1) for w in where)],
            )
    if not boxes:
        return Masks(((0, 0, 0), (0, 0, 0)), {i: np.zeros((0, 0, 0), bool) for i in placed}, outside, resampled)
    low = np.min([first for first, _ in boxes.values()], axis=0)
    size = np.max([first + mask.shape for first, mask in boxes.values()], axis=0) - low
    masks = {}
    for segmentId in placed:
        full = np.zeros(size, dtype=bool)
        if segmentId in boxes:
            first, mask = boxes[segmentId]
            full[tuple(slice(f, f + n) for f, n in zip(first - low, mask.shape, strict=True))] = mask
        masks[segmentId] = full
    return Masks((tuple(int(v) for v in low), tuple(int(v) for v in size)), masks, outside, resampled)
