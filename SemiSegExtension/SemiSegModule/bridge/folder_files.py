"""Which files of folders without a description are scans and labels, and which belong together by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from SemiSegLib.cases.channels import frame_count
from SemiSegLib.cases.foreign import BIDS_NAME, CHANNEL_NAME
from SemiSegLib.cases.segments import is_segmentation
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.dicom_files import isDicom

# Longest first, since one ending may end another.
ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Folders in folders that are looked through; deeper ones are seldom meant.
_DEEPEST = 4
# Higher numbers at the end of names count scans, not channels.
_MOST_CHANNELS = 10
_LABEL_NAME = re.compile(r"(?i)^(?:(.+?)[-_. ]+)?(?:seg|segmentation|labels?|labelmap|masks?|gt|annotation)$")
_LABEL_FOLDER = re.compile(r"(?i)^(?:labels?|masks?|seg(?:mentation)?s?|annotations?)(?:Tr|Ts|Val)?$")
_IMAGE_FOLDER = re.compile(r"(?i)^(?:images?|scans?|volumes?|data|nifti|anat)(?:Tr|Ts|Val)?$")
# Folders that say on which side of a split a scan is, and nothing of its patient.
_SIDE_FOLDER = re.compile(r"(?i)^(?:train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)$")


@dataclass(frozen=True)
class FoundFiles:
    """Scans and label files that were found; what is asked of them reads no file any more.

    Attributes:
        images: files of scans.
        labels: label images and segmentations.
        roots: the files and folders that a person chose.
        counts: file to the number of images in it, where it is not one.
    """

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    roots: frozenset[Path]
    counts: Mapping[Path, int]

    def framesOf(self, file: Path) -> int:
        """Return the number of images in a file."""
        return self.counts.get(file, 1)

    def patientOf(self, image: Path) -> str:
        """Return who a scan is of by a BIDS name, or by the first folder that is of one patient: all below it is."""
        match = BIDS_NAME.match(image.name)
        if match:
            return match[1]
        chosen = self.roots.intersection(image.parents)
        if not chosen:
            return ""
        folders = image.parent.relative_to(min(chosen, key=lambda root: len(root.parts))).parts
        shared = (_IMAGE_FOLDER, _LABEL_FOLDER, _SIDE_FOLDER)
        return next((name for name in folders if not any(pattern.match(name) for pattern in shared)), "")

    def labelsOf(self, image: Path, name: str, scans: Sequence[Path]) -> Path | None:
        """Return the label file of a scan: of its name, beside it or in a folder beside its own; else the only one.

        Args:
            image: file of the scan.
            name: of the scan.
            scans: file of each scan.
        """
        beside = [file for file in self.labels if file.parent == image.parent]
        # A folder beside the image's is that of another scan, unless one of the two holds images or labels of many.
        near = [f for f in self.labels if f.parent != image.parent and f.parent.parent == image.parent.parent]
        near = [f for f in near if _LABEL_FOLDER.match(f.parent.name) or _IMAGE_FOLDER.match(image.parent.name)]
        for file in (*beside, *near):
            if name in _namedBy(file):
                return file
        isAlone = sum(other.parent == image.parent for other in scans) == 1
        return beside[0] if isAlone and len(beside) == 1 else None


def findFiles(paths: Sequence[Path]) -> FoundFiles:
    """Return the scans and label files in files and folders.

    A file counts as labels by its ending (.seg.nrrd), its name (..._seg, ..._label, ...) or its folder (labels, masks).

    Raises:
        CaseError: there is no scan that can be read.
    """
    files = list(dict.fromkeys(file for path in paths for file in _filesOf(Path(path))))
    images = tuple(file for file in files if not _isLabels(file))
    labels = tuple(file for file in files if _isLabels(file))
    if not images:
        raise _nothingFound(paths)
    counts = _counts(images)
    if counts:
        counts |= _counts(file for file in labels if not is_segmentation(file))
    return FoundFiles(images, labels, frozenset(Path(path).absolute() for path in paths), counts)


def numberedChannels(files: FoundFiles) -> int:
    """Return how many channels each scan has if names end as nnU-Net's do (_0000, _0001, ...); 0 if they do not.

    Labels tell it best: those of "Ann_0000" and "Ann_0001" are called "Ann". Without such labels one number alone says
    nothing, and numbers that do not begin at 0 count scans.
    """
    groups = channelGroups(files.images)
    numbered = {f"{base}_{number:04d}" for (_folder, base), group in groups.items() for number in group}
    named = {name for file in files.labels for name in _namedBy(file)}
    count = 1 + max((number for group in groups.values() for number in group), default=-1)
    if numbered & named or count > _MOST_CHANNELS or not any(0 in group for group in groups.values()):
        return 0
    isSaid = any(base in named for _folder, base in groups)
    return count if count > 1 or isSaid else 0


def channelGroups(images: Iterable[Path]) -> dict[tuple[Path, str], dict[int, Path]]:
    """Return folder and name of each scan to its files by number, of the images whose names end in a number."""
    groups: dict[tuple[Path, str], dict[int, Path]] = {}
    for image in images:
        match = CHANNEL_NAME.match(stemOf(image))
        if match:
            groups.setdefault((image.parent, match[1]), {})[int(match[2])] = image
    return groups


def isImageFile(path: str | Path) -> bool:
    """Return whether a name is that of a scan or label file that can be read."""
    return str(path).lower().endswith(ENDINGS)


def stemOf(file: Path) -> str:
    """Return the name of an image file without its ending."""
    return next(file.name[: -len(ending)] for ending in ENDINGS if file.name.lower().endswith(ending))


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


def _counts(files: Iterable[Path]) -> dict[Path, int]:
    return {file: count for file in files if (count := frame_count(file)) > 1}


def _isLabels(file: Path) -> bool:
    return is_segmentation(file) or bool(_LABEL_NAME.match(stemOf(file)) or _LABEL_FOLDER.match(file.parent.name))


def _namedBy(labels: Path) -> tuple[str, ...]:
    """Return the names of a scan that a label file may belong to."""
    match = _LABEL_NAME.match(stemOf(labels))
    return (stemOf(labels), match[1] or "") if match else (stemOf(labels),)


def _nothingFound(paths: Sequence[Path]) -> CaseError:
    where = ", ".join(str(path) for path in paths)
    if any(isDicom(Path(path)) for path in paths):
        return CaseError(
            explain(
                _("these are DICOM files"),
                where=where,
                remedy=_(
                    "load them with Slicer's DICOM module, which keeps the patient: import them there, or drop them on "
                    "a slice view; each scan that is loaded becomes a case"
                ),
            )
        )
    return CaseError(
        explain(
            _("no scan was found"),
            where=where,
            remedy=_(
                "choose a folder with files that end in {endings}; load DICOM with Slicer's DICOM module, which keeps "
                "the patient"
            ).format(endings=", ".join(ENDINGS[1:])),
        )
    )
