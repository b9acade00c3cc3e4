"""Whether probabilities are as often right as they say, and one number that mends it."""

from __future__ import annotations

import numpy as np

BINS = 10
# Fewer answers of either kind say nothing about a temperature.
LEAST_ANSWERS = 5
LOWEST, HIGHEST = 0.2, 20.0
STEPS = 200
REFINEMENTS = 3


def expected_calibration_error(probability: np.ndarray, target: np.ndarray) -> float:
    """Return the mean distance between what is said and how often it is so, over bins of equal width.

        ECE = sum_b n_b / N |mean p in b - mean t in b|

    Source: Guo et al. 2017, eq. 3, for one yes-or-no answer: p is the probability of yes.

    Args:
        probability: (N,), 0 to 1; N at least 1.
        target: (N,) bool.

    Returns:
        0 (calibrated) to 1.
    """
    bins = np.minimum((np.asarray(probability, dtype=float) * BINS).astype(int), BINS - 1)
    said = np.bincount(bins, weights=probability, minlength=BINS)
    true = np.bincount(bins, weights=target, minlength=BINS)
    return float(np.abs(said - true).sum() / len(bins))


def fit_temperature(logits: np.ndarray, target: np.ndarray) -> float | None:
    r"""Return the T > 0 for which sigmoid(z / T) suits the answers best, or None if there are too few of them.

        T = argmin_T sum_n BCE(z_n / T, t_n) + (ln T)^2 / 2

    Dividing by a positive number keeps the order. The last term, a normal prior of ln T, holds T near 1 where few
    answers speak for another: without it, answers that are all right would drive T to 0. Source: temperature scaling,
    Guo et al. 2017; the prior is ours.

    Args:
        logits: (N,) any range.
        target: (N,) bool.
    """
    truth = np.asarray(target, dtype=bool)
    if min(truth.sum(), (~truth).sum()) < LEAST_ANSWERS:
        return None
    # BCE of the logit z is log(1 + exp(-z)) where the answer is yes and log(1 + exp(z)) where it is no.
    signed = np.where(truth, -1.0, 1.0) * np.asarray(logits, dtype=float)
    low, high = np.log(LOWEST), np.log(HIGHEST)
    best = 0.0
    for _ in range(REFINEMENTS):
        grid = np.linspace(low, high, STEPS)
        costs = np.logaddexp(0.0, signed[None] / np.exp(grid)[:, None]).sum(1) + grid**2 / 2
        best = float(grid[int(costs.argmin())])
        low, high = best - (grid[1] - grid[0]), best + (grid[1] - grid[0])
    return float(np.clip(np.exp(best), LOWEST, HIGHEST))
