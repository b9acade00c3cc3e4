"""How a weight, threshold or share changes over a training, in closed form from how far the training is."""

from __future__ import annotations

import math

from SemiSegLib.config import check_choice
from SemiSegLib.methods.method import Progress

RAMPS = ("constant", "linear", "gaussian", "step")


def ramp(progress: Progress, kind: str, *, share: float, wait: float = 0.0, levels: int | None = None) -> float:
    """Return how much of a weight is in force, 0 to 1.

    With u = (fraction - wait) / share, cut to 0..1: constant 1; step 1 from ``wait`` on; linear u; gaussian
    exp(-5 (1 - u)^2), which starts at 0.0067 (Laine and Aila 2017; "sigmoid_rampup" in released code). All are 0
    before ``wait``, but for "constant".

    Args:
        progress: how far the training is; time budgets and step budgets ramp alike.
        kind: "constant", "linear", "gaussian" or "step".
        share: of the training in which it rises, 0 to 1; with 0 it is at once in full force.
        wait: share of the training before it begins, 0 to 1.
        levels: stairs in which u rises, as released code of papers 000 and 003 does (one every 150 steps), or None for
            a smooth rise.
    """
    check_choice("ramp", kind, RAMPS)
    if kind == "constant":
        return 1.0
    if progress.fraction < wait:
        return 0.0
    if kind == "step" or share <= 0:
        return 1.0
    done = min((progress.fraction - wait) / share, 1.0)
    if levels is not None:
        # The small term keeps a fraction that is exactly a stair from being rounded below it.
        done = min(math.floor(done * levels + 1e-9) / levels, 1.0)
    return done if kind == "linear" else math.exp(-5 * (1 - done) ** 2)


def between(progress: Progress, start: float, end: float, *, share: float = 1.0) -> float:
    """Return a value that goes in a straight line from ``start`` to ``end`` over the first ``share``."""
    return start + (end - start) * ramp(progress, "linear", share=share)
