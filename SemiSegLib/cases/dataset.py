"""The records of a study: cases as paths and meanings, never voxels."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath

from SemiSegLib.errors import CaseError, did_you_mean, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme

# The end of a reference to one frame of a 4-D file; the format's ending stands before it.
_FRAME = re.compile(r"#\d+$")


class Side(str, Enum):
    """The side of the split a case is on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan.

    Attributes:
        id: unique in the dataset.
        patient: cases of one patient never stand on two sides of the split.
        images: channel role to image file, relative to the dataset's folder; "file#2" is frame 2, counted from
            0, of a 4-D file. Use ``Dataset.path`` and ``frame_of`` to open it.
        annotation: what was drawn, or None for a case without labels.
        split: the side, or None until the split is made.
    """

    id: str
    patient: str
    images: Mapping[str, str]
    annotation: Annotation | None = None
    split: Side | None = None

    def regime(self, scheme: LabelScheme) -> Regime:
        """Return how much the labels of this case say, from its label sets alone."""
        return Regime.NONE if self.annotation is None else self.annotation.regime(scheme)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The cases of a study, their channels and the scheme their labels refer to.

    Attributes:
        name: name of the study.
        scheme: label scheme.
        channels: roles of the image channels, in the order in which a network sees them.
        cases: all cases.
        root: folder that every path is relative to.
        modality: "CT" or "MR" for each channel role; decides the intensity normalization.
        dimensions: 2 to treat each slice as an image, 3 for volumes, None to let the plan decide.
    """

    name: str
    scheme: LabelScheme
    channels: tuple[str, ...]
    cases: tuple[Case, ...]
    root: Path
    modality: Mapping[str, str]
    dimensions: int | None = None

    def path(self, reference: str) -> Path:
        """Return the file that a case or annotation refers to; whether it exists is not looked at.

        Args:
            reference: path relative to the dataset's folder, "/" between folders, with or without "#frame".

        Raises:
            CaseError: the path is absolute or leads out of the dataset's folder.
        """
        plain = file_of(reference).replace("\\", "/")
        inside = posixpath.normpath(plain)
        absolute = PurePosixPath(plain).is_absolute() or PureWindowsPath(plain).drive
        if absolute or inside == ".." or inside.startswith("../") or not plain:
            raise CaseError(
                explain(
                    f"the path '{reference}' leads out of the dataset's folder" if plain else "the path is empty",
                    where=f"dataset '{self.name}' in {self.root}",
                    remedy="move or link the file into the folder and give its path relative to it",
                )
            )
        return self.root / inside

    def case(self, case_id: str) -> Case:
        """Return the case with this id.

        Raises:
            CaseError: there is none; the message names the nearest.
        """
        for case in self.cases:
            if case.id == case_id:
                return case
        remedy = did_you_mean(case_id, [c.id for c in self.cases])
        raise CaseError(explain(f"there is no case '{case_id}'", where=f"dataset '{self.name}'", remedy=remedy))

    def side(self, side: Side) -> tuple[Case, ...]:
        """Return the cases on one side of the split."""
        return tuple(c for c in self.cases if c.split is side)

    def by_regime(self, side: Side | None = None) -> dict[Regime, tuple[Case, ...]]:
        """Return the cases of each regime, of one side or of all."""
        chosen = self.cases if side is None else self.side(side)
        return {regime: tuple(c for c in chosen if c.regime(self.scheme) is regime) for regime in Regime}

    def with_cases(self, cases: tuple[Case, ...]) -> Dataset:
        """Return the same study with other cases."""
        return replace(self, cases=cases)

    def table(self) -> LabelSetTable:
        """Return the label sets that occur anywhere in the study's training and validation annotations."""
        leaf_count = len(self.scheme.leaves)
        tables = [c.annotation.table(self.scheme) for c in self.cases if c.annotation is not None]
        return LabelSetTable.union([LabelSetTable.of(leaf_count, ()), *tables])


def file_of(reference: str) -> str:
    """Return "file" of "file#frame", and any other reference as it is."""
    return _FRAME.sub("", reference)


def frame_of(reference: str) -> int | None:
    """Return the frame that "file#frame" asks for, or None where it names a whole file."""
    found = _FRAME.search(reference)
    return int(found.group()[1:]) if found else None
