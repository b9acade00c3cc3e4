"""Supervised segmentation: the fully labeled rows, cross entropy and Dice. The lower and upper bound of every paper.

Differs from the papers' bounds by the plan's network, the augmentation and the Dice of present structures only; the
preset "paper" has the loss and settings of paper 000's U-Net bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import Learner, label_losses
from SemiSegLib.methods.parts.supervision import SegmentationOptions


@dataclass(frozen=True, kw_only=True)
class SupervisedOptions(SegmentationOptions):
    """The loss of labels; nothing else to choose."""


class Supervised(Method):
    """One network with one head, taught by some regimes of the batch."""

    Options: type[SegmentationOptions] = SupervisedOptions
    regimes: tuple[Regime, ...] = (Regime.FULL,)

    def __init__(self, study: Study, options: SegmentationOptions) -> None:
        super().__init__()
        self.learner = Learner(study, options, regimes=self.regimes)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield cross entropy and Dice of the rows it learns from."""
        yield from label_losses(self.learner, batch)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.learner(image))

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the leaves for each output layer."""
        return self.learner.output_rows("learner.")
