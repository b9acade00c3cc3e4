"""Negative learning: the plain network, taught by leaves, and by what a superclass rules out.

Efficient Subclass Segmentation (Dai et al., MICCAI 2023, https://arxiv.org/abs/2307.00257), row "NL", after Kim et al.
2019. Adds to supervised training L_NL, which penalizes what the superclass label of a voxel excludes: for one
foreground superclass -mean_{y=1} log(1 - p_bg) - mean_{y=0} log p_bg, a marginal cross entropy in which both
superclasses count alike. It was the paper's weakest row; ``marginal`` is its unbalanced form with a Dice loss.

Where ours differs: any number of superclasses and partial labels, by label sets; every labeled row takes part (in the
released loss the rows after the labeled ones, which its trainer does not sort; preset "code" has them sorted); not
balanced by default, because balancing gives every
voxel of a small superclass the weight of many others, and it swells. Presets "paper" and "code" are balanced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.negative import negative_cross_entropy
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import Learner
from SemiSegLib.methods.parts.supervision import LABELED, SegmentationOptions, nothing

ROWS = ("all", "unlabeled")


@dataclass(frozen=True, kw_only=True)
class NegativeLearningOptions(SegmentationOptions):
    """The loss of superclass labels beside that of leaf labels.

    Attributes:
        negative_weight: of L_NL; 1 in the released code, the paper does not say.
        negative_rows: that learn L_NL: "all" labeled ones, or "unlabeled", those without full labels (released loss).
        balanced: every superclass counts alike in L_NL (paper), or every voxel does (ours).
    """

    negative_weight: float = 1.0
    balanced: bool = False
    negative_rows: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("negative_weight", self.negative_weight, low=0.0, high=100.0)
        check_choice("negative_rows", self.negative_rows, ROWS)


class NegativeLearning(Method):
    """One network with one head: leaf losses from full rows, L_NL from every labeled row or from those not full."""

    Options = NegativeLearningOptions
    membership: Tensor

    def __init__(self, study: Study, options: NegativeLearningOptions) -> None:
        super().__init__()
        self.options = options
        self.learner = Learner(study, options, regimes=(Regime.FULL,))
        self.register_buffer("membership", torch.from_numpy(study.scheme.membership.copy()), persistent=False)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield cross entropy and Dice of the full rows and L_NL of the labeled ones."""
        weights = {**self.learner.weights(), "negative": self.options.negative_weight}
        rows = batch.part(*LABELED)
        if len(rows) == 0:
            yield LossTerms({name: nothing(self) for name in weights}, weights)
            return
        outputs = self.learner(rows.image)
        first = len(rows.part(Regime.FULL)) if self.options.negative_rows == "unlabeled" else 0
        negative = negative_cross_entropy(
            outputs["subclass"][first:],
            rows.codes[first:],
            rows.label_sets,
            self.membership,
            balanced=self.options.balanced,
        )
        yield LossTerms({**self.learner.terms(outputs, rows), "negative": negative}, weights)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.learner(image))

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the leaves for each output layer."""
        return self.learner.output_rows("learner.")
