"""Networks that learn distances from labels: beside the leaves in one network, or alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.distance import SIGNED_DISTANCE, distance_structures
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.methods.dual.distance_task import DistanceOptions, DistanceTask
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.methods.parts.learner import Learner
from SemiSegLib.methods.parts.supervision import SegmentationOptions, nothing, segmentation_terms, study_backbone
from SemiSegLib.networks.heads import DistanceHead, LinearHead
from SemiSegLib.networks.network import Outputs, SegmentationNetwork

DISTANCE_LOSSES = ("mask", "distance", "both")


class DualLearner(Learner):
    """One network with a head of leaves and a head of distances; labels teach both (DTC, SASSNet).

    Args:
        study: scheme and plan.
        options: the losses.
        task: of its distances.
    """

    def __init__(self, study: Study, options: DistanceOptions, task: DistanceTask) -> None:
        super().__init__(study, options, regimes=options.regimes)
        self.task = task
        self.distance_weight = options.distance_weight

    def _network(self, study: Study, options: SegmentationOptions) -> SegmentationNetwork:
        backbone, dimensions = study_backbone(study), study.plan.dimensions
        leaves, structures = len(study.scheme.leaf_names), len(distance_structures(study.scheme))
        heads = {
            "subclass": LinearHead(backbone.feature_channels, leaves, dimensions),
            "distance": DistanceHead(backbone.feature_channels, structures, dimensions),
        }
        return SegmentationNetwork(backbone, heads, leaves=leaves)

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        return {**super().weights(), "distance": self.distance_weight}

    def _terms(self, outputs: Outputs, rows: Batch, emphasis: Tensor | None) -> dict[str, Tensor]:
        return {**super()._terms(outputs, rows, emphasis), "distance": self.task.error(outputs["distance"], rows)}

    def _head_names(self) -> Mapping[str, tuple[str, ...]]:
        return {**super()._head_names(), "distance": self.task.names}


@dataclass(frozen=True, kw_only=True)
class DistanceLearnerOptions(DistanceOptions):
    """The losses of labels where distances have a network of their own.

    Attributes:
        distance_loss: "mask" (the Dice of what the distances stand for; the paper's best row), "distance" (the error of
            the distances) or "both" (ours).
        mask_cross_entropy_weight: of the cross entropy beside that Dice; ours 1, which also teaches that a structure is
            absent, paper 0.
        mask_dice_weight: of that Dice.
    """

    distance_loss: str = "both"
    mask_cross_entropy_weight: float = 1.0
    mask_dice_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("distance_loss", self.distance_loss, DISTANCE_LOSSES)
        check_range("mask_cross_entropy_weight", self.mask_cross_entropy_weight, low=0.0, high=100.0)
        check_range("mask_dice_weight", self.mask_dice_weight, low=0.0, high=100.0)


class DistanceLearner(nn.Module):
    """A network of distances alone; labels teach the distances, the masks they stand for, or both (paper 003's M_d).

    Args:
        study: scheme and plan.
        options: the losses.
        task: of its distances.
    """

    def __init__(self, study: Study, options: DistanceLearnerOptions, task: DistanceTask) -> None:
        super().__init__()
        self.options, self.task = options, task
        backbone, structures = study_backbone(study), len(task.names)
        head = DistanceHead(backbone.feature_channels, structures, study.plan.dimensions)
        self.network = SegmentationNetwork(backbone, {"distance": head}, leaves=structures, measures=True)

    def forward(self, image: Tensor) -> Outputs:
        """Return the network's outputs for (B, M, *S) images."""
        outputs: Outputs = self.network(image)
        return outputs

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        options, found = self.options, {}
        if options.distance_loss != "distance":
            found["mask_cross_entropy"] = options.mask_cross_entropy_weight
            found["mask_dice"] = options.mask_dice_weight
        if options.distance_loss != "mask":
            found["distance"] = options.distance_weight
        return found

    def terms(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return what the labels teach; 0 with a graph where no row does.

        Args:
            outputs: of the images of the whole batch, or of its labeled rows alone.
            batch: whose outputs these are.
            progress: how far the training is.
        """
        rows = batch.part(*self.options.regimes)
        if len(rows) == 0:
            return {name: nothing(self) for name in self.weights()}
        own = outputs.first(len(rows))
        sums, total, weight = self._terms(own["distance"], rows, progress), 1.0, 1.0
        for distance, stride in zip(own.deep, self.network.deep_strides, strict=True):
            weight /= 2
            total += weight
            found = self._terms(distance, _coarser(rows, stride), progress)
            sums = {name: value + weight * found[name] for name, value in sums.items()}
        return {name: value / total for name, value in sums.items()}

    def _terms(self, distance: Tensor, rows: Batch, progress: Progress) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if self.options.distance_loss != "distance":
            logits = self.task.logits(distance, progress)
            found = segmentation_terms(logits, rows.codes, rows.label_sets, self.options, prefix="mask_")
        if self.options.distance_loss != "mask":
            found["distance"] = self.task.error(distance, rows)
        return found

    def probability(self, outputs: Outputs) -> Tensor:
        """Return (B, L, *S) float32 leaf probabilities."""
        return self.task.logits(outputs["distance"]).softmax(1)

    def output_rows(self, prefix: str) -> dict[str, tuple[str, ...]]:
        """Return the class names of each output layer's rows, for a warm start; ``prefix`` ends with a point."""
        layers = ["heads.distance", *(f"deep_heads.{i}" for i in range(len(self.network.deep_heads)))]
        return {
            f"{prefix}network.{layer}.convolution.{part}": self.task.names
            for layer in layers
            for part in ("weight", "bias")
        }


def _coarser(rows: Batch, stride: tuple[int, ...]) -> Batch:
    """Return a batch whose codes and distances, where it has any, are those of every stride-th voxel."""
    chosen = tuple(slice(None, None, step) for step in stride)
    maps = dict(rows.maps)
    if SIGNED_DISTANCE in maps:
        maps[SIGNED_DISTANCE] = maps[SIGNED_DISTANCE][(slice(None), slice(None), *chosen)]
    return replace(rows, codes=rows.codes[(slice(None), *chosen)], maps=maps)
