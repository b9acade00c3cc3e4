"""What is doubtful about a case of the scene, before anything is written; the same rules as the export's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SemiSegLib.cases.finding import Finding
from SemiSegLib.errors import CaseError, SemiSegError, explain, take_apart
from SemiSegLib.labels.overlap import slabs
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.annotation_image import AnnotationImage, annotationImage
from SemiSegModule.bridge.case_reading import convertSurfaces, copyLabelImages
from SemiSegModule.bridge.copies import VoxelCopies
from SemiSegModule.bridge.drawing import Drawing, readDrawing
from SemiSegModule.bridge.geometry import Grid, isSameGrid, volumeGrid, worldGrid
from SemiSegModule.bridge.layers import BINARY, Layer, SurfaceImages, readLayers
from SemiSegModule.bridge.overlaps import Overlap
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase
from SemiSegModule.bridge.segment_images import labelImage
from SemiSegModule.bridge.segmentation_import import standBeside
from SemiSegModule.bridge.segments import placeLayers, segmentIds
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
        emptySegments: IDs of segments without a voxel whose structure the case teaches to be absent.
        overlaps: structures that share voxels and exclude each other, decided or not, in the order of the alphabet.
    """

    findings: tuple[Finding, ...] = ()
    emptySegments: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


_WORST_FIRST = ("error", "warning", "note")


def convertSurfacesOf(case: SceneCase, surfaces: SurfaceImages) -> Iterator[None]:
    """Turn what ``snapshot`` would have to turn into voxels first into them, a part whenever the next is asked for.

    Args:
        case: of the scene, also when a part is asked for.
        surfaces: keeps what was converted.
    """
    counted = [i for i, meaning in case.meanings.items() if meaning not in ("", LEFT_OUT)]
    try:
        for segmentId in counted if case.segmentation is not None else ():
            reference = worldGrid(next(iter(case.volumes.values())))
            if surfaces.missing(case.segmentation, [segmentId], reference):
                yield from surfaces.parts(case.segmentation, segmentId, reference)
                yield
    except CaseError:
        # The case cannot be read; the snapshot tells why.
        return


def snapshot(case: SceneCase, scheme: LabelScheme, surfaces: SurfaceImages | None = None) -> CaseSnapshot:
    """Return a case as it is at this moment; its nodes are only read, its label images copied.

    Args:
        case: of the scene.
        scheme: label scheme.
        surfaces: closed surfaces that were turned into voxels already; the others are converted now.
    """
    grids: dict[str, Grid] = {}
    try:
        for role, node in case.volumes.items():
            grids[role] = worldGrid(node)
        drawing = readDrawing(case, scheme, next(iter(grids.values())), surfaces)
    except SemiSegError as error:
        return CaseSnapshot(case.id, None, scheme, grids, failed(case.id, error).findings)
    return CaseSnapshot(case.id, drawing, scheme, grids)


def failed(caseId: str, error: BaseException) -> CaseCheck:
    """Return what is to be said of a case whose check ended with an error, also one that nobody has foreseen."""
    if isinstance(error, SemiSegError):
        what, where, remedy = take_apart(str(error))
    else:
        reason = f"{type(error).__name__}: {error}"
        what, where = _("the case could not be checked: {reason}").format(reason=reason), ""
        remedy = _("untick the case, and report this with the error log of Slicer")
    finding = Finding(case=caseId, code="unusable", severity="error", what=what, where=where, remedy=remedy)
    return CaseCheck((finding,))


