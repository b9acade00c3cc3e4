"""Weights of an earlier model as the start of a new training, output rows matched by the names of their classes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.errors import CheckpointError, LabelError, explain
from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.methods.method import Method
from SemiSegLib.networks.presence import PresenceModel
from SemiSegLib.prediction.model_file import Model


@dataclass(frozen=True)
class WarmStart:
    """What became of the weights.

    Attributes:
        copied: tensors of equal name and shape that were copied.
        new: tensors and classes that start anew.
        dropped: tensors and classes of the earlier model that were not used.
        inherited: class to the class it started from, where the names differ (children of a split class).
        trained_on: marks of the patients the earlier model was trained on.
    """

    copied: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    inherited: dict[str, str]
    trained_on: tuple[str, ...]

    def notices(self, validation_marks: Collection[str]) -> list[str]:
        """Return what a person should know; need N25: a validation patient the earlier model was trained on."""
        texts = [f"warm start: {len(self.copied)} tensors copied, {len(self.new)} new, {len(self.dropped)} dropped"]
        seen = len(set(validation_marks) & set(self.trained_on))
        if seen:
            texts.append(
                f"the earlier model was trained on {seen} of the patients that validate this run: "
                "its validation Dice is too good, judge by other cases"
            )
        return texts


def warm_start(method: Method, scheme: LabelScheme, donor: Model) -> WarmStart:
    """Copy what fits of an earlier model into a method, in place, and return a table of it.

    A tensor of the same name and shape is copied as a whole. Of an output layer each row is copied whose class the
    earlier model knew; a class it did not know starts from its nearest known ancestor, with ln(n) less bias if n
    classes share one row, so that their probabilities add up to the ancestor's.

    Raises:
        CheckpointError: nothing fits.
    """
    target, source = method.state_dict(), donor.method.state_dict()
    # The run's own, trained and calibrated as a whole: another's weights among them would make nonsense of it.
    presence = [name for name, module in method.named_modules() if isinstance(module, PresenceModel)]
    target = {key: t for key, t in target.items() if not key.startswith(tuple(f"{name}." for name in presence))}
    target_rows, source_rows = method.warm_start_rows(), donor.method.warm_start_rows()
    copied: list[str] = []
    new: list[str] = []
    inherited: dict[str, str] = {}
    with torch.no_grad():
        for name, tensor in target.items():
            if name in target_rows and name in source and tensor.shape[1:] == source[name].shape[1:]:
                origins = _origins(target_rows[name], source_rows.get(name, ()), scheme)
                _copy_rows(tensor, source[name], target_rows[name], origins, source_rows.get(name, ()))
                copied.append(name)
                new += [f"{name}: {row}" for row in target_rows[name] if row not in origins]
                inherited |= {row: origin for row, origin in origins.items() if name_key(row) != name_key(origin)}
            elif name in source and tensor.shape == source[name].shape:
                tensor.copy_(source[name])
                copied.append(name)
            else:
                new.append(name)
    # Output rows without the features they were made for are worth nothing.
    if not any(name not in target_rows for name in copied):
        raise CheckpointError(
            explain(
                "none of the earlier model's weights fits this network",
                where="warm start",
                remedy="start from a model with the same backbone and features, or without a warm start",
            )
        )
    dropped = tuple(name for name in source if name not in target) + _unused(target_rows, source_rows, inherited)
    marks = tuple(str(mark) for mark in donor.provenance.get("trained_on", ()))
    return WarmStart(tuple(copied), tuple(new), dropped, inherited, marks)


def _origins(rows: Iterable[str], known: Iterable[str], scheme: LabelScheme) -> dict[str, str]:
    """Return row name to the known row it starts from: itself, or its nearest ancestor."""
    by_key = {name_key(name): name for name in known}
    origins = {}
    for row in rows:
        try:
            chain = [row, *(s.name for s in scheme.ancestors(row))]
        except LabelError:
            chain = [row]
        found = next((by_key[name_key(name)] for name in chain if name_key(name) in by_key), None)
        if found is not None:
            origins[row] = found
    return origins


def _copy_rows(
    tensor: Tensor, source: Tensor, rows: tuple[str, ...], origins: dict[str, str], known: tuple[str, ...]
) -> None:
    sharing = list(origins.values())
    for index, row in enumerate(rows):
        if row in origins:
            tensor[index].copy_(source[known.index(origins[row])])
            if tensor.ndim == 1:
                tensor[index] -= math.log(sharing.count(origins[row]))


def _unused(
    target_rows: dict[str, tuple[str, ...]], source_rows: dict[str, tuple[str, ...]], inherited: dict[str, str]
) -> tuple[str, ...]:
    used = {name_key(row) for rows in target_rows.values() for row in rows} | {name_key(n) for n in inherited.values()}
    return tuple(sorted({row for rows in source_rows.values() for row in rows if name_key(row) not in used}))
