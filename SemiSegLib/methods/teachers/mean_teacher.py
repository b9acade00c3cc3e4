"""Mean teacher: a network agrees, where labels say less than all, with a running mean of itself that sees noise.

Tarvainen and Valpola, NIPS 2017 (https://arxiv.org/abs/1703.01780), for segmentation as in Yu et al., MICCAI 2019
(https://arxiv.org/abs/1907.07034). Added to supervised training, with p_S of the student on x, p_T of the teacher on
x + noise, and lambda rising over the training:

    L = L_labels + lambda mean_v mean_l (p_S - p_T)^2,   theta_T <- a theta_T + (1 - a) theta_S

Where ours differs: coarse and partial labels teach the student (marginal losses), and within such a row the teacher's
target is restricted to what the label allows, so that the two never contradict each other; the teacher looks without
dropout, follows the running statistics too, and predicts. Preset "paper" has the settings that paper 003 and its family
share on the left atrium: the student learns from full labels alone and predicts, the teacher has dropout. Preset "code"
has also the released teachers' training mode, in which a batch norm uses and gathers statistics of its own; preset
"paper_000" the two heads and settings of paper 000.

The other methods with a teacher are this one with another agreement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.views import WEAK_NOISE
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.soft import masked_mse
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import LearnerOptions, build_learner
from SemiSegLib.methods.parts.passes import PASS_MODES, noisy, passing, within_labels
from SemiSegLib.methods.parts.ramps import ramp
from SemiSegLib.methods.parts.supervision import nothing
from SemiSegLib.methods.parts.teacher import BUFFERS, Teacher
from SemiSegLib.networks.network import Outputs

ROWS = ("unlabeled", "all")
PREDICTORS = ("teacher", "student")
LESS_THAN_FULL = (Regime.COARSE, Regime.PARTIAL, Regime.NONE)


@dataclass(frozen=True, kw_only=True)
class MeanTeacherOptions(LearnerOptions):
    """The teacher and the agreement with it.

    Attributes:
        decay: share of itself that the teacher keeps at a step; 0.99 in papers 000 and 003.
        buffers: "average", "copy" or "keep": how the teacher gets running statistics, see ``Teacher``.
        teacher_mode: "evaluation" (ours), "dropout" or "training" (released code), see ``passing``.
        noise: deviation of the noise that the teacher sees, cut at twice that; 0.1 in papers 000 and 003.
        consistency_weight: lambda at the end of its rise; 0.1 in papers 000 and 003. Ours 1, because the gradient of a
            squared difference of probabilities is small beside that of a cross entropy.
        ramp_share: share of the training over which lambda rises as a Gaussian; ours 0.25, as 80 of 300 epochs of Laine
            and Aila 2017.
        ramp_levels: stairs of that rise, or 0 for none; 40 and 200 in released code (one every 150 steps).
        rows: "unlabeled" (rows whose labels say less than all) or "all": where the two must agree.
        respect_labels: restrict the teacher's target to the labels of its row. Ours.
        predict: "teacher" (ours) or "student" (papers 000 and 003).
    """

    decay: float = 0.99
    buffers: str = "average"
    teacher_mode: str = "evaluation"
    noise: float = WEAK_NOISE
    consistency_weight: float = 1.0
    ramp_share: float = 0.25
    ramp_levels: int = 0
    rows: str = "unlabeled"
    respect_labels: bool = True
    predict: str = "teacher"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("decay", self.decay, low=0.0, high=1.0)
        check_choice("buffers", self.buffers, BUFFERS)
        check_choice("teacher_mode", self.teacher_mode, PASS_MODES)
        check_range("noise", self.noise, low=0.0, high=1.0)
        check_range("consistency_weight", self.consistency_weight, low=0.0, high=1000.0)
        check_range("ramp_share", self.ramp_share, low=0.0, high=1.0)
        check_range("ramp_levels", self.ramp_levels, low=0, high=10_000)
        check_choice("rows", self.rows, ROWS)
        check_choice("predict", self.predict, PREDICTORS)


class MeanTeacher(Method):
    """A student taught by labels and by its own running mean."""

    Options: type[MeanTeacherOptions] = MeanTeacherOptions

    def __init__(self, study: Study, options: MeanTeacherOptions) -> None:
        super().__init__()
        self.options = options
        self.learner = build_learner(study, options)
        self.teacher = Teacher(self.learner, decay=options.decay, buffers=options.buffers)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what the labels teach and how far student and teacher disagree."""
        outputs = self.learner(batch.image)
        values = self.learner.terms(outputs, batch)
        rising = ramp(progress, "gaussian", share=self.options.ramp_share, levels=self.options.ramp_levels or None)
        weights = {name: rising * weight for name, weight in self.agreement_weights().items()}
        rows = batch if self.options.rows == "all" else batch.part(*LESS_THAN_FULL)
        if len(rows) > 0 and any(weights.values()):
            student = outputs.rows(slice(len(batch) - len(rows), len(batch)))
            values |= self.agreement(student, rows, progress)
        else:
            values |= {name: nothing(self.learner) for name in weights}
        yield LossTerms(values, {**self.learner.weights(), **weights})

    def agreement_weights(self) -> dict[str, float]:
        """Return the weight of each term of ``agreement`` at the end of the rise."""
        return {"consistency": self.options.consistency_weight}

    def agreement(self, student: Outputs, rows: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return how far the student disagrees with the teacher, by term name.

        Args:
            student: its outputs for ``rows``, with a graph.
            rows: at least one row of the batch.
            progress: of the training.
        """
        with passing(self.teacher, self.options.teacher_mode):
            target = self.teach(noisy(rows.image, self.options.noise))
        probability = self.learner.probability(student)
        everywhere = torch.ones_like(rows.codes, dtype=torch.bool)
        return {"consistency": masked_mse(probability, self.allowed(target, rows), everywhere)}

    def teach(self, image: Tensor) -> Tensor:
        """Return the teacher's (B, L, *S) float32 leaf probabilities, without a graph."""
        return self.learner.probability(self.teacher(image))

    def allowed(self, target: Tensor, rows: Batch) -> Tensor:
        """Return the target of ``rows``, within their labels if the options say so."""
        return within_labels(target, rows) if self.options.respect_labels else target

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts."""
        return self.teacher if self.options.predict == "teacher" else self.learner

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.predictor(image))

    def after_step(self, progress: Progress) -> None:
        """Let the teacher follow."""
        self.teacher.follow(self.learner)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the classes for each output layer of both networks."""
        return {**self.learner.output_rows("learner."), **self.learner.output_rows("teacher.network.")}
