"""Where a case was annotated: some slices, the slices that hold a segment, or inside a box; outside nothing is known.

A fourth way, inside a segment, is a meaning of that segment (``scene_case.ANNOTATED_REGION``). All that are given hold
together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import Grid, matrixFromVtk, ownMatrix, transformToWorld, turnSince, volumeGrid

SLICES, DRAWN_SLICES, BOX = "slices", "drawn slices", "box"
# A voxel whose center lies on the side of the box belongs to it; matrices are rounded to about this many mm.
_ON_THE_SIDE_MM = 1e-6


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a case was annotated, by nodes of the scene.

    Attributes:
        kind: "slices", "drawn slices" or "box".
        axis: axis i, j or k (0, 1, 2) of the case's first volume along which slices are counted.
        ranges: first and last slice of each run of annotated slices, both included, counted from 0 as Slicer's Data
            Probe does.
        segment: ID of the segment whose slices were annotated; "" for the slices that hold any segment.
        box: vtkMRMLMarkupsROINode; its rotation, transform and "inside out" count.
    """

    kind: str
    axis: int = 2
    ranges: tuple[tuple[int, int], ...] = ()
    segment: str = ""
    box: Any = None


@dataclass(frozen=True)
class PlacedRegion:
    """A region as it was when it was read: the scene may change while it is worked on.

    Attributes:
        region: what was read.
        toBox: (4, 4), world RAS mm to the box's own axes in mm, or None.
        size: sides of the box in mm.
        isInsideOut: whether the outside of the box was annotated.
    """

    region: Region
    toBox: np.ndarray | None = None
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    isInsideOut: bool = False

    def inside(self, reference: Grid, segments: Iterable[tuple[tuple[slice, ...], np.ndarray]]) -> np.ndarray:
        """Return which voxels were annotated, (K, J, I) bool or of a shape that broadcasts to it.

        Args:
            reference: world grid of the case's first volume.
            segments: place and mask of the segments whose slices count, for "drawn slices".
        """
        if self.region.kind == BOX:
            return self._insideBox(reference)
        axis = 2 - self.region.axis
        chosen = np.zeros(reference.shape[axis], dtype=bool)
        if self.region.kind == SLICES:
            for first, last in self.region.ranges:
                chosen[max(0, first) : last + 1] = True
        else:
            others = tuple(other for other in range(3) if other != axis)
            for place, mask in segments:
                chosen[place[axis]] |= mask.any(axis=others)
        shape = [1, 1, 1]
        shape[axis] = len(chosen)
        return chosen.reshape(shape)

    def _insideBox(self, reference: Grid) -> np.ndarray:
        toBox = self.toBox @ reference.matrix
        half = np.array(self.size) / 2 + _ON_THE_SIDE_MM
        slices, rows, columns = (np.arange(n, dtype=float) for n in reference.shape)
        result = np.empty(reference.shape, dtype=bool)
        # Slice by slice: coordinates of every voxel at once would take as much memory as the scan many times over.
        for k in range(reference.shape[0]):
            inside = np.ones(reference.shape[1:], dtype=bool)
            for axis in range(3):
                along = toBox[axis, 0] * columns[None, :] + toBox[axis, 1] * rows[:, None]
                inside &= np.abs(along + toBox[axis, 2] * slices[k] + toBox[axis, 3]) <= half[axis]
            result[k] = inside
        return ~result if self.isInsideOut else result


def readRegion(region: Region | None) -> PlacedRegion | None:
    """Return a region as it is at this moment; its box is only read.

    Raises:
        CaseError: something of the region is missing, or the box is under a transform that is not linear.
    """
    if region is None:
        return None
    what = whyIncomplete(region)
    if what:
        raise CaseError(explain(what, where=_("where the case was annotated"), remedy=_("complete it in Labels")))
    if region.kind != BOX:
        return PlacedRegion(region)
    toWorld = transformToWorld(region.box) @ matrixFromVtk(region.box.GetObjectToNodeMatrix())
    size = tuple(float(side) for side in region.box.GetSize())
    return PlacedRegion(region, np.linalg.inv(toWorld), size, bool(region.box.GetInsideOut()))


