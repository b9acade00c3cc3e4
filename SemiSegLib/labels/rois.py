"""Regions of interest: structures as one-vs-all targets, how they lie in each other, and which of them a label shows.

A ROI is a structure other than background: every leaf, and every group or superclass that has not the same leaves as a
structure inside it. A one-vs-all network answers each ROI for itself, q_k in [0, 1], so that its answers may overlap or
leave gaps. They become probabilities of leaves, which sum to 1, by the tree:

1. A ROI is at most what its parent is, from the roots down: q_k <- min(q_k, q_parent). So a tumor lies in its organ.
2. Of the roots and background one is there: with odds o_k = q_k / (1 - q_k), root k has o_k / (1 + sum o), background
   1 / (1 + sum o), which is the softmax of the roots' logits beside 0. Where one root alone claims the voxel that is
   q_k and 1 - q_k; where several do, they share it.
3. What a ROI has is divided between its children. Where their q sum to less than its own, all are raised by one factor,
   so that a parent is never left without a leaf; where to more, the likeliest keeps its q and the others share the rest
   in proportion to theirs.

The likeliest leaf is then what thresholds of 0.5 say wherever these name one leaf (and the structures it lies in) or
nothing at all; where several overlap, the likeliest of them. A ROI's probability can be read off again as the sum of
its leaves; where nothing overlaps, it is q_k.

A group is *implied* if labels say of voxels that they are the group and never of background that it is not. So it is
where of each patient one of several siblings was drawn: there is this sibling, and all else may be another. An answer
of its own would learn to be everywhere. It has none; its children take its place in the tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from SemiSegLib.labels.scheme import LabelScheme, Structure

# SNOMED CT and SNOMED RT for "Morphologically Altered Structure", under which DICOM files tumors and other lesions.
LESION_CATEGORIES = frozenset({"49755003", "M-01000"})
# Where a structure has no codes, its name tells.
LESION_WORDS = ("tumor", "tumour", "lesion", "cancer", "carcinoma", "metasta", "neoplasm")


@dataclass(frozen=True)
class RoiTable:
    """The ROIs of a scheme, in the scheme's order of structures.

    Attributes:
        names: of the K structures.
        leaf_sets: the leaves of each.
        parents: index of the smallest ROI around each, or -1 for a root; implied ROIs are not in the tree.
        deciders: index of the ROI whose presence in an image stands for each: of a lesion the nearest ROI around it
            that is none, for an image shows the organ and only a drawing the lesion; of all others, themselves.
        leaf_count: leaves L of the scheme, background included.
        implied: ROIs that are what their parts are, see the module.
    """

    names: tuple[str, ...]
    leaf_sets: tuple[frozenset[int], ...]
    parents: tuple[int, ...]
    deciders: tuple[int, ...]
    leaf_count: int
    implied: frozenset[int] = frozenset()

    @classmethod
    def of(cls, scheme: LabelScheme, implied: Collection[str] = ()) -> RoiTable:
        """Return the ROIs of a scheme.

        Args:
            scheme: of the study.
            implied: names of its implied groups, see ``implied_groups``.
        """
        chosen = [s for s in scheme.structures if _is_roi(scheme, s)]
        names = [s.name for s in chosen]
        inner = [name for name in names if name not in implied]
        around = [[names.index(a.name) for a in scheme.ancestors(s.name)[1:] if a.name in inner] for s in chosen]
        lesions = [is_lesion(s) for s in chosen]
        deciders = [
            next((k for k in outer if not lesions[k]), own) if lesions[own] else own for own, outer in enumerate(around)
        ]
        return cls(
            names=tuple(names),
            leaf_sets=tuple(scheme.leaves_of(name) for name in names),
            parents=tuple(
                outer[0] if outer and name in inner else -1 for name, outer in zip(names, around, strict=True)
            ),
            deciders=tuple(deciders),
            leaf_count=len(scheme.leaves),
            implied=frozenset(names.index(name) for name in implied),
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def members(self) -> np.ndarray:
        """(K, L) bool: leaf l lies in ROI k."""
        table = np.zeros((len(self), self.leaf_count), dtype=bool)
        for row, leaves in enumerate(self.leaf_sets):
            table[row, sorted(leaves)] = True
        table.flags.writeable = False
        return table

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """ROIs that lie in no other; between them they hold every leaf but background."""
        return tuple(k for k, parent in enumerate(self.parents) if parent < 0 and k not in self.implied)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The ROIs directly inside each, whose leaves together are its own; none for a leaf or an implied ROI."""
        return tuple(tuple(c for c, parent in enumerate(self.parents) if parent == k) for k in range(len(self)))

    @cached_property
    def downward(self) -> tuple[int, ...]:
        """All ROIs, each after its parent."""
        return tuple(sorted(range(len(self)), key=lambda k: -len(self.leaf_sets[k])))

    @cached_property
    def leaf_rois(self) -> tuple[int, ...]:
        """The ROI that is each leaf, from leaf 1 on (background is none)."""
        return tuple(self.leaf_sets.index(frozenset({leaf})) for leaf in range(1, self.leaf_count))

    @cached_property
    def rests(self) -> tuple[int, ...]:
        """Leaves that are what lesions leave of their parent: the only sibling that is none, such as parenchyma."""
        found = []
        for inside in self.children:
            lesions = [c for c in inside if self.deciders[c] != c]
            others = [c for c in inside if c not in lesions]
            if lesions and len(others) == 1 and not self.children[others[0]]:
                found.append(others[0])
        return tuple(found)

    def shown(self, sets: np.ndarray) -> np.ndarray:
        """Return which ROIs a voxel with each label set shows: a case that holds such a voxel annotates them.

        The set lies inside the ROI, or the voxel may be background and surely is not the ROI: somebody has looked for
        it there. A voxel of another structure is not the ROI either, but tells nothing of whether it was looked for.

        Args:
            sets: (C, L) bool, a row is the leaves that a voxel may be.

        Returns:
            (C, K) bool.
        """
        inside = ~(sets[:, None] & ~self.members[None]).any(-1)
        outside = ~(sets[:, None] & self.members[None]).any(-1)
        return np.asarray(inside | (outside & sets[:, :1]))


def implied_groups(scheme: LabelScheme, sets: Iterable[frozenset[int]]) -> tuple[str, ...]:
    """Return the names of the groups that label sets show, and never as what background is not; see the module.

    Args:
        scheme: of the study.
        sets: all label sets that its training cases use.
    """
    table, said = RoiTable.of(scheme), set(sets)
    return tuple(
        name
        for name, leaves, inside in zip(table.names, table.leaf_sets, table.children, strict=True)
        if inside and any(own <= leaves for own in said) and not any(0 in own and not own & leaves for own in said)
    )


def _is_roi(scheme: LabelScheme, structure: Structure) -> bool:
    leaves = scheme.leaves_of(structure.name)
    if 0 in leaves:
        return False
    inside = [s for s in scheme.structures if s is not structure and structure in scheme.ancestors(s.name)]
    return all(scheme.leaves_of(s.name) != leaves for s in inside)


def is_lesion(structure: Structure) -> bool:
    """Return whether a structure is a tumor or another lesion, by its terminology or else by its name."""
    if structure.terminology is not None:
        return structure.terminology.category.value in LESION_CATEGORIES
    name = structure.name.casefold()
    # "liver without tumor" is none.
    return any(word in name for word in LESION_WORDS) and "without" not in name and "non" not in name.split()
