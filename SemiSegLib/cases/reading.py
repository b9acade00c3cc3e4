"""One case read from its files: the channels on one grid, and the label set of each voxel on that grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from SemiSegLib.cases.alignment import Shift, align, block_on
from SemiSegLib.cases.channels import FrameReader, align_channels
from SemiSegLib.cases.dataset import Case, Dataset, frame_of
from SemiSegLib.cases.file_error import FileError, in_voxels
from SemiSegLib.cases.segments import Segment, SegmentImage, is_segmentation, match_segments, read_segmentation_image
from SemiSegLib.cases.volume import Geometry, Volume, first_voxel, read_labels
from SemiSegLib.errors import CaseError, did_you_mean, explain
from SemiSegLib.labels.annotation import Annotation, Extent, combine_segments, encode_values
from SemiSegLib.labels.label_set import LabelSetTable


@dataclass(frozen=True)
class AnnotationReading:
    """What an annotation says of each voxel of an image, and what was noticed on the way.

    Attributes:
        codes: (D, H, W) uint8, rows of ``table``; 0 is anything.
        table: label sets.
        shifts: files that were resampled because they were displaced by a part of a voxel.
        overlaps: pairs of segments that exclude each other, and the voxels they share.
        cropped_voxels: labeled voxels that lie outside the image, per segment.
        named_voxels: voxels drawn for each tuple of structure names that the annotation declares.
        missing_segments: names of segments that the annotation lists and the file lacks.
    """

    codes: np.ndarray
    table: LabelSetTable
    shifts: tuple[Shift, ...] = ()
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cropped_voxels: Mapping[str, int] = field(default_factory=dict)
    named_voxels: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    missing_segments: tuple[str, ...] = ()


class ChannelReader:
    """Reads the channels of one case; a file that holds several of them as frames is read once."""

    def __init__(self, dataset: Dataset, case: Case) -> None:
        self._dataset = dataset
        self._case = case
        self._frames = FrameReader()

    def path(self, role: str) -> Path:
        """Return the file of a channel.

        Raises:
            CaseError: the case lacks the channel, or its path leads out of the dataset's folder.
        """
        reference = self._case.images.get(role)
        if reference is None:
            raise CaseError(
                explain(
                    f"the channel '{role}' is missing; given are: {', '.join(self._case.images) or 'none'}",
                    where=f"case '{self._case.id}'",
                    remedy="add its image, correct the name of the channel, or leave the case out",
                )
            )
        return self._dataset.path(reference)

    def read(self, role: str) -> Volume:
        """Return a channel as stored.

        Raises:
            CaseError: as ``path``, or the file cannot be used.
        """
        return self._frames.read(self.path(role), frame_of(self._case.images[role]))


def read_images(dataset: Dataset, case: Case) -> list[Volume]:
    """Return the channels of a case in the dataset's order, all on the grid of the first.

    A channel displaced by up to half a voxel is resampled linearly.

    Raises:
        CaseError: a channel is missing or cannot be read, or lies on another grid.
    """
    reader = ChannelReader(dataset, case)
    return align_channels((reader.read(role), reader.path(role)) for role in dataset.channels)


def read_codes(dataset: Dataset, case: Case, geometry: Geometry) -> tuple[np.ndarray, LabelSetTable]:
    """Return the label set of each voxel of an image grid.

    The label file of a case without annotation is never opened, whatever lies beside the image.

    Args:
        dataset: gives the scheme and the place of the files.
        case: whose annotation to read.
        geometry: grid of the case's first channel.

    Returns:
        codes (D, H, W) uint8 and their table.

    Raises:
        CaseError: a file is missing, damaged or on another grid, or a segment matches no structure.
        LabelError: a value occurs that the annotation does not list, or a structure is unknown.
    """
    reading = read_annotation(dataset, case, geometry)
    return reading.codes, reading.table


def read_annotation(dataset: Dataset, case: Case, geometry: Geometry) -> AnnotationReading:
    """Return ``read_codes`` together with what was noticed; raises the same."""
    annotation = case.annotation
    if annotation is None:
        table = LabelSetTable.of(len(dataset.scheme.leaves), ())
        return AnnotationReading(np.zeros(geometry.shape, dtype=np.uint8), table)
    path = dataset.path(annotation.file)
    if annotation.values is None and is_segmentation(path):
        reading = _read_segments(dataset, annotation, path, geometry)
    else:
        reading = _read_values(dataset, annotation, path, geometry)
    if annotation.extent.is_everything:
        return reading
    inside, shifts = _inside(dataset, annotation.extent, path, geometry)
    codes = np.where(inside, reading.codes, np.uint8(0))
    return replace(reading, codes=codes, shifts=reading.shifts + shifts)


def _read_values(dataset: Dataset, annotation: Annotation, path: Path, geometry: Geometry) -> AnnotationReading:
    sets = annotation.value_sets(dataset.scheme)
    table = annotation.table(dataset.scheme)
    labels, shift = align(read_labels(path), geometry, path, kind="label")
    counts = _count(labels.voxels)
    unknown = {value: count for value, count in counts.items() if value not in sets}
    if unknown:
        raise _unknown_value(labels.voxels, unknown, counts, path)
    codes = encode_values(labels.voxels, sets, table, where=str(path))
    named: dict[tuple[str, ...], int] = {}
    for value, names in (annotation.values or {}).items():
        named[names] = named.get(names, 0) + counts.get(value, 0)
    return AnnotationReading(codes, table, (shift,) if shift else (), named_voxels=named)


def _read_segments(dataset: Dataset, annotation: Annotation, path: Path, geometry: Geometry) -> AnnotationReading:
    scheme = dataset.scheme
    image = read_segmentation_image(path)
    names = annotation.segments
    if names is None:
        names = match_segments(image.segments, scheme, path)
    unlisted = [segment.name for segment in image.segments if segment.name not in names]
    if unlisted:
        raise FileError(
            "unknown_structure",
            f"the segment '{unlisted[0]}' is not listed in 'segments' of the annotation",
            path=path,
            remedy=f'list it, as ["*"] if it says nothing; {did_you_mean(unlisted[0], names)}',
        )
    layers, shift, cropped = _placed_layers(image, geometry, path)
    sets = {segment.name: scheme.leaf_set(names[segment.name]) for segment in image.segments}
    elsewhere = scheme.leaf_set(annotation.elsewhere)
    # The table must not depend on how segments are spread over layers, so it holds every set that is declared.
    table = LabelSetTable.of(len(scheme.leaves), {*sets.values(), elsewhere})
    overlaps: dict[tuple[str, str], int] = {}
    if len(layers) == 1:
        of_value = {0: elsewhere, **{segment.value: sets[segment.name] for segment in image.segments}}
        codes = encode_values(layers[image.segments[0].layer], of_value, table, where=str(path))
    else:
        masks = _Masks(layers, image.segments)
        codes, occurring, overlaps = combine_segments(masks, sets, elsewhere, leaf_count=len(scheme.leaves))
        table = LabelSetTable.union([table, occurring])
        codes = occurring.codes_in(table)[codes]
    named: dict[tuple[str, ...], int] = {}
    counts = {layer: _count(voxels) for layer, voxels in layers.items()}
    for segment in image.segments:
        key = names[segment.name]
        named[key] = named.get(key, 0) + counts[segment.layer].get(segment.value, 0)
    in_file = {segment.name for segment in image.segments}
    missing = tuple(name for name in names if name not in in_file)
    for name in missing:
        named.setdefault(names[name], 0)
    return AnnotationReading(codes, table, (shift,) if shift else (), overlaps, cropped, named, missing)


class _Masks(Mapping[str, np.ndarray]):
    """Where each segment is drawn, (D, H, W) bool, made when it is asked for: a hundred at once are 100 bytes a voxel.

    Args:
        layers: their integer images.
        segments: those of one name are one.
    """

    def __init__(self, layers: Mapping[int, np.ndarray], segments: Iterable[Segment]) -> None:
        self._layers = layers
        self._segments: dict[str, list[Segment]] = {}
        for segment in segments:
            self._segments.setdefault(segment.name, []).append(segment)

    def __getitem__(self, name: str) -> np.ndarray:
        first, *others = self._segments[name]
        drawn: np.ndarray = self._layers[first.layer] == first.value
        for segment in others:
            drawn |= self._layers[segment.layer] == segment.value
        return drawn

    def __iter__(self) -> Iterator[str]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)


def _placed_layers(
    image: SegmentImage, geometry: Geometry, path: Path
) -> tuple[dict[int, np.ndarray], Shift | None, dict[str, int]]:
    """Return the layers that hold segments on the image's grid, the shift, and voxels cut off per segment."""
    is_part = image.is_block and image.geometry.shape != geometry.shape
    layers: dict[int, np.ndarray] = {}
    cropped: dict[str, int] = {}
    shift: Shift | None = None
    for layer in sorted({segment.layer for segment in image.segments}):
        voxels = image.layers[layer]
        of_value = {0: "", **{s.value: s.name for s in image.segments if s.layer == layer}}
        before = _count(voxels)
        unknown = {value: count for value, count in before.items() if value not in of_value}
        if unknown:
            raise _unknown_value(voxels, unknown, before, path)
        volume = Volume(voxels, image.geometry)
        placed, shift = block_on(volume, geometry, path) if is_part else align(volume, geometry, path, kind="label")
        layers[layer] = placed.voxels
        after = _count(placed.voxels) if is_part and shift is None else before
        for value, name in of_value.items():
            lost = before.get(value, 0) - after.get(value, 0)
            if name and lost > 0:
                cropped[name] = cropped.get(name, 0) + lost
    return layers, shift, cropped


