"""Folders of a cache: complete or absent, checked by hash, safe with several processes and sudden ends."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SemiSegLib.cases.detached import data_files
from SemiSegLib.config import read_json, replace_file, to_json
from SemiSegLib.errors import CaseError, ConfigError, explain

META = "meta.json"
# A temporary folder older than this belongs to a process that was ended while it wrote.
STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Stack:
    """An array that is made while it is written, one part of its first axis after the other.

    Attributes:
        shape: of the whole.
        dtype: of the whole; parts are brought to it.
        parts: as many as the first axis is long.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Iterable[np.ndarray]


Arrays = Mapping[str, np.ndarray | Stack]
"""File stem to array."""


def content_hash(*parts: object) -> str:
    """Return the hash of files (given as Path: their bytes count, not their names) and of plain values.

    An image whose header names other files counts with these.

    Raises:
        CaseError: a file is missing, or lies where it cannot be followed; see ``cases.detached``.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(_file_digest(part))
            for file in data_files(part):
                digest.update(_file_digest(file))
        else:
            digest.update(json.dumps(to_json(part), sort_keys=True).encode() + b"\0")
    return digest.hexdigest()[:40]


def require_entry(folder: Path, write: Callable[[], tuple[Arrays, dict[str, Any]]]) -> dict[str, Any]:
    """Return the description of a cache entry, made now unless it is there and sound.

    Args:
        folder: place of the entry; its name holds the hash of everything the content depends on.
        write: returns arrays by file stem and the description; called only when needed.

    Raises:
        CaseError: the disk is full, refuses, or another program holds the entry.
    """
    described = read_entry(folder)
    if described is not None:
        return described
    arrays, description = write()
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        files = {}
        for stem, array in arrays.items():
            path = temporary / f"{stem}.npy"
            _save(path, array)
            files[path.name] = {
                "bytes": path.stat().st_size,
                "sha256": content_hash(path),
                "shape": array.shape,
                "type": array.dtype.str,
            }
        described = {**description, "files": files}
        (temporary / META).write_text(json.dumps(to_json(described)), encoding="utf-8")
        _put_in_place(temporary, folder)
    except OSError as error:
        what = f"the prepared case cannot be written: {error.strerror or error}"
        remedy = "free disk space, or choose another folder for prepared cases"
        if isinstance(error, PermissionError):
            what = (
                f"the prepared case is in use by another program, or its folder cannot be written to: {error.strerror}"
            )
            remedy = (
                "end other programs that may read it, such as a training, a virus scanner or a backup, and try again, "
                "or choose another folder for prepared cases"
            )
        raise CaseError(explain(what, where=str(folder), remedy=remedy)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return described


def read_entry(folder: Path) -> dict[str, Any] | None:
    """Return the description of an entry, or None if it is absent, incomplete or differs from its hashes.

    Nothing is flushed to the disk when an entry is written: one that a power cut damaged is found here and made anew.
    """
    try:
        described: dict[str, Any] = read_json(folder / META)
        for name, expected in described["files"].items():
            path = folder / name
            if path.stat().st_size != expected["bytes"] or content_hash(path) != expected["sha256"]:
                return None
    except (ConfigError, CaseError, FileNotFoundError, KeyError, TypeError, AttributeError):
        return None
    return described


def open_array(folder: Path, stem: str, described: Mapping[str, Any]) -> np.ndarray:
    """Return an array of an entry, mapped from the disk: only what is read is loaded.

    ``numpy.load`` parses the file's header in 0.3 ms each time, which is a tenth of a small batch; the description
    holds the same facts.

    Args:
        folder: the entry.
        stem: name of the array.
        described: what ``require_entry`` returned.
    """
    facts = described["files"][f"{stem}.npy"]
    kind, shape = np.dtype(facts["type"]), tuple(facts["shape"])
    count = math.prod(shape)
    with open(folder / f"{stem}.npy", "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(mapped) != facts["bytes"]:
        raise OSError(f"{folder / stem}.npy has {len(mapped)} bytes, expected {facts['bytes']}")
    array = np.frombuffer(mapped, dtype=kind, count=count, offset=len(mapped) - count * kind.itemsize)
    return array.reshape(shape)


def remove_stale(parent: Path) -> None:
    """Remove what processes that were ended while they wrote left behind more than a day ago."""
    for path in parent.glob(".*.tmp"):
        try:
            old = time.time() - path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)


def _save(path: Path, array: np.ndarray | Stack) -> None:
    if isinstance(array, np.ndarray):
        np.save(path, array, allow_pickle=False)
        return
    # Not a memory map: writing to one on a full disk ends the process without a word.
    with open(path, "wb") as file:
        described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, described)
        for part in array.parts:
            file.write(np.ascontiguousarray(part, dtype=array.dtype).data)


def _put_in_place(temporary: Path, folder: Path) -> None:
    # A rename does not replace a folder that holds files. What is in the way is an entry of a process that was faster,
    # which is kept, or a damaged one, which is moved aside. Looked for first: on Windows the rename would fail with the
    # same PermissionError as while a virus scanner reads new files, which is worth another attempt.
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    if folder.exists():
        if read_entry(folder) is not None:
            return
        with suppress(FileNotFoundError):
            replace_file(folder, aside)
    try:
        replace_file(temporary, folder)
    except OSError:
        # Another process put it in place between these lines, or the disk refuses.
        if read_entry(folder) is None:
            raise
    shutil.rmtree(aside, ignore_errors=True)


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        raise CaseError(
            explain("the file does not exist", where=str(path), remedy="check the path in the dataset")
        ) from None
    return digest.digest()
