"""The ``semiseg`` command as a person or a script uses it: the main job once from check to scores."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from SemiSegLib import api
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegLib.cli import app
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, TrainingSettings

TINY = ["batch=2", "patch=[8,16,16]", "features=[4,8]", "dimensions=3", "precision=fp32", "threads=1", "device=cpu"]


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "José Müller 中"
    write_cohort(folder, fine=2, coarse=2, partial=1, none=1, validation=1, test=1, size=(12, 20, 18), seed=3)
    return folder


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    settings = [part for text in TINY for part in ("--setting", text)]
    call("train", cohort, "--steps", 4, "--runs", runs, "--name", "first", *settings)
    return runs / "first"


def test_methods_are_listed_for_people_and_for_scripts():
    told = json.loads(call("methods", "--json"))
    assert [card["name"] for card in told] == [card.name for card in CARDS]
    assert all("graphs" in card and "work" not in card for card in told), "a function is no data"
    assert "marginal" in call("methods")


def test_a_mixed_cohort_is_recommended_a_method_that_uses_coarse_labels(cohort):
    advice = json.loads(call("recommend", cohort, "--json"))
    card = next(card for card in CARDS if card.name == advice["method"])
    assert "coarse" in card.uses
    assert len(advice["reason"]) > 20


def test_a_sound_cohort_passes_the_check(cohort):
    found = json.loads(call("check", cohort, "--json"))
    assert found["cases"] == 8
    assert not [f for f in found["findings"] if f["severity"] == "error"]


def test_damage_is_an_exit_code_of_its_own(cohort, tmp_path):
    folder = tmp_path / "damaged"
    write_cohort(folder, fine=1, coarse=1, partial=0, none=0, validation=0, size=(12, 20, 18))
    next((folder / "labels").iterdir()).write_bytes(b"not an image")
    output = call("check", folder, code=3)
    assert "remedy:" in output


def test_the_plan_is_shown_and_can_be_read_by_a_script(cohort):
    plan = json.loads(call("plan", cohort, "--json"))
    assert plan["dimensions"] in (2, 3)
    assert len(plan["patch"]) == plan["dimensions"]


def test_a_training_leaves_a_model_a_report_and_a_status(run):
    assert (run / "model.safetensors").exists()
    assert (run / "report" / "report.md").exists()
    status = json.loads(call("status", run, "--json"))
    assert status["state"] == "finished"
    assert status["step"] == 4


def test_a_model_file_tells_what_it_segments(run):
    told = json.loads(call("model", run / "model.safetensors", "--json"))
    assert told["channels"] == ["T1"]
    assert told["training_cases"]["full"] == told["training_cases"]["coarse"] == 2
    shown = call("model", run / "model.safetensors")
    assert shown.startswith("Segments head, tail and vessel in T1 scans, trained on ")
    assert "organ" in shown


def test_a_model_segments_a_scan_on_the_grid_of_the_scan(run, cohort, tmp_path):
    scan = sorted((cohort / "images").iterdir())[0]
    call("predict", run / "model.safetensors", scan, "-o", tmp_path, "--ending", ".nii.gz", "--device", "cpu")
    result = read_labels(next(tmp_path.glob("*.nii.gz")))
    assert result.voxels.shape == read_volume(scan).voxels.shape
    assert result.geometry.displacement_mm(read_volume(scan).geometry) < 1e-3


def test_lines_of_scans_are_written_one_by_one_and_those_of_earlier_scans_stay(run, cohort, tmp_path):
    scans = sorted((cohort / "images").iterdir())[:3]
    model, table = run / "model.safetensors", tmp_path / "structures.csv"

    def listed():
        names = [line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        assert len(names) == 4 * len(set(names))
        return list(dict.fromkeys(names))

    stems = [scan.name.split(".")[0] for scan in scans]
    call("predict", model, scans[0], tmp_path / "nowhere.nrrd", "-o", tmp_path, code=1)
    assert listed() == stems[:1]
    call("predict", model, *scans[1:], "-o", tmp_path)
    assert listed() == stems
    call("predict", model, scans[0], "-o", tmp_path, "--overwrite")
    assert listed() == [*stems[1:], stems[0]]
    table.write_text("what,I,noted\n")
    call("predict", model, scans[0], "-o", tmp_path, "--overwrite", code=1)
    assert table.read_text() == "what,I,noted\n"


def test_results_are_ranked_by_doubt_with_reasons_and_maps_beside_them(run, cohort, tmp_path):
    scans = sorted((cohort / "images").iterdir())[:2]
    output = call("predict", run / "model.safetensors", *scans, "-o", tmp_path, "--rank", "--uncertainty")
    assert "Worth a look" in output
    reviews = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*_review.json")}
    assert len(reviews) == 2
    assert all(0 <= found["score"] <= 1 and found["reason"] for found in reviews.values())
    for scan in scans:
        stem = scan.name.split(".")[0]
        assert f"{stem}_review.json" in reviews
        unsure = read_volume(tmp_path / f"{stem}_uncertainty.nrrd")
        assert unsure.geometry.displacement_mm(read_volume(scan).geometry) < 1e-3


def test_scores_come_with_intervals_and_one_row_per_case_in_a_file(run, cohort, tmp_path):
    csv = tmp_path / "scores.csv"
    found = json.loads(call("evaluate", run / "model.safetensors", cohort, "--side", "test", "--csv", csv, "--json"))
    assert {row["structure"] for row in found} >= {"head", "tail", "vessel"}
    assert all(row["metrics"]["dice"]["low"] <= row["metrics"]["dice"]["mean"] for row in found)
    assert csv.read_text().count("\n") > 3


def test_a_mistake_is_answered_on_one_screen_with_a_remedy(cohort):
    done = subprocess.run(
        [sys.executable, "-c", "from SemiSegLib.cli import main; main()", "train", str(cohort), "--setting", "stepz=3"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "stepz" in done.stderr
    assert "did you mean 'steps'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_comparison_is_tabulated_with_its_spread_and_goes_on_where_it_ended(cohort, tmp_path):
    arguments = ("compare", cohort, "--methods", "supervised,marginal", "--fine", 1, "--seeds", 2, "--steps", 2)
    settings = [part for text in TINY for part in ("--setting", text)]
    table = call(*arguments, "--output", tmp_path / "out", *settings)
    assert "supervised, 1 fine" in table
    assert "±" in table
    data = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [len(result["scores"]) for result in data["results"]] == [2, 2, 2]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*/model.safetensors")}
    assert call(*arguments, "--output", tmp_path / "out", *settings) == table
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    twice = call(*arguments, "--output", tmp_path / "out", "--largest-component", *settings)
    assert twice.count("largest piece |") == 3
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    changed = [part for text in (*TINY, "learning_rate=0.1") for part in ("--setting", text)]
    refused = CliRunner().invoke(app, [str(a) for a in (*arguments, "--output", tmp_path / "out", *changed)])
    assert "other settings" in str(refused.exception)


def test_a_preset_is_trained_as_it_says_and_what_is_typed_wins(cohort, monkeypatch, tmp_path):
    asked = []

    def start(request, runs, *, name):
        asked.append(request)
        return RunFolder.create(tmp_path, request)

    monkeypatch.setattr(api, "start", start)
    plain = ("train", cohort, "--method", "dual_task_consistency", "--detach")
    call(*plain, "--preset", "paper", "--minutes", 2, "--setting", "batch=2")
    call(*plain, "--preset", "paper")
    call(*plain)
    short, whole, ours = asked
    assert (short.training.steps, short.training.seconds, short.training.optimizer) == (None, 120.0, "sgd")
    assert (short.plan.backbone, short.plan.batch, short.plan.patch) == ("vnet", 2, (80, 112, 112))
    assert (whole.training.steps, whole.plan.batch) == (6_000, 4)
    assert (ours.training, ours.plan) == (TrainingSettings(), PlanSettings())
    refused = CliRunner().invoke(app, [str(word) for word in (*plain, "--preset", "papr")])
    assert "did you mean 'paper'" in str(refused.exception)


def test_a_training_goes_on_from_a_model_whose_structures_had_other_names(cohort, run, monkeypatch, tmp_path):
    asked = []

    def start(request, runs, *, name):
        asked.append(request)
        return RunFolder.create(tmp_path, request)

    monkeypatch.setattr(api, "start", start)
    model = run / "model.safetensors"
    plain = ("train", cohort, "--method", "marginal", "--detach")
    call(*plain, "--from", model, "--rename", "head=caput", "--merge", "vessel=artery,vein")
    assert asked[0].warm_start == str(model)
    assert (asked[0].renamed, asked[0].merged) == ({"head": "caput"}, {"vessel": ("artery", "vein")})
    refused = CliRunner().invoke(app, [str(word) for word in (*plain, "--rename", "head=caput")])
    assert "there is no earlier model" in str(refused.exception)
    refused = CliRunner().invoke(app, [str(word) for word in (*plain, "--from", model, "--rename", "caput")])
    assert "is not NAME=VALUE" in str(refused.exception)


def test_the_number_of_fine_cases_is_a_number_or_all(cohort, tmp_path):
    refused = CliRunner().invoke(app, ["compare", str(cohort), "--fine", "6,any", "--output", str(tmp_path)])
    assert "'any' is no number of cases" in str(refused.exception)
