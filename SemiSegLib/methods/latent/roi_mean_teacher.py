"""Mean teacher over structures: network and teacher agree on every structure that was not drawn (paper 002, "MT").

Added to dynamic heads, with x_T a patch, x_S the same patch with stronger changes of intensity, and U the structures
that a case does not show:

    L = L_labels + lambda sum_{k in U} mean_v (s(z_k(x_S)) - s(z_k^T(x_T)))^2,   theta_T <- a theta_T + (1 - a) theta_S

It is a method of its own beside ``mean_teacher``, which agrees on the leaves of a softmax and has noise for its second
view; and beside ``latent_classes``, because it needs no network that tells what is in an image.

Where the paper is silent: the teacher predicts, and lambda rises over the first tenth of the training, for a teacher
begins as random as its student. Ours averages over the structures and voxels that no label teaches, and has the shorter
memory (0.99) that suits trainings of hundreds of steps; 0.999 in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.grid import THICK
from SemiSegLib.batches.views import strengthen
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.latent.dynamic_head import DynamicHeadMethod
from SemiSegLib.methods.latent.roi_learner import RoiOptions, RoiOutputs
from SemiSegLib.methods.latent.roi_terms import set_mean
from SemiSegLib.methods.method import LossTerms, Progress, Study
from SemiSegLib.methods.parts.ramps import ramp
from SemiSegLib.methods.parts.supervision import nothing
from SemiSegLib.methods.parts.teacher import Teacher

PREDICTORS = ("teacher", "student")
VIEWS = ("strong", "same")
LESS_THAN_FULL = (Regime.COARSE, Regime.PARTIAL, Regime.NONE)


@dataclass(frozen=True, kw_only=True)
class RoiTeacherOptions(RoiOptions):
    """The teacher and the two views.

    Attributes:
        decay: share of itself that the teacher keeps at a step; 0.999 in paper 002.
        views: "strong" (the network sees every patch with strong changes of intensity, the teacher as it is; paper 002)
            or "same".
        wait: share of the training before the teacher says anything; 0 in paper 002. Until then a step is as quick as
            one of the labels alone.
        ramp_share: share of the training over which what the teacher says then comes into force, as a Gaussian.
        predict: "teacher" (ours; paper 002 does not say) or "student".
    """

    decay: float = 0.99
    views: str = "strong"
    wait: float = 0.0
    ramp_share: float = 0.1
    predict: str = "teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("decay", self.decay, low=0.0, high=1.0)
        check_choice("views", self.views, VIEWS)
        check_range("wait", self.wait, low=0.0, high=1.0)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_choice("predict", self.predict, PREDICTORS)


@dataclass(frozen=True, kw_only=True)
class RoiMeanTeacherOptions(RoiTeacherOptions):
    """The agreement.

    Attributes:
        consistency_weight: lambda at the end of its rise; 1 in paper 002.
    """

    consistency_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("consistency_weight", self.consistency_weight, low=0.0, high=1000.0)


@dataclass(frozen=True)
class Lesson:
    """What the two networks say of the rows that do not show everything.

    Attributes:
        batch: these rows, with the images as the teacher sees them.
        said: what the teacher says of them, without a graph.
        whole: all rows; these are its last.
        outputs: what the student says of its view of all rows, with a graph.
        student: (B, K, *S) float32 logits of the ROIs, with a graph.
        teacher: (B, K, *S) float32 logits of the ROIs, without.
        annotated: (B, K) bool, ROIs that a row leaves open nowhere.
        open: (B, K, *S) bool, voxels of the other ROIs that no label teaches.
    """

    batch: Batch
    said: RoiOutputs
    whole: Batch
    outputs: RoiOutputs
    student: Tensor
    teacher: Tensor
    annotated: Tensor
    open: Tensor

    @property
    def rows(self) -> int:
        """Rows of the whole batch."""
        return len(self.whole)


class RoiMeanTeacher(DynamicHeadMethod):
    """A network with a dynamic head, taught by labels and by its own running mean."""

    Options: type[RoiTeacherOptions] = RoiMeanTeacherOptions

    def __init__(self, study: Study, options: RoiTeacherOptions) -> None:
        super().__init__(study, options)
        self.options = options
        self.teacher = Teacher(self.learner, decay=options.decay)
        plan = study.plan
        self.is_in_plane = plan.dimensions == 2 or plan.spacing_mm[0] > THICK * min(plan.spacing_mm)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what the labels teach, and what the teacher says of structures that were not drawn."""
        rising = ramp(progress, "gaussian", share=self.options.ramp_share, wait=self.options.wait)
        weights = {name: rising * weight for name, weight in self.teacher_weights().items()}
        image = self.strong(batch.image) if self.options.views == "strong" and rising > 0 else batch.image
        outputs, rows = self.learner(image), batch.part(*LESS_THAN_FULL)
        is_asked = len(rows) > 0 and any(weights.values())
        maps = self.learner.maps(batch) if is_asked or self.learner.reads_maps else None
        own = self.label_weights(rising if is_asked else 0.0)
        # What weighs nothing is not computed: a step on a CPU takes a twentieth less.
        values = (
            self.learner.terms(outputs, batch, maps) if any(own.values()) else dict.fromkeys(own, nothing(self.learner))
        )
        if is_asked and maps is not None:
            last = slice(len(batch) - len(rows), len(batch))
            asked, said = maps.rows(last).open, self.teacher(rows.image)
            lesson = Lesson(
                batch=rows,
                said=said,
                whole=batch,
                outputs=outputs,
                student=self.learner.roi_logits(outputs.rows(last)),
                teacher=self.learner.roi_logits(said),
                annotated=~asked.flatten(2).any(2),
                open=asked,
            )
            values |= self.teacher_terms(lesson)
        else:
            values |= {name: nothing(self.learner) for name in weights}
        yield LossTerms(values, {**own, **weights})

    def label_weights(self, rising: float) -> dict[str, float]:
        """Return the weights of what labels teach.

        Args:
            rising: how much of what the teacher says is in force, 0 to 1.
        """
        return self.learner.weights()

    def teacher_weights(self) -> dict[str, float]:
        """Return the weight of each term of ``teacher_terms`` at the end of the rise."""
        assert isinstance(self.options, RoiMeanTeacherOptions)
        return {"consistency": self.options.consistency_weight}

    def teacher_terms(self, lesson: Lesson) -> dict[str, Tensor]:
        """Return what the teacher teaches, by term name."""
        squares = (lesson.student.sigmoid() - lesson.teacher.sigmoid()).square()
        return {"consistency": set_mean(squares, lesson.open, average=self.options.average, rows=lesson.rows)}

    def strong(self, image: Tensor) -> Tensor:
        """Return a copy of the images with strong changes of intensity."""
        # Seeded by torch's generator, which a training saves and restores.
        seeds = torch.randint(2**31, (len(image),)).tolist()
        return strengthen(image, [np.random.default_rng(seed) for seed in seeds], in_plane=self.is_in_plane)

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts."""
        return self.teacher if self.options.predict == "teacher" else self.learner

    def after_step(self, progress: Progress) -> None:
        """Let the teacher follow."""
        self.teacher.follow(self.learner)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the structures for each output layer of both networks."""
        return {**self.learner.output_rows("learner."), **self.learner.output_rows("teacher.network.")}
