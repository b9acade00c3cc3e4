"""Score files, summaries and tables."""

import json

import pytest

from SemiSegLib.errors import ConfigError
from SemiSegLib.evaluation.case_csv import read_case_csv, write_case_csv
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore
from SemiSegLib.evaluation.report import interval_text
from SemiSegLib.evaluation.statistics import bootstrap_interval
from SemiSegLib.evaluation.summary import summarize
from SemiSegLib.evaluation.table import Column, Row, Table


def row(structure="vessel", kind="leaf", empty="", **values) -> StructureScore:
    fixed = {"unit": "mm", "prediction_ml": 1.25, "reference_ml": 0.1, "known_fraction": 1.0}
    return StructureScore(structure=structure, kind=kind, empty=empty, **(fixed | values))


def test_a_score_file_gives_back_every_digit(tmp_path):
    scores = [
        CaseScore('odd, "name" é', (row(dice=1 / 3, hd95=2.0), row("organ", "superclass", known_fraction=0.1))),
        CaseScore("007", (row(empty="both", dice=1.0, hd95=0.0),)),
    ]
    path = tmp_path / "scores.csv"
    write_case_csv(scores, path)
    assert read_case_csv(path) == scores
    assert path.read_text(encoding="utf-8").splitlines()[0].startswith("case,structure,kind,dice,")


def test_a_score_file_of_another_kind_is_refused_with_its_columns(tmp_path):
    path = tmp_path / "scores.csv"
    with pytest.raises(ConfigError, match="does not exist"):
        read_case_csv(path)
    path.write_text("case,dice\na,0.5\n")
    with pytest.raises(ConfigError, match="the columns are case, dice"):
        read_case_csv(path)
    write_case_csv([CaseScore("a", (row(dice=0.5),))], path)
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(ConfigError, match=r"'half' is not a number(.|\n)*line 2: dice"):
        read_case_csv(path)


def test_a_summary_counts_empty_cases_and_means_over_those_that_were_judged():
    scores = [
        CaseScore("a", (row(dice=0.8, hd95=2.0), row("organ", "superclass", dice=0.9))),
        CaseScore("b", (row(dice=0.0, hd95=90.0, empty="prediction"),)),
        CaseScore("c", (row(dice=1.0, hd95=0.0, empty="both"), row("organ", "superclass", dice=0.7))),
        CaseScore("d", (row(dice=0.0, empty="reference"),)),
    ]
    vessel, organ = summarize(scores, {})
    assert (vessel.structure, vessel.cases, vessel.missed, vessel.invented, vessel.absent) == ("vessel", 4, 1, 1, 1)
    assert vessel.metrics["dice"].mean == pytest.approx(0.45)
    assert vessel.dice_where_present.mean == pytest.approx(0.4)
    assert (vessel.metrics["hd95"].mean, vessel.metrics["hd95"].count) == (pytest.approx(92 / 3), 3)
    assert vessel.metrics["assd"].mean is None
    assert vessel.empty_text == "1 missed, 1 invented, 1 absent in both"
    assert (organ.cases, organ.empty_text) == (2, "")
    assert summarize([], {}) == ()


def test_scans_of_a_patient_are_drawn_together_in_the_intervals_of_a_summary():
    dice = {"a1": 0.9, "a2": 0.9, "a3": 0.9, "b1": 0.5, "c1": 0.7}
    scores = [CaseScore(case, (row(dice=value),)) for case, value in dice.items()]
    patients = {case: case[0] for case in dice}
    (found,) = summarize(scores, patients)
    interval = found.metrics["dice"]
    assert (interval.mean, interval.count, interval.patients) == (pytest.approx(0.78), 5, 3)
    assert interval == bootstrap_interval([*dice.values()], patients=[*patients.values()])
    assert found.dice_where_present == interval
    (alone,) = summarize(scores, {})
    assert alone.metrics["dice"].patients == 5
    # Three scans of one patient do not tell how patients differ.
    (one,) = summarize(scores[:3], patients)
    assert interval_text(one.metrics["dice"], 3) == "0.900"


def test_the_mean_dice_of_a_case_is_over_one_kind_and_none_without_any():
    score = CaseScore("a", (row(dice=0.8), row("rim", dice=0.4), row("organ", "superclass", dice=0.9)))
    assert score.mean_dice() == pytest.approx(0.6)
    assert score.mean_dice("superclass") == 0.9
    assert score.mean_dice("group") is None


def table() -> Table:
    return Table(
        "method",
        (Column(name="Dice", best="high"), Column(name="HD95", unit="mm", digits=1, best="low")),
        (
            Row("supervised", {"Dice": (0.7, 0.8, 0.9), "HD95": (4.0,)}),
            Row("marginal | ours", {"Dice": (0.85, 0.85, 0.91)}),
        ),
    )


def test_a_table_shows_mean_and_sample_deviation_and_marks_the_best():
    # Deviation of 0.7, 0.8, 0.9 with n - 1: 0.1. One seed has no spread; a column of one row has no best.
    assert table().to_markdown() == (
        "| method | Dice | HD95 (mm) |\n"
        "| --- | ---: | ---: |\n"
        "| supervised | 0.800 ± 0.100 | 4.0 |\n"
        "| marginal \\| ours | **0.870 ± 0.035** |  |\n"
    )


def test_a_table_is_json_with_every_value():
    data = json.loads(json.dumps(table().to_json()))
    cell = data["rows"][0]["cells"]["Dice"]
    assert cell == {"values": [0.7, 0.8, 0.9], "mean": pytest.approx(0.8), "spread": pytest.approx(0.1)}
    assert data["rows"][0]["cells"]["HD95"]["spread"] is None


def test_a_cell_without_a_column_is_named():
    with pytest.raises(ConfigError, match="did you mean 'Dice'"):
        Table("method", (Column(name="Dice"),), (Row("a", {"Dise": (1.0,)}),))
