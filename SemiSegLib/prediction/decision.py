"""From leaf probabilities to one leaf a voxel: down the tree of the scheme, or the most probable leaf."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.methods.method import Method

# A leaf by its index, or what lies directly inside a group or superclass.
Node = int | tuple["Node", ...]


class Decision:
    """Decides the leaf of each voxel.

    "superclass_first" takes the most probable superclass, then the most probable group or leaf inside it, and so on to
    a leaf; the probability of a structure is the sum over its leaves. A network that has learned from coarse labels
    where a superclass is, and not yet which of its leaves, so finds the superclass: with background 0.36 and three
    leaves of 0.21 each, the most probable leaf would be background. "leaf" takes the most probable leaf, as the papers
    do. The two agree wherever a leaf has more than one half, and everywhere where every superclass is a leaf.

    Args:
        scheme: whose leaves the probabilities are of.
        rule: "superclass_first" or "leaf".
    """

    def __init__(self, scheme: LabelScheme, rule: str) -> None:
        self.tree: tuple[Node, ...] = tuple(range(len(scheme.leaves)))
        if rule == "superclass_first":
            self.tree = _inside(scheme, None)

    @classmethod
    def of(cls, method: Method, scheme: LabelScheme) -> Decision:
        """Return the decision that a method was trained to be read by."""
        return cls(scheme, method.decision)

    def __call__(self, probability: Tensor) -> Tensor:
        """Return (*S) uint8 leaf indices for (L, *S) probabilities."""
        if all(isinstance(node, int) for node in self.tree):
            return probability.argmax(0).to(torch.uint8)
        return self.one_by_one(probability.__getitem__)

    def one_by_one(self, probability_of: Callable[[int], Tensor]) -> Tensor:
        """Return (*S) uint8 leaf indices, where the probabilities of all leaves are too much to hold at once.

        Args:
            probability_of: returns the (*S) probability of a leaf; asked once for each, in the order of the tree.
        """
        total, leaf = _decide(self.tree, probability_of)
        return leaf.expand(total.shape)


def _inside(scheme: LabelScheme, parent: str | None) -> tuple[Node, ...]:
    indices = {name_key(leaf.name): index for index, leaf in enumerate(scheme.leaves)}
    found: list[Node] = []
    for structure in scheme.structures:
        own = None if structure.parent is None else name_key(structure.parent)
        if own != parent:
            continue
        key = name_key(structure.name)
        found.append(indices[key] if key in indices else _inside(scheme, key))
    return tuple(found)


def _decide(node: Node, probability_of: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
    """Return probability (*S) and leaf, (*S) or () uint8, of what a node is decided to be."""
    if isinstance(node, int):
        value = probability_of(node)
        return value, torch.full((), node, dtype=torch.uint8, device=value.device)
    total, leaf = _decide(node[0], probability_of)
    best = total
    for child in node[1:]:
        value, inner = _decide(child, probability_of)
        # The first of equals, as argmax.
        leaf = torch.where(value > best, inner, leaf)
        best = torch.maximum(best, value)
        total = total + value
    return total, leaf
