"""Runs seen from Slicer: watched by their files, found again, never waited for."""

import json
import os
import shutil
import sys
import time
from dataclasses import replace

import pytest

from SemiSegLib.errors import RunError
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Stepped, event_to_line
from SemiSegModule import jobs
from SemiSegModule.preflight import freeBytes
from Testing.panel.studies import a_run, alive


class Notes:
    """A listener that writes down what it is told."""

    def __init__(self):
        self.states, self.events, self.ends, self.errors = [], [], [], []

    def onStatus(self, status):
        self.states.append(status.state)

    def onEvents(self, events):
        self.events += events

    def onEnd(self, status):
        self.ends.append(status.state)

    def onError(self, error):
        self.errors.append(str(error))


class Timer:
    """What a watcher needs of qt.QTimer; the test is the clock."""

    def __init__(self):
        self.isRunning = False

    def setInterval(self, milliseconds):
        assert milliseconds <= 1000
        self.interval = milliseconds

    def connect(self, signal, slot):
        self.tick = slot

    def start(self):
        self.isRunning = True

    def stop(self):
        self.isRunning = False


@pytest.fixture
def watched(tmp_path):
    run, notes = a_run(tmp_path), Notes()
    watcher = jobs.RunWatcher(notes, Timer)
    return run, notes, watcher


def test_states_and_events_are_told_once_and_in_order(watched):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="preparing")))
    watcher.watch(run)
    run.append_event(json.dumps({"kind": "started", "n": 1}))
    run.write_status(alive(RunStatus(state="training", step=1)))
    watcher._timer.tick()
    run.append_event(json.dumps({"kind": "stepped", "n": 2}))
    watcher._timer.tick()
    watcher._timer.tick()
    assert notes.states == ["preparing", "training", "training", "training"]
    assert [event["n"] for event in notes.events] == [1, 2]
    assert notes.ends == []


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_the_end_is_told_once_after_the_last_events_and_the_timer_rests(watched, state):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    watcher.watch(run)
    run.append_event(json.dumps({"kind": "finished"}))
    run.write_status(RunStatus(state=state))
    watcher._timer.tick()
    watcher._timer.tick()
    assert notes.events == [{"kind": "finished"}]
    assert notes.ends == [state]
    assert not watcher._timer.isRunning


def test_a_worker_that_died_without_a_word_is_a_failure(watched):
    run, notes, watcher = watched
    run.write_status(replace(alive(RunStatus(state="training", step=5)), pid_started="another process of that number"))
    watcher.watch(run)
    assert notes.ends == ["failed"]


def test_a_damaged_status_ends_the_watch_with_its_reason(watched):
    run, notes, watcher = watched
    run.status_path.write_text("[1, 2")
    watcher.watch(run)
    assert len(notes.errors) == 1
    assert not watcher._timer.isRunning


def test_a_watcher_that_is_closed_leaves_the_worker_alone(watched):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    watcher.watch(run)
    watcher.unwatch()
    watcher._timer.tick()
    assert notes.states == ["training"]
    assert not run.stop_requested()


def test_many_new_events_are_told_in_order_in_portions_that_stop_nothing(watched):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    run.events_path.write_text("".join(json.dumps({"kind": "stepped", "step": n}) + "\n" for n in range(550)))
    watcher.watch(run)
    assert len(notes.events) == jobs.EVENTS_AT_ONCE
    assert watcher._timer.interval == jobs.CATCH_UP_MILLISECONDS
    run.write_status(RunStatus(state="finished"))
    watcher._timer.tick()
    assert notes.ends == []
    while watcher._timer.isRunning:
        watcher._timer.tick()
    assert [event["step"] for event in notes.events] == list(range(550))
    assert notes.ends == ["finished"]


def test_after_catching_up_the_run_is_looked_at_once_a_second_again(watched):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    run.events_path.write_text((json.dumps({"kind": "stepped"}) + "\n") * (jobs.EVENTS_AT_ONCE + 1))
    watcher.watch(run)
    watcher._timer.tick()
    assert watcher._timer.interval == jobs.WATCH_MILLISECONDS
    # A run that is chosen anew is told from its beginning, whatever was left of the last one.
    watcher.watch(run)
    assert len(notes.events) == 2 * jobs.EVENTS_AT_ONCE + 1


