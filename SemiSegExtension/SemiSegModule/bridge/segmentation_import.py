"""From a ``.seg.nrrd`` file to a new segmentation node beside its volume; no other node is touched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import SAME_GRID_VOXELS, Grid, volumeGrid
from SemiSegModule.bridge.segment_images import addSegments, labelImage
from SemiSegModule.bridge.segmentation_file import FileSegment, readSegmentationFile
from SemiSegModule.waiting import Waiting

# Corner displacement in mm below which a grid is taken for the volume's own, rounded by the file's decimals.
_ROUNDING_MM = 1e-3


def loadSegmentation(
    path: Path,
    volumeNode: Any,
    *,
    writtenGrid: Grid | None = None,
    name: str | None = None,
    arrange: Callable[[tuple[FileSegment, ...]], tuple[FileSegment, ...]] = tuple,
    waiting: Waiting | None = None,
) -> Any:
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
        arrange: chooses, orders and colors the segments.
        waiting: has the file read apart from the scene; None: nobody waits.

    Raises:
        CaseError: the file cannot be read, does not belong to the volume's voxels, or the volume was removed from the
            scene meanwhile.
    """
    path = Path(path)
    images, segments = readPlaced(path, volumeNode, writtenGrid=writtenGrid, waiting=waiting)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name or path.name.removesuffix(".seg.nrrd"))
    with ExitStack() as undo:
        undo.callback(_remove, node)
        addSegments(node, images, arrange(segments))
        standBeside(node, volumeNode)
        # It is whole now and stays; until here an error takes back what was made, and that alone.
        undo.pop_all()
    return node


def readPlaced(
    path: Path, volumeNode: Any, *, writtenGrid: Grid | None = None, waiting: Waiting | None = None
) -> tuple[list[Any], tuple[FileSegment, ...]]:
    """Return the label images of a file, placed on the voxels of a volume, and the segments in them.

    Arguments and errors are those of ``loadSegmentation``; no node is made: ``addSegments`` takes both.
    """
    file = (waiting or Waiting()).apart(partial(readSegmentationFile, path))
    requireInScene(volumeNode)
    _requireSize(volumeNode, writtenGrid)
    placed = placedOn(volumeNode, file.grid, writtenGrid, path)
    return [labelImage(voxels, placed) for voxels in file.layers], file.segments


def standBeside(node: Any, volumeNode: Any) -> None:
    """Give a new segmentation node display, reference geometry, parent transform and place of a volume."""
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    placeBeside(node, volumeNode)


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


def requireInScene(node: Any) -> None:
    """Refuse a node that was removed while something was waited for.

    Raises:
        CaseError: it has left the scene.
    """
    if node.GetScene() is None:
        raise CaseError(
            explain(
                _("the volume '{name}' is no longer in the scene").format(name=node.GetName()),
                where=_("Slicer scene"),
                remedy=_("load it again and apply the model again"),
            )
        )


def _requireSize(volumeNode: Any, writtenGrid: Grid | None) -> None:
    """Refuse a volume whose number of voxels has changed since it was written.

    Raises:
        CaseError: it has.
    """
    grid = volumeGrid(volumeNode)
    if writtenGrid is not None and writtenGrid.shape != grid.shape:
        raise CaseError(
            explain(
                _("the volume has {now} voxels now, the result was made for {before}").format(
                    now=_sizes(grid), before=_sizes(writtenGrid)
                ),
                where=_("volume '{name}'").format(name=volumeNode.GetName()),
                remedy=_("apply the model again to the changed volume"),
            )
        )


def toOwn(volumeNode: Any, writtenGrid: Grid | None) -> np.ndarray:
    """Return the (4, 4) matrix from the RAS mm in which a volume was written to the volume's own RAS mm."""
    own = volumeGrid(volumeNode)
    return own.matrix @ np.linalg.inv((writtenGrid or own).matrix)


def _remove(node: Any) -> None:
    for made in (node.GetDisplayNode(), node):
        if made is not None:
            slicer.mrmlScene.RemoveNode(made)


def placedOn(volumeNode: Any, fileGrid: Grid, writtenGrid: Grid | None, path: Path) -> np.ndarray:
    """Return the matrix from a file's voxels to the own RAS mm of the volume that the file belongs to.

    Raises:
        CaseError: the file was written for the volume, and its voxels are not those of the volume.
    """
    grid = volumeGrid(volumeNode)
    placed = toOwn(volumeNode, writtenGrid) @ fileGrid.matrix
    indices = np.linalg.solve(grid.matrix, placed)
    if writtenGrid is not None and not _fits(indices, fileGrid, grid):
        raise CaseError(
            explain(
                _("its voxels are not those of the volume"),
                where=str(path),
                remedy=_("apply the model again; the volume or the file has changed since"),
            )
        )
    whole = np.rint(indices)
    error = np.abs((indices - whole) @ np.append(grid.shape[::-1], 1.0)).max()
    isRounding = error * np.linalg.norm(grid.matrix[:3, :3], axis=0).max() < _ROUNDING_MM
    return grid.matrix @ whole if isRounding else placed


def _fits(indices: np.ndarray, own: Grid, grid: Grid) -> bool:
    """Return whether the voxels (i, j, k) of one grid fall on voxels of another."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(own.shape[::-1]) - 1
    moved = (corners @ indices.T)[:, :3]
    onVoxels = np.abs(moved - np.rint(moved)).max() <= SAME_GRID_VOXELS
    return bool(onVoxels and (np.rint(moved) >= 0).all() and (np.rint(moved) < grid.shape[::-1]).all())


def _sizes(grid: Grid) -> str:
    return " x ".join(str(n) for n in grid.shape[::-1])
