"""Double uncertainty: agreement in probabilities and in features, each weighed by a doubt that is itself kept small.

Our reconstruction ("DUWM-style") of the idea in the abstract of Wang et al., MICCAI 2020
(https://arxiv.org/abs/2010.09298); its equations were not at hand and no code was published, so this is not a
reproduction. The abstract: a Bayesian teacher gives a segmentation uncertainty and, by channel, a feature uncertainty;
each weighs the inconsistency it belongs to and is itself reduced, over labeled and unlabeled rows. In the form of
Kendall and Gal, NIPS 2017, added to the mean teacher:

    L_s = mean_v [exp(-U_v) sum_l (p_S - P)^2 + b U_v],   U_v = H(Q_v) / ln L,   Q = (T P + p_S) / (T + 1)
    L_f = mean_c [exp(-U_c) D_c + b U_c],   D_c = mean_v (F_S - M)^2,   U_c = the variance of T + 1 passes, mean over v

P and M are the means of probabilities and of the feature map over T passes of the teacher (dropout on, noise on the
image). The student's pass counts as one more, so U has a gradient, through the student: doubt grows where they
disagree by more than b, and shrinks elsewhere. Features are measured in standard deviations of the teacher's, so no
change of their scale lowers L_f. All in float32.

Ours, because nothing is known of them: the student as one of the passes, the entropy as a share of the largest, b, the
unit of the features. A network planned from the data has no dropout unless it is asked for (``PlanSettings.dropout``):
its passes then differ by the noise alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_range
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.passes import entropy, noisy, passing, uncertainty_of_passes
from SemiSegLib.methods.teachers.mean_teacher import MeanTeacher, MeanTeacherOptions
from SemiSegLib.networks.network import Outputs

# Added to the squared unit of the features, so that a feature map of nothing has one.
SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, kw_only=True)
class DoubleUncertaintyOptions(MeanTeacherOptions):
    """The two doubts.

    Attributes:
        teacher_mode: as for the mean teacher; passes with dropout are what the paper means.
        consistency_weight: of both agreements; 0.1, as the family has it. They are sums over classes and grow with
            features, so 1 holds back what labels teach.
        rows: as for the mean teacher; all of them, as the abstract says.
        passes: T; ours 4, 8 in the family.
        penalty: b, of doubt itself; 0.1, ours.
        feature_weight: of the agreement in features, relative to that in probabilities; 1, as in the sum of both.
    """

    teacher_mode: str = "dropout"
    consistency_weight: float = 0.1
    rows: str = "all"
    passes: int = 4
    penalty: float = 0.1
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("passes", self.passes, low=1, high=64)
        check_range("penalty", self.penalty, low=0.0, high=10.0)
        check_range("feature_weight", self.feature_weight, low=0.0, high=100.0)


@dataclass(frozen=True)
class Looks:
    """What several passes of the teacher saw.

    Attributes:
        count: T.
        probability: (B, L, *S) mean.
        features: (B, F, *S) mean, in units of their spread.
        variance: (B, F), of the features over the passes, mean over space, in that unit squared.
        unit: the spread: standard deviation of the mean features over rows and space, over channels the quadratic mean.
    """

    count: int
    probability: Tensor
    features: Tensor
    variance: Tensor
    unit: Tensor


class DoubleUncertainty(MeanTeacher):
    """A mean teacher whose agreement is weighed by doubt about classes and about features."""

    Options = DoubleUncertaintyOptions
    options: DoubleUncertaintyOptions

    def agreement_weights(self) -> dict[str, float]:
        """Return the weight of each term of ``agreement`` at the end of the rise."""
        weight = self.options.consistency_weight
        return {
            "segmentation_consistency": weight,
            "feature_consistency": weight * self.options.feature_weight,
        }

    def agreement(self, student: Outputs, rows: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return both agreements."""
        with passing(self.teacher, self.options.teacher_mode):
            looks = self._look(rows.image)
        target = self.allowed(looks.probability, rows)
        return {
            "segmentation_consistency": segmentation_agreement(
                self.learner.probability(student), target, count=looks.count, penalty=self.options.penalty
            ),
            "feature_consistency": feature_agreement(student.features, looks, penalty=self.options.penalty),
        }

    @torch.no_grad()
    def _look(self, image: Tensor) -> Looks:
        probability = features = squares = torch.zeros((), device=image.device)
        for _ in range(self.options.passes):
            outputs: Outputs = self.teacher(noisy(image, self.options.noise))
            seen = outputs.features.float()
            probability = probability + self.learner.probability(outputs)
            features = features + seen
            squares = squares + seen.flatten(2).square().mean(2)
        return gather(probability, features, squares, count=self.options.passes)

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return the doubt of ``passes`` passes with dropout, (B, *S), 0 to 1; None in a network without dropout."""
        return uncertainty_of_passes(self.predictor, self.predict, image, count=self.options.passes)


def gather(probability: Tensor, features: Tensor, squares: Tensor, *, count: int) -> Looks:
    """Return what several passes saw from their sums.

    Args:
        probability: (B, L, *S), sum over the passes.
        features: (B, F, *S), the same.
        squares: (B, F), sum over the passes of the squared features' mean over space.
        count: passes.
    """
    mean = features / count
    spread = mean.var((0, *range(2, mean.ndim)), correction=0).mean() + SMALLEST_SPREAD
    variance = (squares / count - mean.flatten(2).square().mean(2)).clamp_min(0.0)
    return Looks(count, probability / count, mean / spread.sqrt(), variance / spread, spread.sqrt())


def segmentation_agreement(probability: Tensor, target: Tensor, *, count: int, penalty: float) -> Tensor:
    """Return L_s of the module's equation.

    Args:
        probability: (B, L, *S) float32, of the student; gradient flows into it, through the doubt too.
        target: (B, L, *S), the mean of the teacher's passes, without a graph.
        count: those passes.
        penalty: b.

    Returns:
        Scalar, at least 0; 0 where both are the same sure class.
    """
    mean = (count * target + probability) / (count + 1)
    doubt = entropy(mean) / math.log(mean.shape[1])
    distance = (probability - target).square().sum(1)
    return ((-doubt).exp() * distance + penalty * doubt).mean()


def feature_agreement(features: Tensor, looks: Looks, *, penalty: float) -> Tensor:
    """Return L_f of the module's equation.

    With v the variance of the teacher's passes about their mean M, that of T + 1 passes is
    T / (T + 1) [v + (F_S - M)^2 / (T + 1)].

    Args:
        features: (B, F, *S), of the student; gradient flows into it, through the doubt too.
        looks: of the teacher.
        penalty: b.

    Returns:
        Scalar, at least 0.
    """
    distance = (features.float() / looks.unit - looks.features).flatten(2).square().mean(2)
    doubt = looks.count / (looks.count + 1) * (looks.variance + distance / (looks.count + 1))
    return ((-doubt).exp() * distance + penalty * doubt).mean()
