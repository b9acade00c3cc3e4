"""The labels of a case change: what was said of those before does not hold for others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from SemiSegModule.bridge.region import SLICES, Region, regionToJson
from SemiSegModule.bridge.segments import segmentIds
from SemiSegModule.parameters import CaseRow

# Side of the split on which a case stands whose labels were accepted, unless it or its patient had one.
SIDE_OF_ACCEPTED = "train"


def withSegmentation(row: CaseRow, node: Any) -> CaseRow:
    """Return a row with another segmentation, or none (None), of which nothing has been said yet.

    Segment IDs come again in other segmentations, so no word that names one may stay. Slices and a box are places in
    the scan: they stay.
    """
    region = row.region
    if region is not None and region["segment"]:
        # "Everywhere" would teach what nobody has looked at, so the slices are asked for.
        region = regionToJson(Region(kind=SLICES, axis=region["axis"]))
    return replace(
        row, segmentation=node, meanings={}, lookedFor=None, overlapRules=[], state="", region=region, before=None
    )


def givenBack(row: CaseRow) -> CaseRow:
    """Return a row with the labels that it had before those of a result, and with what was said of them.

    What has been chosen since stays: the side of the split, and that the case is not ticked.
    """
    # A scene of an earlier version does not say what was before.
    before = row.before or CaseRow(volumes={}, side=row.side)
    isSideOfAcceptance = row.side == (before.side or row.sideOfAcceptance or SIDE_OF_ACCEPTED)
    return replace(
        before,
        volumes=row.volumes,
        isChosen=row.isChosen and before.isChosen,
        side=before.side if isSideOfAcceptance else row.side,
        patient=row.patient,
        usedAs=row.usedAs,
    )


def withLabelsLeft(row: CaseRow) -> CaseRow:
    """Return a row as it is; with the labels of before if those of a result are gone from the scene."""
    isGone = row.segmentation is None and row.before is not None and not row.isWithoutLabels
    return givenBack(row) if isGone else row


def withoutGoneSegments(row: CaseRow) -> CaseRow:
    """Return a row without what was said of segments that are gone: Slicer may give their IDs to new ones."""
    ids = segmentIds(row.segmentation)
    # Without any segment its file may not have been read: what was said is kept for the time when it is.
    if not ids or all(segmentId in ids for segmentId in row.meanings):
        return row
    return replace(row, meanings={i: meaning for i, meaning in row.meanings.items() if i in ids})
