"""Whether two images lie on the same grid, judged in millimeters, and what is different if they do not.

Headers are rounded, so grids are compared by how far the corners of the voxel block are displaced: up to 0.01 voxel
is the same grid, up to half a voxel is resampled and reported, and more is an error, because then one of the two
headers is wrong and nobody can know which.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.volume import Geometry, Volume, resample_to

SAME_GRID_VOXELS = 0.01
NEARBY_VOXELS = 0.5


@dataclass(frozen=True)
class Shift:
    """A file that was resampled because it was displaced by a part of a voxel.

    Attributes:
        path: the file.
        displacement_mm: the largest displacement of a corner.
        voxels: the same in units of the smallest spacing.
    """

    path: Path
    displacement_mm: float
    voxels: float


def align(volume: Volume, geometry: Geometry, path: Path, *, kind: str) -> tuple[Volume, Shift | None]:
    """Return a volume on the grid it belongs to, and the shift if it had to be resampled.

    Args:
        volume: a label image (resampled to the nearest voxel) or a channel (linearly).
        geometry: the grid of the case's first channel.
        path: the volume's file, for messages.
        kind: "label" or "channel", starts the code of an error.

    Raises:
        FileError: size differs, or a corner is displaced by more than half a voxel.
    """
    if volume.geometry.shape != geometry.shape:
        raise FileError(
            f"{kind}_size",
            f"the {kind} has {_size(volume.geometry)} voxels, the image {_size(geometry)}",
            path=path,
            remedy=f"check that both belong to one scan, then resample the {kind} to the grid of the image",
        )
    voxels = geometry.displacement_voxels(volume.geometry)
    if voxels <= SAME_GRID_VOXELS:
        return Volume(volume.voxels, geometry), None
    shift = Shift(path, geometry.displacement_mm(volume.geometry), voxels)
    if voxels > NEARBY_VOXELS:
        raise _difference(volume.geometry, geometry, shift, kind)
    return resample_to(volume, geometry, linear=kind == "channel"), shift


def block_on(volume: Volume, geometry: Geometry, path: Path) -> tuple[Volume, Shift | None]:
    """Return a label block on the grid of the image that it is a part of; voxels outside the block are 0.

    Slicer may save the part of a segmentation that holds something. The block's axes and spacing must be those of
    the image; its place is read from its origin. What lies outside the image is cut off.

    Raises:
        FileError: the block lies on another grid.
    """
    start = np.linalg.solve(geometry.affine, volume.geometry.affine[:, 3])[:3]
    whole = np.round(start).astype(int)
    moved = geometry.affine.copy()
    moved[:3, 3] += geometry.affine[:3, :3] @ whole
    block, shift = align(volume, Geometry(volume.geometry.shape, moved), path, kind="label")
    result = np.zeros(geometry.shape, dtype=block.voxels.dtype)
    into, out_of = [], []
    for first, length, size in zip(whole, block.geometry.shape, geometry.shape, strict=True):
        low, high = max(0, int(first)), min(size, int(first) + length)
        into.append(slice(low, max(low, high)))
        out_of.append(slice(low - int(first), max(low, high) - int(first)))
    result[tuple(into)] = block.voxels[tuple(out_of)]
    return Volume(result, geometry), shift


def _difference(found: Geometry, expected: Geometry, shift: Shift, kind: str) -> FileError:
    """Return the error that names what differs: spacing, axes, or place."""
    far = f"corners are {shift.displacement_mm:.3g} mm ({shift.voxels:.3g} voxels) apart"
    remedy = (
        f"open both in a viewer: if they lie over each other, resample the {kind} to the grid of the image, otherwise "
        "correct the header that is wrong"
    )
    spacing, wanted = np.array(found.spacing_mm), np.array(expected.spacing_mm)
    # A tenth of the permitted displacement, spread over the longest axis, separates rounding from a difference.
    slack = 0.1 * NEARBY_VOXELS / max(expected.shape)
    cosines = expected.direction.T @ found.direction
    flipped = [axis for axis in range(3) if cosines[axis, axis] < -1 + 1e-3]
    if (np.abs(spacing / wanted - 1) > slack).any():
        code, what = "spacing", f"spacing is {_triple(spacing)} mm, that of the image {_triple(wanted)} mm"
    elif flipped:
        names = " and ".join("kji"[axis] for axis in flipped)
        code, what = "flipped", f"the {kind} runs the other way along {names}"
    elif np.abs(cosines - np.eye(3)).max() > slack:
        angle = np.degrees(np.arccos(np.clip((np.trace(cosines) - 1) / 2, -1, 1)))
        code, what = "direction", f"the axes point elsewhere (turned by {angle:.2g} degrees)"
    else:
        offset = found.affine[:3, 3] - expected.affine[:3, 3]
        code, what = "origin", f"the origin is displaced by {', '.join(f'{v:.4g}' for v in offset)} mm (L, P, S)"
    return FileError(f"{kind}_{code}", f"{what}; {far}", path=shift.path, remedy=remedy)


def _size(geometry: Geometry) -> str:
    return " x ".join(str(n) for n in reversed(geometry.shape))


def _triple(values: np.ndarray) -> str:
    return " x ".join(f"{value:.5g}" for value in reversed(values))
