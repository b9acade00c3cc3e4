"""What is doubtful about a case of the scene, before anything is written; the same rules as the export's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from SemiSegLib.cases.finding import Finding
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.overlap import slabs
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.annotation_image import Drawing, annotationImage, readDrawing
from SemiSegModule.bridge.geometry import SAME_GRID_VOXELS, Grid, displacementVoxels, volumeGrid, worldGrid
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.segment_images import labelImage
from SemiSegModule.bridge.segmentation_import import standBeside
from SemiSegModule.bridge.segments import BINARY, Layer, placeLayers, readLayers, segmentIds
from SemiSegModule.waiting import Waiting


@dataclass(frozen=True)
class CaseSnapshot:
    """A case as it was when it was read: the scene may change while it is looked at.

    Attributes:
        id: of the case.
        drawing: what was drawn, or None.
        scheme: label scheme.
        grids: channel role to world grid; the first is the one that labels must fit.
        problems: what is wrong already, so that nothing else can be said.
    """

    id: str
    drawing: Drawing | None
    scheme: LabelScheme
    grids: Mapping[str, Grid]
    problems: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CaseCheck:
    """What was found.

    Attributes:
        findings: the worst first.
        emptySegments: IDs of segments that count and hold no voxel.
    """

    findings: tuple[Finding, ...] = ()
    emptySegments: tuple[str, ...] = ()


_WORST_FIRST = ("error", "warning", "note")


def snapshot(case: SceneCase, scheme: LabelScheme) -> CaseSnapshot:
    """Return a case as it is at this moment; its nodes are only read, its label images copied."""
    grids: dict[str, Grid] = {}
    try:
        for role, node in case.volumes.items():
            grids[role] = worldGrid(node)
        drawing = readDrawing(case, scheme, next(iter(grids.values())))
    except CaseError as error:
        what, _line, rest = str(error).partition("\n")
        finding = Finding(case=case.id, code="unusable", severity="error", what=what, where="", remedy=rest.strip())
        return CaseSnapshot(case.id, None, scheme, grids, (finding,))
    return CaseSnapshot(case.id, drawing, scheme, grids)


def check(taken: CaseSnapshot) -> CaseCheck:
    """Return what is doubtful about a case; touches no node, so that it can be done in a thread."""
    findings = [*taken.problems, *_channelFindings(taken)]
    empty: tuple[str, ...] = ()
    if taken.drawing is not None:
        empty = emptySegments(taken.drawing.layers, taken.drawing.meanings)
        findings += annotationImage(taken.drawing, taken.scheme).findings
        findings += _emptyFindings(taken.drawing, empty)
    findings.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
    return CaseCheck(tuple(findings), empty)


def emptySegments(layers: Iterable[Layer], ids: Iterable[str]) -> tuple[str, ...]:
    """Return the segments that no voxel of the label images belongs to."""
    filled = {segmentId for layer in layers for segmentId in _filled(layer)}
    return tuple(segmentId for segmentId in ids if segmentId not in filled)


def copyOntoScan(segmentation: Any, volume: Any, waiting: Waiting | None = None) -> Any:
    """Return a new segmentation node with the same segments on the voxels of a volume; neither node is changed.

    Each voxel of the volume takes the nearest voxel of the segment, as an export would do it.

    Raises:
        CaseError: a segment has no voxels and cannot be turned into voxels, or the volume left the scene meanwhile.
    """
    reference, ids = worldGrid(volume), segmentIds(segmentation)
    layers = readLayers(segmentation, ids, reference)
    placed = (waiting or Waiting()).apart(lambda: placeLayers(layers, ids, reference))
    if volume.GetScene() is None or segmentation.GetScene() is None:
        raise CaseError(
            explain("it was removed from the scene", where="Slicer scene", remedy="load it again and try once more")
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{segmentation.GetName()} on scan")
    standBeside(node, volume)
    own = volumeGrid(volume)
    start = np.eye(4)
    start[:3, 3] = placed.box[0][::-1]
    grid = Grid(own.matrix @ start, placed.box[1])
    for segmentId in ids:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(segmentation.GetSegmentation().GetSegment(segmentId))
        if placed.masks[segmentId].any():
            segment.AddRepresentation(BINARY, labelImage(placed.masks[segmentId].astype(np.uint8), grid.matrix))
            segment.SetLabelValue(1)
        node.GetSegmentation().AddSegment(segment, segmentId)
    return node


def _filled(layer: Layer) -> list[str]:
    """Return the segments of which a label image holds a voxel, slab by slab until all are found."""
    wanted = dict(layer.values)
    found: list[str] = []
    for slab in slabs(layer.voxels.shape):
        present = np.unique(layer.voxels[slab])
        here = [segmentId for segmentId, value in wanted.items() if value in present]
        found += here
        for segmentId in here:
            del wanted[segmentId]
        if not wanted:
            break
    return found


def _channelFindings(taken: CaseSnapshot) -> list[Finding]:
    findings = []
    roles = list(taken.grids)
    for role in roles[1:]:
        own, first = taken.grids[role], taken.grids[roles[0]]
        if own.shape != first.shape or displacementVoxels(own, first) > SAME_GRID_VOXELS:
            findings.append(
                Finding(
                    case=taken.id,
                    code="channel_grid",
                    severity="note",
                    what=f"the channel '{role}' has another grid than '{roles[0]}'",
                    where=f"channel '{role}'",
                    remedy="it will be brought to the first channel's voxels; check in the slice views that both show "
                    "the same anatomy at the same place",
                )
            )
    return findings


def _emptyFindings(drawing: Drawing, empty: tuple[str, ...]) -> list[Finding]:
    if not empty:
        return []
    names = ", ".join(f"'{drawing.segmentNames[segmentId]}'" for segmentId in empty)
    return [
        Finding(
            case=drawing.caseId,
            code="empty_segment",
            severity="warning",
            what=f"nothing is drawn in {names}: the case teaches that it is absent",
            where=drawing.where,
            remedy="right if this patient has none; else draw it, or let it count as not looked for",
        )
    ]
