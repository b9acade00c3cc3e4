"""Cross pseudo supervision (CPS): two networks, each of which learns what the other one predicts.

Adds to supervised training: two networks of different initialization see the same images; the hard prediction of each,
without a graph, is a label for the other, also where nothing is labeled. Chen et al., CVPR 2021
(https://arxiv.org/abs/2106.01226); for brain tumors in 3-D paper 001 (UNet and UNETR); adapted to superclass labels in
the comparisons of paper 000 (https://arxiv.org/abs/2307.00257) with the code of SSL4MIS.

    L_i = L_labels(p_i) + w(t) [ D(p_i, y_j) over rows with full labels + D(p_i, y_j) over the others ]
    y_j = argmax p_j, without a graph

Preset "paper" (001): only full labels teach; D is Dice; w is 0 for the first 1.5 % and then 0.5; the prediction is the
mean of both. Its Dice is not specified; taken is that of all classes with squared sums. "paper_unetr" is the same with
UNETR. Preset "paper_000": two heads; D is the cross entropy of the subclass head over rows without full labels; w rises
to 0.1 in 200 stairs over 3/4 of the training. Its released initializations do nothing; its networks differ by random
numbers alone, as here. It tests the better network of validation cases, which a method does not see: here the first.

Where ours differs: every label teaches what it allows; only rows without full labels learn pseudo-labels, and these
never contradict a coarse or partial label; D is cross entropy and Dice of the structures that occur (the Dice of an
absent one has next to no gradient); w comes in smoothly, after half of the training. As options: pseudo-labels weighted
by their confidence, or by how far it is above chance; strongly changed images for both networks with pseudo-labels from
the unchanged ones; a second network of another kind; running means of both that predict; and the two networks'
difference as uncertainty.

Because pseudo-labels have no graph, L_1 + L_2 has the gradient of L_1 and L_2 one after the other. "sequential" does so
and holds one network's activations at a time, for one pass without a graph more; the pass runs in training mode with
the random numbers of the later one and leaves running statistics alone, so the gradients are exactly those of "joint",
batch norm and dropout included (with strong views, dropout draws other numbers). "stacked" computes both side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.grid import THICK
from SemiSegLib.batches.views import strengthen
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import label_set_loss
from SemiSegLib.methods.cross.cross_options import PSEUDO_LOSSES, CrossPseudoSupervisionOptions
from SemiSegLib.methods.cross.opinion import Opinion, above_chance, apart
from SemiSegLib.methods.cross.stacked import check_stackable, stacked_outputs
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import Learner, build_learner
from SemiSegLib.methods.parts.passes import within_labels
from SemiSegLib.methods.parts.ramps import ramp
from SemiSegLib.methods.parts.supervision import DICE_RULES, nothing
from SemiSegLib.methods.parts.teacher import Teachers
from SemiSegLib.networks.modes import keeping_buffers
from SemiSegLib.networks.network import Outputs
from SemiSegLib.planning.plan import has_quick_heads

LEARNERS = ("first", "second")
# Rows whose labels leave something open.
OPEN = (Regime.COARSE, Regime.PARTIAL, Regime.NONE)


@dataclass(frozen=True)
class Lesson:
    """What one step computes.

    Attributes:
        batch: the rows that are computed, which the opinions are about.
        images: of the batch, as each network is shown them.
        parts: slices of the rows that learn pseudo-labels; a mean is taken over each. None while w is 0.
        weight: w.
    """

    batch: Batch
    images: tuple[Tensor, Tensor]
    parts: tuple[slice, ...]
    weight: float


class CrossPseudoSupervision(Method):
    """Two networks that teach each other."""

    Options = CrossPseudoSupervisionOptions

    def __init__(self, study: Study, options: CrossPseudoSupervisionOptions) -> None:
        super().__init__()
        plan = study.plan
        network, other = plan.network, options.second_backbone
        if other not in ("same", network.backbone):
            network = replace(network, backbone=other, quick_heads=has_quick_heads(other))
        self.first = build_learner(study, options)
        self.second = build_learner(replace(study, plan=replace(plan, network=network)), options)
        is_taught = options.predict_with == "teacher"
        self.teachers = Teachers(self._learners, decay=options.teacher_decay) if is_taught else None
        self.options = options
        self.leaf_count = len(study.scheme.leaf_names)
        self.is_in_plane = plan.dimensions == 2 or plan.spacing_mm[0] > THICK * min(plan.spacing_mm)
        if options.backward == "stacked":
            check_stackable(self._learners)

    @property
    def _learners(self) -> tuple[Learner, Learner]:
        return self.first, self.second

    def pseudo_weight(self, progress: Progress) -> float:
        """Return w(t), the weight of what each network learns from the other."""
        own = self.options
        levels = own.ramp_levels or None
        return own.pseudo_weight * ramp(progress, own.ramp, share=own.ramp_share, wait=own.wait, levels=levels)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels and pseudo-labels teach, network by network or both together."""
        weight = self.pseudo_weight(progress)
        rows = batch if weight > 0 else batch.part(*self.first.regimes)
        if len(rows) == 0:
            zeros = [self._terms(index, None, None, Lesson(rows, (rows.image,) * 2, (), weight)) for index in (0, 1)]
            yield _together(zeros, nothing(self.first))
            return
        lesson = Lesson(rows, self._shown(rows, weight), self._parts(rows, weight), weight)
        yield from self._one_by_one(lesson) if self.options.backward == "sequential" else self._both(lesson)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        if self.options.prediction == "ensemble":
            return self._chosen(self._probabilities(image))
        return self._probability(LEARNERS.index(self.options.prediction), image)

    def after_step(self, progress: Progress) -> None:
        """Let the running means follow, if they predict."""
        if self.teachers is not None:
            self.teachers.follow(self._learners)

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return (B, *S) how far the two networks are apart, 0 to 1, or None for the entropy of the prediction."""
        measure = self.options.uncertainty
        return None if measure == "entropy" else apart(*self._probabilities(image), measure=measure)

    def predict_with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``predict`` and ``uncertainty`` do, from one pass of each network."""
        measure = self.options.uncertainty
        if measure == "entropy":
            return self.predict(image), None
        said = self._probabilities(image)
        return self._chosen(said), apart(*said, measure=measure)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and superclasses for each output layer of both networks."""
        rows = {**self.first.output_rows("first."), **self.second.output_rows("second.")}
        for index, learner in enumerate(self._learners if self.teachers is not None else ()):
            rows |= learner.output_rows(f"teachers.{index}.network.")
        return rows

    def _probabilities(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self._probability(0, image), self._probability(1, image)

    def _chosen(self, said: tuple[Tensor, Tensor]) -> Tensor:
        """Return what is predicted, of what both networks say."""
        if self.options.prediction == "ensemble":
            return (said[0] + said[1]) / 2
        return said[LEARNERS.index(self.options.prediction)]

    def _probability(self, index: int, image: Tensor) -> Tensor:
        learner = self._learners[index]
        return learner.probability((learner if self.teachers is None else self.teachers[index])(image))

    def _one_by_one(self, lesson: Lesson) -> Iterator[LossTerms]:
        """Yield the terms of each network after a pass of its own: one graph at a time."""
        device, said, numbers = lesson.batch.image.device, list[Opinion | None]([None, None]), None
        if lesson.parts:
            numbers = _random_state(device)
            said[1] = self._quiet_opinion(1, lesson.batch)
            if self.options.views == "strong":
                said[0] = self._quiet_opinion(0, lesson.batch)
        terms, own = self._taught(0, said[1], lesson)
        first = said[0] or own
        yield terms
        with _repeated(numbers, device):
            terms, own = self._taught(1, first, lesson)
        yield _together([terms], _disagreement([first, said[1] or own], self.second))

    def _both(self, lesson: Lesson) -> Iterator[LossTerms]:
        """Yield the terms of both networks at once."""
        batch, is_quiet = lesson.batch, bool(lesson.parts) and self.options.views == "strong"
        said = [self._quiet_opinion(index, batch) for index in (0, 1)] if is_quiet else []
        outputs = self._pass(lesson)
        said = said or [self._opinion(index, outputs[index], batch) for index in (0, 1)]
        terms = [self._terms(index, outputs[index], said[1 - index], lesson) for index in (0, 1)]
        yield _together(terms, _disagreement(said, self.second))

    def _taught(self, index: int, other: Opinion | None, lesson: Lesson) -> tuple[LossTerms, Opinion]:
        """Return the terms of one network's pass and its own opinion; only the terms hold the graph."""
        outputs = self._learners[index](lesson.images[index])
        return self._terms(index, outputs, other, lesson), self._opinion(index, outputs, lesson.batch)

    def _pass(self, lesson: Lesson) -> tuple[Outputs, Outputs]:
        if self.options.backward == "stacked":
            first, second = stacked_outputs(self._learners, lesson.images)
            return first, second
        # In this order, dropout draws the numbers that it draws in the sequential way: where the networks teach each
        # other, that begins with the opinion of the second.
        order = (1, 0) if lesson.parts else (0, 1)
        outputs = {index: self._learners[index](lesson.images[index]) for index in order}
        return outputs[0], outputs[1]

    def _terms(self, index: int, outputs: Outputs | None, other: Opinion | None, lesson: Lesson) -> LossTerms:
        """Return what labels and the other's opinion teach one network; without outputs, nothing."""
        learner, batch, prefix = self._learners[index], lesson.batch, f"{LEARNERS[index]}_"
        pseudo = {f"pseudo_{name}": nothing(learner) for name in PSEUDO_LOSSES[self.options.pseudo_loss]}
        weights = {**learner.weights(), **dict.fromkeys(pseudo, lesson.weight)}
        values = {name: nothing(learner) for name in learner.weights()}
        if outputs is not None:
            values = learner.terms(outputs, batch)
            for part in lesson.parts:
                assert other is not None
                found = self._pseudo_terms(outputs["subclass"][part], other, part)
                pseudo = {name: value + found[name] for name, value in pseudo.items()}
        values = {**values, **pseudo}
        return LossTerms(
            {f"{prefix}{name}": value for name, value in values.items()},
            {f"{prefix}{name}": weight for name, weight in weights.items()},
        )

    def _pseudo_terms(self, logits: Tensor, other: Opinion, part: slice) -> dict[str, Tensor]:
        leaves = torch.eye(self.leaf_count, dtype=torch.bool, device=logits.device)
        rule, emphasis = DICE_RULES[self.options.dice], None
        if self.options.confidence == "plain":
            emphasis = other.confidence[part]
        elif self.options.confidence == "above_chance":
            emphasis = above_chance(other.confidence[part], other.choices[part])
            # The Dice of voxels that all count little is that of voxels that count fully: it must be told apart.
            rule = replace(rule, follows_emphasis=True)
        found = label_set_loss(logits, other.leaf[part], leaves, rule=rule, emphasis=emphasis)
        return {f"pseudo_{name}": value for name, value in found.items()}

    @torch.no_grad()
    def _opinion(self, index: int, outputs: Outputs, batch: Batch) -> Opinion:
        probability = self._learners[index].probability(outputs).detach()
        choices = torch.full_like(batch.codes, self.leaf_count)
        if self.options.respect_labels:
            full, rows = len(batch.part(Regime.FULL)), batch.part(*OPEN)
            probability = torch.cat([probability[:full], within_labels(probability[full:], rows)])
            choices = torch.cat([choices[:full], rows.label_sets.sum(1)[rows.codes]])
        confidence, leaf = probability.max(1)
        return Opinion(leaf, confidence, choices)

    def _quiet_opinion(self, index: int, batch: Batch) -> Opinion:
        """Return one network's opinion by a pass in training mode that leaves no trace."""
        learner = self._learners[index]
        with torch.no_grad(), keeping_buffers(learner):
            opinion = self._opinion(index, learner(batch.image), batch)
        # Older torch keeps the half-precision copies of the weights, made without a graph, for the next pass.
        torch.clear_autocast_cache()
        return opinion

    def _parts(self, rows: Batch, weight: float) -> tuple[slice, ...]:
        full = len(rows.part(Regime.FULL))
        parts = [slice(0, full)] if self.options.rows == "all" else []
        found = [part for part in (*parts, slice(full, len(rows))) if part.stop > part.start]
        return tuple(found) if weight > 0 else ()

    def _shown(self, rows: Batch, weight: float) -> tuple[Tensor, Tensor]:
        """Return the images of both networks: as they are, or with strong changes of the rows without full labels."""
        full = len(rows.part(Regime.FULL))
        if self.options.views == "same" or weight == 0 or full == len(rows):
            return rows.image, rows.image
        first, second = (torch.cat([rows.image[:full], self._strong(rows.image[full:])]) for _ in LEARNERS)
        return first, second

    def _strong(self, image: Tensor) -> Tensor:
        # Seeded by torch's generator, which a training saves and restores.
        seeds = torch.randint(2**31, (len(image),)).tolist()
        return strengthen(image, [np.random.default_rng(seed) for seed in seeds], in_plane=self.is_in_plane)


def _disagreement(said: Sequence[Opinion], module: Learner) -> Tensor:
    """Return the share of voxels whose two pseudo-labels differ, as a term that teaches nothing."""
    return nothing(module) + (said[0].leaf != said[1].leaf).float().mean()


def _together(terms: Sequence[LossTerms], disagreement: Tensor) -> LossTerms:
    """Return terms as one, with the disagreement beside them for the log."""
    values = {name: value for part in terms for name, value in part.values.items()}
    weights = {name: weight for part in terms for name, weight in part.weights.items()}
    return LossTerms({**values, "disagreement": disagreement}, {**weights, "disagreement": 0.0})


def _random_state(device: torch.device) -> list[Tensor]:
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


@contextmanager
def _repeated(numbers: list[Tensor] | None, device: torch.device) -> Iterator[None]:
    """Draw once more the random numbers that followed a state, then go on from where the generators were."""
    if numbers is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_rng_state(numbers[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(numbers[1], device)
        yield
