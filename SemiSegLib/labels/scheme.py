"""The label scheme: structures by name, their tree, colors and terminology codes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from SemiSegLib.errors import LabelError, did_you_mean, explain

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class Code:
    """One coded term, for example SCT 64033007 "Kidney".

    Attributes:
        scheme: coding scheme designator, for example "SCT".
        value: the code.
        meaning: the term a person reads.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Terminology:
    """What a structure is, as Slicer and DICOM write it: category, type and optional refinements."""

    category: Code
    type: Code
    type_modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None
    context: str = "Segmentation category and type - DICOM master list"
    region_context: str = "Anatomic codes - DICOM master list"

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The codes alone, which is what two spellings of one structure share."""
        codes = (self.category, self.type, self.type_modifier, self.region, self.region_modifier)
        return tuple(f"{c.scheme}:{c.value}" if c else "" for c in codes)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One node of the tree: a leaf if no other structure names it as parent.

    Attributes:
        name: unique in the scheme, compared without case, spaces, hyphens and underscores.
        parent: name of the structure that contains it, or None for a root.
        color: red, green, blue, each 0 to 1.
        terminology: codes, or None.
        aliases: other names under which files may call it.

    Raises:
        LabelError: a part of the color is not between 0 and 1.
    """

    name: str
    parent: str | None = None
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    terminology: Terminology | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(0.0 <= part <= 1.0 for part in self.color):
            raise LabelError(
                explain(
                    f"the color {self.color} is not between 0 and 1",
                    where=f"structure '{self.name}'",
                    remedy="divide colors of 0 to 255 by 255",
                )
            )


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The structures of a study, as a tree by name; background is a leaf that is always first.

    A *superclass* is a root of the tree, background and single-leaf roots included. A *leaf* is a structure
    without children. Structures in between are groups: they can be drawn and reported, and no head predicts
    them by themselves.

    Attributes:
        name: what the scheme is for.
        structures: in the order in which leaves get their index; background is added when it is not listed.

    Raises:
        LabelError: a name is used twice or cannot be used, a parent is missing, the tree has a cycle, or
            background has children or a parent.
    """

    name: str
    structures: tuple[Structure, ...]
    description: str = ""
    source: str = ""
    _by_key: Mapping[str, Structure] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        listed = list(self.structures)
        background = [s for s in listed if name_key(s.name) == BACKGROUND]
        first = background[0] if background else Structure(name=BACKGROUND, color=(0.0, 0.0, 0.0))
        ordered = (first, *(s for s in listed if s is not first))
        object.__setattr__(self, "structures", ordered)
        object.__setattr__(self, "_by_key", self._index_names())
        self._check_tree()

    @cached_property
    def leaves(self) -> tuple[Structure, ...]:
        """Structures without children, background first; the position is the leaf's index."""
        parents = {self.find(s.parent).name for s in self.structures if s.parent is not None}
        return tuple(s for s in self.structures if s.name not in parents)

    @cached_property
    def superclasses(self) -> tuple[Structure, ...]:
        """Roots of the tree, background first; the position is the superclass's index."""
        return tuple(s for s in self.structures if s.parent is None)

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """Names of the leaves, by index."""
        return tuple(s.name for s in self.leaves)

    @property
    def superclass_names(self) -> tuple[str, ...]:
        """Names of the superclasses, by index."""
        return tuple(s.name for s in self.superclasses)

    @cached_property
    def superclass_of_leaf(self) -> tuple[int, ...]:
        """For each leaf the index of its superclass: the map pi of paper 000."""
        names = [name_key(s.name) for s in self.superclasses]
        return tuple(names.index(name_key(self.ancestors(leaf.name)[-1].name)) for leaf in self.leaves)

    @cached_property
    def membership(self) -> np.ndarray:
        """(R, L) bool: leaf l lies in superclass r."""
        table = np.zeros((len(self.superclasses), len(self.leaves)), dtype=bool)
        table[np.array(self.superclass_of_leaf), np.arange(len(self.leaves))] = True
        table.flags.writeable = False
        return table

    @cached_property
    def _leaf_sets(self) -> Mapping[str, frozenset[int]]:
        # Asked for thousands of times while a study of many cases is described.
        inside: dict[str, set[int]] = {name_key(s.name): set() for s in self.structures}
        for index, leaf in enumerate(self.leaves):
            for structure in self.ancestors(leaf.name):
                inside[name_key(structure.name)].add(index)
        return {key: frozenset(leaves) for key, leaves in inside.items()}

    @cached_property
    def _by_codes(self) -> Mapping[tuple[str, ...], Structure]:
        """Codes without the category to the one structure that has them; codes of several name none."""
        coded: dict[tuple[str, ...], list[Structure]] = {}
        for structure in self.structures:
            if structure.terminology is not None:
                coded.setdefault(structure.terminology.key[1:], []).append(structure)
        return {codes: same[0] for codes, same in coded.items() if len(same) == 1}

    @cached_property
    def _largest_first(self) -> tuple[tuple[Structure, frozenset[int]], ...]:
        return tuple(
            sorted(((s, self.leaves_of(s.name)) for s in self.structures), key=lambda each: len(each[1]), reverse=True)
        )

    def find(self, name: str) -> Structure:
        """Return the structure with this name or alias.

        Raises:
            LabelError: no structure has it; the message names the nearest.
        """
        found = self._by_key.get(name_key(name))
        if found is None:
            remedy = did_you_mean(name, [s.name for s in self.structures])
            raise LabelError(
                explain(f"'{name}' is not a structure", where=f"label scheme '{self.name}'", remedy=remedy)
            )
        return found

    def match(self, name: str, terminology: Terminology | None = None) -> Structure | None:
        """Return the structure with these codes, else with this name or alias, else None.

        The category is not compared: DICOM and Slicer write "Anatomical Structure" with different codes
        (SCT 91723000 and 123037004), and a type belongs to one category.
        """
        if terminology is not None:
            coded = self._by_codes.get(terminology.key[1:])
            if coded is not None:
                return coded
        return self._by_key.get(name_key(name))

    def ancestors(self, name: str) -> tuple[Structure, ...]:
        """Return the structure itself, its parent, and so on up to its superclass."""
        chain = [self.find(name)]
        while chain[-1].parent is not None:
            chain.append(self.find(chain[-1].parent))
        return tuple(chain)

    def leaves_of(self, name: str) -> frozenset[int]:
        """Return the indices of the leaves inside a leaf, group or superclass.

        Raises:
            LabelError: no structure has this name.
        """
        return self._leaf_sets[name_key(self.find(name).name)]

    def leaf_set(self, names: tuple[str, ...] | list[str]) -> frozenset[int]:
        """Return the union of the leaves of several structures; "*" stands for every leaf."""
        if "*" in names:
            return frozenset(range(len(self.leaves)))
        return frozenset().union(*(self.leaves_of(name) for name in names))

    def cover(self, leaf_set: frozenset[int]) -> tuple[str, ...]:
        """Return the names of the fewest large structures that make up a label set; ("*",) is every leaf."""
        if len(leaf_set) == len(self.leaves):
            return ("*",)
        left, parts = set(leaf_set), []
        for structure, inside in self._largest_first:
            if inside <= left:
                parts.append(structure.name)
                left -= inside
        return tuple(parts)

    def describe(self, leaf_set: frozenset[int]) -> str:
        """Return a label set in words, by the largest structures that make it up, for messages."""
        names = self.cover(leaf_set)
        return "anything" if names == ("*",) else " or ".join(names) or "nothing"

    def _index_names(self) -> dict[str, Structure]:
        table: dict[str, Structure] = {}
        for structure in self.structures:
            for name in (structure.name, *structure.aliases):
                key = name_key(name)
                if not key:
                    raise self._error(f"a structure has the empty name {name!r}", "give it a name")
                if key == "*":
                    raise self._error("'*' is the name of a structure", 'rename it; "*" stands for anything')
                if table.get(key, structure) is not structure:
                    raise self._error(f"the name '{name}' stands for two structures", "rename one of them")
                table[key] = structure
        return table

    def _check_tree(self) -> None:
        if len(self.structures) < 2:
            raise self._error("the scheme has no structure besides background", "add at least one structure")
        for structure in self.structures:
            if structure.parent is not None and name_key(structure.name) == BACKGROUND:
                raise self._error(f"background has the parent '{structure.parent}'", "make it a root")
            seen, current = [structure.name], structure
            while current.parent is not None:
                if name_key(current.parent) not in self._by_key:
                    names = [s.name for s in self.structures]
                    raise self._error(
                        f"'{current.name}' has the parent '{current.parent}', which is not a structure",
                        did_you_mean(current.parent, names),
                    )
                current = self.find(current.parent)
                if current.name in seen:
                    raise self._error(
                        f"the parents form a circle: {' > '.join([*seen, current.name])}", "cut the circle"
                    )
                if name_key(current.name) == BACKGROUND:
                    raise self._error(f"'{seen[-1]}' lies inside background", "give it another parent or none")
                seen.append(current.name)

    def _error(self, what: str, remedy: str) -> LabelError:
        return LabelError(explain(what, where=f"label scheme '{self.name}'", remedy=remedy))


@lru_cache(maxsize=4096)
def name_key(name: str) -> str:
    """Return a name as it is compared: without case, accents' encoding, spaces, hyphens and underscores."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name)).casefold()


def rest_name(whole: str) -> str:
    """Return what the part of a whole is called that is none of its other parts."""
    return f"rest of {whole}"
