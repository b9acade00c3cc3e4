"""A case of the scene: which volumes, which segmentation, what its segments mean and what was looked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import vtk

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, Terminology, name_key
from SemiSegLib.labels.terminology import from_slicer_string
from SemiSegModule.bridge.region import Region

# Meaning of a segment that is not a structure but marks where the case was annotated at all.
ANNOTATED_REGION = "*annotated region*"
# Meaning of a segment that training must not see.
LEFT_OUT = "*left out*"
_NO_STRUCTURES = frozenset({ANNOTATED_REGION, LEFT_OUT, BACKGROUND})
SUPERCLASS_TAG = "SemiSeg.Superclass"
# Tag in which Slicer keeps the status of a segment: notstarted, inprogress, completed or flagged.
STATUS_TAG = "Segmentation.Status"
# How far the annotation of a case is, as a person says.
STATES = ("untouched", "partial", "done")
# Slicer gives this type to every segment that nobody named by a terminology, so it says nothing.
_UNSPECIFIC_TYPES = frozenset({("SCT", "85756007")})


@dataclass(frozen=True, kw_only=True)
class SceneCase:
    """One case, by nodes of the scene. The nodes are only read.

    Attributes:
        id: unique among the cases, used in file names.
        volumes: channel role to scalar volume node; the first role's volume gives the grid.
        segmentation: segmentation node, or None for a case without labels.
        meanings: segment ID to structure name, ``ANNOTATED_REGION`` or ``LEFT_OUT``; every segment is listed.
        lookedFor: structures of which nothing more is to be found outside their segments. Where a structure was
            not looked for, a voxel that no segment covers may still be that structure.
        patient: cases of one patient never stand on two sides of the split; the case's id if empty.
        side: "train", "validation", "test", or None to let the run decide.
        region: where the case was annotated; None: everywhere.
        overlapRules: what voxels are that two structures share which exclude each other, by the pair of their names in
            alphabetical order: ``overlaps.IGNORE`` (also where no rule is given), ``overlaps.EITHER``, or the name of
            the one that wins.
        state: one of ``STATES``, or "" for what the segments say.
    """

    id: str
    volumes: Mapping[str, Any]
    segmentation: Any = None
    meanings: Mapping[str, str] = field(default_factory=dict)
    lookedFor: tuple[str, ...] = ()
    patient: str = ""
    side: str | None = None
    region: Region | None = None
    overlapRules: Mapping[tuple[str, str], str] = field(default_factory=dict)
    state: str = ""


def segmentTerminology(segment: Any) -> Terminology | None:
    """Return what a segment's terminology entry says, or None if it is missing or Slicer's default."""
    text = vtk.reference("")
    if not segment.GetTag(segment.GetTerminologyEntryTagName(), text) or not str(text):
        return None
    return _terminologyOf(str(text))


@lru_cache(maxsize=4096)
def _terminologyOf(text: str) -> Terminology | None:
    # The same few entries are asked about for every segment whenever the study is looked at.
    try:
        terminology = from_slicer_string(text)
    except LabelError:
        return None
    return None if (terminology.type.scheme, terminology.type.value) in _UNSPECIFIC_TYPES else terminology


def segmentTag(segment: Any, name: str) -> str:
    """Return a tag of a segment, or the empty string."""
    text = vtk.reference("")
    return str(text) if segment.GetTag(name, text) else ""


def suggestState(segmentationNode: Any) -> str:
    """Return one of ``STATES`` by the status of the segments, which Slicer shows beside their names.

    A segment without status came from a file or another program and counts as completed.
    """
    if segmentationNode is None or not segmentationNode.GetSegmentation().GetNumberOfSegments():
        return "untouched"
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    found = {segmentTag(segment, STATUS_TAG) or "completed" for segment in segments}
    if found == {"completed"}:
        return "done"
    return "untouched" if found == {"notstarted"} else "partial"


def suggestMeanings(segmentationNode: Any, scheme: LabelScheme) -> dict[str, str]:
    """Return segment ID to structure name by terminology, else by name or alias; "" where a person must say.

    A person must say where neither is known, and where codes and name are two different structures.
    """
    segmentation = segmentationNode.GetSegmentation()
    meanings = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        byName, byCodes = scheme.match(segment.GetName()), scheme.match("", segmentTerminology(segment))
        isDoubtful = byName is not None and byCodes is not None and byName is not byCodes
        structure = None if isDoubtful else byCodes or byName
        meanings[segmentation.GetNthSegmentID(index)] = structure.name if structure else ""
    return meanings


def suggestLookedFor(meanings: Mapping[str, str], scheme: LabelScheme) -> tuple[str, ...]:
    """Return the structures that a case with these segments was probably searched for, as a proposal.

    A structure that was drawn was looked for. A part drawn inside its drawn whole is left open unless all its
    siblings were drawn too: whether the rest of the whole is "the other part" or "not said" only a person knows.
    """
    drawn = {name_key(name) for name in meanings.values()}
    chosen = []
    siblings: dict[str | None, list[str]] = {None: []}
    for structure in scheme.structures:
        if structure.parent:
            siblings.setdefault(structure.parent, []).append(name_key(structure.name))
    for structure in scheme.structures:
        if name_key(structure.name) not in drawn or name_key(structure.name) == BACKGROUND:
            continue
        wholeDrawn = any(name_key(parent.name) in drawn for parent in scheme.ancestors(structure.name)[1:])
        if not wholeDrawn or drawn.issuperset(siblings[structure.parent]):
            chosen.append(structure.name)
    return tuple(chosen)


def schemeFromSegments(
    segmentationNodes: Sequence[Any], name: str, meanings: Sequence[Mapping[str, str]] = ()
) -> LabelScheme:
    """Return the scheme of the segments found in the scene: one structure per name, superclasses by their tag.

    Args:
        segmentationNodes: are only read; one that labels several scans may be listed more than once.
        name: of the scheme.
        meanings: segment ID to what was said of it, one for each node. A segment that was said to be what another one
            is called is left out, and so is one that was said to be no structure, unless nothing else is there: there
            is no scheme without structures.

    Raises:
        LabelError: there is no segment, or the superclass tags contradict each other.
    """
    found: dict[str, Structure] = {}
    for segment in _structureSegments(segmentationNodes, meanings or [{}] * len(segmentationNodes)):
        parent = segmentTag(segment, SUPERCLASS_TAG)
        parent = "" if name_key(parent) == name_key(segment.GetName()) else parent
        known = found.get(name_key(segment.GetName()))
        if known is None or (parent and not known.parent):
            found[name_key(segment.GetName())] = Structure(
                name=segment.GetName(),
                parent=parent or None,
                color=tuple(float(c) for c in segment.GetColor()),
                terminology=segmentTerminology(segment),
            )
    for structure in list(found.values()):
        if structure.parent and name_key(structure.parent) not in found:
            found[name_key(structure.parent)] = Structure(name=structure.parent, color=structure.color)
    return LabelScheme(name=name, structures=tuple(found.values()))


def _structureSegments(segmentationNodes: Sequence[Any], meanings: Sequence[Mapping[str, str]]) -> list[Any]:
    """Return the segments that make structures; those that were said to be none only if nothing else is there."""
    segments, others = [], []
    for node, said in zip(segmentationNodes, meanings, strict=True):
        segmentation = node.GetSegmentation()
        for index in range(segmentation.GetNumberOfSegments()):
            segment, meaning = segmentation.GetNthSegment(index), said.get(segmentation.GetNthSegmentID(index), "")
            if meaning in _NO_STRUCTURES:
                others.append(segment)
            else:
                own = name_key(segment.GetName())
                segments.append((segment, own, name_key(meaning) if meaning else own))
    return _withoutOtherNames(segments) or others


def _withoutOtherNames(segments: Sequence[tuple[Any, str, str]]) -> list[Any]:
    """Return the segments but those that were said to be a structure that another one is called after.

    Nobody looked for the name of such a segment: as a structure of its own it would make every case a partial one.

    Args:
        segments: each with the keys of its own name and of what it was said to be.
    """
    called = {meaning for _segment, own, meaning in segments if meaning != own}
    # What others are said to be must be there, whatever its own segment was said to be.
    firm = [segment for segment, own, meaning in segments if meaning == own or own in called]
    names = {name_key(text) for segment in firm for text in (segment.GetName(), segmentTag(segment, SUPERCLASS_TAG))}
    return [s for s, own, meaning in segments if meaning == own or own in called or meaning not in names]


def safeFileName(text: str) -> str:
    """Return a name that every file system takes: letters of any script stay, reserved characters do not."""
    cleaned = re.sub(r"[<>:\"/\\|?*\x00-\x1f]", "_", text).strip(" .") or "case"
    reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", cleaned)
    return (f"_{cleaned}" if reserved else cleaned)[:80]
