"""How unsure a model is, as a volume laid over the scan: transparent where it is sure, yellow to red elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from SemiSegLib.cases.volume import read_volume
from SemiSegModule.bridge.geometry import Grid, fromGeometry, matrixToVtk
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.segmentation_import import placeBeside, placedOn

COLORS_NAME = "SemiSeg uncertainty"
# Below a quarter nobody has to look (the threshold by which a worker counts unsure voxels), in percent.
LEAST_SHOWN = 25
_LEVELS = 101
_LOW, _HIGH = (1.0, 0.92, 0.2), (0.8, 0.0, 0.0)
_OPACITY = 0.6


@dataclass(frozen=True)
class UncertaintyMap:
    """A map as it was read.

    Attributes:
        percent: (K, J, I) uint8: a quarter of the memory of the numbers in the file, and what a person reads.
        grid: in the file's coordinates.
        path: of the file, for messages.
        highest: of the numbers, in percent.
    """

    percent: np.ndarray
    grid: Grid
    path: Path
    highest: int


def readUncertainty(path: Path) -> UncertaintyMap:
    """Return an uncertainty map in whole percent; touches no node.

    Raises:
        CaseError: the file cannot be read.
    """
    volume = read_volume(path)
    percent = np.empty(volume.voxels.shape, dtype=np.uint8)
    for number, plane in enumerate(volume.voxels):
        percent[number] = np.rint(np.clip(plane, 0.0, 1.0) * 100.0)
    return UncertaintyMap(percent, fromGeometry(volume.geometry), Path(path), int(percent.max(initial=0)))


def addUncertainty(found: UncertaintyMap, volumeNode: Any, job: str, *, writtenGrid: Grid) -> Any:
    """Return a new volume node with an uncertainty map on the voxels of a scan, in the scan's place of the hierarchy.

    Args:
        found: what ``readUncertainty`` returned.
        volumeNode: the scan; only read.
        job: mark of the job that made it.
        writtenGrid: grid of the scan's file that was segmented.

    Raises:
        CaseError: the map's voxels are not those of the scan.
    """
    matrix = placedOn(volumeNode, found.grid, writtenGrid, found.path)
    percent = found.percent
    name = _("{scan} uncertainty (%)").format(scan=volumeNode.GetName())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAttribute(RESULT_ATTRIBUTE, job)
    image = vtk.vtkImageData()
    image.SetDimensions(*percent.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(percent.ravel(), deep=True))
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(matrixToVtk(matrix))
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    _dress(node.GetDisplayNode(), found.highest)
    placeBeside(node, volumeNode)
    return node


def overlay(node: Any) -> None:
    """Lay an uncertainty map over what the slice views show; None takes away the one that is there."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for composite in composites:
        if node is not None:
            composite.SetForegroundVolumeID(node.GetID())
            composite.SetForegroundOpacity(_OPACITY)
        elif isUncertainty(slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")):
            composite.SetForegroundVolumeID(None)


def overlaid() -> Any:
    """Return the uncertainty map that the slice views show, or None."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        node = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if isUncertainty(node):
            return node
    return None


def isUncertainty(node: Any) -> bool:
    """Return whether a node is a map of uncertainty."""
    return node is not None and node.IsA("vtkMRMLScalarVolumeNode") and bool(node.GetAttribute(RESULT_ATTRIBUTE))


def _dress(display: Any, highest: int) -> None:
    display.SetAndObserveColorNodeID(_colors().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, _LEVELS - 1)
    display.SetInterpolate(False)
    display.AutoThresholdOff()
    # A model that is sure nearly everywhere still shows where it is least so.
    display.SetThreshold(max(1, min(LEAST_SHOWN, highest // 2)), _LEVELS - 1)
    display.ApplyThresholdOn()


def _colors() -> Any:
    """Return the scene's color table of uncertainty; made once."""
    known = slicer.mrmlScene.GetFirstNode(COLORS_NAME, "vtkMRMLColorTableNode")
    if known is not None:
        return known
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", COLORS_NAME)
    node.SetTypeToUser()
    # It shows percents and names no structures.
    node.SetHideFromEditors(True)
    node.SetNumberOfColors(_LEVELS)
    for level in range(_LEVELS):
        share = level / (_LEVELS - 1)
        color = [low + share * (high - low) for low, high in zip(_LOW, _HIGH, strict=True)]
        node.SetColor(level, f"{level} %", *color, 1.0)
    node.GetLookupTable().SetTableRange(0, _LEVELS - 1)
    return node
