"""From the segments of a case to one label image and the table of what its values mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.checks import Finding
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.drawing import Drawing
from SemiSegModule.bridge.overlaps import EITHER, IGNORE, REST, Overlap, combineMasks, findOverlaps, requireCodes
from SemiSegModule.bridge.region import DRAWN_SLICES
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION
from SemiSegModule.bridge.segments import Masks, placeLayers


@dataclass(frozen=True)
class AnnotationImage:
    """What a case's segments say.

    Attributes:
        voxels: (K, J, I) uint8; 0 is a voxel that no segment covers.
        values: stored value to structure names, "*" being anything.
        findings: what the user should know: overlaps, voxels outside the volume, resampled segments.
        overlaps: structures that share voxels and exclude each other, whether a rule decides about them or not.
    """

    voxels: np.ndarray
    values: Mapping[int, tuple[str, ...]]
    findings: tuple[Finding, ...]
    overlaps: tuple[Overlap, ...] = ()


def drawnOverlaps(drawing: Drawing, scheme: LabelScheme) -> tuple[Overlap, ...]:
    """Return which structures of a drawing share voxels although they exclude each other; touches no node."""
    _region, masks = _byStructure(placeLayers(drawing.layers, drawing.meanings, drawing.reference), drawing.meanings)
    return findOverlaps(masks, {name: scheme.leaves_of(name) for name in masks})


def annotationImage(drawing: Drawing, scheme: LabelScheme) -> AnnotationImage:
    """Return the label image of a case on the grid of its first volume; touches no node.

    Args:
        drawing: what was drawn.
        scheme: holds every structure that the drawing names.

    Raises:
        LabelError: the segments say more different things than a label image can tell apart; names the case.
    """
    everything = frozenset(range(len(scheme.leaves)))
    elsewhere = everything - frozenset().union(*(scheme.leaves_of(name) for name in drawing.lookedFor))
    placed = placeLayers(drawing.layers, drawing.meanings, drawing.reference)
    findings = _geometryFindings(drawing, placed)
    region, masks = _byStructure(placed, drawing.meanings)
    sets = {name: scheme.leaves_of(name) for name in masks}
    remainders, more = _remainders(drawing, scheme, masks)
    masks.update({name: mask for name, (mask, _) in remainders.items()})
    sets.update({name: leafSet for name, (_mask, leafSet) in remainders.items()})
    voxels, setOfValue, overlaps = _drawn(drawing, masks, sets, elsewhere, placed, len(scheme.leaves))
    regions = _regions(drawing, placed, region)
    if regions:
        setOfValue = {**setOfValue, _codeOf(everything, setOfValue): everything}
        requireCodes(len(setOfValue), drawing.place)
        unknown = np.uint8(_codeOf(everything, setOfValue))
        for inside in regions:
            voxels = np.where(inside, voxels, unknown)
    findings += more + _overlapFindings(drawing, overlaps) + _regionFindings(drawing, regions)
    return AnnotationImage(voxels, {v: scheme.cover(s) for v, s in setOfValue.items()}, tuple(findings), overlaps)


def _byStructure(placed: Masks, meanings: Mapping[str, str]) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the annotated region, if one was drawn, and structure name to mask (several segments are united)."""
    region: np.ndarray | None = None
    masks: dict[str, np.ndarray] = {}
    for segmentId, meaning in meanings.items():
        mask = placed.masks[segmentId]
        if meaning == ANNOTATED_REGION:
            region = mask if region is None else region | mask
        else:
            masks[meaning] = mask if meaning not in masks else masks[meaning] | mask
    return region, masks


def _remainders(
    drawing: Drawing, scheme: LabelScheme, masks: Mapping[str, np.ndarray]
) -> tuple[dict[str, tuple[np.ndarray, frozenset[int]]], list[Finding]]:
    """Return what is known of a drawn whole outside those of its parts that were looked for.

    In a kidney that was searched for tumor, kidney voxels outside the tumor are the other parts of the kidney.
    """
    result: dict[str, tuple[np.ndarray, frozenset[int]]] = {}
    findings: list[Finding] = []
    for whole, mask in masks.items():
        leaves = scheme.leaves_of(whole)
        parts = [name for name in drawing.lookedFor if scheme.leaves_of(name) < leaves]
        if not parts:
            continue
        inside = [m for name, m in masks.items() if scheme.leaves_of(name) < leaves]
        rest = mask & ~np.logical_or.reduce(inside) if inside else mask.copy()
        left = leaves - frozenset().union(*(scheme.leaves_of(name) for name in parts))
        if left:
            result[f"{REST} {whole}"] = (rest, left)
        elif rest.any():
            findings.append(
                Finding(
                    case=drawing.caseId,
                    code="part_missing",
                    severity="warning",
                    what=_("{count} voxels of '{whole}' are in none of its parts, though all were looked for").format(
                        count=int(rest.sum()), whole=whole
                    ),
                    where=drawing.where,
                    remedy=_(
                        "draw the parts there, or untick the part that was not drawn everywhere; until then "
                        "these voxels count as '{whole}', part unknown"
                    ).format(whole=whole),
                )
            )
    return result, findings


