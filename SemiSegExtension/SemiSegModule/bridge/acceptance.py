"""What a case becomes when a result is accepted as its labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import slicer

from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.result import Result
from SemiSegModule.bridge.result_segments import AMBIGUOUS
from SemiSegModule.bridge.scene_case import LEFT_OUT, SceneCase, suggestMeanings
from SemiSegModule.bridge.segments import segmentIds


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What a case becomes when its result is accepted: fields of ``CaseRow`` and ``SceneCase``.

    Attributes:
        segmentation: node with the labels.
        lookedFor: structures that the labels are complete for.
        meanings: segment ID to ``LEFT_OUT`` for what was not accepted.
        others: names of the structures that are not accepted.
        leftOpen: of these, what nobody named and what is empty although the model is not sure that it is absent.
        state: "done", or "partial" if only some structures were accepted.
    """

    segmentation: Any
    lookedFor: tuple[str, ...]
    meanings: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    leftOpen: tuple[str, ...] = ()
    state: str = "done"

    def lookedForIn(self, scheme: LabelScheme) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what was looked for as a scheme calls it, and what it has no structure for.

        A structure that stands for several of the model was looked for if all of them are accepted.
        """
        matched = {name: scheme.match(name) for name in self.lookedFor}
        stillOpen = [scheme.match(name) for name in self.others]
        known = [structure.name for structure in matched.values() if structure and structure not in stillOpen]
        return tuple(dict.fromkeys(known)), tuple(name for name, structure in matched.items() if structure is None)

    def inCase(self, case: SceneCase, scheme: LabelScheme) -> SceneCase:
        """Return a case with these labels in place of its own; its patient and its side of the split are kept.

        A segment for which the scheme has no structure is left out.
        """
        known = {i: name or LEFT_OUT for i, name in suggestMeanings(self.segmentation, scheme).items()}
        lookedFor, _unknown = self.lookedForIn(scheme)
        return replace(
            case,
            segmentation=self.segmentation,
            meanings={**known, **self.meanings},
            lookedFor=lookedFor,
            region=None,
            overlapRules={},
            state=self.state,
        )


def emptyAndDoubtful(result: Result) -> tuple[str, ...]:
    """Return the structures without a voxel in what is shown of a result that the model does not call absent."""
    node, found = result.shown, []
    drawn = {node.GetSegmentation().GetSegment(i).GetName(): i for i in segmentIds(node)}
    for name, state in result.states.items():
        if state != AMBIGUOUS:
            continue
        segmentId = drawn.get(name)
        if segmentId is None or not slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentId, result.volume).any():
            found.append(name)
    return tuple(found)
