"""What the tests of latent classes share: options that answer structure by structure, and a lesson worked by hand."""

from types import SimpleNamespace

import torch

from SemiSegLib.methods.latent.roi_learner import RoiOutputs
from SemiSegLib.methods.latent.roi_mean_teacher import Lesson

# As in paper 002, but for what a test is about.
SIGMOIDS = {"output": "sigmoid", "embedding": "hierarchy", "views": "strong", "wait": 0.0}


def lesson(student, teacher, *, annotated):
    """A lesson of rows whose image nobody reads, every voxel of the structures that were not drawn being open.

    Args:
        student, teacher: (B, K, V) logits of the structures.
        annotated: (B, K) bool.
    """
    rows = SimpleNamespace(image=torch.zeros(len(student), 2, 8, 8))
    return Lesson(
        batch=rows,
        said=RoiOutputs(teacher),
        whole=[0] * len(student),
        outputs=RoiOutputs(student),
        student=student,
        teacher=teacher,
        annotated=annotated,
        open=(~annotated)[..., None].expand(student.shape),
    )
