"""One file that holds all a prediction needs: weights as tensors, everything else as JSON. Nothing in it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SemiSegLib.config import YOUNGER, to_json
from SemiSegLib.errors import ConfigError, LabelError
from SemiSegLib.labels.reach import Reach
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.device import pick_device
from SemiSegLib.prediction.weights_file import fill, read_tensors, save_weights, without_paths
from SemiSegLib.runs.model_info import KIND
from SemiSegLib.runs.weights_header import read_description

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
    # Its weights are among the method's, which keeps a copy; its shape must be known before.
    presence: PresenceDescription | None = field(default=None, metadata={YOUNGER: True})
    implied: tuple[str, ...] = field(default=(), metadata={YOUNGER: True})
    reach: Reach | None = field(default=None, metadata={YOUNGER: True})


def save_model(path: Path, model: Model) -> None:
    """Write a model so that a reader sees the old or the new file, never half of one.

    Absolute paths in the provenance are left out: they name people and places. Pass no case ids or other words
    about patients.

    Raises:
        CheckpointError: a weight is not finite.
    """
    tensors = dict(model.method.state_dict())
    if model.study.embeddings is not None:
        tensors[EMBEDDINGS] = model.study.embeddings.float()
    presence = model.study.presence
    description = _Description(
        method=model.name,
        options=to_json(model.options),
        scheme=model.study.scheme,
        plan=model.study.plan,
        provenance=without_paths(to_json(model.provenance)),
        presence=presence.description if isinstance(presence, PresenceModel) else None,
        implied=model.study.implied,
        reach=model.study.reach,
    )
    save_weights(Path(path), tensors, description, kind=KIND)


def load_model(path: Path, *, device: str = "cpu") -> Model:
    """Return the model of a file, ready to predict.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or newer than this version, or its weights do
            not fit its description.
        ConfigError: the computer has no such device.
    """
    path = Path(path)
    target = pick_device(device)
    description = read_description(path, _Description, kind=KIND)
    tensors = read_tensors(path, kind=KIND)
    presence = None if description.presence is None else PresenceModel(description.presence)
    embeddings = tensors.pop(EMBEDDINGS, None)
    study = Study(
        scheme=description.scheme,
        plan=description.plan,
        presence=presence,
        embeddings=embeddings,
        implied=description.implied,
        reach=description.reach,
    )
    try:
        method = build_method(description.method, study, description.options)
    except (ConfigError, LabelError) as error:
        raise KIND.error(path, f"it describes a method that cannot be built: {error}") from error
    fill(method, tensors, path, kind=KIND)
    return Model(
        method=method.to(target).eval(),
        study=study,
        name=description.method,
        options=description.options,
        provenance=description.provenance,
    )
