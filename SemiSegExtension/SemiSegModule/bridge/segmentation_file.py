"""What a ``.seg.nrrd`` file holds, read without touching the scene, so that it can be read apart from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SemiSegLib.cases.segments import read_segmentation_image
from SemiSegModule.bridge.geometry import Grid, fromGeometry

# Color of a segment whose file names none, and of a structure whose scheme gives it none.
NO_COLOR = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class FileSegment:
    """One segment of a file.

    Attributes:
        id: segment ID.
        name: as a person reads it.
        layer: number of the label image that holds it.
        value: its value in that image.
        color: red, green, blue, each 0 to 1.
        tags: tag name to text.
    """

    id: str
    name: str
    layer: int
    value: int
    color: tuple[float, float, float] = NO_COLOR
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentationFile:
    """A file as it was when it was read.

    Attributes:
        layers: (layer, K, J, I) integer.
        grid: of every layer, in the file's coordinates.
        segments: in the file's order.
    """

    layers: np.ndarray
    grid: Grid
    segments: tuple[FileSegment, ...]


def readSegmentationFile(path: Path) -> SegmentationFile:
    """Return what a file holds; touches no node.

    Raises:
        CaseError: the file is missing, is damaged, or holds no segment.
    """
    image = read_segmentation_image(Path(path))
    header = image.header
    segments = tuple(
        FileSegment(
            id=header.get(f"Segment{number}_ID") or f"Segment_{number + 1}",
            name=segment.name,
            layer=segment.layer,
            value=segment.value,
            color=_color(header.get(f"Segment{number}_Color", "")),
            tags=_tags(header.get(f"Segment{number}_Tags", "")),
        )
        for number, segment in enumerate(image.segments)
    )
    return SegmentationFile(image.layers, fromGeometry(image.geometry), segments)


def _color(text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (min(1.0, max(0.0, float(part))) for part in text.split())
    except ValueError:
        return NO_COLOR
    return red, green, blue


def _tags(text: str) -> dict[str, str]:
    return dict(tag.split(":", 1) for tag in text.split("|") if ":" in tag)