def _inside(dataset: Dataset, extent: Extent, path: Path, geometry: Geometry) -> tuple[np.ndarray, tuple[Shift, ...]]:
    """Return where the case was annotated, (D, H, W) bool; every part of the extent must hold."""
    inside = np.ones(geometry.shape, dtype=bool)
    size = geometry.shape[::-1]
    if extent.slices is not None:
        if extent.slice_axis not in (0, 1, 2) or any(not 0 <= n < size[extent.slice_axis] for n in extent.slices):
            raise _bad_extent(f"annotated slices {list(extent.slices)[:8]} along axis {extent.slice_axis}", size, path)
        chosen = np.zeros(size[extent.slice_axis], dtype=bool)
        chosen[list(extent.slices)] = True
        inside &= chosen.reshape([-1 if axis == 2 - extent.slice_axis else 1 for axis in range(3)])
    if extent.box is not None:
        low, high = extent.box
        if any(not 0 <= a <= b < n for a, b, n in zip(low, high, size, strict=True)):
            raise _bad_extent(f"the annotated box {low} to {high}", size, path)
        box = np.zeros_like(inside)
        box[tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))] = True
        inside &= box
    if extent.mask is None:
        return inside, ()
    mask_path = dataset.path(extent.mask)
    mask, shift = align(read_labels(mask_path), geometry, mask_path, kind="label")
    return inside & (mask.voxels > 0), (shift,) if shift else ()


