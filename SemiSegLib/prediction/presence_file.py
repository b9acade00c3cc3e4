"""One file that holds a network that tells which structures an image holds, with how it was made and calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from SemiSegLib.config import to_json
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceNetwork, PresenceShape
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.weights_file import fill, read_tensors, save_weights, without_paths
from SemiSegLib.runs.weights_header import Kind, read_description

KIND = Kind(
    key="semiseg-presence",
    format=1,
    noun="presence network",
    remedy="choose a file that `semiseg train-presence` wrote, or copy it again",
)
TEMPERATURE = "temperature"


@dataclass(frozen=True, kw_only=True)
class ClassFacts:
    """What is known of one class of a presence network.

    Attributes:
        name: of the class.
        minimum_voxels: from which on it was taught to say yes, on the plan's grid.
        present, absent: number of patches for the calibration that surely hold it, and surely do not.
        temperature: its logits are divided by.
        error_before, error_after: expected calibration error without and with it; None if no patch tells.
        note: why the temperature is 1, or "".
    """

    name: str
    minimum_voxels: float
    present: int
    absent: int
    temperature: float
    error_before: float | None
    error_after: float | None
    note: str = ""


@dataclass(frozen=True)
class Presence:
    """A trained presence network.

    Attributes:
        network: with its weights.
        temperature: (C,) float32.
        plan: of the data it was trained on.
        facts: one per class.
        provenance: where the weights come from, as JSON data.
    """

    network: PresenceNetwork
    temperature: Tensor
    plan: Plan
    facts: tuple[ClassFacts, ...]
    provenance: Mapping[str, Any]

    def model(self, classes_of: Mapping[str, tuple[str, ...]]) -> PresenceModel:
        """Return it as it answers for the ROIs of a study.

        Args:
            classes_of: ROI to classes, see ``labels.presence_classes``.
        """
        model = PresenceModel(PresenceDescription(shape=self.network.shape, classes_of=dict(classes_of)))
        model.network.load_state_dict(self.network.state_dict())
        model.temperature.copy_(self.temperature)
        return model


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON part of a file."""

    shape: PresenceShape
    plan: Plan
    facts: tuple[ClassFacts, ...]
    provenance: dict[str, Any]


def save_presence(path: Path, presence: Presence) -> None:
    """Write a presence network; absolute paths in the provenance are left out.

    Raises:
        CheckpointError: a weight is not finite.
    """
    description = _Description(
        shape=presence.network.shape,
        plan=presence.plan,
        facts=presence.facts,
        provenance=without_paths(to_json(presence.provenance)),
    )
    tensors = {**presence.network.state_dict(), TEMPERATURE: presence.temperature.float()}
    save_weights(path, tensors, description, kind=KIND)


def load_presence(path: Path) -> Presence:
    """Return the presence network of a file, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or newer than this version.
    """
    path = Path(path)
    description = read_description(path, _Description, kind=KIND)
    shape = description.shape
    tensors = read_tensors(path, kind=KIND)
    temperature = tensors.pop(TEMPERATURE, None)
    if temperature is None or temperature.shape != (len(shape.classes),) or not bool((temperature > 0).all()):
        raise KIND.error(path, "it lacks a temperature above 0 for each of its classes")
    network = PresenceNetwork(shape)
    fill(network, tensors, path, kind=KIND)
    return Presence(network.eval(), temperature, description.plan, description.facts, description.provenance)
