"""What voxels are that several segments cover: a part inside its whole is legal, others go by a person's rule.

Nothing is decided in silence: without a rule such voxels are ignored (they may be anything).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.label_set import MOST_SETS
from SemiSegLib.labels.overlap import group_voxels, slabs

# Rules for two structures that exclude each other; any other rule is the name of the one that wins.
IGNORE = "*ignore*"
EITHER = "*either*"
# Prefix of the masks of what is left of a whole outside its parts.
REST = "*rest of*"

Sets = Mapping[str, frozenset[int]]
Rules = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Overlap:
    """Two structures that exclude each other and share voxels.

    Attributes:
        first: name of the one that comes first in the alphabet.
        second: the other.
        voxels: how many they share, on the grid of the volume.
    """

    first: str
    second: str
    voxels: int

    @property
    def pair(self) -> tuple[str, str]:
        """Key of the rules."""
        return self.first, self.second


def ruleKey(first: str, second: str) -> tuple[str, str]:
    """Return the key of the rule for two structures, in whatever order they are named."""
    return (first, second) if first <= second else (second, first)


def combineMasks(
    masks: Mapping[str, np.ndarray], sets: Sets, elsewhere: frozenset[int], rules: Rules, *, leafCount: int, where: str
) -> tuple[np.ndarray, tuple[frozenset[int], ...], tuple[Overlap, ...]]:
    """Return one image of label sets for structures that may overlap.

    Args:
        masks: structure to (K, J, I) bool, all of one shape.
        sets: structure to label set.
        elsewhere: label set of voxels that no structure covers.
        rules: what a person has said of structures that exclude each other.
        leafCount: leaves of the scheme.
        where: case and segmentation, for errors.

    Returns:
        (K, J, I) uint8 numbers of label sets, these sets (the first is ``elsewhere``), and the overlaps.

    Raises:
        LabelError: there are more than ``MOST_SETS`` label sets, or more than 65535 combinations of structures.
    """
    shape = next(iter(masks.values())).shape
    groups, covering, counts = group_voxels(masks, shape)
    everything = frozenset(range(leafCount))
    numbers: dict[frozenset[int], int] = {elsewhere: 0}
    lookup = np.zeros(len(covering), dtype=np.intp)
    for group, names in enumerate(covering):
        if names and counts[group]:
            lookup[group] = numbers.setdefault(resolved(names, sets, rules, everything), len(numbers))
    requireCodes(len(numbers), where)
    lookup = lookup.astype(np.uint8)
    voxels = np.empty(shape, dtype=np.uint8)
    for slab in slabs(shape):
        voxels[slab] = lookup[groups[slab]]
    return voxels, tuple(numbers), _counted(covering, counts, sets)


def requireCodes(count: int, where: str) -> None:
    """Refuse more label sets in one case than the values of a label image can tell apart.

    Args:
        count: of the label sets.
        where: case and segmentation, for the error.

    Raises:
        LabelError: ``count`` is above ``MOST_SETS``.
    """
    if count > MOST_SETS:
        raise LabelError(
            explain(
                _("the segments form {count} regions of different meaning, a label image tells {most} apart").format(
                    count=count, most=MOST_SETS
                ),
                where=where,
                remedy=_("leave segments out in Labels, or give those that need not be told apart one structure"),
            )
        )


def findOverlaps(masks: Mapping[str, np.ndarray], sets: Sets) -> tuple[Overlap, ...]:
    """Return which structures that exclude each other share voxels, in the order of the alphabet."""
    if not masks:
        return ()
    _groups, covering, counts = group_voxels(masks, next(iter(masks.values())).shape)
    return _counted(covering, counts, sets)


def resolved(names: Iterable[str], sets: Sets, rules: Rules, everything: frozenset[int]) -> frozenset[int]:
    """Return what a voxel may be that these structures cover.

    Structures that all fit together leave what is in all of them: a part over its whole is the part. Of two that
    exclude each other the winner stays, if a rule says so and nothing beats the winner itself; if the rest still
    excludes each other, the voxel is one of them ("either") or may be anything (ignored).
    """
    names = list(names)
    common = frozenset.intersection(*(sets[name] for name in names))
    if common:
        return common
    finest = _finest(names, sets)
    kept = _undefeated(finest, sets, rules)
    clashes = [(a, b) for a, b in combinations(kept, 2) if not sets[a] & sets[b]]
    if not kept or any(_rule(a, b, rules) != EITHER for a, b in clashes):
        return everything
    return frozenset().union(*(sets[name] for name in kept))


def _undefeated(names: list[str], sets: Sets, rules: Rules) -> list[str]:
    """Return structures without those that lose to one which nothing beats; if all are beaten, none."""
    beats = {
        (winner, loser)
        for a, b in combinations(names, 2)
        if not sets[a] & sets[b]
        for winner, loser in ((a, b), (b, a))
        if _rule(a, b, rules) == structureOf(winner)
    }
    kept = list(names)
    while True:
        beaten = {loser for winner, loser in beats if winner in kept and loser in kept}
        if not beaten:
            return kept
        lost = {loser for winner, loser in beats if winner in kept and loser in kept and winner not in beaten}
        if not lost:
            return []
        kept = [name for name in kept if name not in lost]


def structureOf(name: str) -> str:
    """Return the structure that a mask is about: what is left of a whole is about the whole."""
    return name.removeprefix(f"{REST} ")


def _rule(first: str, second: str, rules: Rules) -> str:
    return rules.get(ruleKey(structureOf(first), structureOf(second)), IGNORE)


def _finest(names: Iterable[str], sets: Sets) -> list[str]:
    names = list(names)
    return sorted(name for name in names if not any(sets[other] < sets[name] for other in names))


def _counted(covering: list[tuple[str, ...]], counts: list[int], sets: Sets) -> tuple[Overlap, ...]:
    found: dict[tuple[str, str], int] = {}
    for names, count in zip(covering, counts, strict=True):
        if count and len(names) > 1 and not frozenset.intersection(*(sets[name] for name in names)):
            for a, b in combinations(_finest(names, sets), 2):
                if not sets[a] & sets[b]:
                    key = ruleKey(structureOf(a), structureOf(b))
                    found[key] = found.get(key, 0) + count
    return tuple(Overlap(*key, count) for key, count in sorted(found.items()))
