"""What our files of weights have in common: tensors, and one JSON description of them. Nothing in them is run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from SemiSegLib.config import to_json, write_atomically
from SemiSegLib.runs.weights_header import Kind

# A Unix, Windows, network or home path at the start of a text or of a word in it.
ABSOLUTE_PATH = re.compile(r"(?:^|[\s\"'=(:,;])(?:/[^\s/]+/|[A-Za-z]:[\\/]|\\\\[^\s\\]+\\|~[^\s/]*/)")
PATH_LEFT_OUT = "(path left out)"


def save_weights(path: Path, tensors: Mapping[str, Tensor], description: Any, *, kind: Kind) -> None:
    """Write tensors and their description so that a reader sees the old or the new file, never half of one.

    Raises:
        CheckpointError: a tensor is not finite.
    """
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    require_finite(copies, Path(path), kind=kind)
    text = json.dumps({"format": kind.format, **to_json(description)}, ensure_ascii=False, allow_nan=False)
    # One entry only: safetensors writes several in an order that differs from run to run.
    write_atomically(Path(path), save(copies, metadata={kind.key: text}))


def read_tensors(path: Path, *, kind: Kind) -> dict[str, Tensor]:
    """Return the tensors of a file.

    Raises:
        CheckpointError: they are damaged.
    """
    try:
        return dict(load_file(path, device="cpu"))
    except SafetensorError as error:
        raise kind.error(path, f"its weights are damaged: {error}") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, kind: Kind) -> None:
    """Put the tensors of a file into the module that its description describes.

    Raises:
        CheckpointError: they are not those of the module, or not finite.
    """
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    if missing or unknown:
        found = f"missing: {', '.join(missing[:3]) or 'none'}; unknown: {', '.join(unknown[:3]) or 'none'}"
        raise kind.error(path, f"its weights are not those that it describes ({found})")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise kind.error(
                path,
                f"the weight '{name}' is {tuple(tensor.shape)} {tensor.dtype}, "
                f"expected {tuple(expected[name].shape)} {expected[name].dtype}",
            )
    require_finite(tensors, path, kind=kind)
    module.load_state_dict(dict(tensors))


def require_finite(tensors: Mapping[str, Tensor], path: Path, *, kind: Kind) -> None:
    """Raise CheckpointError unless every number of every tensor is finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise kind.error(path, f"the weight '{name}' holds values that are not finite")


def without_paths(data: Any) -> Any:
    """Return JSON data in which a text that holds an absolute path is replaced, and no number is infinite or NaN."""
    if isinstance(data, Mapping):
        return {key: without_paths(value) for key, value in data.items()}
    if isinstance(data, list):
        return [without_paths(value) for value in data]
    if isinstance(data, str) and ABSOLUTE_PATH.search(data):
        return PATH_LEFT_OUT
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
