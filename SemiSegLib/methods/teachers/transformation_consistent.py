"""Transformation-consistent self-ensembling: the student agrees with what a teacher says of the image turned or scaled.

Li et al., IEEE TNNLS 2021 (https://arxiv.org/abs/1903.00348), "TCSE" in paper 003. The mean teacher with a
transformation T of space between the two:

    L = L_labels + lambda mean_v mean_l (f_S(x) - T^-1 f_T(T(x + noise)))^2

T flips and turns by quarters each row on its own (T^-1 is exact) and scales all rows by one factor of 0.8 to 1.2: the
teacher sees the whole patch on a grid of that many more or fewer voxels, so nothing leaves it and no border comes in.
Its answer is brought back by linear interpolation.

Where ours differs: no flips and turns, scaling alone. Scans are brought to one orientation, so a mirrored or turned
patch shows a body that does not exist, and agreeing about it costs what tells left from right (on the hippocampus,
flips alone cost 0.11 and 0.42 Dice). Preset "paper" has all three, for images without an up or a left. A fork of the
authors' code computes the student of this term without gradient, so that it teaches nothing; here it has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.views import View, draw_view
from SemiSegLib.config import check_range
from SemiSegLib.losses.soft import masked_mse
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.methods.parts.passes import noisy, passing
from SemiSegLib.methods.teachers.mean_teacher import MeanTeacher, MeanTeacherOptions
from SemiSegLib.networks.network import Outputs


@dataclass(frozen=True, kw_only=True)
class TransformationConsistentOptions(MeanTeacherOptions):
    """The transformation between student and teacher.

    Attributes:
        turns: flip along every axis, and turn by quarters in the last two where the patch and its voxels are square
            there, by halves where they are not (paper).
        scale: s; the teacher sees the image magnified by 1 - s to 1 + s. 0.2 in the paper; 0 is never.
    """

    turns: bool = False
    scale: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("scale", self.scale, low=0.0, high=0.5)


class TransformationConsistent(MeanTeacher):
    """A mean teacher that sees the image turned or scaled."""

    Options = TransformationConsistentOptions
    options: TransformationConsistentOptions

    def __init__(self, study: Study, options: TransformationConsistentOptions) -> None:
        super().__init__(study, options)
        self.spacing_mm = study.plan.patch_spacing_mm

    def agreement(self, student: Outputs, rows: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return the mean squared difference to what the teacher says of the transformed image."""
        size = rows.image.shape[2:]
        generator = np.random.default_rng(int(torch.randint(2**31, ())))
        views = [self._view(generator, size) for _ in range(len(rows))]
        factor = generator.uniform(1 - self.options.scale, 1 + self.options.scale)
        seen = apply(views, noisy(rows.image, self.options.noise))
        with passing(self.teacher, self.options.teacher_mode):
            said = self.teach(resize(seen, [max(1, round(factor * n)) for n in size]))
        target = self.allowed(invert(views, resize(said, size)), rows)
        everywhere = torch.ones_like(rows.codes, dtype=torch.bool)
        return {"consistency": masked_mse(self.learner.probability(student), target, everywhere)}

    def _view(self, generator: np.random.Generator, size: torch.Size) -> View:
        return draw_view(generator, size, mirror=(self.options.turns,) * len(size), spacing_mm=self.spacing_mm)


def apply(views: list[View], image: Tensor) -> Tensor:
    """Return a view of each row of (B, M, *S) images; each keeps the shape."""
    return torch.stack([view.apply(row) for view, row in zip(views, image, strict=True)])


def invert(views: list[View], probability: Tensor) -> Tensor:
    """Return what ``apply`` was given."""
    return torch.stack([view.invert(row) for view, row in zip(views, probability, strict=True)])


def resize(values: Tensor, size: list[int] | torch.Size) -> Tensor:
    """Return (B, C, *S) values on a grid of another size over the same space, by linear interpolation.

    Weights of the interpolation sum to 1, so probabilities stay probabilities.
    """
    if tuple(values.shape[2:]) == tuple(size):
        return values
    mode = "bilinear" if values.ndim == 4 else "trilinear"
    return functional.interpolate(values, size=tuple(size), mode=mode, align_corners=False)
