"""The files that hold the voxels of an image whose header lies in a file of its own."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path, PureWindowsPath

from SemiSegLib.cases.file_error import FileError

META_ENDINGS, NRRD_ENDINGS = (".mhd", ".mha"), (".nhdr", ".nrrd")
# Analyze and NIfTI in two files carry no names: ITK goes by the ending.
PAIRS = {".hdr": (".img", ".img.gz"), ".img": (".hdr",), ".img.gz": (".hdr", ".hdr.gz")}
_META_FIELD = re.compile(r"ElementDataFile\s*=\s*(.*)")
_NRRD_FIELD = re.compile(r"(?i)data ?file:\s*(.*)")
_NUMBER = re.compile(r"%0?\d*d")
# Header lines are short; what is longer are voxels.
_LONGEST_LINE = 1 << 16


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an image that hold its voxels (or its header), none for an image in one file.

    Args:
        path: MetaImage (.mhd, .mha), NRRD (.nhdr, .nrrd) or Analyze (.hdr, .img); any other is one file.

    Raises:
        FileError: a file that the header names is missing or lies outside the header's folder, or the header names
            its files in a way that cannot be followed.
    """
    name = path.name.lower()
    if name.endswith(META_ENDINGS):
        named = _named_in_meta_image(path)
    elif name.endswith(NRRD_ENDINGS):
        named = _named_in_nrrd(path)
    else:
        return _pair(path)
    return tuple(_beside(path, file) for file in named)


def _named_in_meta_image(path: Path) -> Iterable[str]:
    lines = _lines(path)
    for line in lines:
        found = _META_FIELD.match(line)
        if found is None:
            continue
        value = found.group(1).strip()
        if value.upper() == "LOCAL":
            return ()
        # The field is the last; what follows is the list, or nothing.
        return _listed(lines) if re.match(r"LIST\b", value) else _single_or_numbered(path, value)
    return ()


def _named_in_nrrd(path: Path) -> Iterable[str]:
    lines = _lines(path)
    # An empty line ends the header; voxels follow.
    for line in takewhile(bool, lines):
        found = _NRRD_FIELD.match(line)
        if found is None:
            continue
        value = found.group(1).strip()
        return _listed(lines) if re.match(r"LIST\b", value) else _single_or_numbered(path, value)
    return ()


def _listed(lines: Iterator[str]) -> Iterable[str]:
    return (line for line in lines if line)


def _single_or_numbered(path: Path, value: str) -> Iterable[str]:
    """Return one name, or the names of "slice%03d.raw FIRST LAST STEP"."""
    if "%" not in value:
        return (value,)
    pattern, *numbers = value.split()
    whole = all(re.fullmatch(r"-?\d+", number) for number in numbers)
    # NRRD may add the dimension of each file.
    if len(_NUMBER.findall(pattern)) != 1 or pattern.count("%") != 1 or len(numbers) not in (3, 4) or not whole:
        raise _cannot_follow(path, f"the header names its voxels by '{value}', which cannot be followed")
    first, last, step = (int(number) for number in numbers[:3])
    if step == 0:
        raise _cannot_follow(path, f"the header counts its files in steps of 0: '{value}'")
    return (pattern % number for number in range(first, last + (1 if step > 0 else -1), step))


def _beside(header: Path, name: str) -> Path:
    inside = posixpath.normpath(name.replace("\\", "/"))
    if posixpath.isabs(inside) or PureWindowsPath(name).drive or inside == ".." or inside.startswith("../"):
        raise _cannot_follow(header, f"the header names '{name}', outside its own folder, as the file of its voxels")
    file = header.parent / inside
    if not file.is_file():
        raise FileError(
            "missing_file",
            f"the file of its voxels, '{name}', does not exist",
            path=header,
            remedy="copy it beside the header, or save the image as one file (.nrrd, .mha or .nii.gz)",
        )
    return file


def _pair(path: Path) -> tuple[Path, ...]:
    for ending, others in PAIRS.items():
        if path.name.lower().endswith(ending):
            stem = path.name[: -len(ending)]
            return tuple(file for other in others if (file := path.with_name(stem + other)).is_file())
    return ()


def _lines(path: Path) -> Iterator[str]:
    with open(path, "rb") as file:
        while line := file.readline(_LONGEST_LINE):
            yield line.decode("utf-8", errors="replace").strip()


def _cannot_follow(header: Path, what: str) -> FileError:
    return FileError(
        "detached",
        what,
        path=header,
        remedy="save the image as one file (.nrrd, .mha or .nii.gz), or put its files into the folder of the header",
    )
