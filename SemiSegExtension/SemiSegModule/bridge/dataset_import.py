"""From a dataset on disk to the scene: one volume per channel and one segmentation per labeled case."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.finding import Finding
from SemiSegLib.cases.reading import ChannelReader, read_codes
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.terminology import to_slicer_string
from SemiSegModule.bridge.case_files import CaseFiles, Drawn, addCase
from SemiSegModule.bridge.geometry import Grid, fromGeometry
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, SUPERCLASS_TAG, SceneCase, suggestLookedFor
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.states import readStates

REGION_ID = "annotated region"
_REGION_COLOR = (0.6, 0.6, 0.6)
_TERMINOLOGY_TAG = "TerminologyEntry"


def loadCase(dataset: Dataset, case: Case) -> SceneCase:
    """Return a case as new nodes of the scene, with what its labels mean.

    Raises:
        CaseError: a file of the case cannot be read or does not fit.
    """
    # Everything is read before the first node is made: a damaged file leaves no half of a case in the scene.
    return addCase(readCase(dataset, case))


def readCase(dataset: Dataset, case: Case) -> CaseFiles:
    """Return what the files of a case hold; touches no object of the scene.

    Raises:
        CaseError: a file of the case cannot be read or does not fit.
    """
    reader = ChannelReader(dataset, case)
    volumes = {role: reader.read(role) for role in dataset.channels}
    geometry = volumes[dataset.channels[0]].geometry
    drawn: Drawn | None = None
    findings: tuple[Finding, ...] = ()
    if case.annotation is not None:
        codes, table = read_codes(dataset, case, geometry)
        drawn, lost = _drawn(codes, table, dataset.scheme, fromGeometry(geometry))
        findings = _lostFindings(case.id, lost, dataset.scheme)
    return CaseFiles(
        id=case.id,
        volumes=volumes,
        drawn=drawn,
        patient=case.patient,
        side=case.split.value if case.split else None,
        state=readStates(dataset.root).get(case.id, "done" if drawn is not None else ""),
        findings=findings,
    )


def _drawn(
    codes: np.ndarray, table: LabelSetTable, scheme: LabelScheme, grid: Grid
) -> tuple[Drawn, dict[frozenset[int], int]]:
    """Return what was drawn and looked for, and label set to voxels of what cannot be drawn.

    In the scene a voxel may be all that its files say, or more: what no structure holds counts as not annotated.
    """
    everything = frozenset(range(len(scheme.leaves)))
    counts = np.bincount(codes.ravel(), minlength=len(table))
    occurring = [(int(code), table.sets[code]) for code in np.flatnonzero(counts)]
    # Outside all segments a voxel is background or what was not looked for; the largest such set that is not
    # "anything" says so, unless nothing was looked for at all.
    open_ = [leafSet for _code, leafSet in occurring if 0 in leafSet and leafSet != everything]
    elsewhere = max(open_, key=len, default=frozenset({0}))
    lookup = np.zeros(len(table), dtype=np.uint8)
    isAnnotated = np.ones(len(table), dtype=np.uint8)
    segments: list[FileSegment] = []
    sets: dict[str, frozenset[int]] = {}
    lost: dict[frozenset[int], int] = {}
    for code, leafSet in occurring:
        structure = _smallest(leafSet, scheme) if leafSet != elsewhere else None
        if structure is not None:
            if structure.name not in sets:
                segments.append(_segment(structure, scheme, len(segments) + 1))
            lookup[code] = next(segment.value for segment in segments if segment.name == structure.name)
            sets[structure.name] = sets.get(structure.name, frozenset()) | leafSet
        elif not leafSet <= elsewhere:
            isAnnotated[code] = 0
            if leafSet != everything:
                lost[leafSet] = int(counts[code])
    layers = [(lookup[codes], grid)]
    meanings = {name: name for name in sets}
    lookedFor = _lookedFor(sets, elsewhere, scheme)
    if not isAnnotated.all():
        layers.append((isAnnotated[codes], grid))
        segments.append(FileSegment(id=REGION_ID, name=_("annotated region"), layer=1, value=1, color=_REGION_COLOR))
        meanings[REGION_ID] = ANNOTATED_REGION
    return Drawn(layers=tuple(layers), segments=tuple(segments), meanings=meanings, lookedFor=lookedFor), lost


def _smallest(leafSet: frozenset[int], scheme: LabelScheme) -> Structure | None:
    """Return the smallest structure that holds a label set, or None: "either of two organs" is in none."""
    holding = [s for s in scheme.structures if leafSet <= scheme.leaves_of(s.name)]
    return min(holding, key=lambda s: len(scheme.leaves_of(s.name)), default=None)


def _lookedFor(sets: Mapping[str, frozenset[int]], elsewhere: frozenset[int], scheme: LabelScheme) -> tuple[str, ...]:
    """Return the structures that were looked for, none of which takes from a voxel what it may be.

    Args:
        sets: structure to what the voxels in its segment may be.
        elsewhere: what voxels outside all segments may be.
        scheme: label scheme.
    """

    def isSaid(name: str) -> bool:
        leaves = scheme.leaves_of(name)
        # A part that was looked for is not in the rest of its whole.
        isInWhole = any(leaves < scheme.leaves_of(whole) and leaves & leafSet for whole, leafSet in sets.items())
        return not leaves & elsewhere and not isInWhole

    rests = [scheme.leaves_of(name) - leafSet for name, leafSet in sets.items()]
    parts = [name for rest in rests if rest for name in scheme.cover(rest)]
    chosen = [name for name in (*suggestLookedFor({n: n for n in sets}, scheme), *parts) if isSaid(name)]
    absent = frozenset(range(len(scheme.leaves))) - elsewhere - scheme.leaf_set(chosen)
    chosen += [name for name in scheme.cover(absent) if isSaid(name)]
    return tuple(dict.fromkeys(chosen))


def _lostFindings(caseId: str, lost: Mapping[frozenset[int], int], scheme: LabelScheme) -> tuple[Finding, ...]:
    if not lost:
        return ()
    each = _("{count} that may be {structures}")
    said = "; ".join(each.format(count=n, structures=scheme.describe(leafSet)) for leafSet, n in lost.items())
    return (
        Finding(
            case=caseId,
            code="not_drawable",
            severity="warning",
            what=_("voxels that no segment can say count as not annotated: {said}").format(said=said),
            where=_("case '{case}'").format(case=caseId),
            remedy=_("draw there what they are, or train from the dataset's own file, which says it"),
        ),
    )


def _segment(structure: Structure, scheme: LabelScheme, value: int) -> FileSegment:
    tags = {SUPERCLASS_TAG: scheme.ancestors(structure.name)[-1].name}
    if structure.terminology is not None:
        tags[_TERMINOLOGY_TAG] = to_slicer_string(structure.terminology)
    color = tuple(float(part) for part in structure.color)
    return FileSegment(
        id=structure.name, name=structure.name, layer=0, value=value, color=(color[0], color[1], color[2]), tags=tags
    )
