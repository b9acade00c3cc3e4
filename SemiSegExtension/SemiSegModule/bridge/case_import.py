"""What is to be loaded from paths that a person chose or dropped: a dataset, or scans in files and folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slicer.i18n import tr as _

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.cases.formats import FILE_NAME, load_dataset
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.case_files import CaseFiles
from SemiSegModule.bridge.dataset_import import readCase
from SemiSegModule.bridge.folder_files import FoundFiles, findFiles, numberedChannels
from SemiSegModule.bridge.folder_import import CHANNEL, FoundScan, chooseFrames, readFound, scansOf


@dataclass(frozen=True)
class ImportPlan:
    """What was found; no voxel has been read yet.

    Attributes:
        dataset: the dataset, or None for files and folders without a description.
        files: the files that were found there, or None for a dataset.
        scans: the scans among them.
        leftOut: what of the files becomes no case, and why.
    """

    dataset: Dataset | None = None
    files: FoundFiles | None = None
    scans: tuple[FoundScan, ...] = ()
    leftOut: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel roles of the cases."""
        if self.dataset is not None:
            return self.dataset.channels
        return tuple(dict.fromkeys(role for scan in self.scans for role in scan.images))

    @property
    def numbered(self) -> int:
        """Channels of each scan by the names of files without a description; 0 if they say nothing of channels."""
        return numberedChannels(self.files) if self.files is not None else 0

    @property
    def framed(self) -> tuple[FoundScan, ...]:
        """4-D files of which a person must choose images first."""
        return tuple(scan for scan in self.scans if scan.frames > 1 and scan.frame is None)

    def withChannels(self, channels: Sequence[str]) -> ImportPlan:
        """Return the plan with files that are channels of one scan by their names (``numbered``) as one case.

        Args:
            channels: name of each channel in the order of the numbers, at least as many as ``numbered``.
        """
        return self if self.files is None else _planOf(self.files, channels)

    def withFrames(self, text: str, labelsOf: int | None = None) -> ImportPlan:
        """Return the plan with the chosen images of its 4-D files; see ``folder_import.chooseFrames``.

        Raises:
            CaseError: the text names images that are not there, or not the one with the labels.
        """
        chosen = chooseFrames(self.scans, text, labelsOf)
        used = {scan.labels for scan in chosen}
        left = [(scan, scan.labels) for scan in self.framed if text.strip() and scan.labels not in used]
        why = [_whyUnlabeled(scan, labels) for scan, labels in left if labels is not None]
        return replace(self, scans=chosen, leftOut=(*self.leftOut, *why))

    def readers(self) -> list[tuple[str, Callable[[], CaseFiles]]]:
        """Return for each case its name and what reads it, in a thread if need be."""
        if self.dataset is not None:
            return [(case.id, partial(readCase, self.dataset, case)) for case in self.dataset.cases]
        return [(scan.id, partial(readFound, scan)) for scan in self.scans]


def planImport(paths: Sequence[Path]) -> ImportPlan:
    """Return what paths hold: a dataset file or a folder with one, else scans; touches no object of the scene.

    Raises:
        CaseError: nothing can be read there, or datasets and other files were mixed.
        ConfigError: the dataset file is wrong.
    """
    described = [Path(path) for path in paths if isDataset(Path(path))]
    if not described:
        files = findFiles([Path(path) for path in paths])
        # One channel needs no name: what its number says is only which labels belong to it.
        return _planOf(files, (CHANNEL,) if numberedChannels(files) == 1 else ())
    if len(paths) > 1:
        raise CaseError(
            explain(
                _("a dataset and other files were chosen together"),
                where=", ".join(str(path) for path in paths),
                remedy=_("add one dataset at a time"),
            )
        )
    return ImportPlan(dataset=load_dataset(described[0]))


def isDataset(path: Path) -> bool:
    """Return whether a path is a dataset file or a folder with one."""
    return path.suffix.lower() == ".json" if path.is_file() else (path / FILE_NAME).is_file()


def _planOf(files: FoundFiles, channels: Sequence[str]) -> ImportPlan:
    scans, left = scansOf(files, channels)
    return ImportPlan(files=files, scans=scans, leftOut=tuple(_whyLeft(file, files) for file in left))


def _whyLeft(file: Path, files: FoundFiles) -> str:
    if file in files.labels:
        return _("{file}: no scan belongs to these labels").format(file=file.name)
    return _("{file}: the image of the first channel (_0000) is not beside it").format(file=file.name)


def _whyUnlabeled(scan: FoundScan, labels: Path) -> str:
    if scan.labelFrames == 1:
        text = _("{labels}: nobody has said to which image of {scan} these labels belong, so its images have none")
        return text.format(labels=labels.name, scan=scan.image.name)
    text = _(
        "{labels}: it holds labels of {found} images, {scan} holds {count} images: which belong together is not known, "
        "so the images have no labels"
    )
    return text.format(labels=labels.name, scan=scan.image.name, found=scan.labelFrames, count=scan.frames)