def check(taken: CaseSnapshot) -> CaseCheck:
    """Return what is doubtful about a case; touches no node, so that it can be done in a thread.

    Raises:
        LabelError: the segments say more different things than a label image can tell apart.
    """
    findings = [*taken.problems, *_channelFindings(taken)]
    empty: tuple[str, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    if taken.drawing is not None:
        image = annotationImage(taken.drawing, taken.scheme)
        empty = _absent(taken, image)
        findings += image.findings
        overlaps = image.overlaps
        findings += _emptyFindings(taken.drawing, empty)
    findings.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
    return CaseCheck(tuple(findings), empty, overlaps)


def emptySegments(layers: Iterable[Layer], ids: Iterable[str]) -> tuple[str, ...]:
    """Return the segments that no voxel of the label images belongs to."""
    filled = {segmentId for layer in layers for segmentId in _filled(layer)}
    return tuple(segmentId for segmentId in ids if segmentId not in filled)


def lookedForWithout(case: SceneCase, segments: Collection[str], scheme: LabelScheme) -> tuple[str, ...]:
    """Return what was looked for in a case if nobody has looked for the structures of some empty segments.

    A whole that was looked for is replaced by its other parts, unless it was drawn: then its voxels may be the part,
    and no others.
    """
    lookedFor = case.lookedFor
    drawn = [m for i, m in case.meanings.items() if i not in segments and m not in ("", ANNOTATED_REGION, LEFT_OUT)]
    for empty in dict.fromkeys(case.meanings[segmentId] for segmentId in segments):
        left = scheme.leaves_of(empty)
        isInDrawn = any(scheme.leaves_of(meaning) & left for meaning in drawn)
        kept: list[str] = []
        for name in lookedFor:
            rest = scheme.leaves_of(name) - left
            isWhole = rest and (isInDrawn or rest == scheme.leaves_of(name))
            kept += [name] if isWhole else scheme.cover(rest)
        lookedFor = tuple(dict.fromkeys(kept))
    return lookedFor


def copyOntoScan(
    segmentation: Any, volume: Any, *, surfaces: SurfaceImages | None = None, waiting: Waiting | None = None
) -> Any:
    """Return a new segmentation node with the same segments on the voxels of a volume; neither node is changed.

    Each voxel of the volume takes the nearest voxel of the segment, as an export would do it.

    Args:
        segmentation: as it is when all of it has been read.
        volume: on whose voxels.
        surfaces: closed surfaces that were turned into voxels already, and keeps the others; None keeps nothing.
        waiting: is told how far it is, has what takes long done apart from the scene, and lets Slicer answer between
            one segment and the next; None: nobody waits.

    Raises:
        CaseError: a segment has no voxels and cannot be turned into voxels, or a node left the scene meanwhile.
    """
    waiting, surfaces, copies = waiting or Waiting(), surfaces or SurfaceImages(), VoxelCopies()
    tell, ids = partial(waiting.tell, 0, 1), segmentIds(segmentation)
    convertSurfaces(segmentation, ids, volume, surfaces=surfaces, waiting=waiting, tell=tell)
    copyLabelImages(segmentation, ids, copies, waiting)
    # Meanwhile segments may have come and gone: from here on they are as they are now.
    described = _described(segmentation)
    reference, own = worldGrid(volume), volumeGrid(volume)
    layers = readLayers(segmentation, described, reference, surfaces, copies)
    tell(segmentation.GetName())
    placed = waiting.apart(partial(placeLayers, layers, tuple(described), reference))
    _requireInScene(segmentation, volume)
    start = np.eye(4)
    start[:3, 3] = placed.box[0][::-1]
    for segmentId, segment in described.items():
        voxels = waiting.apart(partial(_asLabels, placed.masks[segmentId]))
        _requireInScene(segmentation, volume)
        if voxels is not None:
            segment.AddRepresentation(BINARY, labelImage(voxels, own.matrix @ start))
            segment.SetLabelValue(1)
    node = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", _("{labels} on scan").format(labels=segmentation.GetName())
    )
    standBeside(node, volume)
    for segmentId, segment in described.items():
        node.GetSegmentation().AddSegment(segment, segmentId)
    return node


def _requireInScene(*nodes: Any) -> None:
    if any(node.GetScene() is None for node in nodes):
        raise CaseError(
            explain(
                _("it was removed from the scene"), where=_("Slicer scene"), remedy=_("load it again and try once more")
            )
        )


def _described(segmentation: Any) -> dict[str, Any]:
    """Return segment ID to a new segment of the same name, color and tags, without voxels."""
    described = {}
    for segmentId in segmentIds(segmentation):
        described[segmentId] = slicer.vtkSegment()
        described[segmentId].DeepCopyMetadata(segmentation.GetSegmentation().GetSegment(segmentId))
    return described


def _asLabels(mask: np.ndarray) -> np.ndarray | None:
    """Return a mask as voxels of a label image, or None if nothing is in it."""
    return mask.astype(np.uint8) if mask.any() else None


def _absent(taken: CaseSnapshot, image: AnnotationImage) -> tuple[str, ...]:
    """Return the empty segments of structures that no voxel may be where the case was annotated.

    One of two segments of a structure may be empty, a whole may be drawn by its parts, and what was not looked for may
    be anywhere: none of these is absent.
    """
    drawing, scheme = taken.drawing, taken.scheme
    possible = frozenset().union(*(scheme.leaf_set(names) for names in image.values.values() if names != ("*",)))
    counted = {i: meaning for i, meaning in drawing.meanings.items() if meaning != ANNOTATED_REGION}
    empty = emptySegments(drawing.layers, counted)
    return tuple(i for i in empty if not scheme.leaves_of(counted[i]) & possible)


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
        if not isSameGrid(taken.grids[role], taken.grids[roles[0]]):
            findings.append(
                Finding(
                    case=taken.id,
                    code="channel_grid",
                    severity="note",
                    what=_("the channel '{role}' has another grid than '{first}'").format(role=role, first=roles[0]),
                    where=_("channel '{role}'").format(role=role),
                    remedy=_(
                        "it will be brought to the first channel's voxels; check in the slice views that both "
                        "show the same anatomy at the same place"
                    ),
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
            what=_("nothing is drawn in {names}: the case teaches that it is absent").format(names=names),
            where=drawing.where,
            remedy=_("right if this patient has none; else draw it, or let it count as not looked for"),
        )
    ]
