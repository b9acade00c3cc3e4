"""Dual-task mutual learning: a network that segments and a network that measures distances teach each other.

Dual-Task Mutual Learning for Semi-Supervised Medical Image Segmentation (DTML, paper 003; Zhang and Zhang, PRCV 2021,
https://arxiv.org/abs/2103.04708). Two independent networks, M_s of leaves and M_d of signed distances:

    L_s = L_seg(p_s, y) + lambda(t) mean_v,k (p_s - sg p_d)^2
    L_d = L_mask(p_d, y), or L_dis = |d - G|, or both, + lambda(t) mean_v,k (p_d - sg p_s)^2,   p_d = 1 / (1 + exp(k d))

The agreement is on all rows. With several classes every structure stands against all others (``distance_task``).

Where the papers and their code disagree. The paper's lambda of 0.1 and its code's 1.0; the code adds one agreement,
not detached, to both losses and goes back through both, so each network gets it twice: 20 times the paper. Preset
"code" counts it twice; detached terms have the same gradients as the code's shared one (a test). The paper prints the
ramp without its square and p_d with its sign inverted; both are used as in the code. L_dis is the squared error here
(paper: L2; code: the absolute error, over labels of unlabeled rows too, and unused), on labeled rows alone. The code
predicts with M_s and keeps the largest component; the paper is silent.

Ours: labels teach by their label sets; L_mask and L_dis together, with cross entropy; distances of the whole case with
the surface between voxels and k per voxel (``distance_task``); targets of the agreement are made sure where labels are
(``respect_labels``); both networks are averaged at prediction and their mean entropy is the uncertainty. As an option a
running mean of each predicts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.methods.dual.distance_task import DistanceTask
from SemiSegLib.methods.dual.dual_learner import DistanceLearner, DistanceLearnerOptions
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import Learner, label_losses
from SemiSegLib.methods.parts.ramps import RAMPS, ramp
from SemiSegLib.methods.parts.supervision import nothing
from SemiSegLib.methods.parts.teacher import Teachers

NETWORKS = ("both", "segmentation", "distance")
PREDICTORS = ("student", "teacher")


@dataclass(frozen=True, kw_only=True)
class DualTaskMutualLearningOptions(DistanceLearnerOptions):
    """The two networks and their agreement.

    Attributes:
        networks: "both", or "segmentation" or "distance" alone, which labels alone teach (the paper's ablations).
        consistency_weight: lambda when in full force; paper 0.1, released code 1.
        counted_twice: double the agreement, as the released code does.
        respect_labels: the targets of the agreement are 1 and 0 where labels say so (ours).
        ramp: how lambda rises: "gaussian" (paper), "linear", "step" or "constant".
        ramp_share: share of the training in which it rises; 1 in the paper (40 x 150 of 6,000 steps).
        ramp_levels: stairs in which it rises, 0 for a smooth rise; released code 40.
        predict_with: "student", the trained networks, or "teacher", a running mean of each, which teaches nothing and
            costs a copy of the weights.
        teacher_decay: share of a running mean that is kept at each step.
    """

    networks: str = "both"
    consistency_weight: float = 0.1
    counted_twice: bool = False
    respect_labels: bool = True
    ramp: str = "gaussian"
    ramp_share: float = 1.0
    ramp_levels: int = 0
    predict_with: str = "student"
    teacher_decay: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("networks", self.networks, NETWORKS)
        check_range("consistency_weight", self.consistency_weight, low=0.0, high=100.0)
        check_choice("ramp", self.ramp, RAMPS)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_range("ramp_levels", self.ramp_levels, low=0, high=10_000)
        check_choice("predict_with", self.predict_with, PREDICTORS)
        check_range("teacher_decay", self.teacher_decay, low=0.0, high=1.0)


class DualTaskMutualLearning(Method):
    """A network of leaves and a network of distances, each an optimizer group of its own."""

    Options = DualTaskMutualLearningOptions

    def __init__(self, study: Study, options: DualTaskMutualLearningOptions) -> None:
        super().__init__()
        self.options = options
        self.task = DistanceTask(study, options)
        has = {name: options.networks in ("both", name) for name in ("segmentation", "distance")}
        self.segmentation = Learner(study, options, regimes=options.regimes) if has["segmentation"] else None
        self.distance = DistanceLearner(study, options, self.task) if has["distance"] else None
        is_taught = options.predict_with == "teacher"
        self.teachers = Teachers(self._networks.values(), decay=options.teacher_decay) if is_taught else None

    @property
    def _networks(self) -> dict[str, Learner | DistanceLearner]:
        networks = {"segmentation": self.segmentation, "distance": self.distance}
        return {name: network for name, network in networks.items() if network is not None}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each network."""
        return {name: list(network.parameters()) for name, network in self._networks.items()}

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels and the other network teach the segmentation, then the same of the distances."""
        if self.segmentation is None or self.distance is None:
            yield self._alone(batch, progress)
            return
        segmented, measured = self.segmentation(batch.image), self.distance(batch.image)
        of_leaves = self.task.of_structures(self.segmentation.probability(segmented))
        of_distances = self.task.probability(measured["distance"], progress)
        weight = self._consistency_weight(progress)
        apart = (of_leaves - self._target(of_distances, batch)).square().mean()
        yield LossTerms(
            {**self.segmentation.terms(segmented, batch), "segmentation_consistency": apart},
            {**self.segmentation.weights(), "segmentation_consistency": weight},
            group="segmentation",
        )
        apart = (of_distances - self._target(of_leaves, batch)).square().mean()
        yield LossTerms(
            {**self.distance.terms(measured, batch, progress), "distance_consistency": apart},
            {**self.distance.weights(), "distance_consistency": weight},
            group="distance",
        )

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images; of the only network if there is one alone."""
        if len(self._networks) == 1:
            return self._probability(next(iter(self._networks)), image)
        chosen = self.options.prediction
        return self._mean(image) if chosen == "mean" else self._probability(chosen, image)

    def after_step(self, progress: Progress) -> None:
        """Let the running means follow, if they predict."""
        if self.teachers is not None:
            self.teachers.follow(self._networks.values())

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return the entropy of the mean of both networks over ln L; None where that is the prediction's own."""
        return _doubt(self._mean(image)) if self._has_doubt else None

    def predict_with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``predict`` and ``uncertainty`` do, from one pass of each network."""
        if not self._has_doubt:
            return self.predict(image), None
        said = {name: self._probability(name, image) for name in self._networks}
        return said[self.options.prediction], _doubt((said["segmentation"] + said["distance"]) / 2)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and structures for each output layer."""
        rows: dict[str, tuple[str, ...]] = {}
        for index, (name, network) in enumerate(self._networks.items()):
            rows |= network.output_rows(f"{name}.")
            if self.teachers is not None:
                rows |= network.output_rows(f"teachers.{index}.network.")
        return rows

    @property
    def _has_doubt(self) -> bool:
        """There are two networks, and their mean is not what is predicted already."""
        return len(self._networks) == 2 and self.options.prediction != "mean"

    def _alone(self, batch: Batch, progress: Progress) -> LossTerms:
        """Return what labels teach the only network; only labeled rows are computed."""
        if self.segmentation is not None:
            return replace(next(label_losses(self.segmentation, batch)), group="segmentation")
        assert self.distance is not None
        weights, rows = self.distance.weights(), batch.part(*self.options.regimes)
        if len(rows) == 0:
            return LossTerms({name: nothing(self.distance) for name in weights}, weights, group="distance")
        return LossTerms(self.distance.terms(self.distance(rows.image), rows, progress), weights, group="distance")

    def _consistency_weight(self, progress: Progress) -> float:
        options = self.options
        rise = ramp(progress, options.ramp, share=options.ramp_share, levels=options.ramp_levels or None)
        return options.consistency_weight * rise * (2 if options.counted_twice else 1)

    def _target(self, probability: Tensor, batch: Batch) -> Tensor:
        """Return what the other network shall agree with: no gradient flows into it."""
        target = probability.detach()
        if not self.options.respect_labels:
            return target
        rows = batch.part(*self.options.regimes)
        return torch.cat([self.task.respecting(target[: len(rows)], rows), target[len(rows) :]])

    def _probability(self, name: str, image: Tensor) -> Tensor:
        network = self._networks[name]
        looking = network if self.teachers is None else self.teachers[list(self._networks).index(name)]
        return network.probability(looking(image))

    def _mean(self, image: Tensor) -> Tensor:
        return (self._probability("segmentation", image) + self._probability("distance", image)) / 2


def _doubt(mean: Tensor) -> Tensor:
    """Return the (B, *S) entropy of (B, L, *S) probabilities over ln L, 0 to 1."""
    entropy: Tensor = torch.special.entr(mean).sum(1)
    return (entropy / math.log(mean.shape[1])).clamp(0, 1)
