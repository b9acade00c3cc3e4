"""What a model file says of itself, read in milliseconds and without torch: for the panel, and before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SemiSegLib.config import YOUNGER
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.runs.weights_header import Kind, read_whole_description

KIND = Kind(
    key="semiseg-model",
    format=1,
    noun="model",
    remedy="choose a model.safetensors that SemiSeg wrote, or copy it again",
)
# What a case is called whose labels say so much.
REGIME_WORDS = {"full": "fully labeled", "coarse": "coarsely labeled", "partial": "partly labeled", "none": "unlabeled"}


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model segments, and where it comes from.

    Attributes:
        scheme: the structures.
        channels: roles of the images that it needs, in their order.
        ct_channels: those of them whose intensities are taken for CT numbers.
        dimensions: 2 (slice by slice) or 3.
        spacing_mm: of the grid it works on, in the order of its own axes; 0 is the scan's own.
        patch: voxels that it sees at once.
        backbone: name of its network.
        method: name of the method.
        preset: of the method, or None.
        options: of the method.
        title: name that a person gave the run, or "".
        created: when, as "2026-11-21 14:05:00", or "" if it is not known.
        version: of SemiSeg that made it, or "".
        steps: of training; None if it is not known.
        seconds: of training; None if it is not known.
        training_cases: regime ("full", "coarse", "partial", "none") to number of training cases.
        validation_dice: mean over the validation cases, or None if there were none.
        structure_dice: structure to its mean validation Dice, as far as it is known.
        provenance: all that the file says of where it comes from.
    """

    scheme: LabelScheme
    channels: tuple[str, ...]
    ct_channels: tuple[str, ...]
    dimensions: int
    spacing_mm: tuple[float, ...]
    patch: tuple[int, ...]
    backbone: str
    method: str
    preset: str | None
    options: Mapping[str, Any]
    title: str
    created: str
    version: str
    steps: int | None
    seconds: float | None
    training_cases: Mapping[str, int]
    validation_dice: float | None
    structure_dice: Mapping[str, float]
    provenance: Mapping[str, Any]

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of what it segments: the leaves but background."""
        return self.scheme.leaf_names[1:]

    def tree(self) -> tuple[tuple[int, Structure], ...]:
        """Return the structures but background, parents before their parts, each with its depth in the tree."""
        rows: list[tuple[int, Structure]] = []

        def add(parent: Structure | None, depth: int) -> None:
            for structure in self.scheme.structures[1:]:
                owner = None if structure.parent is None else self.scheme.find(structure.parent)
                if owner is parent:
                    rows.append((depth, structure))
                    add(structure, depth + 1)

        add(None, 0)
        return tuple(rows)

    def sentence(self) -> str:
        """Return what it segments, in what, and what it learned from, for a person."""
        counts = [f"{count} {REGIME_WORDS.get(name, name)}" for name, count in self.training_cases.items() if count]
        learned = f", trained on {_listed(counts)} cases" if counts else ""
        when = f" on {self.created.split(' ')[0]}" if self.created and learned else ""
        images = f"{self.channels[0]} scans" if len(self.channels) == 1 else f"scans with {_listed(self.channels)}"
        return f"Segments {_listed(self.structures)} in {images}{learned}{when}."


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The JSON part of a file, its plan and presence network as they are: what they mean is for who builds them."""

    method: str
    options: dict[str, Any]
    scheme: LabelScheme
    plan: dict[str, Any]
    provenance: dict[str, Any]
    presence: dict[str, Any] | None = field(default=None, metadata={YOUNGER: True})
    implied: tuple[str, ...] = field(default=(), metadata={YOUNGER: True})
    reach: dict[str, Any] | None = field(default=None, metadata={YOUNGER: True})


def read_model_info(path: Path | str) -> ModelInfo:
    """Return what a model file says of itself; its weights are not read.

    Raises:
        CheckpointError: the file is missing, damaged, cut short, of another kind or newer than this version.
    """
    path = Path(path)
    header = read_whole_description(path, _Header, kind=KIND)
    plan, source = header.plan, header.provenance
    try:
        return ModelInfo(
            scheme=header.scheme,
            channels=tuple(str(channel["role"]) for channel in plan["channels"]),
            ct_channels=tuple(str(c["role"]) for c in plan["channels"] if c.get("normalization") == "ct"),
            dimensions=int(plan["dimensions"]),
            spacing_mm=tuple(float(mm) for mm in plan["spacing_mm"]),
            patch=tuple(int(n) for n in plan["patch"]),
            backbone=str(plan["network"].get("backbone", "")),
            method=header.method,
            preset=_text(source.get("preset")) or None,
            options=header.options,
            title=_text(source.get("title")),
            created=_text(source.get("created")),
            version=_text(source.get("version")),
            steps=_whole(source.get("model_step", source.get("steps"))),
            seconds=_number(source.get("seconds")),
            training_cases={name: int(n) for name, n in _numbers(source.get("training_cases")).items()},
            validation_dice=_number(source.get("validation_dice")),
            structure_dice=_numbers(source.get("structure_dice")),
            provenance=source,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KIND.error(path, f"its plan cannot be read: {error!r}") from error


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    found = {str(name): _number(entry) for name, entry in value.items()}
    return {name: number for name, number in found.items() if number is not None}


def _listed(words: tuple[str, ...] | list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
