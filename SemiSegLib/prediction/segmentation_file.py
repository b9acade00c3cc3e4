"""Results as files: a ``.seg.nrrd`` that Slicer opens with names, colors and terminology, or a plain label image."""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy import ndimage

from SemiSegLib.cases.itk_files import header_with_itk
from SemiSegLib.cases.segments import read_segmentation_image
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.config import check_choice, replace_file
from SemiSegLib.errors import ShapeError, explain
from SemiSegLib.labels.color_table import write_color_table
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology, name_key
from SemiSegLib.labels.terminology import to_slicer_string
from SemiSegLib.prediction.findings import AMBIGUOUS, Findings
from SemiSegLib.prediction.predictor import Prediction

STATUSES = ("notstarted", "inprogress", "completed", "flagged")
# What a provenance says about where a result comes from, and the segment tag that carries it.
PROVENANCE_TAGS = {"run": "SemiSeg.Run", "job": "SemiSeg.Job"}
# What is known of the structure in this scan, see ``prediction.findings``, and how likely it is there, 0 to 1.
STATE_TAG, SCORE_TAG = "SemiSeg.State", "SemiSeg.Score"
# Level 3 writes labels 3 times faster than level 9 and at most a tenth larger.
GZIP_LEVEL = 3
ANATOMY = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")
# Designators of private coding schemes start with 99 (DICOM PS3.3, 8.2); code values have 16 characters at most.
PRIVATE_SCHEME = "99SEMISEG"
CODE_LENGTH = 16


@dataclass(frozen=True)
class SavedSegment:
    """One segment of a file.

    Attributes:
        mask: (D, H, W) bool on the file's grid.
        tags: tag name to text, "TerminologyEntry" among them.
    """

    mask: np.ndarray
    tags: Mapping[str, str]


def write_segmentation(
    prediction: Prediction,
    path: Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    status: str = "inprogress",
    superclass_tags: bool = True,
) -> None:
    """Write one segment per foreground leaf, on exactly the scan's grid, also for leaves that were not found.

    A reader sees the whole file or none of it. The label value of a segment is its leaf index. If the prediction has
    findings, each segment carries its own, and an ambiguous one is flagged for review.

    Args:
        prediction: what to write.
        path: ends in ``.seg.nrrd``.
        provenance: its "run" and "job", if given, become tags of every segment.
        status: review status that Slicer's Segment Editor shows: a result is in progress until a person has seen it.
        superclass_tags: tag each segment with the name of its superclass.
    """
    check_choice("status", status, STATUSES)
    header = segmentation_header(
        prediction.leaves,
        prediction.scheme,
        [
            {
                "Segmentation.Status": status,
                **_finding_tags(prediction.findings, leaf.name),
                **({"SemiSeg.Superclass": prediction.scheme.ancestors(leaf.name)[-1].name} if superclass_tags else {}),
                **{
                    tag: str((provenance or {})[key])
                    for key, tag in PROVENANCE_TAGS.items()
                    if key in (provenance or {})
                },
            }
            for leaf in prediction.scheme.leaves
        ],
    )
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(header.encode())
            _write_voxels(file, prediction.leaves.voxels)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_label_image(prediction: Prediction, path: Path, *, color_table: bool = False) -> None:
    """Write leaf indices as an image of any format SimpleITK writes, compressed and under a temporary name first.

    Args:
        prediction: what to write.
        path: of the image.
        color_table: also write names and colors beside it, as a color table that Slicer loads, ``NAME_colors.csv``.
    """
    path = Path(path)
    if color_table:
        stem = re.sub(r"(\.nii\.gz|\.[^.]+)$", "", path.name)
        write_color_table(prediction.scheme, path.with_name(f"{stem}_colors.csv"))
    write_volume(prediction.leaves, path)


def read_segmentation(path: Path) -> dict[str, SavedSegment]:
    """Return segment name to mask and tags.

    Raises:
        CaseError: the file is missing or is not a segmentation.
    """
    image = read_segmentation_image(Path(path))
    header = header_with_itk(Path(path)).metadata
    result = {}
    for number, segment in enumerate(image.segments):
        text = header.get(f"Segment{number}_Tags", "")
        tags = dict(tag.split(":", 1) for tag in text.split("|") if ":" in tag)
        result[segment.name] = SavedSegment(image.layers[segment.layer] == segment.value, tags)
    return result


