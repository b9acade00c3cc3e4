"""Marginal supervision: one head of leaves, taught by the label set of every voxel, fine, coarse or partial.

Adds to supervised training: a voxel drawn as a superclass teaches that its leaves together are likely
(-log of the sum of their probabilities) and nothing about which of them. Shi et al. 2021 and Fidon et al. 2021.
Paper 000's "NL" row is the class-balanced form of this cross entropy without Dice; here it is unbalanced and has the
Dice of the superclass beside that of the leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from SemiSegLib.methods.parts.supervision import LABELED, SegmentationOptions
from SemiSegLib.methods.subclass.supervised import Supervised


@dataclass(frozen=True, kw_only=True)
class MarginalOptions(SegmentationOptions):
    """The loss of labels; nothing else to choose."""


class Marginal(Supervised):
    """The supervised network, taught by every labeled row."""

    Options = MarginalOptions
    regimes = LABELED
