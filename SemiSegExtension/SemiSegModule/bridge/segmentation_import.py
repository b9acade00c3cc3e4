"""From a ``.seg.nrrd`` file to a new segmentation node beside its volume; no other node is touched."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from SemiSegLib.cases.segments import read_segmentation_image
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import SAME_GRID_VOXELS, Grid, matrixFromVtk, matrixToVtk, volumeGrid
from SemiSegModule.bridge.segments import BINARY

# Corner displacement in mm below which a grid is taken for the volume's own, rounded by the file's decimals.
_ROUNDING_MM = 1e-3


def loadSegmentation(path: Path, volumeNode: Any, *, writtenGrid: Grid | None = None, name: str | None = None) -> Any:
    """Return a new segmentation node with what a file holds, placed on the voxels of a volume.

    The node gets the volume as reference geometry and source, the volume's parent transform, and a place beside
    it in the subject hierarchy; names, colors, terminology and tags come from the file.

    Args:
        path: ``.seg.nrrd`` file.
        volumeNode: the scan that was segmented; only read.
        writtenGrid: grid of the image file that was segmented, when it was written by this bridge. The result is
            then placed by voxel, wherever the volume has been moved since. None: the file is in the volume's own
            coordinates, as Slicer saves it.
        name: name of the node; the file's name if None.

    Raises:
        CaseError: the file cannot be read, or does not belong to the volume's voxels.
    """
    path = Path(path)
    grid = volumeGrid(volumeNode)
    if writtenGrid is not None and writtenGrid.shape != grid.shape:
        raise CaseError(
            explain(
                f"the volume has {_sizes(grid)} voxels now, the result was made for {_sizes(writtenGrid)}",
                where=f"volume '{volumeNode.GetName()}'",
                remedy="apply the model again to the changed volume",
            )
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name or path.name.removesuffix(".seg.nrrd"))
    with ExitStack() as undo:
        undo.callback(_remove, node)
        _read(path, node)
        toVolume = grid.matrix @ np.linalg.inv((writtenGrid or grid).matrix)
        _place(node, toVolume, grid, path, strict=writtenGrid is not None)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        placeBeside(node, volumeNode)
        # It is whole now and stays; until here an error takes back what was made, and that alone.
        undo.pop_all()
    return node


def placeBeside(node: Any, volumeNode: Any) -> None:
    """Give a new node the same parent in the subject hierarchy as a volume: its study, patient or folder."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    parent = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
    else:
        hierarchy.CreateItem(parent, node)


def _remove(node: Any) -> None:
    for made in (node.GetDisplayNode(), node):
        if made is not None:
            slicer.mrmlScene.RemoveNode(made)


def _read(path: Path, node: Any) -> None:
    # A damaged file ends Slicer itself in VTK's reader (an exception of ITK that nobody catches); this reading of the
    # same bytes says what is wrong instead.
    read_segmentation_image(path)
    # A storage node of its own: were it kept, saving the scene would write into the run folder.
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or node.GetSegmentation().GetNumberOfSegments() == 0:
        raise CaseError(
            explain(
                "it is not a segmentation that Slicer can read, or it holds no segment",
                where=str(path),
                remedy="run the prediction again; if this goes on, send the file and the log",
            )
        )


def _place(node: Any, toVolume: np.ndarray, grid: Grid, path: Path, *, strict: bool) -> None:
    """Move the label images from the file's coordinates to the volume's own."""
    segmentation = node.GetSegmentation()
    done: list[Any] = []
    for index in range(segmentation.GetNumberOfSegments()):
        image = segmentation.GetNthSegment(index).GetRepresentation(BINARY)
        if image is None or any(image is other for other in done):
            continue
        done.append(image)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        placed = toVolume @ matrixFromVtk(matrix)
        indices = np.linalg.solve(grid.matrix, placed)
        if strict and not _fits(indices, image.GetExtent(), grid):
            raise CaseError(
                explain(
                    "its voxels are not those of the volume",
                    where=str(path),
                    remedy="apply the model again; the volume or the file has changed since",
                )
            )
        whole = np.rint(indices)
        error = np.abs((indices - whole) @ np.append(grid.shape[::-1], 1.0)).max()
        if error * np.linalg.norm(grid.matrix[:3, :3], axis=0).max() < _ROUNDING_MM:
            placed = grid.matrix @ whole
        image.SetImageToWorldMatrix(matrixToVtk(placed))
    segmentation.Modified()


def _fits(indices: np.ndarray, extent: tuple[int, ...], grid: Grid) -> bool:
    """Return whether index (i, j, k) of an image within an extent falls on voxels of a grid."""
    corners = np.array([[extent[i], extent[2 + j], extent[4 + k], 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    if extent[1] < extent[0]:
        return True
    moved = (corners @ indices.T)[:, :3]
    onVoxels = np.abs(moved - np.rint(moved)).max() <= SAME_GRID_VOXELS
    return bool(onVoxels and (np.rint(moved) >= 0).all() and (np.rint(moved) < grid.shape[::-1]).all())


def _sizes(grid: Grid) -> str:
    return " x ".join(str(n) for n in grid.shape[::-1])