def segmentation_header(leaves: Volume, scheme: LabelScheme, tags: Sequence[Mapping[str, str]]) -> str:
    """Return the NRRD header, its closing empty line included.

    Args:
        leaves: uint8 leaf indices.
        scheme: names, colors and codes of the leaves.
        tags: of each leaf, background included.

    Raises:
        ShapeError: the image is not uint8.
    """
    if leaves.voxels.dtype != np.uint8:
        raise ShapeError(
            explain(f"the leaves are {leaves.voxels.dtype}, expected uint8", where="segmentation", remedy="cast them")
        )
    boxes = ndimage.find_objects(leaves.voxels, max_label=len(scheme.leaves) - 1)
    ids = _segment_ids([leaf.name for leaf in scheme.leaves])
    lines = [*_grid_lines(leaves.geometry), *_segmentation_lines(leaves.geometry)]
    for number, (leaf, box) in enumerate(zip(scheme.leaves[1:], boxes, strict=True)):
        value = number + 1
        entry = {"TerminologyEntry": to_slicer_string(leaf.terminology or private_terminology(leaf)), **tags[value]}
        fields = {
            "ID": ids[value],
            "Name": leaf.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{part:.6g}" for part in leaf.color),
            "ColorAutoGenerated": "0",
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": _extent(box),
            "Tags": "".join(f"{name}:{_tag_text(text)}|" for name, text in entry.items()),
        }
        lines += [f"Segment{number}_{key}:={_escaped(text)}" for key, text in fields.items()]
    return "\n".join(lines) + "\n\n"


def _finding_tags(findings: Findings | None, name: str) -> dict[str, str]:
    found = None if findings is None else findings.of(name)
    if found is None:
        return {}
    score = {} if found.score is None else {SCORE_TAG: f"{found.score:.3f}"}
    return {STATE_TAG: found.state, **score, **({"Segmentation.Status": "flagged"} if found.state == AMBIGUOUS else {})}


def private_terminology(structure: Structure) -> Terminology:
    """Return codes for a structure that has none: without an entry, Slicer calls every such segment "Tissue"."""
    plain = re.sub(r"[~^|\r\n]", " ", structure.name).strip()
    value = re.sub(r"[^a-z0-9]", "", name_key(structure.name))[:CODE_LENGTH].upper()
    return Terminology(category=ANATOMY, type=Code(scheme=PRIVATE_SCHEME, value=value or "UNNAMED", meaning=plain))


def _write_voxels(file: IO[bytes], voxels: np.ndarray) -> None:
    # No name and no time in the compressed part: the same result gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0) as compressed:
        for plane in voxels:
            compressed.write(np.ascontiguousarray(plane).tobytes())


def _grid_lines(geometry: Geometry) -> list[str]:
    # File axes i, j, k are array axes 2, 1, 0. The shortest text of a float that reads back the same is repr's.
    vectors = [f"({','.join(repr(float(part)) for part in geometry.affine[:3, axis])})" for axis in (2, 1, 0)]
    origin = ",".join(repr(float(part)) for part in geometry.affine[:3, 3])
    return [
        "NRRD0004",
        "type: unsigned char",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in reversed(geometry.shape))}",
        f"space directions: {' '.join(vectors)}",
        "kinds: domain domain domain",
        "encoding: gzip",
        f"space origin: ({origin})",
    ]


def _segmentation_lines(geometry: Geometry) -> list[str]:
    # Slicer's matrix of the reference geometry maps (i, j, k) to RAS, row by row, and is followed by the extent.
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine[:, [2, 1, 0, 3]]
    d, h, w = geometry.shape
    reference = ";".join([*(repr(float(part)) for part in to_ras.ravel()), *map(str, (0, w - 1, 0, h - 1, 0, d - 1))])
    return [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        f"Segmentation_ConversionParameters:=Reference image geometry|{reference};|&",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_SourceRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]


def _extent(box: tuple[slice, ...] | None) -> str:
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{along.start} {along.stop - 1}" for along in reversed(box))


def _segment_ids(names: Sequence[str]) -> list[str]:
    plain = [re.sub(r"[^A-Za-z0-9_.-]+", "_", name) for name in names]
    return [text if plain.count(text) == 1 else f"{text}_{number}" for number, text in enumerate(plain)]


def _tag_text(text: str) -> str:
    return re.sub(r"[|\r\n]+", " ", text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
