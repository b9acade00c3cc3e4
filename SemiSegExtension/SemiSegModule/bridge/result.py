"""One result of a model in the scene: a segmentation node that carries what is known of it, and is saved with it.

A result is never changed after it was loaded, but for the statuses of its segments: a correction is a copy. Whether a
person has accepted or rejected it is an attribute, and so are what was accepted of it, its score, the reason for it,
and its place of doubt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

# Attribute of every node that a model made, or that was copied from one: it is never taken for a scan or for labels
# by itself.
RESULT_ATTRIBUTE = "SemiSeg.Result"
ACCEPTED, PARTLY_ACCEPTED, REJECTED = "accepted", "partly accepted", "rejected"
_MODEL, _DECISION, _ACCEPTED = "SemiSeg.Model", "SemiSeg.Decision", "SemiSeg.Accepted"
_SCORE, _REASON, _PLACE, _STATES = "SemiSeg.Score", "SemiSeg.Reason", "SemiSeg.Place", "SemiSeg.States"
_UNCERTAINTY, _CORRECTION, _SOURCE = "SemiSeg.Uncertainty", "SemiSeg.Correction", "SemiSeg.CorrectionOf"


@dataclass(eq=False)
class Result:
    """A result, by its segmentation node.

    Attributes:
        node: segmentation node as the model made it.
    """

    node: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and other.node is self.node

    def __hash__(self) -> int:
        return hash(self.node.GetID())

    @property
    def volume(self) -> Any:
        """The scan that was segmented; None if it was removed."""
        return self.node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())

    @property
    def name(self) -> str:
        """What a person calls the case: the name of its scan."""
        return str(self.volume.GetName() if self.volume is not None else self.node.GetName())

    @property
    def model(self) -> str:
        """What the model is called."""
        return self.node.GetAttribute(_MODEL) or ""

    @property
    def score(self) -> float | None:
        """How much a look at it is worth, 0 to 1; None if the worker did not say."""
        text = self.node.GetAttribute(_SCORE)
        return float(text) if text else None

    @property
    def reason(self) -> str:
        """Why the score is what it is, as a sentence; may be empty."""
        return self.node.GetAttribute(_REASON) or ""

    @property
    def states(self) -> dict[str, str]:
        """Name of each structure of the model to what is known of it in this scan, "" where nothing is."""
        states = json.loads(self.node.GetAttribute(_STATES) or "{}")
        return {str(name): str(state) for name, state in states.items()}

    @property
    def decision(self) -> str:
        """``ACCEPTED``, ``PARTLY_ACCEPTED``, ``REJECTED`` or "" while nobody has decided."""
        return self.node.GetAttribute(_DECISION) or ""

    @decision.setter
    def decision(self, value: str) -> None:
        self.node.SetAttribute(_DECISION, value)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Names of the structures that a person has accepted so far; empty unless it is partly accepted."""
        return tuple(json.loads(self.node.GetAttribute(_ACCEPTED) or "[]"))

    @accepted.setter
    def accepted(self, names: Sequence[str]) -> None:
        self.node.SetAttribute(_ACCEPTED, json.dumps(list(names), ensure_ascii=False))

    @property
    def uncertainty(self) -> Any:
        """Volume node of the uncertainty map, or None."""
        return self.node.GetNodeReference(_UNCERTAINTY)

    @uncertainty.setter
    def uncertainty(self, volumeNode: Any) -> None:
        self.node.SetNodeReferenceID(_UNCERTAINTY, volumeNode.GetID())

    @property
    def correction(self) -> Any:
        """The copy that a person corrects, or None."""
        return self.node.GetNodeReference(_CORRECTION)

    @property
    def shown(self) -> Any:
        """The segmentation to look at: the correction if there is one."""
        return self.correction or self.node

    def describe(self, *, job: str, model: str, states: dict[str, str]) -> None:
        """Note where a new result comes from and what its structures are."""
        self.node.SetAttribute(RESULT_ATTRIBUTE, job)
        self.node.SetAttribute(_MODEL, model)
        self.node.SetAttribute(_STATES, json.dumps(states, ensure_ascii=False))

    def rate(self, score: float, reason: str, place: np.ndarray | None) -> None:
        """Note how much a look at a new result is worth.

        Args:
            score: 0 to 1.
            reason: for the score.
            place: where the model is least sure, in the scan's own RAS mm, or None. (Voxel indices would not do:
                Slicer turns the order of slices when it loads some scans again.)
        """
        self.node.SetAttribute(_SCORE, f"{score:.6f}")
        self.node.SetAttribute(_REASON, reason)
        if place is not None:
            self.node.SetAttribute(_PLACE, json.dumps([round(float(part), 3) for part in place[:3]]))

    def correctedBy(self, node: Any, job: str) -> None:
        """Note that a copy of the result is the one to correct and to accept."""
        node.SetAttribute(RESULT_ATTRIBUTE, job)
        node.SetNodeReferenceID(_SOURCE, self.node.GetID())
        self.node.SetNodeReferenceID(_CORRECTION, node.GetID())

    @property
    def job(self) -> str:
        """Mark of the job that made it."""
        return str(self.node.GetAttribute(RESULT_ATTRIBUTE))

    def placeInWorld(self) -> tuple[float, float, float] | None:
        """Return where the model is least sure, in world RAS mm, wherever the scan has been moved; None if nowhere."""
        text, volume = self.node.GetAttribute(_PLACE), self.volume
        if not text or volume is None:
            return None
        world = [0.0, 0.0, 0.0]
        # Through transforms that bend space too.
        volume.TransformPointToWorld(json.loads(text), world)
        return world[0], world[1], world[2]


def resultsInScene() -> list[Result]:
    """Return every result whose scan is in the scene, oldest first; corrections are none of their own."""
    found = [Result(node) for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    return [
        result
        for result in found
        if result.node.GetAttribute(RESULT_ATTRIBUTE)
        and not result.node.GetNodeReferenceID(_SOURCE)
        and result.volume is not None
    ]


def ranked() -> list[Result]:
    """Return the newest result of each scan, the one that is worth the next look first."""
    newest: dict[str, Result] = {result.volume.GetID(): result for result in resultsInScene()}
    # Results of workers that gave no score come last; among equals the order of the scene stays.
    return sorted(newest.values(), key=lambda result: -1.0 if result.score is None else result.score, reverse=True)


def resultBefore(result: Result) -> Result | None:
    """Return the result of the same scan that was loaded before, or None."""
    before = None
    for other in resultsInScene():
        if other == result:
            return before
        if other.volume is result.volume:
            before = other
    return None


def nextToReview(current: Result | None) -> Result | None:
    """Return the highest-ranked result that nobody has decided on, after the current one if that is undecided too.

    Asked again and again without a decision, it goes through all of them. None if everything is decided.
    """
    results = ranked()
    open_ = [result for result in results if not result.decision]
    if current is not None and current in open_:
        place = open_.index(current)
        open_ = [*open_[place + 1 :], *open_[: place + 1]]
    return open_[0] if open_ else None
