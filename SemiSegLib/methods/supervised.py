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
from SemiSegLib.methods.supervision import (
    SegmentationOptions,
    nothing,
    segmentation_terms,
    study_backbone,
    with_deep_terms,
)
from SemiSegLib.networks.heads import LinearHead
from SemiSegLib.networks.network import SegmentationNetwork


@dataclass(frozen=True, kw_only=True)
class SupervisedOptions(SegmentationOptions):
    """The loss of labels; nothing else to choose."""


class Supervised(Method):
    """One network with one head, taught by some regimes of the batch."""

    Options: type[SegmentationOptions] = SupervisedOptions
    regimes: tuple[Regime, ...] = (Regime.FULL,)

    def __init__(self, study: Study, options: SegmentationOptions) -> None:
        super().__init__()
        self.options = options
        self.leaf_names = study.scheme.leaf_names
        leaves = len(self.leaf_names)
        backbone = study_backbone(study)
        head = LinearHead(backbone.feature_channels, leaves, study.plan.dimensions)
        self.network = SegmentationNetwork(backbone, {"subclass": head}, leaves=leaves)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield cross entropy and Dice of the rows it learns from."""
        rows = batch.part(*self.regimes)
        weights = self.options.weights()
        if len(rows) == 0:
            yield LossTerms({name: nothing(self) for name in weights}, weights)
            return
        outputs = self.network(rows.image)
        terms = segmentation_terms(outputs["subclass"], rows.codes, rows.label_sets, self.options)
        terms = with_deep_terms(terms, outputs.deep, self.network.deep_strides, rows, self.options)
        yield LossTerms(terms, weights)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        logits: Tensor = self.network(image)["subclass"]
        return logits.float().softmax(1)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the leaves for each output layer."""
        return self.network.output_rows({"subclass": self.leaf_names}, prefix="network.")
