"""Ramps follow their closed form, whatever ends the training."""

import math

import pytest

from SemiSegLib.errors import ConfigError
from SemiSegLib.methods.adversarial.adversary import AdversaryOptions
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.ramps import RAMPS, between, ramp


def at(fraction):
    return Progress(round(1000 * fraction), fraction)


def test_a_gaussian_ramp_is_that_of_the_papers():
    # Worked by hand: exp(-5) at the start, exp(-5 * 0.25) half-way, 1 at the end and after it.
    assert ramp(at(0.0), "gaussian", share=0.5) == pytest.approx(math.exp(-5))
    assert ramp(at(0.25), "gaussian", share=0.5) == pytest.approx(math.exp(-1.25))
    assert ramp(at(0.5), "gaussian", share=0.5) == 1.0
    assert ramp(at(0.9), "gaussian", share=0.5) == 1.0


def test_stairs_are_those_of_the_released_code():
    # 40,000 steps, a stair every 150 of them, 200 stairs: full weight at step 30,000.
    for step in (0, 149, 150, 15_000, 29_999, 30_000, 39_999):
        expected = math.exp(-5 * (1 - min(step // 150, 200) / 200) ** 2)
        found = ramp(Progress(step, step / 40_000), "gaussian", share=0.75, levels=200)
        assert found == pytest.approx(expected)


def test_nothing_is_in_force_before_the_wait_is_over():
    for kind in RAMPS:
        assert ramp(at(0.1), kind, share=0.2, wait=0.3) == (1.0 if kind == "constant" else 0.0)
    assert ramp(at(0.4), "linear", share=0.2, wait=0.3) == pytest.approx(0.5)
    assert ramp(at(0.3), "step", share=0.2, wait=0.3) == 1.0
    assert ramp(at(0.3), "linear", share=0.0, wait=0.3) == 1.0


def test_every_ramp_rises_from_0_to_1_and_never_falls():
    for kind in RAMPS:
        values = [ramp(at(i / 100), kind, share=0.8, wait=0.1) for i in range(101)]
        assert all(0 <= v <= 1 for v in values)
        assert values == sorted(values)
        assert values[-1] == 1.0


def test_a_threshold_goes_in_a_straight_line():
    assert between(at(0.0), 1.0, 0.4) == 1.0
    assert between(at(0.5), 1.0, 0.4) == pytest.approx(0.7)
    assert between(at(1.0), 1.0, 0.4) == pytest.approx(0.4)
    assert between(at(0.25), 1.0, 0.4, share=0.5) == pytest.approx(0.7)


def test_an_unknown_ramp_is_named():
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        ramp(at(0.1), "linaer", share=0.5)


@pytest.mark.parametrize("kind", RAMPS)
def test_what_waits_for_the_judge_has_no_weight_before_whatever_its_ramp(kind):
    options = AdversaryOptions(ramp=kind, ramp_share=0.1)
    assert options.force(at(0.29), wait=0.3) == 0.0
    assert options.force(at(0.4), wait=0.3) == 1.0
    assert options.force(at(0.2)) == 1.0
    for fraction in (0.0, 0.05, 0.1):
        later = options.force(at(0.3 + fraction), wait=0.3)
        assert later == pytest.approx(options.force(at(fraction))), "the rise is moved, not cut off"
