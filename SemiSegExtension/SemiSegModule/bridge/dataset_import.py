"""From a dataset on disk to the scene: one volume per channel and one segmentation per labeled case."""

from __future__ import annotations

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import ChannelReader, read_codes
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.terminology import to_slicer_string
from SemiSegModule.bridge.case_files import CaseFiles, Drawn, addCase
from SemiSegModule.bridge.geometry import Grid, fromGeometry
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, SUPERCLASS_TAG, SceneCase, suggestLookedFor
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.states import readStates

REGION_NAME = "annotated region"
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
    drawn = None
    if case.annotation is not None:
        drawn = _drawn(*read_codes(dataset, case, geometry), dataset.scheme, fromGeometry(geometry))
    return CaseFiles(
        id=case.id,
        volumes=volumes,
        drawn=drawn,
        patient=case.patient,
        side=case.split.value if case.split else None,
        state=readStates(dataset.root).get(case.id, "done" if drawn is not None else ""),
    )


def _drawn(codes: np.ndarray, table: LabelSetTable, scheme: LabelScheme, grid: Grid) -> Drawn:
    """Return one segment per structure that was drawn, what they mean and what was looked for."""
    everything = frozenset(range(len(scheme.leaves)))
    present = np.flatnonzero(np.bincount(codes.ravel(), minlength=len(table)))
    occurring = [(int(code), table.sets[code]) for code in present]
    # Outside all segments a voxel is background or what was not looked for; the largest such set that is not
    # "anything" says so, unless nothing was looked for at all.
    open_ = [leafSet for _code, leafSet in occurring if 0 in leafSet and leafSet != everything]
    elsewhere = max(open_, key=len, default=frozenset({0}))
    lookup = np.zeros(len(table), dtype=np.uint8)
    segments: list[FileSegment] = []
    meanings: dict[str, str] = {}
    for code, leafSet in occurring:
        names = scheme.cover(leafSet) if leafSet not in (elsewhere, everything) else ()
        if len(names) != 1:
            # "either of two siblings": what an overlap left open cannot be drawn as one structure, so it is not.
            continue
        lookup[code] = len(segments) + 1
        structure = scheme.find(names[0])
        segments.append(_segment(structure, scheme, int(lookup[code])))
        meanings[structure.name] = structure.name
    layers = [(lookup[codes], grid)]
    if any(leafSet == everything for _code, leafSet in occurring):
        layers.append(((codes != table.code(everything)).astype(np.uint8), grid))
        segments.append(FileSegment(id=REGION_NAME, name=REGION_NAME, layer=1, value=1, color=_REGION_COLOR))
        meanings[REGION_NAME] = ANNOTATED_REGION
    lookedFor = list(suggestLookedFor(meanings, scheme))
    covered = frozenset().union(*(scheme.leaves_of(name) for name in lookedFor))
    absent = everything - elsewhere - covered
    return Drawn(
        layers=tuple(layers),
        segments=tuple(segments),
        meanings=meanings,
        lookedFor=(*lookedFor, *(scheme.cover(absent) if absent else ())),
    )


def _segment(structure: Structure, scheme: LabelScheme, value: int) -> FileSegment:
    tags = {SUPERCLASS_TAG: scheme.ancestors(structure.name)[-1].name}
    if structure.terminology is not None:
        tags[_TERMINOLOGY_TAG] = to_slicer_string(structure.terminology)
    color = tuple(float(part) for part in structure.color)
    return FileSegment(
        id=structure.name, name=structure.name, layer=0, value=value, color=(color[0], color[1], color[2]), tags=tags
    )
