"""Runs seen from Slicer: watched by their files, found again, never waited for."""

import json
import os
import sys
import time
from dataclasses import replace

import pytest

from SemiSegLib.errors import RunError
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
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


def test_a_look_at_many_new_events_is_short(watched):
    run, notes, watcher = watched
    run.write_status(alive(RunStatus(state="training")))
    line = json.dumps({"kind": "stepped", "step": 1, "losses": {"dice": 0.5}})
    run.events_path.write_text((line + "\n") * 2000)
    begin = time.perf_counter()
    watcher.watch(run)
    assert time.perf_counter() - begin < 0.2
    assert len(notes.events) == 2000


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
