"""Slicer's ``.seg.nrrd`` files: which segments a file holds, what they are, and their voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.itk_files import header_with_itk
from SemiSegLib.cases.volume import LARGEST_LABEL, Geometry, read_image
from SemiSegLib.errors import LabelError, did_you_mean
from SemiSegLib.labels.scheme import LabelScheme, Terminology
from SemiSegLib.labels.terminology import from_slicer_string

TERMINOLOGY_TAG = "TerminologyEntry:"
# Slicer gives a segment that nobody coded the term SCT 85756007 "Tissue"; it says nothing.
UNCODED = ("SCT:85756007", "SCT:85756007", "", "", "")
OFFSET_KEY = "Segmentation_ReferenceImageExtentOffset"


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        name: as a person sees it in Slicer.
        layer: which of the file's images holds it; segments of different layers may overlap.
        value: its value in that image.
        terminology: its codes, or None.
    """

    name: str
    layer: int
    value: int
    terminology: Terminology | None


@dataclass(frozen=True)
class SegmentImage:
    """The voxels of a segmentation file.

    Attributes:
        layers: (layer, D, H, W) integer.
        segments: which value of which layer is which segment.
        geometry: grid of each layer.
        header: key to text, for what only Slicer needs of the segments.
    """

    layers: np.ndarray
    segments: tuple[Segment, ...]
    geometry: Geometry
    header: Mapping[str, str]

    @property
    def is_block(self) -> bool:
        """Whether the file says that it may hold a part of the image's grid only."""
        return OFFSET_KEY in self.header


def is_segmentation(path: str | Path) -> bool:
    """Return whether a name is that of a segmentation file with named segments."""
    return str(path).lower().endswith(".seg.nrrd")


def read_segments(path: Path) -> tuple[Segment, ...]:
    """Return the segments that the header of a file lists; voxels are not read.

    Raises:
        FileError: the file is missing, is damaged or lists no segment.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError("missing_file", "the file does not exist", path=path, remedy="check the path and its spelling")
    try:
        header = header_with_itk(path, "NrrdImageIO")
    except RuntimeError as error:
        raise FileError(
            "unreadable",
            f"the file is not a segmentation: {str(error).strip().splitlines()[-1][:200]}",
            path=path,
            remedy="save the segmentation again from Slicer",
        ) from error
    return _parse(header.metadata, path)


def read_segmentation_image(path: Path) -> SegmentImage:
    """Return the voxels and segments of a file.

    Raises:
        FileError: the file is missing, is damaged, lists no segment, or holds no whole numbers.
    """
    image = read_image(path)
    header = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    segments = _parse(header, path)
    array = sitk.GetArrayFromImage(image)
    layers = np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array[None]
    whole = image.GetDimension() == 3 and layers.dtype.kind in "iu"
    if not whole or layers.min() < 0 or layers.max() > LARGEST_LABEL:
        raise FileError(
            "unreadable",
            f"voxels are {image.GetPixelIDTypeAsString()} in {image.GetDimension()} dimensions",
            path=path,
            remedy="save the segmentation again from Slicer, as binary labelmap",
        )
    if layers.dtype.itemsize > 2:
        layers = layers.astype(np.uint16)
    for segment in segments:
        if segment.layer >= len(layers):
            raise FileError(
                "unreadable",
                f"segment '{segment.name}' is in layer {segment.layer}, the file has {len(layers)}",
                path=path,
                remedy="save the segmentation again from Slicer",
            )
    return SegmentImage(layers, segments, Geometry.from_sitk(image), header)


def match_segments(segments: Iterable[Segment], scheme: LabelScheme, path: Path) -> dict[str, tuple[str, ...]]:
    """Return segment name to structure names, by terminology, else by name or alias.

    Raises:
        FileError: a segment matches no structure, or its codes and its name say two different things, or two
            segments of one name are two structures; the person has to say which it is.
    """
    matched: dict[str, tuple[str, ...]] = {}
    for segment in segments:
        by_code = scheme.match("", segment.terminology)
        by_name = scheme.match(segment.name)
        found = by_code or by_name
        if found is None:
            raise FileError(
                "unknown_structure",
                f"the segment '{segment.name}' is no structure of the label scheme '{scheme.name}'",
                path=path,
                remedy="rename it or list it in 'segments' of the annotation; "
                + did_you_mean(segment.name, [s.name for s in scheme.structures]),
            )
        earlier = matched.get(segment.name, (found.name,))
        if (by_code and by_name and by_code is not by_name) or earlier != (found.name,):
            other = by_name.name if by_code and by_name else earlier[0]
            raise FileError(
                "doubtful_structure",
                f"the segment '{segment.name}' is '{found.name}' by its terminology and '{other}' by its name",
                path=path,
                remedy="correct the one that is wrong, or list the segment in 'segments' of the annotation",
            )
        matched[segment.name] = (found.name,)
    return matched


def _parse(header: Mapping[str, str], path: Path) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    while f"Segment{len(segments)}_ID" in header or f"Segment{len(segments)}_Name" in header:
        start = f"Segment{len(segments)}_"
        name = header.get(f"{start}Name") or header[f"{start}ID"]
        try:
            layer, value = int(header.get(f"{start}Layer", "0")), int(header.get(f"{start}LabelValue", "1"))
        except ValueError:
            layer, value = -1, -1
        if layer < 0 or value < 0 or any((s.layer, s.value) == (layer, value) for s in segments):
            raise FileError(
                "unreadable",
                f"segment '{name}' has no layer and label value of its own",
                path=path,
                remedy="save the segmentation again from Slicer",
            )
        segments.append(Segment(name, layer, value, _terminology(header.get(f"{start}Tags", ""))))
    if not segments:
        raise FileError(
            "no_segments",
            "the file names no segments",
            path=path,
            remedy="save it from Slicer's Segmentations module, or rename it to .nrrd and give a table of values",
        )
    return tuple(segments)


def _terminology(tags: str) -> Terminology | None:
    for tag in tags.split("|"):
        if tag.startswith(TERMINOLOGY_TAG):
            try:
                terminology = from_slicer_string(tag[len(TERMINOLOGY_TAG) :])
            except LabelError:
                # Old files hold entries of other layouts; the name still says what the segment is.
                return None
            return None if terminology.key == UNCODED else terminology
    return None
