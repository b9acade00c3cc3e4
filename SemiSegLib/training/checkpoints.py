"""States to go on from, on disk: whole or not there, checked by sum, two kept and the best.

A checkpoint is two files: the tensors, and a JSON file that names their checksum and holds everything else. The
JSON file is written last, so a checkpoint without it, or with a wrong sum, never counted. A state of a step that was
saved before gets files of its own, ``step_000000004_001``, and the earlier pair goes when these are complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from SemiSegLib.config import replace_file
from SemiSegLib.errors import CheckpointError, explain

FORMAT = 1
SPARE_BYTES = 16 << 20


@dataclass(frozen=True)
class Checkpoint:
    """One state.

    Attributes:
        step: optimizer steps done.
        is_best: whether it was the best on the validation cases when it was saved.
        tensors: weights, optimizer state, random state.
        data: everything else, as JSON.
    """

    step: int
    is_best: bool
    tensors: dict[str, Tensor]
    data: dict[str, Any]


def save_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    data: Mapping[str, Any],
    *,
    step: int,
    is_best: bool = False,
    keep: int = 2,
) -> None:
    """Write a checkpoint, then remove those that are no longer needed.

    The process may be killed at any instant: the checkpoints before this one, also one of the same step, stay until it
    is complete.

    Args:
        folder: made if missing.
        tensors: any tensors; they are copied to the CPU.
        data: JSON data.
        step: optimizer steps done.
        is_best: whether this is the best so far.
        keep: how many of the newest to keep, besides the best.

    Raises:
        CheckpointError: the disk is full or cannot be written; earlier checkpoints are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_remains(folder)
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    free = shutil.disk_usage(folder).free
    if free < len(content) + SPARE_BYTES:
        raise _disk_error(f"{len(content) / 2**20:.0f} MiB are needed, {free / 2**20:.0f} MiB are free")
    stem, earlier = _place(folder, step)
    head = {
        "format": FORMAT,
        "step": step,
        "is_best": is_best,
        "sha256": hashlib.sha256(content).hexdigest(),
        "data": dict(data),
    }
    try:
        _write(folder / f"{stem}.safetensors", content)
        _write(folder / f"{stem}.json", json.dumps(head).encode())
    except OSError as error:
        _remove_remains(folder)
        raise _disk_error(error.strerror or str(error)) from error
    for path in earlier:
        _remove(path)
    _prune(folder, keep)


def load_latest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None if there is none.

    Raises:
        CheckpointError: it was written by a newer version.
    """
    return next((found for path in _newest_first(folder) if (found := _load(path)) is not None), None)


def load_best(folder: Path) -> Checkpoint | None:
    """Return the best checkpoint that is whole, or None if none was marked as best.

    Raises:
        CheckpointError: it was written by a newer version.
    """
    marked = [path for path in _newest_first(folder) if (_head(path) or {}).get("is_best")]
    return next((found for path in marked if (found := _load(path)) is not None), None)


def flush(descriptor: int) -> None:
    """Wait until what was written to an open file is on the disk."""
    os.fsync(descriptor)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        flush(file.fileno())
    replace_file(temporary, path)
    if sys.platform != "win32":
        # The new name itself is on the disk only when the folder is.
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            flush(directory)
        finally:
            os.close(directory)


def _place(folder: Path, step: int) -> tuple[str, list[Path]]:
    """Return the name, without ending, for a state of a step, and the JSON files of its earlier states."""
    first = f"step_{step:09d}"
    numbered = sorted(folder.glob(f"{first}_[0-9][0-9][0-9].json"))
    earlier = [*folder.glob(f"{first}.json"), *numbered]
    if not earlier:
        return first, []
    number = int(numbered[-1].stem[-3:]) + 1 if numbered else 1
    return f"{first}_{number:03d}", earlier


def _newest_first(folder: Path) -> list[Path]:
    # In names, "_" comes after ".": of two states of one step the numbered one is the newer.
    return sorted(folder.glob("step_*.json"), reverse=True)


def _head(path: Path) -> dict[str, Any] | None:
    try:
        head = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return head if isinstance(head, dict) and "sha256" in head else None


def _load(path: Path) -> Checkpoint | None:
    head = _head(path)
    if head is None:
        return None
    if head.get("format", 0) > FORMAT:
        raise CheckpointError(
            explain(
                f"the checkpoint has format {head['format']}, this version reads up to {FORMAT}",
                where=path.name,
                remedy="update SemiSeg, or go on with the version that wrote it",
            )
        )
    try:
        content = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != head["sha256"]:
            return None
        tensors = load(content)
    except (OSError, SafetensorError):
        return None
    return Checkpoint(step=head["step"], is_best=head["is_best"], tensors=tensors, data=head["data"])


def _prune(folder: Path, keep: int) -> None:
    heads = _newest_first(folder)
    best = next((path for path in heads if (_head(path) or {}).get("is_best")), None)
    for path in heads[keep:]:
        if path != best:
            _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def _remove_remains(folder: Path) -> None:
    """Remove what a killed write left behind: temporary files, and tensors without their JSON."""
    for path in folder.glob("step_*.tmp"):
        path.unlink(missing_ok=True)
    for path in folder.glob("step_*.safetensors"):
        if not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)


def _disk_error(detail: str) -> CheckpointError:
    return CheckpointError(
        explain(
            f"a checkpoint could not be written: {detail}",
            where="checkpoints",
            remedy="free some space on the disk of the run folder and resume; the earlier checkpoint is intact",
        )
    )
