"""Intervals and tests: known coverage, seeds, and agreement with scipy."""

import numpy as np
import pytest
from scipy import stats

from SemiSegLib.errors import ConfigError, ShapeError
from SemiSegLib.evaluation.statistics import (
    bootstrap_interval,
    expanded_confidence,
    paired_bootstrap,
    paired_wilcoxon,
)


def test_the_interval_holds_the_mean_and_is_the_same_for_the_same_seed():
    values = np.random.default_rng(0).beta(8, 2, 37)
    found = bootstrap_interval(values, seed=3)
    assert found == bootstrap_interval(values, seed=3)
    assert found != bootstrap_interval(values, seed=4)
    assert found.low < found.mean < found.high
    assert (found.mean, found.count) == (pytest.approx(values.mean()), 37)


def test_the_interval_equals_scipys_percentile_bootstrap_of_expanded_confidence():
    values = np.random.default_rng(1).normal(0.8, 0.1, 40)
    level = expanded_confidence(0.95, 40)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        confidence_level=level,
        n_resamples=20_000,
        rng=np.random.default_rng(5),
    )
    found = bootstrap_interval(values, draws=20_000)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.04 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.04 * width)


def test_about_nine_of_ten_intervals_at_ninety_percent_hold_the_true_mean():
    generator = np.random.default_rng(2)
    held = 0
    for trial in range(200):
        found = bootstrap_interval(generator.normal(0.5, 0.2, 50), confidence=0.9, draws=500, seed=trial)
        held += found.low <= 0.5 <= found.high
    assert 168 <= held <= 192


def test_few_values_are_covered_as_often_as_said():
    generator = np.random.default_rng(4)
    held = 0
    for trial in range(400):
        found = bootstrap_interval(generator.normal(0.5, 0.2, 5), draws=400, seed=trial)
        held += found.low <= 0.5 <= found.high
    # The plain percentile interval holds it in about 82 of 100.
    assert 366 <= held <= 394


def test_expansion_is_hesterbergs():
    plain = stats.norm.ppf(0.975)
    assert expanded_confidence(0.95, 100_000) == pytest.approx(0.95, abs=1e-5)
    wanted = stats.t.ppf(0.975, 9) * (10 / 9) ** 0.5
    assert stats.norm.ppf((1 + expanded_confidence(0.95, 10)) / 2) == pytest.approx(wanted)
    assert wanted > 1.2 * plain
    assert expanded_confidence(0.95, 1) == 0.95


def test_patients_are_drawn_with_all_their_values():
    generator = np.random.default_rng(5)
    own = generator.normal(0.7, 0.1, 8)
    values = np.repeat(own, 5)
    patients = [f"p{number}" for number in range(8) for _ in range(5)]
    whole = bootstrap_interval(values, patients=patients)
    # Five equal scans of each of eight patients say as much as one scan of each.
    assert (whole.count, whole.patients) == (40, 8)
    one = bootstrap_interval(own)
    assert (whole.low, whole.high) == (pytest.approx(one.low), pytest.approx(one.high))
    naive = bootstrap_interval(values)
    assert whole.high - whole.low > 2 * (naive.high - naive.low)
    # Where one patient has most of the scans, the mean stays that over scans.
    uneven = bootstrap_interval([0.2, 0.4, 0.9, 0.9, 0.9, 0.9], patients=list("abcccc"))
    assert uneven.mean == pytest.approx(0.7)
    assert 0.2 <= uneven.low < uneven.mean < uneven.high <= 0.9
    with pytest.raises(ShapeError, match="3 values of 2 patients"):
        bootstrap_interval([1, 2, 3], patients=["a", "b"])


def test_drawing_in_chunks_gives_every_draw(monkeypatch):
    values = np.random.default_rng(0).normal(size=11)
    monkeypatch.setattr("SemiSegLib.evaluation.statistics.CHUNK_DRAWS", 40)
    found = bootstrap_interval(values, draws=1000)
    assert found.low < values.mean() < found.high


def test_one_value_has_no_width_and_no_value_no_mean():
    assert bootstrap_interval([0.7]) == bootstrap_interval([0.7], seed=9)
    assert (bootstrap_interval([0.7]).low, bootstrap_interval([0.7]).high) == (0.7, 0.7)
    nothing = bootstrap_interval([])
    assert (nothing.mean, nothing.low, nothing.high, nothing.count, nothing.patients) == (None, None, None, 0, 0)


def test_pairing_sees_a_small_gain_that_two_separate_intervals_hide():
    generator = np.random.default_rng(0)
    difficulty = generator.normal(0.7, 0.15, 30)
    first, second = difficulty + 0.02 + generator.normal(0, 0.01, 30), difficulty
    gain = paired_bootstrap(first, second)
    assert gain.low > 0
    assert bootstrap_interval(first).low < bootstrap_interval(second).high
    assert paired_wilcoxon(first, second).p_value < 0.001


def test_wilcoxon_equals_scipy_without_the_equal_pairs():
    generator = np.random.default_rng(4)
    first, second = generator.normal(size=25), generator.normal(size=25)
    second[:5] = first[:5]
    found = paired_wilcoxon(first, second)
    expected = stats.wilcoxon(first[5:] - second[5:])
    assert (found.statistic, found.p_value, found.count) == (expected.statistic, expected.pvalue, 20)


def test_equal_scores_are_no_evidence():
    found = paired_wilcoxon([0.5, 0.6], [0.5, 0.6])
    assert (found.statistic, found.p_value, found.count) == (None, 1.0, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_pairs_with_ties_are_tested_without_a_warning(count):
    assert 0 < paired_wilcoxon([0.25] * count, [0.0] * count).p_value <= 1


def test_values_that_are_not_finite_or_not_paired_are_named():
    with pytest.raises(ShapeError, match="1 of 3 values are not finite"):
        bootstrap_interval([0.1, float("nan"), 0.2])
    with pytest.raises(ShapeError, match="3 values against 2"):
        paired_bootstrap([1, 2, 3], [1, 2])
    with pytest.raises(ConfigError, match="confidence is 95"):
        bootstrap_interval([1, 2], confidence=95)
