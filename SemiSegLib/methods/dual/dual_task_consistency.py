"""Dual-task consistency: one network segments and measures distances, and the two must agree where no label is.

Semi-supervised Medical Image Segmentation through Dual-task Consistency (DTC; Luo et al., AAAI 2021,
https://arxiv.org/abs/2009.04448). A head of leaves and a head of signed distances share one backbone:

    L = L_seg(p_s, y) + 0.3 |d - G|^2 + lambda(t) mean_v,k (p_d - p_s)^2,   p_d = 1 / (1 + exp(k d))

The first two on labeled rows, the last on all. The gradient of the last flows into both heads. With several classes
every structure stands against all others (``distance_task``), superclasses of several leaves included.

Where we differ. Released code: the cross entropy is computed and not used (preset "code" and "paper": weight 0); lambda
rises in 40 stairs; the largest component of the prediction is kept. Ours: labels teach by their label sets, so coarse
and partial rows teach too; cross entropy beside the Dice of present structures; distances are those of the whole case
with the surface between voxels (the published ones lose a voxel all around and change with the crop) and k is per
voxel, not 1500 for a range of -1 to 1; both heads are averaged at prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.methods.dual.distance_task import DistanceOptions, DistanceTask
from SemiSegLib.methods.dual.dual_learner import DualLearner
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.ramps import RAMPS, ramp


@dataclass(frozen=True, kw_only=True)
class DualTaskConsistencyOptions(DistanceOptions):
    """The two heads and their agreement.

    Attributes:
        distance_weight: of the squared error of the distances; 0.3 in the paper.
        consistency_weight: lambda when in full force; 1 in the paper.
        ramp: how lambda rises: "gaussian" (paper), "linear", "step" or "constant".
        ramp_share: share of the training in which it rises; 1 in the paper (6,000 of 6,000 steps).
        ramp_levels: stairs in which it rises, 0 for a smooth rise; released code 40.
    """

    distance_weight: float = 0.3
    consistency_weight: float = 1.0
    ramp: str = "gaussian"
    ramp_share: float = 1.0
    ramp_levels: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("consistency_weight", self.consistency_weight, low=0.0, high=100.0)
        check_choice("ramp", self.ramp, RAMPS)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_range("ramp_levels", self.ramp_levels, low=0, high=10_000)


class DualTaskConsistency(Method):
    """One network with a head of leaves and a head of distances."""

    Options = DualTaskConsistencyOptions

    def __init__(self, study: Study, options: DualTaskConsistencyOptions) -> None:
        super().__init__()
        self.options = options
        self.task = DistanceTask(study, options)
        self.learner = DualLearner(study, options, self.task)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels teach both heads, and how far the heads are apart on every row."""
        options = self.options
        outputs = self.learner(batch.image)
        segmented = self.task.of_structures(self.learner.probability(outputs))
        measured = self.task.probability(outputs["distance"], progress)
        rise = ramp(progress, options.ramp, share=options.ramp_share, levels=options.ramp_levels or None)
        yield LossTerms(
            {**self.learner.terms(outputs, batch), "consistency": (measured - segmented).square().mean()},
            {**self.learner.weights(), "consistency": options.consistency_weight * rise},
        )

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        outputs = self.learner(image)
        if self.options.prediction == "segmentation":
            return self.learner.probability(outputs)
        measured = self.task.logits(outputs["distance"]).softmax(1)
        if self.options.prediction == "distance":
            return measured
        return (self.learner.probability(outputs) + measured) / 2

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and structures for each output layer."""
        return self.learner.output_rows("learner.")
