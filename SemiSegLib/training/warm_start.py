"""Weights of an earlier model as the start of a new training, output rows matched by the names of their classes.

A class that the earlier model had under this or another name starts from its row. Where a class was split, each part
starts from the whole's row; where classes were merged, the whole starts from the mean of their rows.

What is exact, before any step: with outputs that compete (softmax), a class that starts from a row shared by n classes
gets ln(n) less bias, so the probabilities of the parts add up to the whole's; outputs that answer each for themselves
(a ROI's sigmoid, a distance) keep the row as it is, so a part is first taken to be all of the whole. Superclasses that
have an output of their own keep it, and with it their probability, whatever becomes of their leaves.

What is not: the mean of n rows and ln(n) more bias give a merged class the sum of their probabilities only where they
are equal, and less elsewhere, down to n times their geometric mean; a class that is new takes from all the others what
its random row gets.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from SemiSegLib.errors import CheckpointError, explain
from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.methods.method import Method
from SemiSegLib.networks.dynamic import DynamicHead
from SemiSegLib.networks.embedding import RoiEmbedding
from SemiSegLib.networks.hierarchy import HierarchyHead, module_name
from SemiSegLib.networks.presence import PresenceModel
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.training.one_hot_start import copy_controller
from SemiSegLib.training.origins import Kinship

PRIOR_LAYER = ".subclass.convolution.weight"
# Layers of separate branches compete as those of one layer do.
BRANCH = re.compile(r"branches\.[^.]+\.")


@dataclass(frozen=True)
class WarmStart:
    """What became of the weights.

    Attributes:
        copied: tensors of equal name and shape that were copied.
        new: tensors and classes that start anew.
        dropped: tensors and classes of the earlier model that were not used.
        inherited: class to the class it started from, where the names differ (parts of a split class, and renamed).
        merged: class to the several classes it started from.
        kept: classes that started from themselves.
        trained_on: marks of the patients the earlier model was trained on.
        origins: structure of the study to those it starts from, itself if it is kept, none if it starts anew.
        dropped_structures: structures of the earlier model that nothing starts from.
    """

    copied: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    inherited: dict[str, str]
    trained_on: tuple[str, ...]
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    dropped_structures: tuple[str, ...] = ()

    def notices(self, validation_marks: Collection[str]) -> list[str]:
        """Return what a person should know, such as a validation patient the earlier model was trained on."""
        texts = [f"warm start: {len(self.copied)} tensors copied, {len(self.new)} new, {len(self.dropped)} dropped"]
        if words := self.structures():
            texts.append(f"warm start: {words}")
        seen = len(set(validation_marks) & set(self.trained_on))
        if seen:
            texts.append(
                f"the earlier model was trained on {seen} of the patients that validate this run: "
                "its validation Dice is too good, judge by other cases"
            )
        return texts

    def structures(self) -> str:
        """Return in words what each structure starts from."""
        parts = [
            ", ".join(f"{name} starts from {origin}" for name, origin in self.inherited.items()),
            ", ".join(f"{name} starts from {' and '.join(origins)}" for name, origins in self.merged.items()),
            _said("kept", self.kept),
            _said("new", [name for name, origins in self.origins.items() if not origins]),
            _said("dropped", self.dropped_structures),
        ]
        return "; ".join(part for part in parts if part)


def warm_start(
    method: Method,
    scheme: LabelScheme,
    donor: Model,
    *,
    renamed: Mapping[str, str] | None = None,
    merged: Mapping[str, tuple[str, ...]] | None = None,
) -> WarmStart:
    """Copy what fits of an earlier model into a method, in place, and return a table of it; see the module.

    A tensor of the same name and shape is copied as a whole; of an output layer, row by row.

    Args:
        method: that is to be trained.
        scheme: of its study.
        donor: the earlier model.
        renamed: structure of the study to its name in the earlier model.
        merged: structure of the study to those of the earlier model that it is made of.

    Raises:
        CheckpointError: nothing fits.
        LabelError: a name is not one of its scheme.
    """
    kinship = Kinship(scheme=scheme, earlier=donor.study.scheme, renamed=renamed or {}, merged=merged or {})
    with torch.no_grad():
        return _Copying(method, donor, kinship).run()


class _Copying:
    """One warm start: the tensors of both sides, and what is found out on the way."""

    def __init__(self, method: Method, donor: Model, kinship: Kinship) -> None:
        self.method, self.donor, self.kinship = method, donor, kinship
        self.target, self.source = _own(method), donor.method.state_dict()
        self.target_rows, self.source_rows = method.warm_start_rows(), donor.method.warm_start_rows()
        self.copied: list[str] = []
        self.new: list[str] = []
        self.used: set[str] = set()
        # Of each class what it starts from, by layer; the layers may differ.
        self.origins: dict[str, set[tuple[str, ...]]] = {}
        self.pending: list[tuple[DynamicHead, Tensor]] = []
        # Of all classes that have an output.
        self.rows = {row for name, rows in self.target_rows.items() if name in self.target for row in rows}

    def run(self) -> WarmStart:
        matched = {name: self._origins_of(name) for name in self.target_rows if name in self.target}
        sharing = _sharing(matched)
        for name, tensor in self.target.items():
            origin = self._source_name(name)
            known = self.source.get(origin)
            if heads := self._one_hot_heads(name):
                self._copy_controller(name, *heads)
                continue
            values = self._with_columns(name) if name in matched and known is not None else None
            if values is not None and values.shape[1:] == tensor.shape[1:]:
                self._copy_rows(name, values, matched[name], sharing[_group(name)])
            elif name not in matched and known is not None and tensor.shape == known.shape:
                tensor.copy_(known)
                self._note(name, origin)
            else:
                self.new.append(name)
        self._begin_branches()
        # Now that the layers are there through which embeddings act.
        for head, shifts in self.pending:
            head.shift_logits(shifts)
        # Output rows without the features they were made for are worth nothing.
        if not any(name not in self.target_rows for name in self.copied):
            raise CheckpointError(
                explain(
                    "none of the earlier model's weights fits this network",
                    where="warm start",
                    remedy="start from a model with the same backbone and features, or without a warm start",
                )
            )
        return self._table()

    def _origins_of(self, name: str) -> dict[str, tuple[str, ...]]:
        return self.kinship.origins(self.target_rows[name], self.source_rows.get(self._source_name(name), ()))

    def _source_name(self, name: str) -> str:
        """Return the earlier name of a tensor: branches are called by their superclass."""
        for new, old in self.kinship.renamed.items():
            name = name.replace(f".{module_name(new)}.", f".{module_name(old)}.")
        return name

    def _with_columns(self, name: str) -> Tensor:
        """Return the earlier rows with the columns of this study: leaf rows may see the logits of superclasses."""
        origin = self._source_name(name)
        values: Tensor = self.source[origin]
        heads = [_owner(side, key, PRIOR_LAYER) for side, key in ((self.method, name), (self.donor.method, origin))]
        if not all(isinstance(head, HierarchyHead) and head.prior != "none" for head in heads):
            return values
        new, old = (k.superclass_names for k in (self.kinship.scheme, self.kinship.earlier))
        found = self.kinship.origins(new, old)
        width = values.shape[1] - len(old)
        columns = [
            torch.stack([values[:, width + old.index(o)] for o in found[row]]).mean(0)
            if row in found
            else torch.zeros_like(values[:, 0])
            for row in new
        ]
        return torch.cat([values[:, :width], torch.stack(columns, 1)], 1)

    def _copy_rows(
        self, name: str, values: Tensor, origins: Mapping[str, tuple[str, ...]], sharing: Counter[str]
    ) -> None:
        tensor, origin = self.target[name], self._source_name(name)
        known, rows = self.source_rows[origin], self.target_rows[name]
        shifts = {row: _shift(old, sharing) for row, old in origins.items()}
        for index, row in enumerate(rows):
            if row not in origins:
                self.new.append(f"{name}: {row}")
                continue
            tensor[index] = torch.stack([values[known.index(old)] for old in origins[row]]).mean(0)
            if tensor.ndim == 1 and _competes(self.method, name):
                tensor[index] += shifts[row]
        head = _owner(self.method, name, ".embedding.weight")
        if isinstance(head, DynamicHead) and head.competes:
            self.pending.append((head, torch.tensor([shifts.get(row, 0.0) for row in rows])))
        self._note_origins(origins)
        self._note(name, origin)

    def _one_hot_heads(self, name: str) -> tuple[DynamicHead, DynamicHead] | None:
        """Return the heads, now and earlier, whose controller this is and is told ROIs as one-hot vectors."""
        origin = self._source_name(name)
        if origin not in self.source:
            return None
        now, then = (
            _owner(m, key, ".controller.weight") for m, key in ((self.method, name), (self.donor.method, origin))
        )
        if not isinstance(now, DynamicHead) or not isinstance(then, DynamicHead):
            return None
        return (now, then) if now.embedding.kind == then.embedding.kind == "one_hot" else None

    def _copy_controller(self, name: str, now: DynamicHead, then: DynamicHead) -> None:
        origins = self.kinship.origins(now.embedding.names, then.embedding.names)
        sharing = Counter(old for olds in origins.values() for old in olds)
        shifts = {row: _shift(olds, sharing) for row, olds in origins.items()} if now.competes else {}
        copy_controller(now, then, origins, shifts)
        self.rows.update(now.embedding.names)
        self.new += [f"{name}: {row}" for row in now.embedding.names if row not in origins]
        self._note_origins(origins)
        self._note(name, self._source_name(name))

    def _begin_branches(self) -> None:
        """Let leaves of a superclass that had none of its own begin as the superclass is."""
        for path, head in self.method.named_modules():
            if not isinstance(head, HierarchyHead):
                continue
            inside = {name.removeprefix(f"{path}.") for name in self.copied if name.startswith(f"{path}.")}
            for layer, leaves in head.begin_leaves(inside).items():
                self.copied += [f"{path}.{layer}.{part}" for part in ("weight", "bias")]
                self.new = [text for text in self.new if not text.startswith(f"{path}.{layer}.")]
                superclass = self.kinship.earlier_name(self.kinship.scheme.ancestors(leaves[0])[-1].name)
                self._note_origins(dict.fromkeys(leaves, (superclass,)))

    def _note(self, name: str, origin: str) -> None:
        self.copied.append(name)
        self.used.add(origin)

    def _note_origins(self, origins: Mapping[str, tuple[str, ...]]) -> None:
        for row, olds in origins.items():
            self.origins.setdefault(row, set()).add(olds)

    def _table(self) -> WarmStart:
        used = {name_key(old) for found in self.origins.values() for olds in found for old in olds}
        classes = {row for rows in self.source_rows.values() for row in rows if name_key(row) not in used}
        pairs = [(row, olds) for row, found in self.origins.items() for olds in sorted(found)]
        inherited = {row: olds[0] for row, olds in pairs if len(olds) == 1 and name_key(row) != name_key(olds[0])}
        merged = {row: olds for row, olds in pairs if len(olds) > 1}
        marks = self.donor.provenance.get("trained_on", ())
        return WarmStart(
            copied=tuple(self.copied),
            new=tuple(self.new),
            dropped=tuple(name for name in self.source if name not in self.used) + tuple(sorted(classes)),
            inherited=inherited,
            trained_on=tuple(str(mark) for mark in marks),
            merged=merged,
            kept=tuple(row for row in self.origins if row not in inherited and row not in merged),
            origins={
                structure.name: tuple(dict.fromkeys(old for olds in sorted(begun) for old in olds))
                for structure in self.kinship.scheme.structures
                if structure.name in self.rows
                for begun in [self.origins.get(structure.name, set())]
            },
            dropped_structures=tuple(sorted(classes)),
        )


def _own(method: Method) -> dict[str, Tensor]:
    """Return the tensors that may be copied to.

    The presence network is the run's own, trained and calibrated as a whole: another's weights among them would make
    nonsense of it. Given vectors of structures are those of this study's, in its order.
    """
    presence = [f"{name}." for name, module in method.named_modules() if isinstance(module, PresenceModel)]
    given = {f"{name}.fixed" for name, module in method.named_modules() if isinstance(module, RoiEmbedding)}
    tensors = method.state_dict()
    return {key: t for key, t in tensors.items() if not key.startswith(tuple(presence)) and key not in given}


def _sharing(matched: Mapping[str, Mapping[str, tuple[str, ...]]]) -> dict[str, Counter[str]]:
    """Return for each group of competing layers how many classes start from each earlier row."""
    found: dict[str, Counter[str]] = {}
    for name, origins in matched.items():
        counts = found.setdefault(_group(name), Counter())
        counts.update(old for olds in origins.values() for old in olds)
    return found


def _group(name: str) -> str:
    return BRANCH.sub("branches.", name)


def _shift(olds: tuple[str, ...], sharing: Counter[str]) -> float:
    """Return what is added to the mean logit of some rows, of which other classes may take a share."""
    return math.log(len(olds)) - sum(math.log(sharing[old]) for old in olds) / len(olds)


def _competes(method: nn.Module, name: str) -> bool:
    """Return whether the rows of an output layer share one probability."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = method.get_submodule(".".join(parts[:length]))
        if hasattr(module, "competes"):
            return bool(module.competes)
    return True


def _owner(method: nn.Module, name: str, layer: str) -> nn.Module | None:
    """Return the module that has a tensor under the name ``layer``, or None if the tensor is another."""
    return method.get_submodule(name.removesuffix(layer)) if name.endswith(layer) else None


def _said(word: str, names: Iterable[str]) -> str:
    listed = list(names)
    return f"{word}: {', '.join(listed)}" if listed else ""
