"""Whether a file or folder is DICOM, which Slicer loads by itself, with the patient that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Of each folder so many files are opened, and so many folders are looked into: whoever drags a folder waits for it.
_FILES, _FOLDERS = 3, 50
_ENDINGS = (".dcm", ".ima")
# A DICOM file begins with 128 bytes that say nothing and this mark: https://dicom.nema.org/medical/dicom/current
_MARK, _PLACE = b"DICM", 128


def isDicom(path: Path, isOther: Callable[[Path], bool] = lambda _file: False) -> bool:
    """Return whether a path is a DICOM file, or a folder of such files; an unreadable one is not.

    Not every file is looked at: those of one folder are of one kind.

    Args:
        path: file or folder.
        isOther: says by its name whether a file is of another kind; a folder in which there is one is no DICOM folder.
    """
    if not path.is_dir():
        return _isDicomFile(path)
    # The folders themselves come first: what lies deep may be of another kind.
    left, isFound = [path], False
    for _count in range(_FOLDERS):
        if not left:
            break
        folders, files = _content(left.pop(0))
        if any(isOther(file) for file in files):
            return False
        isFound = isFound or any(_isDicomFile(file) for file in files[:_FILES])
        left += folders
    return isFound


def _content(folder: Path) -> tuple[list[Path], list[Path]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda e: e.name)
            folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
            return folders, [Path(entry.path) for entry in entries if entry.is_file()]
    except OSError:
        # Who may not look into a folder cannot load it either; loading it says so.
        return [], []


def _isDicomFile(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(_ENDINGS) or name == "dicomdir":
        return True
    try:
        with open(path, "rb") as file:
            return file.read(_PLACE + len(_MARK))[_PLACE:] == _MARK
    except OSError:
        # As above.
        return False
