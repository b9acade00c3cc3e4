"""From scalar volume nodes to image files that never change once written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import LARGEST_SHEAR, Grid, shear, straightened, straightFrame, toGeometry, worldGrid
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


def caseGrids(volumes: Mapping[str, Any]) -> dict[str, Grid]:
    """Return channel role to the grid that is written: the world's, with axes at right angles.

    Raises:
        CaseError: a volume is empty or bent by its transform, or two volumes are sheared differently.
    """
    grids = {role: worldGrid(node) for role, node in volumes.items()}
    frame = straightFrame(next(iter(grids.values())))
    moved = {role: grid.moved(frame) for role, grid in grids.items()}
    for role, grid in moved.items():
        if shear(grid.matrix) > LARGEST_SHEAR:
            raise CaseError(
                explain(
                    "its axes are not at right angles to each other, and differ from those of the first channel",
                    where=f"volume '{volumes[role].GetName()}'",
                    remedy="resample it to the first channel's volume (module 'Resample Scalar/Vector/DWI Volume')",
                )
            )
    return {role: straightened(grid) for role, grid in moved.items()}


def writeImages(volumes: Mapping[str, Any], caseId: str, folder: Path) -> tuple[dict[str, str], dict[str, Grid]]:
    """Write one file per channel and return role to file name and role to the grid that was written.

    Raises:
        CaseError: see ``caseGrids`` and ``voxelsOf``.
    """
    grids = caseGrids(volumes)
    names = {
        role: writeOnce(folder, f"{safeFileName(caseId)}_{safeFileName(role)}", voxelsOf(node), grids[role])
        for role, node in volumes.items()
    }
    return names, grids


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
