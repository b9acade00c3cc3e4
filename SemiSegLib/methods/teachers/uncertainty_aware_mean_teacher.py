"""Uncertainty-aware mean teacher: agreement only where several random passes of the teacher leave little doubt.

Yu et al., MICCAI 2019 (https://arxiv.org/abs/1907.07034), the comparison of papers 000 and 003. Added to the mean
teacher, with P the mean of T passes over differently noisy images, dropout on, and H its entropy:

    L = sum_v m_v sum_l (p_S - p_T)^2 / (L sum_v m_v),   m_v = [H(P_v) < (h + (1 - h) r) ln L],   h = 0.75

r rises as a Gaussian from 0 to 1 over the training. The largest entropy of L leaves is ln L; the code that paper 000
released kept ln 2 and the factor 2 of its binary origin for 4 leaves, which drops voxels such as (0.8, 0.07, 0.07,
0.07) and doubles the loss (preset "code_000"; ``entropy_base`` "two").

Where ours differs from the paper: P itself is the target, which is steadier than one more pass and saves it; it is
restricted to the labels before its entropy is taken; and 4 passes. A network planned from the data has no dropout
unless it is asked for (``PlanSettings.dropout``): its passes then differ by the noise alone, the mask is little more
than the teacher's own entropy, and there is no doubt of several passes to show. The networks of the papers, which
presets other than "ours" choose, have dropout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.losses.soft import masked_mse
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.methods.parts.passes import entropy, mean_of_passes, noisy, passing, uncertainty_of_passes
from SemiSegLib.methods.parts.ramps import ramp
from SemiSegLib.methods.teachers.mean_teacher import MeanTeacher, MeanTeacherOptions
from SemiSegLib.networks.network import Outputs

TARGETS = ("mean", "pass")
ENTROPY_BASES = ("leaves", "two")


@dataclass(frozen=True, kw_only=True)
class UncertaintyAwareMeanTeacherOptions(MeanTeacherOptions):
    """The doubt of the teacher.

    Attributes:
        teacher_mode: as for the mean teacher; passes with dropout are what the paper means.
        passes: T; 8 in the paper.
        threshold_start: h, share of the largest entropy at which the mask starts; 0.75 in the paper.
        target: "mean" of the passes (ours) or one more "pass" (paper).
        entropy_base: "leaves" (ln L and the factor L) or "two" (ln 2 and the factor 2 whatever L, paper 000's code).
    """

    teacher_mode: str = "dropout"
    passes: int = 4
    threshold_start: float = 0.75
    target: str = "mean"
    entropy_base: str = "leaves"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("passes", self.passes, low=1, high=64)
        check_range("threshold_start", self.threshold_start, low=0.0, high=1.0)
        check_choice("target", self.target, TARGETS)
        check_choice("entropy_base", self.entropy_base, ENTROPY_BASES)


class UncertaintyAwareMeanTeacher(MeanTeacher):
    """A mean teacher that is believed where it is sure."""

    Options = UncertaintyAwareMeanTeacherOptions
    options: UncertaintyAwareMeanTeacherOptions

    def __init__(self, study: Study, options: UncertaintyAwareMeanTeacherOptions) -> None:
        super().__init__(study, options)
        self.leaf_count = len(study.scheme.leaf_names)

    def agreement(self, student: Outputs, rows: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the mean squared difference to the teacher where it is sure."""
        options = self.options
        with passing(self.teacher, options.teacher_mode):
            mean = self.allowed(
                mean_of_passes(self.teach, rows.image, count=options.passes, deviation=options.noise), rows
            )
            target = mean
            if options.target == "pass":
                target = self.allowed(self.teach(noisy(rows.image, options.noise)), rows)
        is_sure = entropy(mean) < self.threshold(progress)
        value = masked_mse(self.learner.probability(student), target, is_sure)
        return {"consistency": value * (self.leaf_count / self._base())}

    def threshold(self, progress: Progress) -> float:
        """Return the entropy, in nats, below which the teacher is believed."""
        start = self.options.threshold_start
        return (start + (1 - start) * ramp(progress, "gaussian", share=1.0)) * math.log(self._base())

    def _base(self) -> int:
        return 2 if self.options.entropy_base == "two" else self.leaf_count

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return the doubt of ``passes`` passes with dropout, (B, *S), 0 to 1; None in a network without dropout."""
        return uncertainty_of_passes(self.predictor, self.predict, image, count=self.options.passes)
