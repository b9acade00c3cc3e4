"""How sure a mean over cases is: seeded bootstrap intervals and paired tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from SemiSegLib.config import check_range
from SemiSegLib.errors import ShapeError, explain

CHUNK_DRAWS = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; all None if there was no value.

    Attributes:
        mean: of the values.
        low, high: ends of the interval; both the mean if all values are of one patient.
        count: number of values.
        patients: number of patients they are of.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int
    patients: int


@dataclass(frozen=True)
class PairedTest:
    """Wilcoxon's signed-rank test.

    Attributes:
        statistic: the smaller rank sum, or None if every difference is 0.
        p_value: two-sided, 1 if every difference is 0.
        count: pairs that differ.
    """

    statistic: float | None
    p_value: float
    count: int


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    *,
    patients: Sequence[str] | None = None,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean over cases with its expanded percentile bootstrap interval over patients.

    Patients are drawn with all their values: two scans of one are not two witnesses.

    Args:
        values: one per case, finite.
        patients: of each value; None if every value is of a patient of its own.
        confidence: 0 to 1.
        draws: resamples of the patients; 10,000 leave an error of about 0.2 % of the interval's width.
        seed: the same values and seed give the same interval.

    Raises:
        ShapeError: a value is not finite, or the numbers of values and patients differ.
    """
    check_range("confidence", confidence, low=0.0, high=1.0)
    check_range("draws", draws, low=1)
    data = _finite(values)
    if patients is not None and len(patients) != data.size:
        what, remedy = f"{data.size} values of {len(patients)} patients", "name the patient of each value"
        raise ShapeError(explain(what, where="statistics", remedy=remedy))
    if data.size == 0:
        return Interval(None, None, None, 0, 0)
    groups = range(data.size) if patients is None else patients
    place = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    owners = [place[group] for group in groups]
    means = _resampled_means(np.bincount(owners, weights=data), np.bincount(owners), draws, seed)
    expanded = expanded_confidence(confidence, len(place))
    low, high = np.quantile(means, [(1 - expanded) / 2, (1 + expanded) / 2])
    return Interval(float(data.mean()), float(low), float(high), int(data.size), len(place))


def expanded_confidence(confidence: float, count: int) -> float:
    """Return the confidence at which a percentile bootstrap of few values covers as often as it should.

    With few values the plain interval is too short, as it divides by n instead of n - 1 and knows no t distribution.
    Source: the expanded percentile interval of Hesterberg, What Teachers Should Know About the Bootstrap, 2015, 4.2.

    Args:
        confidence: wanted, 0 to 1.
        count: number of independent values; a single one has no width at any confidence.
    """
    if count < 2:
        return confidence
    quantile = stats.t.ppf((1 + confidence) / 2, count - 1) * math.sqrt(count / (count - 1))
    return float(1 - 2 * stats.norm.cdf(-quantile))


def paired_bootstrap(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of ``first - second`` over the same patients with its interval, see ``bootstrap_interval``.

    Args:
        first: one value per patient.
        second: the same patients in the same order.
        confidence: 0 to 1.
        draws: resamples of the patients.
        seed: of the drawing.

    Raises:
        ShapeError: the numbers of values differ, or a value is not finite.
    """
    return bootstrap_interval(_differences(first, second), confidence=confidence, draws=draws, seed=seed)


def paired_wilcoxon(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> PairedTest:
    """Return Wilcoxon's signed-rank test of two scores of the same cases; pairs that are equal are dropped.

    Raises:
        ShapeError: the numbers of values differ, or a value is not finite.
    """
    differences = _differences(first, second)
    differences = differences[differences != 0]
    if differences.size == 0:
        return PairedTest(None, 1.0, 0)
    found = stats.wilcoxon(differences)
    return PairedTest(float(found.statistic), float(found.pvalue), int(differences.size))


def _resampled_means(sums: np.ndarray, counts: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return means over all values of as many patients as there are, drawn with replacement.

    Args:
        sums: (patients,) sum of the values of each.
        counts: (patients,) number of them, at least 1.
        draws: number of means.
        seed: of the drawing.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK_DRAWS // sums.size)
    parts = []
    for start in range(0, draws, rows):
        chosen = generator.integers(0, sums.size, (min(rows, draws - start), sums.size))
        parts.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    return np.concatenate(parts)


def _differences(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> np.ndarray:
    one, other = _finite(first), _finite(second)
    if one.shape != other.shape:
        raise ShapeError(
            explain(
                f"{one.size} values against {other.size}",
                where="paired comparison",
                remedy="give one value per case for both, in the same order",
            )
        )
    difference: np.ndarray = one - other
    return difference


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    data = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(data).all():
        raise ShapeError(
            explain(
                f"{int((~np.isfinite(data)).sum())} of {data.size} values are not finite",
                where="statistics",
                remedy="leave out the cases without a score",
            )
        )
    return data
