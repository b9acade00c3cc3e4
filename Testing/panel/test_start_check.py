"""Before a training begins: what it would fail for is told by the panel and by the console call alike."""

import sys

import pytest

from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from SemiSegModule import dependencies, look_ahead
from SemiSegModule.logic import StudyLogic
from SemiSegModule.look_ahead import WouldFailError
from SemiSegModule.preflight import Remark
from Testing.host.interaction import click
from Testing.lib.run_farm import a_cohort

LITTLE_MEMORY = Remark(True, "A step needs 99 GiB (device cpu). Choose a smaller patch.", isError=True, code="memory")
LONG = Remark(True, "It will take about 99 hours (device cpu).", code="time")


@pytest.fixture
def told(monkeypatch):
    """Sets what a look ahead finds; returns the requests that were looked at."""
    asked = []

    def find(*remarks):
        monkeypatch.setattr(look_ahead, "lookAheadNow", lambda request, runs: asked.append(request) or list(remarks))
        return asked

    return find


@pytest.fixture
def data(tmp_path):
    return a_cohort(tmp_path / "Müller 中" / "study")


def test_the_console_call_refuses_what_memory_cannot_hold_and_writes_nothing(started, fits, data):
    fits()
    huge = PlanSettings(patch=(2048, 2048, 2048), batch=8)
    asked = {"minutes": 1, "device": "cpu", "method": "marginal", "plan": huge}
    with pytest.raises(WouldFailError, match=r"GiB of memory") as caught:
        StudyLogic().startTraining(data, **asked)
    assert "Close other programs, or choose a smaller patch" in str(caught.value)
    assert "regardless=True" in str(caught.value)
    assert [remark.code for remark in caught.value.remarks] == ["memory"]
    assert started == []
    assert not (data / "runs").exists()
    assert StudyLogic().startTraining(data, regardless=True, **asked).request.plan == huge
    assert len(started) == 1


def test_a_training_that_fits_is_started(started, fits, data):
    fits()
    small = PlanSettings(patch=(8, 16, 16), batch=2, features=(4, 8))
    run = StudyLogic().startTraining(data, "marginal", minutes=1, device="cpu", plan=small)
    assert started == [run]


def test_the_console_call_names_missing_packages_before_it_looks(started, told, data, monkeypatch):
    looked = told()
    monkeypatch.setattr(dependencies, "missing", lambda **_more: ["torch>=2.4.1"])
    with pytest.raises(WouldFailError, match=r"Packages are missing: torch>=2.4.1.*installPackages"):
        StudyLogic().startTraining(data, minutes=1)
    assert looked == started == []


def test_packages_for_texts_are_asked_for_where_names_are_embedded(started, told, data, monkeypatch):
    told()
    asked = []
    monkeypatch.setattr(dependencies, "missing", lambda withText: asked.append(withText) or [])
    logic = StudyLogic()
    logic.startTraining(data, "marginal", minutes=1)
    logic.startTraining(data, "dynamic_head", minutes=1, options={"embedding": "text"})
    assert asked == [False, True]


def test_warnings_and_what_cannot_be_worked_out_keep_nothing_from_being_started(started, told, data):
    told(LONG, *look_ahead.remarksOf(["ImportError: no torch"]))
    StudyLogic().startTraining(data, minutes=1)
    assert len(started) == 1


def test_the_memory_that_the_runs_before_hold_is_not_missed(started, told, data):
    told(LITTLE_MEMORY)
    first = StudyLogic().startTraining(data, minutes=1, regardless=True)
    StudyLogic().startTraining(data, minutes=1, after=str(first.path))
    assert len(started) == 2
    with pytest.raises(WouldFailError):
        StudyLogic().startTraining(data, minutes=1)


def test_a_look_ahead_that_takes_too_long_holds_nothing_up(fits, data, monkeypatch, tmp_path):
    fits()
    (tmp_path / "SemiSegLib").mkdir()
    (tmp_path / "SemiSegLib/__init__.py").write_text("")
    (tmp_path / "SemiSegLib/preflight.py").write_text("import time; time.sleep(99)")
    monkeypatch.setattr(look_ahead.SemiSegLib, "__file__", str(tmp_path / "SemiSegLib/__init__.py"))
    monkeypatch.setattr(look_ahead, "workerPython", lambda: sys.executable)
    monkeypatch.setattr(look_ahead, "PATIENCE_SECONDS", 1.0)
    monkeypatch.chdir(tmp_path)
    request = RunRequest(dataset=str(data), method="marginal", training=TrainingSettings(steps=10))
    (remark,) = look_ahead.lookAheadNow(request, data / "runs")
    assert remark.isWarning
    assert not remark.isError


def test_train_in_the_panel_tells_why_it_would_fail_and_a_no_starts_nothing(host, study, started, told):
    looked = told(LONG, LITTLE_MEMORY)
    host.dialogs.answer(False)
    click(study.ui.trainButton)
    (question,) = host.dialogs.shown("confirm")
    assert "99 GiB" in question
    assert "99 hours" not in question
    assert len(looked) == 1
    assert started == []
    assert not (study.panel.parameters.studyPath / "runs").exists()
    assert study.ui.statusLabel.text == "Canceled; no training was started."


def test_train_in_the_panel_starts_all_the_same_after_a_yes(host, study, started, told):
    looked = told(LITTLE_MEMORY)
    host.dialogs.answer(True)
    click(study.ui.trainButton)
    assert len(started) == len(looked) == 1
    assert host.dialogs.shown("error") == []
