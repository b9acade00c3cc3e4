"""What is said of two models on the same cases: a gain where there is one, and none where there is only noise."""

import numpy as np
import pytest

from SemiSegLib.config import from_json, to_json, write_json
from SemiSegLib.errors import ConfigError
from SemiSegLib.evaluation.gain import FEWEST_PATIENTS, Compared, gain_markdown, measure_gain
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore
from SemiSegLib.runs.gain import Gain, read_gain

COMPARED = Compared(run="one", baseline="two", method="mean_teacher", extra_cases={"coarse": 3, "none": 8})


def a_score(case, dice, kinds=None):
    kinds = kinds or {}
    rows = (
        StructureScore(
            structure=name,
            kind=kinds.get(name, "leaf"),
            dice=value,
            unit="mm",
            prediction_ml=1.0,
            reference_ml=1.0,
            known_fraction=1.0,
            empty="",
        )
        for name, value in dice.items()
    )
    return CaseScore(case, tuple(rows))


def gain_of(first, second, patients=None, **more):
    """Return the gain for one structure, given its Dice case by case."""
    ours = [a_score(f"c{n}", {"head": value}, **more) for n, value in enumerate(first)]
    theirs = [a_score(f"c{n}", {"head": value}, **more) for n, value in enumerate(second)]
    return measure_gain(ours, theirs, patients=patients or {}, compared=COMPARED)


def test_a_gain_worked_by_hand():
    ours = [a_score(f"c{n}", {"head": 0.9, "tail": 0.7}) for n in range(8)]
    theirs = [a_score(f"c{n}", {"head": 0.8, "tail": 0.7}) for n in range(8)]
    gain = measure_gain(ours, theirs, patients={}, compared=COMPARED)
    mean, head, tail = gain.rows
    assert (mean.structure, mean.kind, mean.cases, mean.patients) == ("", "mean", 8, 8)
    assert (mean.dice, mean.baseline_dice, mean.difference) == pytest.approx((0.8, 0.75, 0.05))
    assert (head.difference, head.low, head.high, head.verdict) == (*[pytest.approx(0.1)] * 3, "helped")
    assert (tail.difference, tail.verdict) == (0.0, "no measurable gain")
    assert gain.verdict == "helped"
    assert gain.sentence == (
        "The 3 coarsely labeled and 8 unlabeled training cases helped: mean Dice 0.800 with them, 0.750 without "
        "(+0.050, 95 % interval +0.050 to +0.050, 8 validation cases)."
    )


def test_harm_is_called_harm():
    gain = gain_of([0.5, 0.52, 0.48, 0.5, 0.55, 0.49, 0.5], [0.6, 0.61, 0.62, 0.6, 0.63, 0.61, 0.6])
    assert gain.verdict == gain.rows[1].verdict == "harmed"
    assert "made the model worse" in gain.sentence


def test_no_gain_is_claimed_where_the_interval_holds_0():
    gain = gain_of([0.9, 0.5, 0.8, 0.6, 0.7, 0.9, 0.4], [0.7, 0.6, 0.7, 0.7, 0.6, 0.8, 0.5])
    assert gain.rows[0].low < 0 < gain.rows[0].difference
    assert gain.verdict == "no measurable gain"


def test_a_difference_as_small_as_that_of_another_seed_is_no_gain():
    second = np.linspace(0.6, 0.8, 12)
    assert gain_of(second + 0.008, second).verdict == "no measurable gain"
    assert gain_of(second - 0.008, second).verdict == "no measurable gain"
    assert gain_of(second + 0.012, second).verdict == "helped"
    spread = np.tile([0.0, 0.016], 6)
    assert gain_of(second + spread, second).rows[0].low > 0
    assert gain_of(second + spread, second).verdict == "no measurable gain"


@pytest.mark.parametrize("count", [0, 1, 2, FEWEST_PATIENTS - 1])
def test_too_few_patients_are_told_whatever_the_difference(count):
    gain = gain_of([0.9] * count, [0.5] * count)
    assert gain.verdict == "too few cases"
    assert (gain.rows[0].low is None) == (count < 2)
    assert ("too few" in gain.sentence) == (count > 0)
    assert gain_of([0.9] * FEWEST_PATIENTS, [0.5] * FEWEST_PATIENTS).verdict == "helped"


