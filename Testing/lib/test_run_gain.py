"""A run and its baseline, from request to verdict: one split, one judge, and no gain from scans that are noise."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from SemiSegLib.baseline import baseline_request
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import Volume, read_volume, write_volume
from SemiSegLib.config import read_json, write_json
from SemiSegLib.evaluation.case_csv import read_case_csv
from SemiSegLib.evaluation.gain import FEWEST_PATIENTS
from SemiSegLib.run_gain import take_over_split
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import read_gain
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.request import PlanSettings
from Testing.lib.run_farm import Farm, a_cohort, a_request

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="copies of processes are POSIX")


@pytest.fixture(scope="module")
def farm():
    farm = Farm()
    yield farm
    farm.close()


def turn_into_noise(data):
    """Replace every scan without labels by noise."""
    dataset = load_dataset(data)
    generator = np.random.default_rng(0)
    for case in dataset.cases:
        if case.annotation is None:
            for name in case.images.values():
                scan = read_volume(dataset.path(name))
                noise = generator.integers(0, 1000, scan.voxels.shape).astype(scan.voxels.dtype)
                write_volume(Volume(noise, scan.geometry), dataset.path(name))


@pytest.fixture(scope="module")
def pair(farm, tmp_path_factory):
    """A run that learns from noise too, and its baseline."""
    folder = tmp_path_factory.mktemp("José Müller 中")
    data = a_cohort(folder / "data", fine=3, coarse=0, none=3, validation=FEWEST_PATIENTS, size=(12, 20, 18))
    turn_into_noise(data)
    plan = PlanSettings(patch=(12, 20, 20), batch=2, features=(8, 16))
    training = {"steps": 60, "validate_every": 20, "checkpoint_seconds": 60.0}
    first = RunFolder.create(
        folder / "runs", a_request(data, method="mean_teacher", plan=plan, training=training, title="With noise")
    )
    assert farm.work(first) == 0, first.status()
    baseline = RunFolder.create(folder / "runs", baseline_request(first))
    assert farm.work(baseline) == 0, baseline.status()
    return first, baseline


def test_no_gain_is_claimed_from_scans_that_are_noise(pair):
    first, baseline = pair
    gain = read_gain(baseline.gain_path)
    assert gain.verdict in ("no measurable gain", "harmed")
    assert gain.extra_cases == {"none": 3}
    assert gain.rows[0].patients == FEWEST_PATIENTS
    assert gain.rows[0].low <= gain.rows[0].difference <= gain.rows[0].high
    assert [row.structure for row in gain.rows] == ["", "organ", "head", "tail", "vessel"]
    assert (gain.run, gain.baseline) == (first.request.id, baseline.request.id)
    assert gain.notes == ()
    assert not first.gain_path.exists()


def test_both_runs_have_one_split_and_one_judge(pair):
    first, baseline = pair
    assert baseline.split_path.read_bytes() == first.split_path.read_bytes()
    gain = read_gain(baseline.gain_path)
    for run, which in ((first, "dice"), (baseline, "baseline_dice")):
        scores = read_case_csv(run.report / "scores.csv")
        for row in gain.rows[1:]:
            found = [r.dice for score in scores for r in score.rows if r.structure == row.structure]
            assert getattr(row, which) == pytest.approx(np.mean(found))


def test_the_split_is_taken_over_once(tmp_path):
    first = RunFolder.create(tmp_path, a_request("data"), name="first")
    first.model_path.touch()
    write_json(first.split_path, {"patient": "train"})
    run = RunFolder.create(tmp_path, baseline_request(first), name="second")
    take_over_split(run)
    assert read_json(run.split_path) == {"patient": "train"}
    write_json(first.split_path, {"patient": "validation"})
    take_over_split(run)
    take_over_split(first)
    assert read_json(run.split_path) == {"patient": "train"}


def test_the_report_of_the_baseline_has_a_section_on_the_other_cases(pair):
    first, baseline = pair
    assert read_gain(baseline.gain_path).sentence in (baseline.report / "report.md").read_text()
    assert "Did the other cases help?" not in (first.report / "report.md").read_text()


def test_a_baseline_learns_from_full_labels_only_and_names_no_path(pair):
    baseline = pair[1]
    found = read_json(baseline.environment_path)
    assert "after" not in found["request"]
    assert "compare_with" not in found["request"]
    assert read_gain(baseline.gain_path).extra_cases
    assert "training cases: 3 full;" in baseline.log_path.read_text()


def test_a_baseline_without_anything_to_compare_with_fails_at_once_with_a_remedy(farm, pair, tmp_path):
    asked = replace(pair[1].request, after=None, compare_with=str(tmp_path / "deleted"))
    for name, other in (("gone", None), ("no model", pair[0].request)):
        if other is not None:
            asked = replace(asked, compare_with=str(RunFolder.create(tmp_path, other, name="unfinished").path))
        run = RunFolder.create(tmp_path, asked, name=name)
        assert farm.work(run) == 1
        status = observe(run)
        assert status.state == "failed"
        assert "compare with" in status.message
        assert "baseline" in status.remedy
        assert not run.plan_path.exists()


def test_a_baseline_whose_other_run_was_deleted_meanwhile_still_has_model_and_report(farm, pair, tmp_path):
    runs = shutil.copytree(pair[1].path.parent, tmp_path / "runs")
    run = RunFolder(runs / pair[1].path.name)
    request = read_json(run.request_path)
    (runs / pair[0].path.name).rename(tmp_path / "away")
    shutil.rmtree(run.report)
    run.request_path.write_text(
        run.request_path.read_text().replace(request["compare_with"], str(tmp_path / "away2" / "first"))
    )
    assert farm.work(run) == 0
    assert run.status().state == "finished"
    assert (run.report / "report.md").exists()
    assert not run.gain_path.exists()
    notices = [event["text"] for event in run.events()[0] if event["kind"] == "noticed"]
    assert any("no comparison" in text for text in notices)


def test_a_run_that_was_stopped_early_is_told_in_a_note(farm, pair, tmp_path):
    runs = shutil.copytree(pair[0].path.parent, tmp_path / "runs")
    first, run = (RunFolder(runs / one.path.name) for one in pair)
    # The copies name the originals; beside them are their own.
    run.request_path.write_text(run.request_path.read_text().replace(str(pair[0].path), "elsewhere/" + first.path.name))
    first.write_status(replace(first.status(), state="stopped", fraction=0.4))
    assert farm.work(run) == 0
    assert read_gain(run.gain_path).notes == (
        "The training with all cases was stopped at 40 % of its budget; the one without them had all of it.",
    )