def _drawn(
    drawing: Drawing,
    masks: Mapping[str, np.ndarray],
    sets: Mapping[str, frozenset[int]],
    elsewhere: frozenset[int],
    placed: Masks,
    leafCount: int,
) -> tuple[np.ndarray, dict[int, frozenset[int]], tuple[Overlap, ...]]:
    """Return stored values on the whole grid, value to label set, and structures that overlap and must not."""
    voxels = np.zeros(drawing.reference.shape, dtype=np.uint8)
    if not masks or not next(iter(masks.values())).size:
        return voxels, {0: elsewhere}, ()
    inBox, found, overlaps = combineMasks(
        masks, sets, elsewhere, drawing.overlapRules, leafCount=leafCount, where=drawing.place
    )
    voxels[_box(placed)] = inBox
    return voxels, dict(enumerate(found)), overlaps


def _regions(drawing: Drawing, placed: Masks, drawn: np.ndarray | None) -> list[np.ndarray]:
    """Return where the case was annotated, each bool on the whole grid or broadcast to it; all must hold."""
    inside = []
    if drawn is not None:
        whole = np.zeros(drawing.reference.shape, dtype=bool)
        whole[_box(placed)] = drawn
        inside.append(whole)
    if drawing.region is not None:
        ids = [i for i, meaning in drawing.meanings.items() if meaning != ANNOTATED_REGION]
        if drawing.region.region.kind == DRAWN_SLICES and drawing.region.region.segment:
            ids = [drawing.region.region.segment]
        segments = [(_box(placed), placed.masks[i]) for i in ids if i in placed.masks]
        inside.append(drawing.region.inside(drawing.reference, segments))
    return inside


def _codeOf(leafSet: frozenset[int], setOfValue: Mapping[int, frozenset[int]]) -> int:
    """Return the stored value of a label set, the next free one if it has none yet."""
    return next((value for value, known in setOfValue.items() if known == leafSet), len(setOfValue))


def _box(placed: Masks) -> tuple[slice, ...]:
    return tuple(slice(first, first + size) for first, size in zip(*placed.box, strict=True))


def _geometryFindings(drawing: Drawing, placed: Masks) -> list[Finding]:
    findings = []
    isElsewhere = not any(mask.any() for mask in placed.masks.values())
    for segmentId, count in placed.outside.items():
        if count:
            findings.append(
                Finding(
                    case=drawing.caseId,
                    code="elsewhere" if isElsewhere else "outside_volume",
                    severity="warning",
                    what=_("{count} voxels of segment '{segment}' lie outside the volume and are not used").format(
                        count=count, segment=drawing.segmentNames[segmentId]
                    ),
                    where=drawing.where,
                    remedy=_("check that the segmentation belongs to this volume and has the same transform"),
                )
            )
    if placed.resampled:
        names = ", ".join(f"'{drawing.segmentNames[segmentId]}'" for segmentId in placed.resampled)
        findings.append(
            Finding(
                case=drawing.caseId,
                code="resampled",
                severity="note",
                what=_(
                    "{names} were drawn on another grid and were brought to the volume's voxels (nearest neighbor)"
                ).format(names=names),
                where=drawing.where,
                remedy=_("nothing to do if the other grid was meant; else set the volume as source geometry"),
            )
        )
    return findings


def _regionFindings(drawing: Drawing, regions: list[np.ndarray]) -> list[Finding]:
    if not regions or reduce(np.logical_and, regions).any():
        return []
    return [
        Finding(
            case=drawing.caseId,
            code="nowhere_annotated",
            severity="error",
            what=_("no voxel of the scan lies where the case was annotated, so its labels say nothing"),
            where=drawing.where,
            remedy=_("correct the slices, the box or the segment that says in Labels where the case was annotated"),
        )
    ]


def _overlapFindings(drawing: Drawing, overlaps: tuple[Overlap, ...]) -> list[Finding]:
    return [_overlapFinding(drawing, overlap) for overlap in overlaps]


def _overlapFinding(drawing: Drawing, overlap: Overlap) -> Finding:
    rule = drawing.overlapRules.get(overlap.pair, IGNORE)
    isDecided = overlap.pair in drawing.overlapRules
    said = {IGNORE: _("they are ignored"), EITHER: _("they count as either of the two")}.get(
        rule, _("they count as '{name}'").format(name=rule)
    )
    return Finding(
        case=drawing.caseId,
        code="overlap",
        severity="note" if isDecided else "warning",
        what=_("'{first}' and '{second}' share {count} voxels; {said}").format(
            first=overlap.first, second=overlap.second, count=overlap.voxels, said=said
        ),
        where=drawing.where,
        remedy=_("nothing to do: this is what was chosen in Labels")
        if isDecided
        else _("say in Labels which of the two these voxels are, or draw the border"),
    )