def test_two_scans_of_one_patient_are_not_two_witnesses():
    first, second = [0.8] * 12, [0.7] * 12
    patients = {f"c{n}": f"p{n // 4}" for n in range(12)}
    row = gain_of(first, second, patients).rows[0]
    assert (row.cases, row.patients, row.verdict) == (12, 3, "too few cases")
    # One patient with many scans weighs as much as another: (0.1 + 0.3) / 2.
    lopsided = gain_of([0.8, 0.8, 0.8, 0.9], [0.7, 0.7, 0.7, 0.6], {"c0": "p", "c1": "p", "c2": "p"})
    assert lopsided.rows[0].difference == pytest.approx(0.2)


def test_the_mean_is_over_leaves_and_over_superclasses_where_there_are_no_leaves():
    kinds = {"organ": "superclass"}
    both = [a_score("c", {"head": 0.8, "organ": 0.2}, kinds)], [a_score("c", {"head": 0.7, "organ": 0.9}, kinds)]
    assert measure_gain(*both, patients={}, compared=COMPARED).rows[0].difference == pytest.approx(0.1)
    coarse = [a_score("c", {"organ": 0.2}, kinds)], [a_score("c", {"organ": 0.9}, kinds)]
    assert measure_gain(*coarse, patients={}, compared=COMPARED).rows[0].difference == pytest.approx(-0.7)


def test_only_what_both_models_were_judged_for_is_compared():
    ours = [a_score("a", {"head": 0.8, "tail": 0.5}), a_score("b", {"head": None}), a_score("only here", {"head": 1.0})]
    theirs = [a_score("b", {"head": 0.6}), a_score("a", {"head": 0.7})]
    gain = measure_gain(ours, theirs, patients={}, compared=COMPARED)
    assert [(row.structure, row.cases) for row in gain.rows] == [("", 1), ("head", 1)]


@pytest.mark.parametrize("patients", [6, 12, 40])
@pytest.mark.parametrize("seed_spread", [0.0, 0.004])
def test_noise_alone_is_rarely_called_a_gain(patients, seed_spread):
    # Cases differ by chance; and all of them move together, as another seed of the training moves them.
    generator = np.random.default_rng(patients)
    verdicts = []
    for _ in range(200):
        second = generator.normal(0.8, 0.05, patients)
        first = second + generator.normal(0, 0.02, patients) + generator.normal(0, seed_spread)
        verdicts.append(gain_of(first, second).verdict)
    # 2.5 % on each side is what the interval allows; of 200 draws 11 or more have a probability of 1 %.
    assert verdicts.count("helped") <= 10
    assert verdicts.count("harmed") <= 10


def test_a_gain_as_the_one_measured_on_the_hippocampus_is_found_in_20_patients():
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        second = generator.normal(0.8, 0.05, 20)
        found += gain_of(second + generator.normal(0.02, 0.02, 20), second).verdict == "helped"
    assert found >= 32


def test_the_report_tells_sentence_notes_and_every_structure():
    ours = [a_score(f"c{n}", {"a|b": 0.9}) for n in range(6)]
    theirs = [a_score(f"c{n}", {"a|b": 0.8}) for n in range(6)]
    compared = Compared(run="one", baseline="two", method="marginal", notes=("The first was stopped early.",))
    text = gain_markdown(measure_gain(ours, theirs, patients={}, compared=compared))
    assert "The other training cases helped" in text
    assert "The first was stopped early." in text
    assert "| a\\|b | 6 | 0.900 | 0.800 | +0.100 (+0.100 to +0.100) | helped |" in text


def test_a_gain_is_read_back_as_it_was_written_also_from_a_newer_version(tmp_path):
    gain = gain_of([0.9, 0.8], [0.7, 0.7])
    assert from_json(Gain, to_json(gain), where="test") == gain
    path = tmp_path / "gain.json"
    assert read_gain(path) is None
    newer = to_json(gain)
    newer["later"] = newer["rows"][0]["later"] = 1
    write_json(path, newer)
    assert read_gain(path) == gain
    for damaged in ([], {"no": "rows"}, {"rows": 1}, {"rows": ["text"]}):
        write_json(path, damaged)
        with pytest.raises(ConfigError, match="not a gain"):
            read_gain(path)
