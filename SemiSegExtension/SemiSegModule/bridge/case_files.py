"""A case as read from files, apart from the scene, and what makes nodes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from SemiSegLib.cases.finding import Finding
from SemiSegLib.cases.volume import Volume
from SemiSegModule.bridge.geometry import Grid, fromGeometry, matrixToVtk
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.segment_images import addSegments, labelImage
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.segmentation_import import standBeside


@dataclass(frozen=True)
class Drawn:
    """What was drawn in a case.

    Attributes:
        layers: (K, J, I) integer images and their grids; segments that share one do not overlap.
        segments: which value of which layer is which segment.
        meanings: segment ID to structure name or region, where the files say so.
        lookedFor: structures that were looked for, or None if the files do not say.
    """

    layers: tuple[tuple[np.ndarray, Grid], ...]
    segments: tuple[FileSegment, ...]
    meanings: Mapping[str, str] = field(default_factory=dict)
    lookedFor: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """One case, read: no object of the scene, so that it can be read in a thread.

    Attributes:
        id: name of the case and of its nodes.
        volumes: channel role to image.
        drawn: what was drawn, or None.
        patient: "" if the files do not say.
        side: "train", "validation", "test" or None.
        state: "untouched", "partial", "done", or "" if the files do not say.
        findings: what the files say and the scene cannot.
    """

    id: str
    volumes: Mapping[str, Volume]
    drawn: Drawn | None = None
    patient: str = ""
    side: str | None = None
    state: str = ""
    findings: tuple[Finding, ...] = ()


def addCase(files: CaseFiles) -> SceneCase:
    """Return a case as new nodes of the scene; nothing else of the scene is touched."""
    names = {role: files.id if len(files.volumes) == 1 else f"{files.id} {role}" for role in files.volumes}
    volumes = {role: addVolume(volume, names[role]) for role, volume in files.volumes.items()}
    segmentation = None
    if files.drawn is not None:
        name = _("{case} labels").format(case=files.id)
        segmentation = _addSegmentation(files.drawn, next(iter(volumes.values())), name)
    return SceneCase(
        id=files.id,
        volumes=volumes,
        segmentation=segmentation,
        meanings=dict(files.drawn.meanings) if files.drawn is not None else {},
        lookedFor=(files.drawn.lookedFor or ()) if files.drawn is not None else (),
        patient=files.patient,
        side=files.side,
        state=files.state,
    )


def addVolume(volume: Volume, name: str) -> Any:
    """Return a new scalar volume node."""
    grid = fromGeometry(volume.geometry)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(_filled(vtk.vtkImageData(), volume.voxels))
    node.SetIJKToRASMatrix(matrixToVtk(grid.matrix))
    node.CreateDefaultDisplayNodes()
    return node


def _addSegmentation(drawn: Drawn, volumeNode: Any, name: str) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    standBeside(node, volumeNode)
    images = [labelImage(voxels, grid.matrix) for voxels, grid in drawn.layers]
    addSegments(node, images, drawn.segments)
    return node


def _filled(image: Any, voxels: np.ndarray) -> Any:
    image.SetDimensions(*voxels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True))
    return image
