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
from SemiSegModule.bridge.folder_import import CHANNEL, FoundScan, chooseFrames, findScans, readFound


@dataclass(frozen=True)
class ImportPlan:
    """What was found; no voxel has been read yet.

    Attributes:
        dataset: the dataset, or None for files and folders without a description.
        scans: what was found there.
        loose: names of label files that belong to no scan.
    """

    dataset: Dataset | None = None
    scans: tuple[FoundScan, ...] = ()
    loose: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel roles of every case."""
        return self.dataset.channels if self.dataset is not None else (CHANNEL,)

    @property
    def framed(self) -> tuple[FoundScan, ...]:
        """4-D files of which a person must choose images first."""
        return tuple(scan for scan in self.scans if scan.frames > 1 and scan.frame is None)

    def withFrames(self, text: str) -> ImportPlan:
        """Return the plan with the chosen images of its 4-D files; see ``folder_import.chooseFrames``.

        Raises:
            CaseError: the text names images that are not there.
        """
        return replace(self, scans=chooseFrames(self.scans, text))

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
        scans, loose = findScans([Path(path) for path in paths])
        return ImportPlan(scans=scans, loose=loose)
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
