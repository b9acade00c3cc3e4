"""What a segment probably is, where neither its codes nor its name say so for sure: a proposal a person may accept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase, segmentTerminology

# Likeness of two names, 0 to 1, from which on one is proposed for the other.
_ALIKE = 0.7
# Names that say no more than a number: what files call their values, and Slicer a new segment.
_NUMBERED = re.compile(r"(?:[^\W\d]+[\s_-]+)?\d+")


@dataclass(frozen=True)
class Suggestion:
    """A proposal for one segment.

    Attributes:
        segment: ID of the segment.
        name: its name.
        structure: name of the proposed structure.
        reason: "same name elsewhere", "codes", "part of name" or "alike".
    """

    segment: str
    name: str
    structure: str
    reason: str


def proposeMeanings(case: SceneCase, scheme: LabelScheme, others: Sequence[SceneCase] = ()) -> tuple[Suggestion, ...]:
    """Return proposals for the segments of a case that nobody has said the meaning of.

    Args:
        case: the segmentation is only read.
        scheme: of the study.
        others: further cases; what a segment of the same name means there comes first, unless it is a mere number
            and other segments were drawn there, or two such cases disagree.
    """
    if case.segmentation is None:
        return ()
    said = _saidElsewhere(case, others)
    segmentation = case.segmentation.GetSegmentation()
    found = []
    for segmentId, meaning in case.meanings.items():
        if meaning:
            continue
        segment = segmentation.GetSegment(segmentId)
        proposal = _proposal(segment, scheme, said)
        if proposal is not None:
            found.append(Suggestion(segmentId, segment.GetName(), *proposal))
    return tuple(found)


def _saidElsewhere(case: SceneCase, others: Sequence[SceneCase]) -> Mapping[str, str]:
    own = set(_names(case).values())
    said: dict[str, set[str]] = {}
    for other in others:
        if other.segmentation is None or other.id == case.id:
            continue
        names = _names(other)
        # The only value of a file of outlines is not the first of several in a file of parts.
        isSameKind = set(names.values()) == own
        for segmentId, meaning in other.meanings.items():
            isNamed = isSameKind or not isNumbered(names[segmentId])
            if meaning and meaning not in (ANNOTATED_REGION, LEFT_OUT) and isNamed:
                said.setdefault(name_key(names[segmentId]), set()).add(meaning)
    return {key: meanings.pop() for key, meanings in said.items() if len(meanings) == 1}


def _names(case: SceneCase) -> dict[str, str]:
    """Return the names of a case's segments by their IDs."""
    segmentation = case.segmentation.GetSegmentation()
    return {segmentId: segmentation.GetSegment(segmentId).GetName() for segmentId in case.meanings}


def isNumbered(name: str) -> bool:
    """Return whether a segment's name says no more than a number, so that it may mean another thing elsewhere."""
    return _NUMBERED.fullmatch(name) is not None


def _proposal(segment: object, scheme: LabelScheme, said: Mapping[str, str]) -> tuple[str, str] | None:
    key = name_key(segment.GetName())
    if key in said:
        return said[key], "same name elsewhere"
    byCodes = scheme.match("", segmentTerminology(segment))
    if byCodes is not None:
        # Codes and name say two things: names are typed by hand, codes are chosen from a list.
        return byCodes.name, "codes"
    structures = [s for s in scheme.structures if name_key(s.name) != BACKGROUND]
    words = [(s, known) for s in structures for known in _keys(s)]
    inside = [(len(known), s.name) for s, known in words if len(known) > 2 and known in key]
    if inside:
        return max(inside)[1], "part of name"
    alike = [(SequenceMatcher(None, key, known).ratio(), s.name) for s, known in words]
    best = max(alike, default=(0.0, ""))
    return (best[1], "alike") if best[0] >= _ALIKE else None


def _keys(structure: Structure) -> tuple[str, ...]:
    return tuple(name_key(name) for name in (structure.name, *structure.aliases))
