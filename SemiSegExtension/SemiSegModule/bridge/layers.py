"""The label images of a segmentation node, read without touching the node; closed surfaces are turned into voxels."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.copies import VoxelCopies
from SemiSegModule.bridge.geometry import Grid, matrixFromVtk, matrixToVtk, transformToWorld
from SemiSegModule.bridge.surface_voxels import fill, isFillable

BINARY = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()


@dataclass(frozen=True)
class Layer:
    """One label image of a segmentation node; segments that do not overlap share it.

    Attributes:
        voxels: (K, J, I) integer, a copy: the node may change before it is used.
        grid: its grid in world RAS.
        values: segment ID to label value.
    """

    voxels: np.ndarray
    grid: Grid
    values: Mapping[str, int]


class SurfaceImages:
    """Segments without a label image as voxels, kept as long as surface, transform and grid stay as they are.

    A surface takes up to seconds on a large scan: whoever must answer meanwhile asks ``missing`` and has them
    converted part by part.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[bytes, tuple[int, Layer | None]]] = {}

    def missing(self, segmentationNode: Any, ids: Iterable[str], reference: Grid) -> tuple[str, ...]:
        """Return the segments that ``layer`` would have to convert first; one that is gone is none of them.

        Args:
            segmentationNode: read only.
            ids: segment IDs.
            reference: world grid on which surfaces are turned into voxels.

        Raises:
            CaseError: the node is under a transform that is not linear.
        """
        segmentation = segmentationNode.GetSegmentation()
        segments = {segmentId: segmentation.GetSegment(segmentId) for segmentId in ids}
        surfaces = [i for i, segment in segments.items() if _isSurface(segment)]
        return tuple(i for i in surfaces if self._known(segmentationNode, i, reference) is None)

    def parts(self, segmentationNode: Any, segmentId: str, reference: Grid) -> Iterator[None]:
        """Turn one of ``missing`` into voxels and keep them, a part whenever the next is asked for.

        Slicer may answer between two parts. A surface that changes or goes meanwhile is left to ``layer``; one that is
        none of ``missing`` is done at once.

        Raises:
            CaseError: the node is under a transform that is not linear or left the scene meanwhile, or the segment
                cannot be converted.
        """
        if not self.missing(segmentationNode, [segmentId], reference):
            return
        moment, place = _moment(segmentationNode, segmentId), _place(segmentationNode, reference)
        work = _converted(segmentationNode, segmentId, reference)
        while True:
            try:
                next(work)
            except StopIteration as end:
                places = self._kept.setdefault((segmentationNode.GetID(), segmentId), {})
                places[place] = (moment, end.value)
                return
            yield
            if (_moment(segmentationNode, segmentId), _place(segmentationNode, reference)) != (moment, place):
                return

    def layer(self, segmentationNode: Any, segmentId: str, reference: Grid) -> Layer | None:
        """Return a segment as voxels of a grid, cut to what holds it; None if no voxel does.

        Raises:
            CaseError: the node is under a transform that is not linear, or the segment cannot be converted.
        """
        # Nobody is answered between the parts, so nothing can change.
        list(self.parts(segmentationNode, segmentId, reference))
        return self._known(segmentationNode, segmentId, reference)[1]

    def forgetRemoved(self) -> None:
        """Let go of segments that have left the scene."""
        for nodeId, segmentId in list(self._kept):
            node = slicer.mrmlScene.GetNodeByID(nodeId)
            if node is None or node.GetSegmentation().GetSegment(segmentId) is None:
                del self._kept[nodeId, segmentId]

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()

    def _known(self, segmentationNode: Any, segmentId: str, reference: Grid) -> tuple[int, Layer | None] | None:
        places = self._kept.get((segmentationNode.GetID(), segmentId), {})
        known = places.get(_place(segmentationNode, reference))
        return known if known is not None and known[0] == _moment(segmentationNode, segmentId) else None


def drawnMoment(segmentation: Any, segmentId: str) -> tuple[str, int]:
    """Return which representation a segment is read from, and the moment at which it last changed; ("", 0) if none.

    Args:
        segmentation: a vtkSegmentation.
        segmentId: of the segment.
    """
    segment = segmentation.GetSegment(segmentId)
    for name in (BINARY, segmentation.GetSourceRepresentationName()):
        drawn = segment.GetRepresentation(name) if segment is not None and name else None
        if drawn is not None:
            return name, int(drawn.GetMTime())
    return "", 0


def labelImages(segmentationNode: Any, ids: Iterable[str]) -> list[Any]:
    """Return the label images with voxels that ``readLayers`` would copy, each once; a segment that is gone has none.

    Args:
        segmentationNode: read only.
        ids: segment IDs.
    """
    segments = [segmentationNode.GetSegmentation().GetSegment(segmentId) for segmentId in ids]
    images = [segment.GetRepresentation(BINARY) for segment in segments if segment is not None]
    # One wrapper stands for one VTK object as long as it is held, which ``images`` does.
    different = {id(image): image for image in images if image is not None}
    return [image for image in different.values() if _holdsVoxels(image)]