def test_the_events_of_a_run_of_days_are_shown_within_a_moment(panel):
    stepped = Stepped(
        step=1,
        fraction=0.5,
        losses={"dice": 0.5, "cross entropy": 0.5},
        weights={},
        learning_rate=1e-3,
        seconds_per_step=0.1,
        data_seconds=0.01,
        eta_seconds=9.0,
    )
    portion = [json.loads(event_to_line(stepped, time=0.0))] * jobs.EVENTS_AT_ONCE
    progress = panel.panel.training.progress
    progress.data.losses = [(n / 40_000, 1.0) for n in range(40_000)]
    # The processor's time, because other programs run too.
    begin = time.process_time()
    progress.showEvents(portion)
    assert time.process_time() - begin < 0.2
    assert len(progress.data.losses) == 40_000 + jobs.EVENTS_AT_ONCE


def test_files_out_of_reach_for_a_moment_are_waited_for(watched, monkeypatch):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))

    def refuse(_run):
        raise PermissionError(13, "used by another process")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "observe", refuse)
        watcher.watch(run)
        for _look in range(jobs.LOOKS_OUT_OF_REACH - 2):
            watcher._timer.tick()
    watcher._timer.tick()
    assert notes.states == ["training"]
    assert notes.errors == []
    monkeypatch.setattr(jobs, "observe", refuse)
    for _look in range(jobs.LOOKS_OUT_OF_REACH):
        watcher._timer.tick()
    (error,) = notes.errors
    assert "used by another process" in error
    assert "remedy:" in error
    assert not watcher._timer.isRunning


def test_a_run_is_found_in_its_folder_or_there_is_none(tmp_path):
    run = a_run(tmp_path)
    assert jobs.runAt(str(run.path)).path == run.path
    assert jobs.runAt("") is None
    assert jobs.runAt(tmp_path) is None


def test_a_folder_that_is_gone_is_no_run_that_waits_to_be_started(watched, monkeypatch):
    monkeypatch.setattr(jobs, "LOOKS_OUT_OF_REACH", 2)
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    watcher.watch(run)
    shutil.rmtree(run.path)
    watcher._timer.tick()
    watcher._timer.tick()
    assert notes.states == ["training"]
    (error,) = notes.errors
    assert "check that the folder was not moved or deleted" in error


def test_where_nobody_can_look_there_is_no_run_and_no_error(tmp_path):
    tooLong = tmp_path / ("x" * 300)
    assert jobs.runAt(tooLong) is None
    assert jobs.findRuns(tooLong) == []
    assert not jobs.canBeReached(tooLong)
    assert jobs.canBeReached(tmp_path / "new")
    assert freeBytes(tooLong) is None


def test_a_request_of_another_version_leaves_the_folders_name_as_title(tmp_path):
    run = a_run(tmp_path, "night")
    run.request_path.write_text('{"a setting of a later version": 1}')
    assert jobs.titleOf(jobs.runAt(run.path)) == "night"


def test_a_run_whose_status_is_damaged_is_at_work_for_nobody(tmp_path):
    run = a_run(tmp_path)
    run.write_status(alive(RunStatus(state="training")))
    assert jobs.isAtWork(run)
    run.status_path.write_text("[1, 2")
    assert not jobs.isAtWork(run)


def test_runs_of_a_study_are_found_newest_first(tmp_path):
    for number, name in enumerate(("first", "second", "third")):
        run = a_run(tmp_path, name)
        os.utime(run.request_path, (number, number))
    assert [run.path.name for run in jobs.findRuns(tmp_path)] == ["third", "second", "first"]
    assert jobs.findRuns(tmp_path / "nowhere") == []


def test_a_worker_is_started_with_slicers_python_where_there_is_one(tmp_path, monkeypatch):
    assert jobs.workerPython() == sys.executable
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert jobs.workerPython() == str(launcher)


def test_a_run_that_is_worked_on_is_not_started_twice(tmp_path):
    run = a_run(tmp_path)
    run.write_status(alive(RunStatus(state="training")))
    with pytest.raises(RunError, match="already being worked on"):
        jobs.startWorker(run)


def test_the_end_of_a_log_is_shown_whatever_its_size(tmp_path):
    run = a_run(tmp_path)
    assert jobs.logTail(run) == ""
    run.log_path.write_bytes(b"x" * 200_000 + b"\nb\xffad\nlast line")
    assert jobs.logTail(run).splitlines()[-1] == "last line"
    assert len(jobs.logTail(run)) < 25_000
