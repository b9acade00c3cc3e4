"""What our files of weights say about themselves: the JSON at their beginning, read without the weights or torch.

A safetensors file begins with the length of its header in eight bytes; the header is JSON: of each tensor type, shape
and place, and texts. One of the texts, under the key of the kind of file, is our description. Nothing in it is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from SemiSegLib.config import from_json
from SemiSegLib.errors import CheckpointError, ConfigError, LabelError, explain

T = TypeVar("T")
# A header with a scheme of a hundred structures takes 60 kB; more than this is another kind of file.
LARGEST_HEADER = 16 << 20
LENGTH_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file of weights.

    Attributes:
        key: under which its description stands in the file.
        format: number of the newest format that this version reads, and of the one that it writes.
        noun: what it holds, for people, for example "model".
        remedy: what to do about a file that cannot be used.
    """

    key: str
    format: int
    noun: str
    remedy: str

    def error(self, path: Path, what: str) -> CheckpointError:
        """Return the error of a file that cannot be used."""
        return CheckpointError(explain(what, where=str(path), remedy=self.remedy))


def read_description(path: Path, cls: type[T], *, kind: Kind) -> T:
    """Return the description in a file; its tensors are not read.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or newer than this version.
    """
    return _described(path, _metadata(path, read_header(path, kind=kind), kind), cls, kind)


def read_whole_description(path: Path, cls: type[T], *, kind: Kind) -> T:
    """Return the same of a file that has all the bytes that its header speaks of.

    Raises:
        CheckpointError: the file is missing, damaged, cut short, of another kind or newer than this version.
    """
    header = read_header(path, kind=kind)
    description = _described(path, _metadata(path, header, kind), cls, kind)
    if _missing_bytes(path, header, kind):
        raise kind.error(path, "it is cut short: its weights are not all there")
    return description


def read_header(path: Path, *, kind: Kind) -> dict[str, Any]:
    """Return the header of a file: name to place of each tensor, and the texts.

    Raises:
        CheckpointError: the file is missing, or no file of weights.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - LENGTH_BYTES):
                raise kind.error(path, f"it is not a {kind.noun} file, or it is cut short")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise CheckpointError(explain("the file does not exist", where=str(path), remedy="check the path")) from None
    except OSError as error:
        raise kind.error(path, f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise kind.error(path, f"it is not a {kind.noun} file") from error
    if not isinstance(header, dict):
        raise kind.error(path, f"it is not a {kind.noun} file: it describes nothing")
    return header


def _metadata(path: Path, header: Mapping[str, Any], kind: Kind) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise kind.error(path, f"it is not a {kind.noun} file: it describes nothing")
    return metadata


def _described(path: Path, metadata: Mapping[str, str], cls: type[T], kind: Kind) -> T:
    text = metadata.get(kind.key)
    if text is None:
        raise kind.error(path, f"it holds tensors, but is not a SemiSeg {kind.noun}")
    try:
        data = json.loads(text)
        number = data.pop("format", None) if isinstance(data, dict) else None
        if not isinstance(number, int):
            raise kind.error(path, f"its format {number!r} is not a number")
        if number > kind.format:
            raise CheckpointError(
                explain(
                    f"the {kind.noun} has format {number}, this version reads up to {kind.format}",
                    where=str(path),
                    remedy="update SemiSeg on this computer",
                )
            )
        return from_json(cls, data, where=f"{path.name}: description")
    except (ValueError, RecursionError, ConfigError, LabelError) as error:
        raise kind.error(path, f"its description cannot be read: {error}") from error


def _missing_bytes(path: Path, header: Mapping[str, Any], kind: Kind) -> bool:
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        needed = max([int(end) for end in ends], default=0)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise kind.error(path, f"it is not a {kind.noun} file: a tensor has no place in it") from error
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    return path.stat().st_size < LENGTH_BYTES + length + needed