def readLayers(
    segmentationNode: Any,
    ids: Iterable[str],
    reference: Grid,
    surfaces: SurfaceImages | None = None,
    copies: VoxelCopies | None = None,
) -> list[Layer]:
    """Return copies of the label images that hold some segments.

    A segment without a binary label image (a closed surface from a model) is converted in a copy.

    Args:
        segmentationNode: read only.
        ids: segment IDs.
        reference: world grid on which surfaces are turned into voxels.
        surfaces: keeps what was converted; None keeps nothing.
        copies: keeps what was copied; None keeps nothing.

    Raises:
        CaseError: the node is under a transform that is not linear, or a segment cannot be converted.
    """
    surfaces, copies = surfaces or SurfaceImages(), copies or VoxelCopies()
    toWorld = transformToWorld(segmentationNode)
    segmentation = segmentationNode.GetSegmentation()
    groups: dict[int, tuple[Any, dict[str, int]]] = {}
    layers: list[Layer | None] = []
    for segmentId in ids:
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(BINARY)
        if image is None:
            layers.append(surfaces.layer(segmentationNode, segmentId, reference))
            continue
        # One wrapper stands for one VTK object as long as it is held, which ``groups`` does.
        groups.setdefault(id(image), (image, {}))[1][segmentId] = int(segment.GetLabelValue())
    layers += [_layer(image, values, toWorld, copies) for image, values in groups.values()]
    return [layer for layer in layers if layer is not None]


def _holdsVoxels(image: Any) -> bool:
    return min(image.GetDimensions()) >= 1 and image.GetPointData().GetScalars() is not None


def _layer(image: Any, values: Mapping[str, int], toWorld: np.ndarray, copies: VoxelCopies) -> Layer | None:
    if not _holdsVoxels(image):
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    # The stored matrix refers to index (0, 0, 0); the first voxel in memory is the start of the extent.
    extent = image.GetExtent()
    start = np.eye(4)
    start[:3, 3] = extent[0], extent[2], extent[4]
    voxels = copies.of(image)
    return Layer(voxels, Grid(toWorld @ matrixFromVtk(matrix) @ start, voxels.shape), values)


def _isSurface(segment: Any) -> bool:
    return segment is not None and segment.GetRepresentation(BINARY) is None


def _moment(segmentationNode: Any, segmentId: str) -> int:
    return drawnMoment(segmentationNode.GetSegmentation(), segmentId)[1]


def _place(segmentationNode: Any, reference: Grid) -> bytes:
    return transformToWorld(segmentationNode).tobytes() + reference.matrix.tobytes() + repr(reference.shape).encode()


def _converted(segmentationNode: Any, segmentId: str, reference: Grid) -> Generator[None, None, Layer | None]:
    """Turn a segment that has no label image into voxels of a grid, in parts; return them, None if there are none."""
    segmentation, toWorld = segmentationNode.GetSegmentation(), transformToWorld(segmentationNode)
    localGrid = reference.moved(np.linalg.inv(toWorld))
    surface = segmentation.GetSegment(segmentId).GetRepresentation(SURFACE)
    if segmentation.GetSourceRepresentationName() != SURFACE or not isFillable(surface):
        return _convertedBySlicer(segmentationNode, segmentId, localGrid, toWorld)
    filled = yield from fill(surface, localGrid.matrix)
    if filled is None:
        return None
    return Layer(filled.voxels, Grid(toWorld @ filled.matrix, filled.voxels.shape), {segmentId: 1})


def _convertedBySlicer(segmentationNode: Any, segmentId: str, localGrid: Grid, toWorld: np.ndarray) -> Layer | None:
    """Return a segment as voxels of a grid, converted as a whole in a copy: contours for example."""
    segmentation = segmentationNode.GetSegmentation()
    name = segmentation.GetSegment(segmentId).GetName()
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    copied = copy.CopySegmentFromSegmentation(segmentation, segmentId)
    # Contours are closed at their ends on the way to voxels, so where they may fill any voxel is not known before.
    extent = [end for size in localGrid.shape[::-1] for end in (0, size - 1)]
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(matrixToVtk(localGrid.matrix), extent)
    copy.SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(), geometry)
    if not copied or not copy.CreateRepresentation(BINARY):
        raise CaseError(
            explain(
                _("segment '{name}' has no voxels and cannot be turned into voxels").format(name=name),
                where=_("segmentation '{segmentation}'").format(segmentation=segmentationNode.GetName()),
                remedy=_("create its binary labelmap in the Segmentations module, or leave the segment out"),
            )
        )
    segment = copy.GetSegment(segmentId)
    value = int(segment.GetLabelValue())
    layer = _layer(segment.GetRepresentation(BINARY), {segmentId: value}, toWorld, VoxelCopies())
    return None if layer is None else _cut(layer, value)


def _cut(layer: Layer, value: int) -> Layer | None:
    """Return the box of a layer that holds the voxels of one value, as a copy; None if there is none."""
    mask = layer.voxels == value
    hits = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not hits[0].size:
        return None
    box = tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    start = np.eye(4)
    start[:3, 3] = [part.start for part in box[::-1]]
    voxels = layer.voxels[box].copy()
    return Layer(voxels, Grid(layer.grid.matrix @ start, voxels.shape), layer.values)
