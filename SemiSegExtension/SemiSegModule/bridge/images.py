"""From scalar volume nodes to image files that never change once written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform
from vtk.util.numpy_support import vtk_to_numpy

from SemiSegLib.cases.checks import Finding
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import (
    SAME_GRID_VOXELS,
    Grid,
    displacementVoxels,
    straightened,
    straightFrame,
    toGeometry,
    worldGrid,
)
from SemiSegModule.bridge.scene_case import safeFileName


def voxelsOf(volumeNode: Any) -> np.ndarray:
    """Return the voxels of a scalar volume node as a (K, J, I) view that must not be written to.

    Raises:
        CaseError: the node holds several components per voxel, or is a label map.
    """
    image = volumeNode.GetImageData()
    components = image.GetNumberOfScalarComponents()
    if components != 1 or volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        what = "it is a label map" if components == 1 else f"it has {components} components per voxel"
        raise CaseError(
            explain(
                f"the volume is not a scalar image: {what}",
                where=f"volume '{volumeNode.GetName()}'",
                remedy="import a label map into a segmentation; split a color or 4-D image into scalar volumes",
            )
        )
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def caseGrid(volumes: Mapping[str, Any]) -> tuple[Grid, np.ndarray]:
    """Return the grid on which a case is written, and its frame (world RAS to written RAS).

    The grid is that of the first channel in the world, with axes at right angles.

    Raises:
        CaseError: the volume is empty or under a transform that is not linear.
    """
    grid = worldGrid(next(iter(volumes.values())))
    frame = straightFrame(grid)
    return straightened(grid.moved(frame)), frame


def writeImages(
    volumes: Mapping[str, Any], caseId: str, folder: Path
) -> tuple[dict[str, str], Grid, tuple[Finding, ...]]:
    """Write one file per channel, all on the grid of the first.

    Returns:
        Channel role to file name, the grid, and a note for every channel that had another grid and was brought to
        the first one's by linear interpolation.

    Raises:
        CaseError: see ``caseGrid`` and ``voxelsOf``.
    """
    grid, frame = caseGrid(volumes)
    names, findings = {}, []
    for role, node in volumes.items():
        voxels, own = voxelsOf(node), worldGrid(node).moved(frame)
        if own.shape != grid.shape or displacementVoxels(own, grid) > SAME_GRID_VOXELS:
            voxels = _resampled(voxels, own, grid)
            findings.append(_resamplingNote(caseId, role, node))
        names[role] = writeOnce(folder, f"{safeFileName(caseId)}_{safeFileName(role)}", voxels, grid)
    return names, grid, tuple(findings)


def _resampled(voxels: np.ndarray, own: Grid, grid: Grid) -> np.ndarray:
    """Return float32 voxels on another grid; outside the image its lowest value."""
    toOwn = grid.indicesIn(own)
    return affine_transform(
        voxels.astype(np.float32),
        # scipy works in array order: reverse rows and columns of the index matrix.
        toOwn[2::-1, 2::-1],
        toOwn[2::-1, 3],
        grid.shape,
        order=1,
        mode="constant",
        cval=float(voxels.min()),
    )


def _resamplingNote(caseId: str, role: str, node: Any) -> Finding:
    return Finding(
        case=caseId,
        code="resampled",
        severity="note",
        what=f"channel '{role}' has another grid than the first one and was brought to it (linear)",
        where=f"volume '{node.GetName()}'",
        remedy="nothing to do if both volumes show the same place in the views",
    )


def writeOnce(folder: Path, stem: str, voxels: np.ndarray, grid: Grid) -> str:
    """Write voxels under a name that holds their content's hash, unless the file is there; return the name.

    A training that reads the file is never disturbed by a later export, and an export that changes one label
    writes one file.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((voxels.shape, voxels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(grid.matrix).tobytes())
    digest.update(np.ascontiguousarray(voxels).data)
    path = Path(folder) / f"{stem}_{digest.hexdigest()}.nrrd"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(Volume(voxels, toGeometry(grid)), path)
    return path.name
