"""Label sets: the leaves that a voxel may be, as a table of codes, and the targets derived from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.scheme import LabelScheme

# Codes are stored as one byte a voxel.
MOST_SETS = 256


class Regime(str, Enum):
    """How much the labels of a case say; always derived from its label sets."""

    FULL = "full"
    COARSE = "coarse"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True)
class LabelSetTable:
    """Codes to label sets: row c of the table is the set of leaves that a voxel with code c may be.

    Row 0 is always "anything" (every leaf), so unknown voxels need no special value.

    Attributes:
        leaf_count: number of leaves L, background included.
        sets: the distinct sets, row 0 first.
    """

    leaf_count: int
    sets: tuple[frozenset[int], ...]

    def __post_init__(self) -> None:
        anything = frozenset(range(self.leaf_count))
        if not self.sets or self.sets[0] != anything or len(set(self.sets)) != len(self.sets):
            raise LabelError(
                explain("row 0 is not 'anything' or a row is repeated", where="label-set table", remedy="use of()")
            )
        if any(not s or not s <= anything for s in self.sets):
            raise LabelError(
                explain(
                    "a label set is empty or holds a leaf that the scheme does not have",
                    where="label-set table",
                    remedy="name the structures that each value may be",
                )
            )
        if len(self.sets) > MOST_SETS:
            raise LabelError(
                explain(
                    f"{len(self.sets)} different label sets, codes of one byte tell {MOST_SETS} apart",
                    where="label-set table",
                    remedy="use fewer structures or fewer different value tables",
                )
            )

    @classmethod
    def of(cls, leaf_count: int, sets: Iterable[frozenset[int]]) -> LabelSetTable:
        """Return the table of these sets in an order that depends on the sets alone, "anything" first."""
        anything = frozenset(range(leaf_count))
        others = {frozenset(s) for s in sets} - {anything}
        return cls(leaf_count, (anything, *sorted(others, key=lambda s: (len(s), sorted(s)))))

    @classmethod
    def union(cls, tables: Iterable[LabelSetTable]) -> LabelSetTable:
        """Return one table that holds every set of several tables over the same leaves."""
        tables = list(tables)
        return cls.of(tables[0].leaf_count, (s for table in tables for s in table.sets))

    def __len__(self) -> int:
        return len(self.sets)

    def code(self, leaf_set: frozenset[int]) -> int:
        """Return the code of a set.

        Raises:
            LabelError: the table does not hold it.
        """
        if leaf_set not in self._codes:
            raise LabelError(
                explain(
                    f"the label set {sorted(leaf_set)} is not in the table",
                    where="label-set table",
                    remedy="build the table from every annotation that is read with it",
                )
            )
        return self._codes[leaf_set]

    @cached_property
    def _codes(self) -> dict[frozenset[int], int]:
        return {leaf_set: code for code, leaf_set in enumerate(self.sets)}

    @cached_property
    def array(self) -> np.ndarray:
        """(C, L) bool: leaf l is possible under code c."""
        table = np.zeros((len(self.sets), self.leaf_count), dtype=bool)
        for row, leaf_set in enumerate(self.sets):
            table[row, sorted(leaf_set)] = True
        table.flags.writeable = False
        return table

    def codes_in(self, other: LabelSetTable) -> np.ndarray:
        """Return (C,) uint8: the code in ``other`` of each of this table's rows."""
        return np.array([other.code(s) for s in self.sets], dtype=np.uint8)

    def superclass_sets(self, scheme: LabelScheme) -> np.ndarray:
        """Return (C, R) bool: superclass r is possible under code c. The target of a superclass head."""
        possible: np.ndarray = (self.array[:, None, :] & scheme.membership[None]).any(-1)
        return possible

    def roi_targets(self, rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the one-vs-all target of each ROI under each code, and where it is known.

        Args:
            rois: (K, L) bool, the leaves of each ROI.

        Returns:
            target: (C, K) bool, true if the set lies inside the ROI.
            known: (C, K) bool, true if the set lies inside the ROI or outside it.
        """
        inside = ~(self.array[:, None, :] & ~rois[None]).any(-1)
        outside = ~(self.array[:, None, :] & rois[None]).any(-1)
        return inside, inside | outside

    def regime(self, scheme: LabelScheme) -> Regime:
        """Return what a case says whose voxels hold the codes of this table, row 0 included if ``sets`` is all.

        Row 0 is in every table and says nothing by itself; a case in which unknown voxels do occur must be
        described by ``regime_of`` with the sets that occur.
        """
        return regime_of(self.sets[1:], scheme)


def regime_of(sets: Iterable[frozenset[int]], scheme: LabelScheme) -> Regime:
    """Return the regime of a case whose voxels may carry these label sets.

    full: every set is one leaf. coarse: every set lies inside one superclass. none: every set is all leaves,
    or there is no set. partial: anything else.
    """
    occurring = set(sets)
    anything = frozenset(range(len(scheme.leaves)))
    if not occurring - {anything}:
        return Regime.NONE
    if all(len(s) == 1 for s in occurring):
        return Regime.FULL
    pi = scheme.superclass_of_leaf
    if all(len({pi[leaf] for leaf in s}) == 1 for s in occurring):
        return Regime.COARSE
    return Regime.PARTIAL
