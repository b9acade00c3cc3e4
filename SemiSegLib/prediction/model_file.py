"""One file that holds all a prediction needs: weights as tensors, everything else as JSON. Nothing in it is run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from SemiSegLib.config import from_json, to_json, write_atomically
from SemiSegLib.errors import CheckpointError, ConfigError, LabelError, explain
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.device import pick_device

KIND = "semiseg-model"
FORMAT = 1
# A header with a scheme of a hundred structures takes 60 kB; more than this is another kind of file.
LARGEST_HEADER = 16 << 20
# A Unix, Windows, network or home path at the start of a text or of a word in it.
ABSOLUTE_PATH = re.compile(r"(?:^|[\s\"'=(:,;])(?:/[^\s/]+/|[A-Za-z]:[\\/]|\\\\[^\s\\]+\\|~[^\s/]*/)")
PATH_LEFT_OUT = "(path left out)"
# The study's vectors of structures, among the weights: a method is built from them before its own weights are there.
EMBEDDINGS = "study.embeddings"


@dataclass(frozen=True)
class Model:
    """A trained method with all that its prediction must repeat.

    Attributes:
        method: networks with their weights.
        study: label scheme and plan.
        name: registered name of the method.
        options: its options, as JSON data.
        provenance: where the weights come from, as JSON data: versions, seed, counts, scores.
    """

    method: Method
    study: Study
    name: str
    options: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON part of a file."""

    method: str
    options: dict[str, Any]
    scheme: LabelScheme
    plan: Plan
    provenance: dict[str, Any]


def save_model(path: Path, model: Model) -> None:
    """Write a model so that a reader sees the old or the new file, never half of one.

    Absolute paths in the provenance are left out: they name people and places. Pass no case ids or other words
    about patients.

    Raises:
        CheckpointError: a weight is not finite.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.method.state_dict().items()}
    if model.study.embeddings is not None:
        tensors[EMBEDDINGS] = model.study.embeddings.detach().cpu().float().contiguous()
    _require_finite(tensors, Path(path))
    description = _Description(
        method=model.name,
        options=to_json(model.options),
        scheme=model.study.scheme,
        plan=model.study.plan,
        provenance=without_paths(to_json(model.provenance)),
    )
    text = json.dumps({"format": FORMAT, **to_json(description)}, ensure_ascii=False, allow_nan=False)
    # One entry only: safetensors writes several in an order that differs from run to run.
    write_atomically(Path(path), save(tensors, metadata={KIND: text}))


def load_model(path: Path, *, device: str = "cpu") -> Model:
    """Return the model of a file, ready to predict.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or newer than this version, or its weights do
            not fit its description.
        ConfigError: the computer has no such device.
    """
    path = Path(path)
    target = pick_device(device)
    description = _read_description(path)
    tensors = _read_tensors(path)
    study = Study(scheme=description.scheme, plan=description.plan, embeddings=tensors.pop(EMBEDDINGS, None))
    try:
        method = build_method(description.method, study, description.options)
    except (ConfigError, LabelError) as error:
        raise _error(path, f"it describes a method that cannot be built: {error}") from error
    _load_weights(method, tensors, path)
    return Model(
        method=method.to(target).eval(),
        study=study,
        name=description.method,
        options=description.options,
        provenance=description.provenance,
    )


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


def _read_description(path: Path) -> _Description:
    text = _read_metadata(path).get(KIND)
    if text is None:
        raise _error(path, "it holds tensors, but is not a SemiSeg model")
    try:
        data = json.loads(text)
        number = data.pop("format", None) if isinstance(data, dict) else None
        if not isinstance(number, int):
            raise _error(path, f"its format {number!r} is not a number")
        if number > FORMAT:
            raise CheckpointError(
                explain(
                    f"the model has format {number}, this version reads up to {FORMAT}",
                    where=str(path),
                    remedy="update SemiSeg on this computer",
                )
            )
        return from_json(_Description, data, where=f"{path.name}: description")
    except (ValueError, RecursionError, ConfigError, LabelError) as error:
        raise _error(path, f"its description cannot be read: {error}") from error


def _read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, reading nothing but its header: a length, then JSON."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise _error(path, "it is not a model file, or it is cut short")
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise CheckpointError(explain("the file does not exist", where=str(path), remedy="check the path")) from None
    except OSError as error:
        raise _error(path, f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _error(path, "it is not a model file") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _error(path, "it is not a model file: it describes nothing")
    return metadata


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path, device="cpu"))
    except SafetensorError as error:
        raise _error(path, f"its weights are damaged: {error}") from error


def _load_weights(method: Method, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    expected = method.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    if missing or unknown:
        found = f"missing: {', '.join(missing[:3]) or 'none'}; unknown: {', '.join(unknown[:3]) or 'none'}"
        raise _error(path, f"its weights are not those of its method ({found})")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise _error(
                path,
                f"the weight '{name}' is {tuple(tensor.shape)} {tensor.dtype}, "
                f"expected {tuple(expected[name].shape)} {expected[name].dtype}",
            )
    _require_finite(tensors, path)
    method.load_state_dict(dict(tensors))


def _require_finite(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _error(path, f"the weight '{name}' holds values that are not finite")


def _error(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        explain(what, where=str(path), remedy="choose a model.safetensors that SemiSeg wrote, or copy it again")
    )
