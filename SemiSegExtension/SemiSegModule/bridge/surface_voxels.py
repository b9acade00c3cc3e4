"""A closed surface as voxels, the same ones that Slicer's conversion makes of it, but made in parts.

Slicer turns a surface into voxels as a whole; one of 180,000 triangles takes it half a second on a large scan. Here it
is made ready filter by filter and filled slab by slab, and whoever asks for the parts may answer between them.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from SemiSegModule.bridge.copies import imageVoxels
from SemiSegModule.bridge.geometry import matrixFromVtk, matrixToVtk

# What is done in one turn of Slicer's event loop takes some hundredths of a second: filters are one turn each from so
# many triangles on, and a slab has so many slices that so many triangles are cut and so many voxels filled.
_FEW_TRIANGLES = 1 << 15
_TURN_CUTS = 1 << 21
_TURN_VOXELS = 1 << 23


@dataclass(frozen=True)
class SurfaceVoxels:
    """What a surface fills.

    Attributes:
        voxels: (K, J, I) uint8, 1 inside; cut to what is inside.
        matrix: (4, 4), index (i, j, k, 1) of these voxels to mm of the surface.
    """

    voxels: np.ndarray
    matrix: np.ndarray


def isFillable(surface: Any) -> bool:
    """Return whether a vtkPolyData can be filled: it has an inside at a place that can be told."""
    isThere = surface is not None and surface.GetNumberOfPoints() > 1 and surface.GetNumberOfCells() > 1
    return isThere and all(map(math.isfinite, surface.GetBounds()))


def fill(surface: Any, matrix: np.ndarray) -> Generator[None, None, SurfaceVoxels | None]:
    """Turn a closed surface into voxels, a part whenever the next is asked for; return them, or None if none is inside.

    Args:
        surface: vtkPolyData that ``isFillable``. It is copied with the first part and may change afterwards.
        matrix: (4, 4), index (i, j, k, 1) of the grid to mm of the surface. The grid has no end: what of the surface
            lies beyond the scan becomes voxels too.
    """
    image, toMm, toIndex = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4(), vtk.vtkTransform()
    # Through spacing, directions and origin, as Slicer stores it.
    image.SetImageToWorldMatrix(matrixToVtk(matrix))
    image.GetImageToWorldMatrix(toMm)
    toIndex.SetMatrix(toMm)
    toIndex.Inverse()
    indexed = vtk.vtkTransformPolyDataFilter()
    indexed.SetTransform(toIndex)
    ready, isLarge = vtk.vtkPolyData(), surface.GetNumberOfCells() > _FEW_TRIANGLES
    ready.DeepCopy(surface)
    # The normals' filter is here for what it does besides: neighbors turn the same way, and sharp edges are parted.
    for filter_ in (indexed, vtk.vtkPolyDataNormals(), vtk.vtkTriangleFilter(), vtk.vtkStripper()):
        if isLarge:
            yield
        filter_.SetInputData(ready)
        filter_.Update()
        ready = filter_.GetOutput()
    bounds = indexed.GetOutput().GetPoints().GetBounds()
    low, high = [math.floor(low) for low in bounds[::2]], [math.ceil(high) for high in bounds[1::2]]
    found = yield from _filled(ready, surface.GetNumberOfCells(), low, high)
    if found is None:
        return None
    voxels, first = found
    start = np.eye(4)
    start[:3, 3] = first
    return SurfaceVoxels(voxels, matrixFromVtk(toMm) @ start)


def _filled(
    surface: Any, triangles: int, low: list[int], high: list[int]
) -> Generator[None, None, tuple[np.ndarray, list[int]] | None]:
    """Return the voxels inside a surface in index coordinates, cut to them, and the index (i, j, k) of the first."""
    stencil, toImage = vtk.vtkPolyDataToImageStencil(), vtk.vtkImageStencilToImage()
    stencil.SetInputData(surface)
    toImage.SetInputConnection(stencil.GetOutputPort())
    toImage.SetOutputScalarTypeToUnsignedChar()
    toImage.SetInsideValue(1)
    toImage.SetOutsideValue(0)
    columns, rows, slices = (last - first + 1 for first, last in zip(low, high, strict=True))
    voxels = np.zeros((slices, rows, columns), np.uint8)
    hits = [np.zeros(size, bool) for size in voxels.shape]
    thickness = max(1, min(_TURN_CUTS // triangles, _TURN_VOXELS // (rows * columns)))
    for first in range(0, slices, thickness):
        if first:
            yield
        last = min(first + thickness, slices)
        stencil.SetOutputWholeExtent(low[0], high[0], low[1], high[1], low[2] + first, low[2] + last - 1)
        toImage.UpdateWholeExtent()
        slab = imageVoxels(toImage.GetOutput())
        voxels[first:last] = slab
        hits[0][first:last] = slab.any(axis=(1, 2))
        hits[1] |= slab.any(axis=(0, 2))
        hits[2] |= slab.any(axis=(0, 1))
    if not hits[0].any():
        return None
    ends = [(int(where[0]), int(where[-1]) + 1) for where in map(np.flatnonzero, hits)]
    box = tuple(slice(*end) for end in ends)
    return voxels[box], [start + end[0] for start, end in zip(low, ends[::-1], strict=True)]
