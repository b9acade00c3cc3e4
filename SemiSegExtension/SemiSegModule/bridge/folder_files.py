"""Scans and label files in folders without a description: which files belong together, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.channels import frame_count
from SemiSegLib.cases.segments import is_segmentation
from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.case_files import CaseFiles, Drawn
from SemiSegModule.bridge.frames import parseFrames
from SemiSegModule.bridge.geometry import Grid, fromGeometry, isSameGrid
from SemiSegModule.bridge.segmentation_file import FileSegment, readSegmentationFile

CHANNEL = "image"
# Longest first, since one ending may end another.
ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Folders in folders that are looked through; deeper ones are seldom meant.
_DEEPEST = 4
_LABEL_NAME = re.compile(r"(?i)^(?:(.+?)[-_. ]+)?(?:seg|segmentation|labels?|labelmap|masks?|gt|annotation)$")
_LABEL_FOLDER = re.compile(r"(?i)^(?:labels?|masks?|seg(?:mentation)?s?|annotations?)(?:Tr|Ts|Val)?$")
_IMAGE_FOLDER = re.compile(r"(?i)^(?:images?|scans?|volumes?|data|nifti|anat)(?:Tr|Ts|Val)?$")
# Folders that say on which side of a split a scan is, and nothing of its patient.
_SIDE_FOLDER = re.compile(r"(?i)^(?:train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)$")
_BIDS = re.compile(r"^(sub-[A-Za-z0-9]+)_")
# Colors of labels that nobody named, as far apart as five can be.
_COLORS = ((0.9, 0.3, 0.3), (0.3, 0.7, 0.4), (0.3, 0.5, 0.9), (0.9, 0.8, 0.3), (0.7, 0.4, 0.8))


@dataclass(frozen=True, kw_only=True)
class FoundScan:
    """One scan among files.

    Attributes:
        id: name of the case.
        image: file.
        labels: its label image or segmentation, or None.
        patient: by the folder's or file's name; "" if neither says so.
        frames: images in the file; more than one is a 4-D file.
        frame: the one that is meant, counted from 0, or None as long as nobody has chosen.
    """

    id: str
    image: Path
    labels: Path | None = None
    patient: str = ""
    frames: int = 1
    frame: int | None = None


def findScans(paths: Sequence[Path]) -> tuple[tuple[FoundScan, ...], tuple[str, ...]]:
    """Return the scans in files and folders, and the names of label files that belong to no scan.

    A file counts as labels by its ending (.seg.nrrd), its name (..._seg, ..._label, ...) or its folder (labels, masks);
    it belongs to the scan of the same name, or to the only scan beside it.

    Raises:
        CaseError: there is no scan that can be read.
    """
    files = list(dict.fromkeys(file for path in paths for file in _filesOf(Path(path))))
    images = [file for file in files if not _isLabels(file)]
    if not images:
        raise CaseError(
            explain(
                _("no scan was found"),
                where=", ".join(str(path) for path in paths),
                remedy=_(
                    "choose a folder with files that end in {endings}; load DICOM with Slicer's DICOM "
                    "module, which keeps the patient"
                ).format(endings=", ".join(ENDINGS[1:])),
            )
        )
    left = [file for file in files if _isLabels(file)]
    names = [_stem(image) for image in images]
    roots = {Path(path).absolute() for path in paths}
    scans, taken = [], set()
    for image, name in zip(images, names, strict=True):
        labels = _labelsOf(image, left, images)
        taken.add(labels)
        title = name if names.count(name) == 1 else f"{image.parent.name} {name}"
        patient = _patientOf(image, roots)
        scans.append(FoundScan(id=title, image=image, labels=labels, patient=patient, frames=frame_count(image)))
    return tuple(scans), tuple(file.name for file in left if file not in taken)


def chooseFrames(scans: Iterable[FoundScan], text: str) -> tuple[FoundScan, ...]:
    """Return scans with one for each chosen image of a 4-D file; all of one patient.

    Labels of a 4-D file are left out: nobody has said to which of its images they belong.

    Args:
        scans: from ``findScans``.
        text: numbers counted from 1, "all", or "" to leave 4-D files out.

    Raises:
        CaseError: the text is something else, or names an image that is not there.
    """
    result: list[FoundScan] = []
    for scan in scans:
        if scan.frames == 1:
            result.append(scan)
            continue
        digits = len(str(scan.frames))
        for number in parseFrames(text, scan.frames):
            name = f"{scan.id} {number:0{digits}d}"
            result.append(replace(scan, id=name, labels=None, patient=scan.patient or scan.id, frame=number - 1))
    return tuple(result)


def readFound(scan: FoundScan) -> CaseFiles:
    """Return what the files of a scan hold; touches no object of the scene.

    Raises:
        CaseError: a file cannot be read, or it is a 4-D file and nobody has chosen an image of it.
    """
    volume = read_volume(scan.image, frame=scan.frame)
    drawn = None if scan.labels is None else _readDrawn(scan.labels, fromGeometry(volume.geometry))
    return CaseFiles(id=scan.id, volumes={CHANNEL: volume}, drawn=drawn, patient=scan.patient)


def isImageFile(path: str | Path) -> bool:
    """Return whether a name is that of a scan or label file that can be read."""
    return str(path).lower().endswith(ENDINGS)


def _filesOf(path: Path) -> list[Path]:
    path = path.absolute()
    if not path.is_dir():
        return [path] if isImageFile(path) else []
    found = []
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        isHidden = any(part.startswith((".", "__")) for part in parts)
        if len(parts) <= _DEEPEST and not isHidden and isImageFile(file) and file.is_file():
            found.append(file)
    return found


def _stem(file: Path) -> str:
    return next(file.name[: -len(ending)] for ending in ENDINGS if file.name.lower().endswith(ending))


def _isLabels(file: Path) -> bool:
    return is_segmentation(file) or bool(_LABEL_NAME.match(_stem(file)) or _LABEL_FOLDER.match(file.parent.name))


def _labelsOf(image: Path, labels: list[Path], images: list[Path]) -> Path | None:
    """Return the label file of a scan: of its name, beside it or in a folder beside its own; else the only one."""
    beside = [file for file in labels if file.parent == image.parent]
    # A folder beside the image's is that of another scan, unless one of the two holds images or labels of many.
    near = [file for file in labels if file.parent != image.parent and file.parent.parent == image.parent.parent]
    near = [file for file in near if _LABEL_FOLDER.match(file.parent.name) or _IMAGE_FOLDER.match(image.parent.name)]
    for file in (*beside, *near):
        match = _LABEL_NAME.match(_stem(file))
        if _stem(image) in (_stem(file), match[1] if match else ""):
            return file
    isAlone = sum(other.parent == image.parent for other in images) == 1
    return beside[0] if isAlone and len(beside) == 1 else None


def _patientOf(image: Path, roots: set[Path]) -> str:
    """Return who a scan is of by a BIDS name, or by the first folder that is of one patient: all below it is."""
    match = _BIDS.match(image.name)
    if match:
        return match[1]
    chosen = roots.intersection(image.parents)
    if not chosen:
        return ""
    folders = image.parent.relative_to(min(chosen, key=lambda root: len(root.parts))).parts
    shared = (_IMAGE_FOLDER, _LABEL_FOLDER, _SIDE_FOLDER)
    return next((name for name in folders if not any(pattern.match(name) for pattern in shared)), "")


def _readDrawn(path: Path, grid: Grid) -> Drawn:
    if is_segmentation(path):
        file = readSegmentationFile(path)
        return Drawn(tuple((layer, file.grid) for layer in file.layers), file.segments)
    labels = read_labels(path)
    own = fromGeometry(labels.geometry)
    values = np.flatnonzero(np.bincount(labels.voxels.ravel()))
    segments = tuple(_unnamed(int(value)) for value in values if value)
    return Drawn(((labels.voxels, grid if isSameGrid(own, grid) else own),), segments)


def _unnamed(value: int) -> FileSegment:
    """Return a segment of which only a number is known; a person says what it is."""
    name = _("label {value}").format(value=value)
    return FileSegment(id=f"label {value}", name=name, layer=0, value=value, color=_COLORS[(value - 1) % len(_COLORS)])
