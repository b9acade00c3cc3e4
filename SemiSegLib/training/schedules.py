"""The learning rate in closed form from how far the training is, so that a resumed or shortened run needs no memory."""

from __future__ import annotations

import math

from SemiSegLib.methods.method import Progress
from SemiSegLib.runs.request import TrainingSettings

POLY_POWER = 0.9
# The milestones of 2x and 3x schedules scaled to a run, as in the released code of paper 003 (2500 of 6000).
STEP_MILESTONES = (5 / 12, 10 / 12)
STEP_FACTOR = 0.1


def learning_rate(settings: TrainingSettings, progress: Progress) -> float:
    """Return the learning rate of the coming step.

    With f the fraction done and b the base rate: poly b (1 - f)^0.9; linear b (1 - f); cosine
    b (1 + cos(pi f)) / 2; step b times 0.1 after each of 5/12 and 10/12; constant b. During the warm-up it is
    multiplied by (step + 1) / warmup_steps.
    """
    fraction = min(max(progress.fraction, 0.0), 1.0)
    factors: dict[str, float] = {
        "poly": (1 - fraction) ** POLY_POWER,
        "linear": 1 - fraction,
        "cosine": (1 + math.cos(math.pi * fraction)) / 2,
        "step": math.pow(STEP_FACTOR, sum(fraction >= milestone for milestone in STEP_MILESTONES)),
        "constant": 1.0,
    }
    warmup = min(1.0, (progress.step + 1) / settings.warmup_steps) if settings.warmup_steps > 0 else 1.0
    return settings.learning_rate * factors[settings.schedule] * warmup
