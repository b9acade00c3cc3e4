"""Latent classes: structures that were not drawn are told apart by whether they are there (paper 002).

A frozen network g tells how probable it is that each structure is in a patch. Of the structures that a case does not
show, k is positive where p_k > high, negative where p_k < low and ambiguous between; a tumor goes with its organ. With
x_T a patch, x_S the same patch with stronger changes of intensity, t_k the teacher's probability on x_T:

    L = L_labels + w_1 sum_{k positive or negative} BCE(z_k(x_S), q_k) + w_2 sum_{k ambiguous} mean_v (s(z_k) - t_k)^2
    q_k = t_k^(1/tau) / (t_k^(1/tau) + (1 - t_k)^(1/tau)) = s(z_k^T / tau)

No code is published. Where the paper is silent: the teacher predicts, and w rise over the first tenth of the training.
Where ours differs, each an option: one softmax over the leaves (``output``) of a linear layer (``embedding``). For it
the three sets narrow what each voxel may be, see ``narrowing``, and marginal losses of that take the place of the
labels and of the cross entropy above, w_2 staying as it is:

    L = (1 - w_1) L_marginal(labels) + w_1 L_marginal(narrowed labels) + w_2 (as above)

The teacher speaks in the second half of the training (``wait``), of the same view (``views``); negative structures get
the target 0 instead of what the teacher says (``negative_target``); a structure is not far from the largest piece
that the teacher finds (``pieces``); and means over the structures of a set instead of sums (a case shows one or two and
leaves nine). By option also: a structure that the teacher does not find yet is ambiguous (``unseen``), and of sigmoids
each voxel of a positive structure counts less where the teacher doubts (``confidence_weighted``).

The sharpened target is computed from logits, where it has no power of a small number and is exact in any precision.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.losses.allowed import deep_allowed_loss
from SemiSegLib.methods.latent.narrowing import allowed_leaves, narrowed, without_background
from SemiSegLib.methods.latent.pieces import Pieces
from SemiSegLib.methods.latent.roi_mean_teacher import Lesson, RoiMeanTeacher, RoiTeacherOptions
from SemiSegLib.methods.latent.roi_terms import binary_cross_entropy, binary_entropy, set_mean
from SemiSegLib.methods.method import Study

NEGATIVES = ("zero", "teacher")
UNSEEN = ("sharpen", "ambiguous")
PIECES = ("near", "all")


@dataclass(frozen=True, kw_only=True)
class LatentClassesOptions(RoiTeacherOptions):
    """The three sets and what they learn.

    Attributes:
        low: presence below which a structure is taken for absent; 0.1 in paper 002.
        high: presence above which it is taken for present; 0.8 in paper 002.
        temperature: tau of the sharpened target, with sigmoids; 0.1 in paper 002.
        sure: with a softmax: probability above which the teacher decides what a voxel is among what its label allows.
        pieces: with a softmax: "near" (a structure is not farther from the largest piece that the teacher, or a
            prediction, finds of it than labels show, where enough of them do) or "all" (anywhere; paper 002).
        latent_weight: w_1 at the end of its rise; 1 in paper 002.
        ambiguous_weight: w_2 at the end of its rise; 1 in paper 002, 0 in its row without the squared loss.
        negative_target: "zero" (ours) or "teacher" (its sharpened answer; paper 002).
        unseen: of a positive structure that the teacher gives 0.5 or less at every voxel of the patch that no label
            teaches: "sharpen" (paper 002: it is taught to be nowhere, although it is there) or "ambiguous" (it counts
            among the ambiguous ones until the teacher finds it).
        confidence_weighted: with sigmoids, weigh each voxel of a structure's sharpened target by 1 - entropy / ln 2 of
            the teacher.
    """

    output: str = "softmax"
    embedding: str = "none"
    views: str = "same"
    wait: float = 0.5
    low: float = 0.1
    high: float = 0.8
    temperature: float = 0.1
    sure: float = 0.9
    pieces: str = "near"
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
        check_range("sure", self.sure, low=0.5, high=1.0)
        check_choice("pieces", self.pieces, PIECES)
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
        self.pieces: Pieces | None = None
        if options.pieces == "near" and study.reach is not None:
            self.pieces = Pieces(study.reach.image_mm, study.plan.spacing_mm[3 - study.plan.dimensions :])

    def train(self, mode: bool = True) -> LatentClasses:
        """Keep the presence network in evaluation."""
        super().train(mode)
        self.presence.eval()
        return self

    def teacher_weights(self) -> dict[str, float]:
        """Return the weight of each term of ``teacher_terms`` at the end of the rise."""
        weight = self.options.latent_weight
        latent = {"latent": weight}
        if self.learner.is_softmax:
            latent = {f"latent_{name}": weight * own for name, own in self.options.weights().items()}
        return {**latent, "ambiguous": self.options.ambiguous_weight}

    def label_weights(self, rising: float) -> dict[str, float]:
        """Return the weights of what labels teach: narrowed labels, of which they are a part, take their place."""
        left = 1 - rising * min(1.0, self.options.latent_weight) if self.learner.is_softmax else 1.0
        return {name: left * weight for name, weight in super().label_weights(rising).items()}

    @torch.no_grad()
    def sets(self, image: Tensor, annotated: Tensor) -> Sets:
        """Return the three sets of the ROIs that rows leave open.

        Args:
            image: (B, M, *S) as the teacher sees it.
            annotated: (B, K) bool.
        """
        return three_sets(self.presence(image).float(), annotated, low=self.options.low, high=self.options.high)

    def teacher_terms(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return what the latent ROIs teach, and the squared difference of the ambiguous ones."""
        sets, options = self.sets(lesson.batch.image, lesson.annotated), self.options
        if options.unseen == "ambiguous":
            sets = without_unseen(sets, lesson.teacher, lesson.open)
        squares = (lesson.student.sigmoid() - lesson.teacher.sigmoid()).square()
        ambiguous = lesson.open & _over(sets.ambiguous, lesson.open)
        teach = self._by_labels if self.learner.is_softmax else self._by_structures
        return {
            **teach(lesson, sets),
            "ambiguous": set_mean(squares, ambiguous, average=options.average, rows=lesson.rows),
        }

    def _by_structures(self, lesson: Lesson, sets: Sets) -> dict[str, Tensor]:
        options, negative = self.options, _over(sets.negative, lesson.open)
        target = sharpen(lesson.teacher, options.temperature)
        if options.negative_target == "zero":
            target = target.masked_fill(negative, 0.0)
        losses = binary_cross_entropy(lesson.student, target)
        if options.confidence_weighted:
            sure = 1 - binary_entropy(lesson.teacher)
            losses = losses * (sure.masked_fill(negative, 1.0) if options.negative_target == "zero" else sure)
        latent = lesson.open & _over(sets.positive | sets.negative, lesson.open)
        return {"latent": set_mean(losses, latent, average=options.average, rows=lesson.rows)}

    def _by_labels(self, lesson: Lesson, sets: Sets) -> dict[str, Tensor]:
        learner, leaf_rois = self.learner, list(self.learner.table.leaf_rois)
        is_open, unclear = (without_background(part[:, leaf_rois]) for part in (lesson.open, sets.ambiguous))
        # A leaf of an absent organ is absent, whatever is said of itself.
        absent = (sets.negative.float() @ learner.members.float()) > 0
        if self.options.negative_target == "teacher":
            absent = torch.zeros_like(absent)
        after = narrowed(
            allowed_leaves(lesson.batch.codes, lesson.batch.label_sets),
            learner.probability(lesson.said),
            is_open=is_open,
            negative=absent,
            ambiguous=unclear,
            sure=self.options.sure,
            pieces=self.pieces,
        )
        whole, first = lesson.whole, len(lesson.whole) - len(lesson.batch)
        told = allowed_leaves(whole.codes[:first], whole.label_sets)
        logits, strides = learner.leaf_logits(lesson.outputs), learner.backbone.deep_strides
        found = deep_allowed_loss(logits, strides[: len(logits) - 1], torch.cat([told, after]), learner.members)
        return {f"latent_{name}": value for name, value in found.items()}


def _over(rows: Tensor, voxels: Tensor) -> Tensor:
    """Return (B, K) of rows so that it spreads over (B, K, *S)."""
    return rows.view(*rows.shape, *(1,) * (voxels.ndim - 2))
