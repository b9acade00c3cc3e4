"""From a dataset on disk to the scene: one volume per channel and one segmentation per labeled case."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import ChannelReader, read_codes
from SemiSegLib.cases.volume import Volume
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.terminology import to_slicer_string
from SemiSegModule.bridge.geometry import Grid, fromGeometry, matrixToVtk
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, SUPERCLASS_TAG, SceneCase, suggestLookedFor
from SemiSegModule.bridge.segmentation_import import placeBeside
from SemiSegModule.bridge.segments import BINARY

REGION_NAME = "annotated region"


def loadCase(dataset: Dataset, case: Case) -> SceneCase:
    """Return a case as new nodes of the scene, with what its labels mean.

    Raises:
        CaseError: a file of the case cannot be read or does not fit.
    """
    reader = ChannelReader(dataset, case)
    channels = {role: reader.read(role) for role in dataset.channels}
    geometry = channels[dataset.channels[0]].geometry
    # Everything is read before the first node is made: a damaged file leaves no half of a case in the scene.
    labels = None if case.annotation is None else read_codes(dataset, case, geometry)
    names = {role: case.id if len(channels) == 1 else f"{case.id} {role}" for role in channels}
    volumes = {role: addVolume(volume, names[role]) for role, volume in channels.items()}
    segmentation, meanings, lookedFor = None, {}, ()
    if labels is not None:
        segmentation = _newSegmentation(volumes[dataset.channels[0]], f"{case.id} labels")
        meanings, lookedFor = _fill(segmentation, *labels, dataset.scheme, fromGeometry(geometry))
    return SceneCase(
        id=case.id,
        volumes=volumes,
        segmentation=segmentation,
        meanings=meanings,
        lookedFor=lookedFor,
        patient=case.patient,
        side=case.split.value if case.split else None,
    )


def addVolume(volume: Volume, name: str) -> Any:
    """Return a new scalar volume node."""
    grid = fromGeometry(volume.geometry)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(_imageData(vtk.vtkImageData(), volume.voxels))
    node.SetIJKToRASMatrix(matrixToVtk(grid.matrix))
    node.CreateDefaultDisplayNodes()
    return node


def _newSegmentation(volumeNode: Any, name: str) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    placeBeside(node, volumeNode)
    return node


def _fill(
    node: Any, codes: np.ndarray, table: LabelSetTable, scheme: LabelScheme, grid: Grid
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Add one segment per structure that was drawn; return meanings and what was looked for."""
    everything = frozenset(range(len(scheme.leaves)))
    occurring = [(int(code), table.sets[code]) for code in np.unique(codes)]
    # Outside all segments a voxel is background or what was not looked for; the largest such set that is not
    # "anything" says so, unless nothing was looked for at all.
    open_ = [leafSet for _code, leafSet in occurring if 0 in leafSet and leafSet != everything]
    elsewhere = max(open_, key=len, default=frozenset({0}))
    drawn = {code: leafSet for code, leafSet in occurring if leafSet not in (elsewhere, everything)}
    lookup = np.zeros(len(table), dtype=np.uint8)
    meanings: dict[str, str] = {}
    image = slicer.vtkOrientedImageData()
    for code, leafSet in drawn.items():
        names = scheme.cover(leafSet)
        if len(names) != 1:
            # "either of two siblings": what an overlap left open cannot be drawn as one structure, so it is not.
            continue
        lookup[code] = len(meanings) + 1
        structure = scheme.find(names[0])
        segmentId = _addSegment(node, structure, scheme, image, int(lookup[code]))
        meanings[segmentId] = structure.name
    _imageData(image, lookup[codes])
    image.SetImageToWorldMatrix(matrixToVtk(grid.matrix))
    if any(leafSet == everything for _code, leafSet in occurring):
        region = slicer.vtkOrientedImageData()
        _imageData(region, (codes != table.code(everything)).astype(np.uint8))
        region.SetImageToWorldMatrix(matrixToVtk(grid.matrix))
        plain = Structure(name=REGION_NAME, color=(0.6, 0.6, 0.6))
        meanings[_addSegment(node, plain, None, region, 1)] = ANNOTATED_REGION
    lookedFor = list(suggestLookedFor(meanings, scheme))
    covered = frozenset().union(*(scheme.leaves_of(name) for name in lookedFor))
    absent = everything - elsewhere - covered
    return meanings, (*lookedFor, *(scheme.cover(absent) if absent else ()))


def _addSegment(node: Any, structure: Structure, scheme: LabelScheme | None, image: Any, value: int) -> str:
    segment = slicer.vtkSegment()
    segment.SetName(structure.name)
    segment.SetColor(*structure.color)
    if structure.terminology is not None:
        segment.SetTag(segment.GetTerminologyEntryTagName(), to_slicer_string(structure.terminology))
    if scheme is not None:
        segment.SetTag(SUPERCLASS_TAG, scheme.ancestors(structure.name)[-1].name)
    # Segments that share one image are told apart by their label value.
    segment.AddRepresentation(BINARY, image)
    segment.SetLabelValue(value)
    node.GetSegmentation().AddSegment(segment, structure.name)
    return structure.name


def _imageData(image: Any, voxels: np.ndarray) -> Any:
    image.SetDimensions(*voxels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image
