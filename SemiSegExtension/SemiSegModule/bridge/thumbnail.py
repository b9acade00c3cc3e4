"""A small picture of a scan: its middle slice, as a radiologist would hang it."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.geometry import toGeometry, volumeGrid

# Shares of the slice's intensities that become black and white.
_BLACK, _WHITE = 1.0, 99.0
# A slice axis must be this much coarser than the others to be taken for the way the scan was acquired.
_THICK = 1.5


def thumbnail(volumeNode: Any, size: int) -> np.ndarray | None:
    """Return a (size, size) uint8 picture of the middle slice, or None if the volume holds nothing to show.

    The slices are those of the scan if they are thick, else axial; anterior or superior is up, the patient's right is
    on the left. Only voxels that become pixels are read.
    """
    try:
        geometry = toGeometry(volumeGrid(volumeNode))
    except CaseError:
        return None
    image = volumeNode.GetImageData()
    scalars = image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfComponents() != 1:
        return None
    voxels = vtk_to_numpy(scalars).reshape(geometry.shape)
    orientation = closest_orientation(geometry)
    spacing = np.array([geometry.spacing_mm[axis] for axis in orientation.order])
    # A view in canonical order (superior, posterior, left); ``Orientation.apply`` would copy all of it.
    turned = voxels.transpose(orientation.order)[tuple(slice(None, None, -1 if f else 1) for f in orientation.flips)]
    axis = int(np.argmax(spacing)) if spacing.max() > _THICK * np.median(spacing) else 0
    # ``np.take`` would copy all of a turned view first.
    plane = turned[(slice(None),) * axis + (turned.shape[axis] // 2,)]
    # The rows of coronal and sagittal slices run from inferior to superior; up is superior.
    plane = plane[::-1] if axis != 0 else plane
    return _gray(_sampled(plane, np.delete(spacing, axis), size))


def toPortableGraymap(pixels: np.ndarray) -> bytes:
    """Return a (H, W) uint8 picture as a PGM file, which Qt reads without any plug-in."""
    height, width = pixels.shape
    return b"P5 %d %d 255\n" % (width, height) + np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()


def _sampled(plane: np.ndarray, spacing: np.ndarray, size: int) -> np.ndarray:
    """Return a (size, size) float picture that shows the whole plane in its proportions; NaN around it."""
    extent = np.array(plane.shape) * spacing
    # Pixels are squares of this many mm.
    step = extent.max() / size
    centers = [(np.arange(size) + 0.5 - size / 2) * step + extent[axis] / 2 for axis in (0, 1)]
    rows, columns = (np.floor(center / spacing[axis]).astype(int) for axis, center in enumerate(centers))
    inside = [(index >= 0) & (index < plane.shape[axis]) for axis, index in enumerate((rows, columns))]
    clipped = [np.clip(index, 0, plane.shape[axis] - 1) for axis, index in enumerate((rows, columns))]
    picture = plane[np.ix_(*clipped)].astype(np.float32)
    return np.where(np.outer(*inside), picture, np.nan)


def _gray(picture: np.ndarray) -> np.ndarray | None:
    known = picture[np.isfinite(picture)]
    if not known.size:
        return None
    low, high = np.percentile(known, (_BLACK, _WHITE))
    shown = (np.nan_to_num(picture, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-6)
    return np.clip(255 * shown, 0, 255).astype(np.uint8)
