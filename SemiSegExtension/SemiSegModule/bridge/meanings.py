"""What a segment probably is, where neither its codes nor its name say so for sure: a proposal a person may accept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase, segmentTerminology

# Likeness of two names, 0 to 1, from which on one is proposed for the other.
_ALIKE = 0.7


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
        others: further cases; what a segment of the same name means there comes first.
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
    said: dict[str, str] = {}
    for other in others:
        if other.segmentation is None or other.id == case.id:
            continue
        segmentation = other.segmentation.GetSegmentation()
        for segmentId, meaning in other.meanings.items():
            if meaning and meaning not in (ANNOTATED_REGION, LEFT_OUT):
                said.setdefault(name_key(segmentation.GetSegment(segmentId).GetName()), meaning)
    return said


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
