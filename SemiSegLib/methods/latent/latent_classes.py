"""Latent classes: structures that were not drawn are told apart by whether they are there (paper 002).

A frozen network g tells how probable it is that each structure is in a patch. Of the structures that a case does not
show, k is positive where p_k > high, negative where p_k < low and ambiguous between; a tumor goes with its organ. With
x_T a patch, x_S the same patch with stronger changes of intensity, t_k the teacher's probability on x_T:

    L = L_labels + w_1 sum_{k positive or negative} BCE(z_k(x_S), q_k) + w_2 sum_{k ambiguous} mean_v (s(z_k) - t_k)^2
    q_k = t_k^(1/tau) / (t_k^(1/tau) + (1 - t_k)^(1/tau)) = s(z_k^T / tau)

No code is published. Where the paper is silent: the teacher predicts, and w rise over the first tenth of the training.
Where ours differs, each an option: negative structures get the target 0 instead of what the teacher says, means over
the structures of a set instead of sums (a case shows one or two and leaves nine), and what dynamic heads and the mean
teacher over structures have of ours. By option also: a structure that the teacher does not find yet is ambiguous
(``unseen``), each voxel of a positive structure counts less where the teacher doubts (``confidence_weighted``), and
marginal losses of a softmax (``output``).

The sharpened target is computed from logits, where it has no power of a small number and is exact in any precision.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.latent.roi_mean_teacher import Lesson, RoiMeanTeacher, RoiTeacherOptions
from SemiSegLib.methods.latent.roi_terms import binary_cross_entropy, binary_entropy, set_mean
from SemiSegLib.methods.method import Study

NEGATIVES = ("zero", "teacher")
UNSEEN = ("sharpen", "ambiguous")


@dataclass(frozen=True, kw_only=True)
class LatentClassesOptions(RoiTeacherOptions):
    """The three sets and what they learn.

    Attributes:
        low: presence below which a structure is taken for absent; 0.1 in paper 002.
        high: presence above which it is taken for present; 0.8 in paper 002.
        temperature: tau of the sharpened target; 0.1 in paper 002.
        latent_weight: w_1 at the end of its rise; 1 in paper 002.
        ambiguous_weight: w_2 at the end of its rise; 1 in paper 002, 0 in its row without the squared loss.
        negative_target: "zero" (ours) or "teacher" (its sharpened answer; paper 002).
        unseen: of a positive structure that the teacher gives 0.5 or less at every voxel of the patch that no label
            teaches: "sharpen" (paper 002: it is taught to be nowhere, although it is there) or "ambiguous" (it counts
            among the ambiguous ones until the teacher finds it).
        confidence_weighted: weigh each voxel of a structure's sharpened target by 1 - entropy / ln 2 of the teacher.
    """

    low: float = 0.1
    high: float = 0.8
    temperature: float = 0.1
    latent_weight: float = 1.0
    ambiguous_weight: float = 1.0
    negative_target: str = "zero"
    unseen: str = "sharpen"
    confidence_weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("low", self.low, low=0.0, high=1.0)
        check_range("high", self.high, low=0.0, high=1.0)
        check_range("temperature", self.temperature, low=0.01, high=1.0)
        check_range("latent_weight", self.latent_weight, low=0.0, high=1000.0)
        check_range("ambiguous_weight", self.ambiguous_weight, low=0.0, high=1000.0)
        check_choice("negative_target", self.negative_target, NEGATIVES)
        check_choice("unseen", self.unseen, UNSEEN)


@dataclass(frozen=True)
class Sets:
    """Three parts of the ROIs that rows leave open, each (B, K) bool; every such ROI is in one of them."""

    positive: Tensor
    negative: Tensor
    ambiguous: Tensor


def three_sets(presence: Tensor, annotated: Tensor, *, low: float, high: float) -> Sets:
    """Return which ROIs that were not drawn are there, are not, or may be.

    Args:
        presence: (B, K) probability that the image holds the ROI; one that is no number is ambiguous.
        annotated: (B, K) bool, ROIs that the row leaves open nowhere.
        low: a ROI below it is absent.
        high: a ROI above it is present, whatever low is.
    """
    positive = ~annotated & (presence > high)
    negative = ~annotated & (presence < low) & ~positive
    return Sets(positive, negative, ~annotated & ~positive & ~negative)


def without_unseen(sets: Sets, teacher: Tensor, open_voxels: Tensor) -> Sets:
    """Return the sets with the positive ROIs that the teacher finds nowhere among the ambiguous ones.

    Sharpened, its answer would be 0 everywhere: a ROI that is there would be taught to be nowhere.

    Args:
        sets: of the ROIs.
        teacher: (B, K, *S) logits.
        open_voxels: (B, K, *S) bool, voxels that no label teaches.
    """
    is_seen = ((teacher > 0) & open_voxels).flatten(2).any(2)
    return Sets(sets.positive & is_seen, sets.negative, sets.ambiguous | (sets.positive & ~is_seen))


def sharpen(logits: Tensor, temperature: float) -> Tensor:
    """Return s(z / tau) = q^(1/tau) / (q^(1/tau) + (1 - q)^(1/tau)) of q = s(z), in float32."""
    return torch.sigmoid(logits.float() / temperature)


class LatentClasses(RoiMeanTeacher):
    """A network with a dynamic head, taught by labels and, by what is in the image, by its own running mean."""

    Options = LatentClassesOptions
    options: LatentClassesOptions

    def __init__(self, study: Study, options: LatentClassesOptions) -> None:
        if study.presence is None:
            raise ConfigError(
                explain(
                    "the study has no network that tells which structures an image holds",
                    where="method latent_classes",
                    remedy="train one first (the stage 'presence' of a run), or choose roi_mean_teacher",
                )
            )
        super().__init__(study, options)
        self.presence = copy.deepcopy(study.presence).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> LatentClasses:
        """Keep the presence network in evaluation."""
        super().train(mode)
        self.presence.eval()
        return self

    def teacher_weights(self) -> dict[str, float]:
        """Return the weight of each term of ``teacher_terms`` at the end of the rise."""
        return {"latent": self.options.latent_weight, "ambiguous": self.options.ambiguous_weight}

    @torch.no_grad()
    def sets(self, image: Tensor, annotated: Tensor) -> Sets:
        """Return the three sets of the ROIs that rows leave open.

        Args:
            image: (B, M, *S) as the teacher sees it.
            annotated: (B, K) bool.
        """
        return three_sets(self.presence(image).float(), annotated, low=self.options.low, high=self.options.high)

    def teacher_terms(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return the cross entropy of the latent ROIs and the squared difference of the ambiguous ones."""
        sets, options = self.sets(lesson.image, lesson.annotated), self.options
        if options.unseen == "ambiguous":
            sets = without_unseen(sets, lesson.teacher, lesson.open)
        lead = (*lesson.annotated.shape, *(1,) * (lesson.open.ndim - 2))
        negative = sets.negative.view(lead)
        target = sharpen(lesson.teacher, options.temperature)
        if options.negative_target == "zero":
            target = target.masked_fill(negative, 0.0)
        losses = binary_cross_entropy(lesson.student, target)
        if options.confidence_weighted:
            sure = 1 - binary_entropy(lesson.teacher)
            losses = losses * (sure.masked_fill(negative, 1.0) if options.negative_target == "zero" else sure)
        squares = (lesson.student.sigmoid() - lesson.teacher.sigmoid()).square()
        latent = lesson.open & (sets.positive | sets.negative).view(lead)
        ambiguous = lesson.open & sets.ambiguous.view(lead)
        return {
            "latent": set_mean(losses, latent, average=options.average, rows=lesson.rows),
            "ambiguous": set_mean(squares, ambiguous, average=options.average, rows=lesson.rows),
        }
