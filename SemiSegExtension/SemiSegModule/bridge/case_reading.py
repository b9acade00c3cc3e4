"""Reads a case of the scene in steps between which Slicer answers, and yet as it is at one moment.

Surfaces are turned into voxels and images copied part by part; then all is read at once, and only what has
changed since is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.copies import VoxelCopies
from SemiSegModule.bridge.drawing import Drawing, checkedMeanings, readDrawing
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.images import Scan, copyChannels, readScan
from SemiSegModule.bridge.layers import SurfaceImages, labelImages
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.waiting import Waiting


def readCase(
    case: SceneCase,
    scheme: LabelScheme,
    *,
    surfaces: SurfaceImages | None,
    waiting: Waiting,
    tell: Callable[[str], None],
) -> tuple[Scan, Drawing | None]:
    """Return the scan of a case and what was drawn in it, as both are when this returns; nodes are only read.

    Args:
        case: of the scene.
        scheme: holds every structure that the case names.
        surfaces: closed surfaces that were turned into voxels already, and keeps the others; None keeps nothing.
        waiting: lets Slicer answer between two steps.
        tell: called with what is being read.

    Raises:
        CaseError: see ``readScan`` and ``readDrawing``; or a node has left the scene meanwhile.
        LabelError: see ``readDrawing``.
    """
    tell(case.id)
    surfaces, copies = surfaces or SurfaceImages(), VoxelCopies()
    volume = next(iter(case.volumes.values()))
    if case.segmentation is not None:
        ids = checkedMeanings(case, scheme)
        convertSurfaces(case.segmentation, ids, volume, surfaces=surfaces, waiting=waiting, tell=_ofCase(case, tell))
        copyLabelImages(case.segmentation, ids, copies, waiting)
    copyChannels(case.volumes, copies, waiting)
    reference = worldGrid(volume)
    return readScan(case.volumes, copies), readDrawing(case, scheme, reference, surfaces, copies)


def convertSurfaces(
    segmentationNode: Any,
    ids: Iterable[str],
    volumeNode: Any,
    *,
    surfaces: SurfaceImages,
    waiting: Waiting,
    tell: Callable[[str], None],
) -> None:
    """Turn the closed surfaces among some segments into voxels, one or a part of one in a turn of Slicer's event loop.

    Each is converted once: one that changes meanwhile is left for whoever reads it.

    Args:
        segmentationNode: read only.
        ids: segment IDs.
        volumeNode: on whose voxels.
        surfaces: keeps what was converted.
        waiting: lets Slicer answer before each part.
        tell: called with the name of each segment before it is converted.

    Raises:
        CaseError: a segment cannot be converted, or a node has left the scene meanwhile.
    """
    segmentation = segmentationNode.GetSegmentation()
    missing = surfaces.missing(segmentationNode, ids, worldGrid(volumeNode))
    names = {segmentId: segmentation.GetSegment(segmentId).GetName() for segmentId in missing}
    for segmentId, name in names.items():
        tell(name)
        waiting.answer()
        # Meanwhile the segment may have been removed, or drawn as voxels.
        for _part in surfaces.parts(segmentationNode, segmentId, worldGrid(volumeNode)):
            waiting.answer()


def copyLabelImages(segmentationNode: Any, ids: Iterable[str], copies: VoxelCopies, waiting: Waiting) -> None:
    """Copy the label images that hold some segments, a part of one in a turn of Slicer's event loop.

    Args:
        segmentationNode: read only.
        ids: segment IDs.
        copies: keeps what was copied.
        waiting: lets Slicer answer before each.
    """
    for image in labelImages(segmentationNode, ids):
        copies.prepare(image, waiting.answer)


def _ofCase(case: SceneCase, tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda segment: tell(_("{case}, surface '{segment}'").format(case=case.id, segment=segment))