def _count(voxels: np.ndarray) -> dict[int, int]:
    """Return how many voxels hold each value; slice by slice, since counting widens what it counts."""
    total = np.zeros(int(voxels.max()) + 1, dtype=np.int64)
    for plane in voxels:
        counts = np.bincount(plane.ravel())
        total[: len(counts)] += counts
    return {int(value): int(total[value]) for value in np.flatnonzero(total)}


def _unknown_value(voxels: np.ndarray, unknown: Mapping[int, int], counts: Mapping[int, int], path: Path) -> FileError:
    listed = ", ".join(f"{value} ({in_voxels(count)})" for value, count in list(unknown.items())[:5])
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    remedy = "say what each value means in 'values', or \"*\" where it is unknown"
    if set(counts) == {0, 255}:
        remedy = "this looks like a mask of 0 and 255: name the structure that 255 stands for in 'values'"
    elif len(unknown) > 20:
        remedy = "this looks like an image and not like labels: check that the right file is named"
    return FileError(
        "unknown_value",
        f"values without a meaning occur: {listed}{more}",
        path=path,
        place=f"first at {first_voxel(voxels == next(iter(unknown)))}",
        remedy=remedy,
    )


def _bad_extent(what: str, size: tuple[int, ...], path: Path) -> FileError:
    return FileError(
        "extent",
        f"{what}: not inside the image of {size[0]} x {size[1]} x {size[2]} voxels",
        path=path,
        remedy="count slices and voxels from 0 in file order i, j, k",
    )