def whyIncomplete(region: Region) -> str:
    """Return what is missing of a region, or the empty string."""
    if region.kind == SLICES and not region.ranges:
        return _("no slice was named")
    if region.kind == BOX and (region.box is None or region.box.GetScene() is None):
        return _("no box was chosen, or it was removed from the scene")
    if region.kind == BOX and min(region.box.GetSize()) <= 0:
        return _("the box '{name}' is empty").format(name=region.box.GetName())
    return ""


def parseRanges(text: str) -> tuple[tuple[int, int], ...]:
    """Return the runs of slices of a text such as "0-4, 9"; sorted, touching runs joined.

    Raises:
        CaseError: the text is something else.
    """
    runs = []
    for part in filter(None, (part.strip() for part in re.split(r"[,;]", text))):
        match = re.fullmatch(r"(\d+)(?:\s*[-\u2013:]\s*(\d+))?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise CaseError(
                explain(
                    _("'{part}' names no slices").format(part=part),
                    where=_("slices"),
                    remedy=_("write numbers and ranges, for example 0-4, 9"),
                )
            )
        runs.append((int(match[1]), int(match[2] or match[1])))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def requireSlices(ranges: Iterable[tuple[int, int]], reference: Grid, axis: int) -> None:
    """Refuse slices that a scan does not have.

    Raises:
        CaseError: there is one.
    """
    count = reference.shape[2 - axis]
    beyond = [last for _first, last in ranges if last >= count]
    if beyond:
        raise CaseError(
            explain(
                _("slice {number} is not in the scan, whose slices along {axis} are 0 to {last}").format(
                    number=beyond[0], axis="IJK"[axis], last=count - 1
                ),
                where=_("slices"),
                remedy=_("count from 0, as the Data Probe does, or choose another axis"),
            )
        )


def formatRanges(ranges: Iterable[tuple[int, int]]) -> str:
    """Return runs of slices as ``parseRanges`` reads them."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def sliceDirection(reference: Grid, axis: int) -> str:
    """Return the anatomical name of slices along axis i, j or k: "sagittal", "coronal" or "axial", the nearest."""
    direction = np.abs(reference.matrix[:3, axis])
    return ("sagittal", "coronal", "axial")[int(np.argmax(direction))]


def regionToJson(region: Region | None, volume: Any = None) -> dict[str, Any] | None:
    """Return a region for the parameter node; the box is kept there as a node reference.

    Args:
        region: or None.
        volume: node whose slices are counted. Its matrix is kept with them: Slicer counts from the other end of some
            scans when it loads them again.
    """
    if region is None:
        return None
    ranges = [list(run) for run in region.ranges]
    data = {"kind": region.kind, "axis": region.axis, "ranges": ranges, "segment": region.segment}
    return {**data, "matrix": ownMatrix(volume).tolist()} if ranges and volume is not None else data


def regionFromJson(data: Mapping[str, Any] | None, box: Any = None, volume: Any = None) -> Region | None:
    """Return what ``regionToJson`` wrote, with its box, and with slices as its volume counts them now."""
    if data is None:
        return None
    axis, ranges = int(data["axis"]), tuple((int(first), int(last)) for first, last in data["ranges"])
    if volume is not None and "matrix" in data:
        ranges = _asCountedNow(ranges, axis, np.array(data["matrix"]), volume)
    return Region(
        kind=data["kind"],
        axis=axis,
        ranges=ranges,
        segment=data["segment"],
        box=box if data["kind"] == BOX else None,
    )


def _asCountedNow(
    ranges: tuple[tuple[int, int], ...], axis: int, before: np.ndarray, volume: Any
) -> tuple[tuple[int, int], ...]:
    """Return runs of slices as a volume counts them now that had another matrix when they were named."""
    try:
        grid = volumeGrid(volume)
    except CaseError:
        # It holds no voxels, as the check of the case says.
        return ranges
    if turnSince(before, grid)[axis, axis] > 0:
        return ranges
    last = grid.shape[2 - axis] - 1
    return tuple((max(0, last - end), last - start) for start, end in reversed(ranges) if start <= last)
