"""What dual-task methods share: targets of distances, their error, and the probabilities that distances stand for.

A structure is a foreground leaf or a superclass of several leaves, one against all others (``distance_structures``).
Two transforms turn distances into probabilities:

- "physical" (ours): distances of the whole case in voxels, half a voxel at the first voxel on either side, squashed by
  tanh(d / r); p = 1 / (1 + exp(k r d_hat)) with k per voxel. A voxel is the plan's smallest spacing.
- "published" (paper 003, DTC, SASSNet): ``published_distance`` of the crop and p = 1 / (1 + exp(k d_hat)), k = 1500.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.distance import SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN, distance_structures, structure_members
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.distance import (
    distance_error,
    distance_to_logits,
    distance_to_probability,
    published_distance,
    squash_distance,
)
from SemiSegLib.losses.roi import roi_maps
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.methods.parts.ramps import between
from SemiSegLib.methods.parts.supervision import LABELED, SegmentationOptions

TRANSFORMS = ("physical", "published")
SUPERVISIONS = ("marginal", "full")
PREDICTIONS = ("segmentation", "distance", "mean")


@dataclass(frozen=True, kw_only=True)
class DistanceOptions(SegmentationOptions):
    """The losses of labels where distances are learned beside the segmentation.

    Attributes:
        supervision: "marginal" (every label by its label set; ours) or "full" (fully labeled rows alone, all others
            count as unlabeled; the papers).
        transform: "physical" (ours) or "published"; see the module.
        steepness: k at the end of the training and at prediction; 2 per voxel (ours: soft Dice of a true map 0.99, 6 %
            of the voxels carry gradient) or 1500 with the published transform.
        steepness_start: k at the start; it goes to the other in a straight line.
        radius_voxels: r of the physical transform; ours, 10 to 20 are wide for structures of 20 to 60 voxels.
        distance_weight: of the error of the distances; 0.3 in DTC and SASSNet, 1 in paper 003.
        absolute: absolute error instead of the squared (the released code of paper 003).
        prediction: what is predicted with: "segmentation" (released code), "distance" or the "mean" of both.
    """

    supervision: str = "marginal"
    transform: str = "physical"
    steepness: float = 2.0
    steepness_start: float = 2.0
    radius_voxels: float = 15.0
    distance_weight: float = 1.0
    absolute: bool = False
    prediction: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("supervision", self.supervision, SUPERVISIONS)
        check_choice("transform", self.transform, TRANSFORMS)
        check_range("steepness", self.steepness, low=0.01, high=1e4)
        check_range("steepness_start", self.steepness_start, low=0.01, high=1e4)
        check_range("radius_voxels", self.radius_voxels, low=1.0, high=1000.0)
        check_range("distance_weight", self.distance_weight, low=0.0, high=100.0)
        check_choice("prediction", self.prediction, PREDICTIONS)

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """The regimes whose labels teach."""
        return (Regime.FULL,) if self.supervision == "full" else LABELED


class DistanceTask(nn.Module):
    """Between distances, labels and probabilities; it has no weights.

    Distances of a network are (B, K, *S) between -1 and 1, the leaves first.

    Args:
        study: scheme and plan.
        options: transform and its numbers.
    """

    members: Tensor

    def __init__(self, study: Study, options: DistanceOptions) -> None:
        super().__init__()
        self.options = options
        self.names = distance_structures(study.scheme)
        self.leaf_count = len(study.scheme.leaf_names) - 1
        self._groups = [sorted(study.scheme.leaves_of(name)) for name in self.names[self.leaf_count :]]
        self.voxel_mm = min(mm for mm in study.plan.spacing_mm[-study.plan.dimensions :] if mm > 0)
        self.register_buffer("members", torch.from_numpy(structure_members(study.scheme)), persistent=False)

    def logits(self, distance: Tensor, progress: Progress | None = None) -> Tensor:
        """Return (B, L, *S) float32 leaf logits that distances stand for; at prediction without progress."""
        return distance_to_logits(distance[:, : self.leaf_count], self._slope(progress))

    def probability(self, distance: Tensor, progress: Progress | None = None) -> Tensor:
        """Return (B, K, *S) float32, the probability of each structure against all others."""
        return distance_to_probability(distance, self._slope(progress))

    def of_structures(self, probability: Tensor) -> Tensor:
        """Return (B, K, *S) probabilities of the structures for (B, L, *S) of the leaves."""
        if not self._groups:
            return probability[:, 1:]
        sums = [torch.stack([probability[:, leaf] for leaf in leaves]).sum(0) for leaves in self._groups]
        return torch.cat([probability[:, 1:], torch.stack(sums, dim=1)], dim=1)

    def target(self, rows: Batch) -> tuple[Tensor, Tensor]:
        """Return the distances that a network should give, and where they are known, both (B, K, *S)."""
        is_inside, is_told = roi_maps(rows.codes, *self._tables(rows.label_sets))
        known = rows.maps[SIGNED_DISTANCE_KNOWN].view(*is_told.shape[:2], *(1,) * (is_told.ndim - 2)) & is_told
        if self.options.transform == "published":
            return published_distance(is_inside), known
        return squash_distance(rows.maps[SIGNED_DISTANCE], self.options.radius_voxels * self.voxel_mm), known

    def error(self, distance: Tensor, rows: Batch) -> Tensor:
        """Return the error of the distances of labeled rows; 0 with a graph where no distance is known."""
        return distance_error(distance, *self.target(rows), absolute=self.options.absolute)

    def respecting(self, probability: Tensor, rows: Batch) -> Tensor:
        """Return (B, K, *S) probabilities made 1 and 0 where the labels say so; elsewhere as they are."""
        is_inside, is_told = roi_maps(rows.codes, *self._tables(rows.label_sets))
        return torch.where(is_told, is_inside.to(probability.dtype), probability)

    def _slope(self, progress: Progress | None) -> float:
        options = self.options
        end = options.steepness
        steepness = end if progress is None else between(progress, options.steepness_start, end)
        return steepness * (options.radius_voxels if options.transform == "physical" else 1.0)

    def _tables(self, label_sets: Tensor) -> tuple[Tensor, Tensor]:
        """Return (C, K) bool: a code lies inside a structure; it lies inside or outside it."""
        is_inside = ~(label_sets[:, None] & ~self.members).any(-1)
        return is_inside, is_inside | ~(label_sets[:, None] & self.members).any(-1)
