"""The ``semiseg`` command with several runs: one after the other, listed, and a verdict at the end."""

import json

import pytest
from typer.testing import CliRunner

from SemiSegLib import api
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cli import app
from SemiSegLib.config import write_json
from SemiSegLib.evaluation.gain import Compared, measure_gain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus

TINY = ["batch=2", "patch=[8,16,16]", "features=[4,8]", "dimensions=3", "precision=fp32", "threads=1", "device=cpu"]
SETTINGS = [part for text in TINY for part in ("--setting", text)]


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout


@pytest.fixture
def started(monkeypatch):
    """The runs that were started, in their order; no worker is."""
    runs = []
    monkeypatch.setattr(api, "start_process", runs.append)
    return runs


def test_a_training_with_a_baseline_ends_with_a_verdict(tmp_path):
    write_cohort(tmp_path / "study", fine=2, coarse=2, partial=0, none=0, validation=1, size=(12, 20, 18), seed=3)
    runs = tmp_path / "José Müller 中"
    arguments = ["--method", "marginal", "--steps", 2, "--runs", runs, "--name", "all"]
    output = call("train", tmp_path / "study", *arguments, "--baseline", *SETTINGS)
    assert "There are too few validation patients (1, 6 are needed)" in output
    assert "2 coarsely labeled training cases helped" in output
    found = json.loads(call("gain", runs / "all-baseline", "--json"))
    assert found["verdict"] == "too few cases"
    assert found["extra_cases"] == {"coarse": 2}
    listed = json.loads(call("runs", runs, "--json"))
    assert [(row["run"], row["state"]) for row in listed] == [("all", "finished"), ("all-baseline", "finished")]


def test_a_baseline_comes_after_its_run_and_a_queued_run_after_all(started, tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    arguments = ["--method", "marginal", "--steps", 2, "--runs", tmp_path / "runs", "--detach", "--baseline"]
    call("train", tmp_path / "study", *arguments, "--name", "one")
    monkeypatch.setattr("SemiSegLib.cli_runs.end_of_queue", lambda _: started[-1])
    call("train", tmp_path / "study", *arguments, "--name", "two", "--queue")
    assert [run.path.name for run in started] == ["one", "one-baseline", "two", "two-baseline"]
    assert [run.after and run.after.name for run in started] == [None, "one", "one-baseline", "two"]
    assert [run.request.method for run in started] == ["marginal", "supervised"] * 2


def test_a_run_without_other_cases_is_refused_a_baseline_before_anything_is_made(started, tmp_path):
    arguments = ["--method", "supervised", "--steps", 2, "--runs", tmp_path / "runs", "--detach"]
    result = CliRunner().invoke(app, ["train", str(tmp_path), *map(str, arguments), "--baseline"])
    assert "nothing to compare" in str(result.exception)
    assert not started
    assert not (tmp_path / "runs").exists()


def test_runs_are_listed_with_what_they_wait_for(tmp_path):
    first = RunFolder.create(tmp_path, RunRequest(dataset="d", method="marginal", title="All"), name="first")
    first.write_status(RunStatus(state="finished", fraction=1.0, best_dice=0.875))
    output = call("runs", tmp_path)
    assert "0.875" in output
    assert "finished" in output
    assert json.loads(call("runs", tmp_path / "nowhere", "--json")) == []


def test_a_gain_is_shown_and_a_run_without_one_is_told_why(tmp_path):
    run = RunFolder.create(tmp_path, RunRequest(dataset="d", method="supervised", compare_with="x"), name="baseline")
    result = CliRunner().invoke(app, ["gain", str(run.path)])
    assert "has no comparison" in str(result.exception)
    assert "semiseg resume" in str(result.exception)
    run.report.mkdir()
    write_json(run.gain_path, measure_gain([], [], patients={}, compared=Compared(run="1", baseline="2", method="m")))
    assert "No validation case is labeled" in call("gain", run.path)
    other = RunFolder.create(tmp_path, RunRequest(dataset="d", method="supervised"), name="other")
    assert "train --baseline" in str(CliRunner().invoke(app, ["gain", str(other.path)]).exception)
