"""Efficient subclass segmentation: leaves from a few fully labeled scans, superclasses from many.

Dai et al., MICCAI 2023 (https://arxiv.org/abs/2307.00257), "Ours". Adds to supervised training: a superclass output
that learns from every label, whose logits the leaf output may see (prior concatenation, PC), one normalization per
superclass (separate normalization, SN), and HierarchicalMix (HM), by which scans with coarse labels learn leaves too.
Each can be switched off, and HM has its mixing and its pseudo-labels alone, so every row of the paper's Table 2 is a
choice of options.

Preset "paper" is the paper's text. Preset "code" is what its released code does: the loss of mixed images has no
gradient, pseudo-labels are made in training mode and by an exponential threshold. (In one of its commits SN also takes
the norms out of every block of the network, in another from the last alone, as here.)

Ours is what measurements kept, each by an option: two outputs, the subclass predicted inside the superclass; full and
partial labels teach the leaves; batches with fewer full rows; no HierarchicalMix. On the hippocampus each part of it
cost accuracy in the same time: mixed images blur outlines that the superclass label knows, and pseudo-labels taken
early make mistakes about the border between leaves permanent. Where HM is switched on, ours differs from the paper by:
one pass over mixed coarse scans instead of two; pseudo-labels from a teacher, given the label, above a threshold that
adapts to each leaf; partly labeled scans take part. See ``hierarchical_mix`` for what is corrected in all but "code".

Rows of the batch serve as donors, so a batch needs a fully labeled row and another one for HM. With batch norm choose
two passes: mixed images of the one pass move the running statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.mix.hierarchical_mix import HierarchicalMix
from SemiSegLib.methods.mix.mix_options import LOOKERS, MixOptions
from SemiSegLib.methods.mix.released_mix import released_terms
from SemiSegLib.methods.parts.hierarchy_learner import build_hierarchy_learner
from SemiSegLib.methods.parts.learner import Learner, label_losses
from SemiSegLib.methods.parts.supervision import LABELED, nothing
from SemiSegLib.methods.parts.teacher import Teacher
from SemiSegLib.networks.modes import evaluating, sparing_statistics


@dataclass(frozen=True, kw_only=True)
class EfficientSubclassOptions(MixOptions):
    """The three parts of the method, and who predicts.

    Attributes:
        predict_with: "student" or "teacher".
    """

    predict_with: str = "student"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("predict_with", self.predict_with, LOOKERS)


class EfficientSubclass(Method):
    """One network, taught by labels and by HierarchicalMix; and its teacher, if one is asked for."""

    Options = EfficientSubclassOptions

    def __init__(self, study: Study, options: EfficientSubclassOptions) -> None:
        super().__init__()
        self.options = options
        self.learner = build_hierarchy_learner(study, options)
        self.mix = HierarchicalMix(study.scheme, options, study.plan.patch_spacing_mm)
        makes_labels = options.needs_pseudo_labels and options.pseudo_labels == "teacher"
        self.teacher: Teacher | None = None
        if (makes_labels and options.passes != "released") or options.predict_with == "teacher":
            self.teacher = Teacher(self.learner, decay=options.teacher_decay)
        self._pupils = (Regime.COARSE, Regime.PARTIAL) if options.use_partial else (Regime.COARSE,)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels teach and what HierarchicalMix teaches."""
        full, pupils = batch.part(Regime.FULL), batch.part(*self._pupils)
        weights = self.mix.weights(progress)
        if not self.options.is_mixing:
            yield from label_losses(self.learner, batch)
        elif len(pupils) == 0 or (len(full) == 0 and self.options.mix != "pseudo"):
            yield from label_losses(self.learner, batch)
            yield LossTerms({name: nothing(self) for name in weights}, weights)
        elif self.options.passes == "released":
            yield self._released(batch, progress)
        elif self.options.passes == "one" or self.options.mix == "pseudo":
            yield self._one_pass(batch, progress)
        else:
            yield from label_losses(self.learner, batch)
            lesson = self.mix.lesson(self._look, pupils, full, progress)
            with sparing_statistics(self.learner):
                outputs = self.learner(lesson.image)
            yield LossTerms(self.mix.terms(outputs["subclass"], lesson.target), weights)

    def after_step(self, progress: Progress) -> None:
        """Let the teacher and the thresholds follow."""
        if self.teacher is not None:
            self.teacher.follow(self.learner)
        if self.mix.threshold is not None:
            self.mix.threshold.follow()

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        if self.teacher is not None and self.options.predict_with == "teacher":
            return self._taught(image)
        return self.learner.probability(self.learner(image))

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and superclasses for each output layer."""
        rows = self.learner.output_rows("learner.")
        if self.teacher is not None:
            rows |= self.learner.output_rows("teacher.network.")
        return rows

    def _one_pass(self, batch: Batch, progress: Progress) -> LossTerms:
        full, pupils = batch.part(Regime.FULL), batch.part(*self._pupils)
        seen = batch.part(*LABELED, *self._pupils)
        lesson = self.mix.lesson(self._look, pupils, full, progress)
        start, stop = len(full), len(full) + len(pupils)
        # The rows before and after keep their places: full ones, and partly labeled ones that take no lesson.
        outputs = self.learner(torch.cat([full.image, lesson.image, seen.image[stop:]]))
        logits = outputs["subclass"][start:stop]
        values = {**self.learner.terms(outputs, seen), **self.mix.terms(logits, lesson.target)}
        return LossTerms(values, {**self.learner.weights(), **self.mix.weights(progress)})

    def _released(self, batch: Batch, progress: Progress) -> LossTerms:
        seen = batch.part(*LABELED, *self._pupils)
        outputs = self.learner(seen.image)
        values = self.learner.terms(outputs, seen)
        start, pupils = len(batch.part(Regime.FULL)), batch.part(*self._pupils)
        logits = outputs["subclass"][start : start + len(pupils)]
        values |= released_terms(self.mix, self.learner, logits, pupils, batch.part(Regime.FULL), progress)
        return LossTerms(values, {**self.learner.weights(), **self.mix.weights(progress)})

    def _look(self, image: Tensor) -> Tensor:
        """Return probabilities for pseudo-labels: no graph, no dropout, running statistics as they are."""
        if self.teacher is not None and self.options.pseudo_labels == "teacher":
            return self._taught(image)
        with torch.no_grad(), evaluating(self.learner):
            probability = self.learner.probability(self.learner(image))
        # Older torch keeps the half-precision copies of the weights, made without a graph, for the pass that teaches.
        torch.clear_autocast_cache()
        return probability

    def _taught(self, image: Tensor) -> Tensor:
        assert self.teacher is not None
        network = self.teacher.network
        assert isinstance(network, Learner)
        return network.probability(self.teacher(image))
