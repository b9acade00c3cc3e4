"""The error of one file: a code that a program can act on beside the words that a person reads."""

from __future__ import annotations

from pathlib import Path

from SemiSegLib.errors import CaseError, explain


class FileError(CaseError):
    """A file of a case cannot be used as it is.

    Attributes:
        code: short name of the kind of damage, for example "unreadable" or "label_shifted".
        what: what was found and what was expected.
        path: the file.
        place: voxel or slice in file order, for example "i, j, k = 3, 4, 5", or "".
        remedy: what to do.
    """

    def __init__(self, code: str, what: str, *, path: Path, remedy: str, place: str = "") -> None:
        self.code = code
        self.what = what
        self.path = Path(path)
        self.place = place
        self.remedy = remedy
        super().__init__(explain(what, where=f"{path}, {place}" if place else str(path), remedy=remedy))


def in_voxels(count: int) -> str:
    """Return a number of voxels in words: "1 voxel", "2 voxels"."""
    return f"{count} voxel" if count == 1 else f"{count} voxels"
