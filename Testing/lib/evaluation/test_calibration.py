"""A temperature mends probabilities that say too much, and never changes which is larger."""

import numpy as np
import pytest

from SemiSegLib.evaluation.calibration import expected_calibration_error, fit_temperature


def answers(count=4000, factor=1.0, seed=0):
    """Logits that are too large by a factor, and answers that are as often yes as the right ones say."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(0.0, 1.5, count)
    target = generator.random(count) < 1 / (1 + np.exp(-honest))
    return factor * honest, target


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_the_calibration_error_is_that_worked_by_hand():
    # Bin 0.2: says 0.25 twice, true once: |0.5 - 1| / 4. Bin 0.9: says 1 twice, true twice: 0.
    probability = np.array([0.25, 0.25, 1.0, 1.0])
    assert expected_calibration_error(probability, np.array([True, False, True, True])) == pytest.approx(0.125)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([True, False])) == 1


@pytest.mark.parametrize("factor", [0.4, 3.0, 10.0])
def test_a_temperature_mends_logits_that_say_too_much_or_too_little(factor):
    logits, target = answers(factor=factor)
    temperature = fit_temperature(logits, target)
    assert temperature == pytest.approx(factor, rel=0.1)
    before = expected_calibration_error(sigmoid(logits), target)
    after = expected_calibration_error(sigmoid(logits / temperature), target)
    assert after < 0.4 * before
    fresh, truth = answers(factor=factor, seed=1)
    assert expected_calibration_error(sigmoid(fresh / temperature), truth) < 0.5 * before


def test_the_order_stays_as_it_was():
    logits, target = answers(200, factor=8.0)
    mended = sigmoid(logits / fit_temperature(logits, target))
    assert (np.argsort(mended, kind="stable") == np.argsort(logits, kind="stable")).all()
    assert ((mended > 0.5) == (logits > 0)).all()


def test_too_few_answers_of_either_kind_tell_no_temperature():
    assert fit_temperature(np.ones(50), np.ones(50, dtype=bool)) is None
    assert fit_temperature(np.ones(50), np.arange(50) < 4) is None
    assert fit_temperature(np.linspace(-1, 1, 10), np.arange(10) < 5) is not None


def test_few_answers_that_are_all_right_move_it_little_and_never_to_certainty():
    logits = np.array([-2.0] * 5 + [2.0] * 5)
    temperature = fit_temperature(logits, logits > 0)
    assert 0.4 < temperature < 1
    assert fit_temperature(50 * logits, logits > 0) > 0.9
    assert np.isfinite(fit_temperature(1e30 * logits, logits < 0))
