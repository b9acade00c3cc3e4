"""The channels of the study and whose images they are; what was said of a case outlives a change of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule.bridge.geometry import isSameGrid, worldGrid
from SemiSegModule.bridge.region import DRAWN_SLICES, SLICES, Region, regionFromJson, regionToJson
from SemiSegModule.parameters import CaseRow, StudyParameters


def changeChannels(parameters: StudyParameters, names: Sequence[str]) -> str:
    """Give the study other channels and return the empty string, or why not.

    A name that is known keeps its images wherever it stands; a new one in the place of one that is gone is its new
    name. Images of a channel that goes are no cases of their own: they leave the study and can be added again.
    """
    before, rows, removed = parameters.channels, parameters.rows(), parameters.removedRows()
    sources = {new: new for new in names if new in before}
    for old, new in zip(before, names, strict=False):
        if old not in names and new not in before:
            sources[new] = old
    lacking = sum(sources.get(names[0]) not in row.volumes for row in rows)
    if lacking:
        return _(
            "{count} cases have no image of channel {name}, and each needs one of the first channel. Write the new "
            "channel last, choose its images, and change the order then."
        ).format(count=lacking, name=names[0])
    gone = [node for row in rows for channel, node in row.volumes.items() if channel not in sources.values()]

    def moved(row: CaseRow) -> CaseRow:
        volumes = {new: row.volumes[sources[new]] for new in names if sources.get(new) in row.volumes}
        return replace(_countedOn(row, row.volumes[before[0]], volumes[names[0]]), volumes=volumes)

    wasModifying = parameters.node.StartModify()
    parameters.channels = list(names)
    parameters.setRows(
        [moved(row) for row in rows], removed=[moved(row) for row in removed if sources.get(names[0]) in row.volumes]
    )
    parameters.removedVolumes = [*parameters.removedVolumes, *gone]
    parameters.node.EndModify(wasModifying)
    return ""


def nameChannel(names: Sequence[str]) -> str:
    """Return a name for a further channel of which only its place is known."""
    number = len(names)
    while f"channel {number}" in names:
        number += 1
    return f"channel {number}"


def useVolume(parameters: StudyParameters, number: int, channel: str, node: Any) -> None:
    """Make a volume, or none (None), a further channel of a row; the case that it was until now joins the row."""
    rows, first = parameters.rows(), parameters.channels[0]
    row = rows[number]
    row.volumes.pop(channel, None)
    # A scan that were two channels of its own case would be no case any more.
    if node is not None and node is not row.volumes[first]:
        row.volumes[channel] = node
        for other in rows:
            if other is not row and other.volumes[first] is node:
                _join(row, other, row.volumes[first], node)
    parameters.setRows(rows)


def volumesOf(channels: Sequence[str], volumes: Mapping[str, Any]) -> dict[str, Any]:
    """Return channel of the study to volume, for volumes by the names that their files give: by name, else in order.

    A case may lack channels, but not the first.
    """
    if channels[0] in volumes and set(volumes) <= set(channels):
        return {channel: volumes[channel] for channel in channels if channel in volumes}
    return dict(zip(channels, volumes.values(), strict=False))


def _join(row: CaseRow, other: CaseRow, volume: Any, otherVolume: Any) -> None:
    """Take over what was said of another scan of the same patient; its labels, if the row has none."""
    row.patient, row.side = row.patient or other.patient, row.side or other.side
    row.usedAs = list(dict.fromkeys([*row.usedAs, *other.usedAs]))
    if row.segmentation is not None or other.segmentation is None:
        return
    row.segmentation, row.isWithoutLabels, row.state = other.segmentation, False, other.state
    row.meanings, row.lookedFor, row.overlapRules = other.meanings, other.lookedFor, other.overlapRules
    counted = _countedOn(other, otherVolume, volume)
    row.region, row.regionBox, row.before = counted.region, counted.regionBox, counted.before


def _countedOn(row: CaseRow, before: Any, now: Any) -> CaseRow:
    """Return a row whose slices are those of another volume, which is its first now."""
    kept = _countedOn(row.before, before, now) if row.before is not None else None
    return replace(row, region=_regionOn(row.region, before, now), before=kept)


def _regionOn(region: dict[str, Any] | None, before: Any, now: Any) -> dict[str, Any] | None:
    """Return where a case was annotated, once another volume is its first: slices of another scan are asked again."""
    if region is None or region["kind"] not in (SLICES, DRAWN_SLICES) or before is now:
        return region
    try:
        isSame = isSameGrid(worldGrid(before), worldGrid(now))
    except SemiSegError:
        # One of the scans cannot be used, as its check says; which slices are meant is not known.
        isSame = False
    return regionToJson(regionFromJson(region, volume=before) if isSame else Region(kind=SLICES), now)
