"""Vectors of structures in files: a person's own, by name, and those that a run keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from SemiSegLib.config import read_json, write_atomically
from SemiSegLib.errors import ConfigError, LabelError, explain
from SemiSegLib.labels.scheme import LabelScheme

ENDINGS = (".safetensors", ".json")
LARGEST_FILE = 256 << 20
LONGEST = 8192
TENSOR, NAMES = "vectors", "semiseg-structures"


def read_vectors(path: Path, names: Sequence[str], scheme: LabelScheme) -> np.ndarray:
    """Return (K, E) float32: the vector of each structure, from a file that holds one by name for each.

    Args:
        path: ``.json`` (an object of lists of numbers) or ``.safetensors`` (one tensor a structure). Names are compared
            as everywhere, aliases included; what is no structure of the scheme is passed over.
        names: structures of the scheme that need a vector.
        scheme: knows the aliases.

    Raises:
        ConfigError: the file is missing, too large or of another kind, a structure has no vector or two, or vectors are
            not lists of finite numbers of one length, or all are the same.
    """
    path = Path(path)
    found: dict[str, Any] = {}
    for key, value in _content(path).items():
        name = _structure(scheme, key)
        if name is None:
            continue
        if name in found:
            raise _error(path, f"the structure '{name}' has two vectors", "keep one of them")
        found[name] = value
    lost = [name for name in names if name not in found]
    if lost:
        known = ", ".join(found) or "none of the scheme"
        raise _error(
            path,
            f"there is no vector for {', '.join(lost)}; there are some for {known}",
            "add one for each structure, groups and superclasses included, or choose another embedding: learned, "
            "one_hot or hierarchy",
        )
    rows = [_row(path, name, found[name]) for name in names]
    if len({len(row) for row in rows}) != 1:
        raise _error(path, f"the vectors have {', '.join(str(len(row)) for row in rows)} numbers", "give all as many")
    vectors = np.stack(rows)
    if len(vectors) > 1 and np.unique(vectors, axis=0).shape[0] == 1:
        raise _error(path, "all structures have the same vector", "give each structure a vector of its own")
    return vectors


def keep_vectors(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    """Write the vectors of a run, whole or not at all.

    Args:
        path: ends in ``.safetensors``.
        names: of the structures, in order.
        vectors: (K, E) float32.
    """
    tensors = {TENSOR: np.ascontiguousarray(vectors, dtype=np.float32)}
    write_atomically(path, save(tensors, metadata={NAMES: json.dumps(list(names))}))


def kept_vectors(path: Path, names: Sequence[str]) -> np.ndarray | None:
    """Return the (K, E) float32 vectors that ``keep_vectors`` wrote for these structures, or None if there is no file.

    Raises:
        ConfigError: the file is damaged or is of other structures.
    """
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        stored = json.loads(header["__metadata__"][NAMES])
        vectors: np.ndarray = load_file(path)[TENSOR]
    except (SafetensorError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise _error(path, f"the run's vectors cannot be read: {error}", "delete the file and resume") from error
    if list(stored) != list(names):
        raise _error(path, f"it has vectors of {', '.join(stored)}, needed are {', '.join(names)}", "start a new run")
    return vectors


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() not in ENDINGS:
        raise _error(path, f"its ending is '{path.suffix}'", f"give a file that ends in {' or '.join(ENDINGS)}")
    if path.is_file() and path.stat().st_size > LARGEST_FILE:
        raise _error(path, f"it has {path.stat().st_size >> 20} MiB", "give vectors of structures, not a model")
    if path.suffix.lower() == ".json":
        data = read_json(path)
        if not isinstance(data, dict):
            raise _error(path, "it is not an object of names and lists", 'write {"name": [numbers], ...}')
        return data
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise _error(path, "the file does not exist", "check the path") from None
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise _error(path, f"it cannot be read: {error}", "write it again, in float32") from error


def _structure(scheme: LabelScheme, key: str) -> str | None:
    try:
        return scheme.find(key).name
    except LabelError:
        return None


def _row(path: Path, name: str, value: Any) -> np.ndarray:
    try:
        row = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        row = np.array(np.nan)
    with np.errstate(over="ignore"):
        row = row.astype(np.float32)
    if row.ndim != 1 or not 1 <= len(row) <= LONGEST or not np.isfinite(row).all():
        what = f"the vector of '{name}' is not a list of 1 to {LONGEST} finite numbers"
        raise _error(path, what, "write one list of numbers a structure")
    return row


def _error(path: Path, what: str, remedy: str) -> ConfigError:
    return ConfigError(explain(what, where=str(path), remedy=remedy))
