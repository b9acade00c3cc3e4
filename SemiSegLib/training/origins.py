"""Which classes of an earlier model each class of a study starts from: by name, by what a person said, by the trees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import LabelScheme, name_key


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """Two schemes, and what a person said of how one came of the other.

    Attributes:
        scheme: of the study.
        earlier: of the earlier model.
        renamed: structure of the study to its name in the earlier model; two that have one name there split it.
        merged: structure of the study to those of the earlier model that it is made of.

    Raises:
        LabelError: a name is not one of its scheme.
    """

    scheme: LabelScheme
    earlier: LabelScheme
    renamed: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        renamed = {self.scheme.find(new).name: self.earlier.find(old).name for new, old in self.renamed.items()}
        merged = {
            self.scheme.find(new).name: tuple(self.earlier.find(old).name for old in olds)
            for new, olds in self.merged.items()
        }
        object.__setattr__(self, "renamed", {name_key(new): old for new, old in renamed.items()})
        object.__setattr__(self, "merged", {name_key(new): olds for new, olds in merged.items()})

    def origins(self, rows: Iterable[str], known: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return row name to the known rows that it starts from; a row that starts from none is left out.

        1. What a person said it is merged of, or the name he said it had.
        2. Itself.
        3. Its parts, where it was a group of them in the earlier scheme and they are gone.
        4. Its nearest ancestor that has a row, by either name.
        """
        by_key = {name_key(name): name for name in known}
        listed = list(rows)
        kept = {name_key(row) for row in listed}
        found = {}
        for row in listed:
            if origin := self._origin(row, by_key, kept):
                found[row] = origin
        return found

    def earlier_name(self, name: str) -> str:
        """Return what a structure was called in the earlier model, or may have been."""
        return self.renamed.get(name_key(name), name)

    def _origin(self, row: str, by_key: Mapping[str, str], kept: set[str]) -> tuple[str, ...]:
        if name_key(row) in self.merged:
            return self._rows_of(self.merged[name_key(row)], by_key)
        own = self.earlier_name(row)
        if name_key(own) in by_key:
            return (by_key[name_key(own)],)
        parts = self._parts(own, by_key)
        if parts and not any(name_key(part) in kept for part in parts):
            return parts
        for ancestor in self._ancestors(row):
            name = name_key(self.earlier_name(ancestor))
            if name in by_key:
                return (by_key[name],)
        return ()

    def _rows_of(self, names: Iterable[str], by_key: Mapping[str, str]) -> tuple[str, ...]:
        """Return the rows of structures, or of their parts where they have none of their own."""
        rows: list[str] = []
        for name in names:
            own = (by_key[name_key(name)],) if name_key(name) in by_key else self._parts(name, by_key)
            rows += [row for row in own if row not in rows]
        return tuple(rows)

    def _parts(self, name: str, by_key: Mapping[str, str]) -> tuple[str, ...]:
        try:
            leaves = self.earlier.leaves_of(name)
        except LabelError:
            return ()
        names = [name_key(self.earlier.leaf_names[leaf]) for leaf in sorted(leaves)]
        return tuple(by_key[key] for key in names) if all(key in by_key for key in names) else ()

    def _ancestors(self, row: str) -> tuple[str, ...]:
        try:
            return tuple(structure.name for structure in self.scheme.ancestors(row)[1:])
        except LabelError:
            return ()
