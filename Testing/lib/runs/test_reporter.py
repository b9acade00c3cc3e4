import threading
import time

import pytest

from SemiSegLib.runs import reporter as module
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import add_to_manifest, describe_machine, read_manifest
from SemiSegLib.runs.reporter import Pulse, Reporter
from SemiSegLib.runs.request import RunRequest


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "LISTEN_SECONDS", 0.01)
    return RunFolder.create(tmp_path, RunRequest(dataset="data", method="marginal"))


def wait_until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_the_heart_beats_while_nothing_is_reported(run):
    with Reporter(run, version="1", owns_group=False):
        first = run.status().heartbeat
        wait_until(lambda: run.status().heartbeat > first)
        assert run.status().state == "preparing"
        assert run.status().pid_started


def test_the_status_follows_the_training_without_being_told(run):
    pulse = [Pulse(1, 0.1, {"step": 1, "fraction": 0.1})]
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(lambda: pulse[0], None)
        wait_until(lambda: run.status().step == 1)
        pulse[0] = Pulse(2, 0.1, {"step": 2, "fraction": 0.2})
        wait_until(lambda: run.status().fraction == 0.2)
        assert run.status().message == "training"


def test_a_stop_is_heard_once_and_shown(run):
    heard = []
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(None, lambda: heard.append(1))
        run.request_stop()
        wait_until(lambda: run.status().state == "stopping")
        time.sleep(0.1)
    assert heard == [1]


def test_files_out_of_reach_for_a_moment_end_neither_the_heartbeat_nor_the_listening(run, monkeypatch):
    heard, trouble, original = [], [], RunFolder.stop_requested

    def stop_requested(folder):
        if len(trouble) < 3:
            trouble.append(1)
            raise OSError(116, "Stale file handle")
        return original(folder)

    monkeypatch.setattr(RunFolder, "stop_requested", stop_requested)
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(None, lambda: heard.append(1))
        run.request_stop()
        wait_until(lambda: run.status().state == "stopping")
        first = run.status().heartbeat
        wait_until(lambda: run.status().heartbeat > first)
    assert (heard, len(trouble)) == ([1], 3)


def test_nobody_is_told_of_a_stop_after_the_listening_has_ended(run, monkeypatch):
    heard, looking, left = [], threading.Event(), threading.Event()

    def stop_requested(_folder):
        looking.set()
        # The training ends while the thread looks.
        left.wait(0.2)
        return True

    monkeypatch.setattr(RunFolder, "stop_requested", stop_requested)
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(None, lambda: heard.append("told"))
        assert looking.wait(10)
        reporter.listen(None, None)
        heard.append("ended")
        left.set()
        reporter.update(state="finished")
        first = run.status().heartbeat
        wait_until(lambda: run.status().heartbeat > first)
        assert run.status().state == "finished"
    assert heard == ["told", "ended"]


def test_a_training_that_does_not_move_is_reported_and_forgiven_when_it_moves(run, monkeypatch):
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    pulse = [Pulse(1, 0.01)]
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(lambda: pulse[0], None)
        wait_until(lambda: "no step for" in run.status().message)
        pulse[0] = Pulse(2, 0.01)
        wait_until(lambda: run.status().message == "training")


def test_a_slow_step_is_no_silence(run, monkeypatch):
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="training")
        reporter.listen(lambda: Pulse(1, 100.0), None)
        time.sleep(0.4)
        assert run.status().message == "training"


def test_what_an_earlier_session_reached_is_kept_and_its_failure_is_not(run):
    with Reporter(run, version="1", owns_group=False) as reporter:
        reporter.update(state="failed", best_dice=0.5, step=7, message="x", where="y", remedy="z")
    with Reporter(run, version="1", owns_group=False):
        status = run.status()
        assert (status.state, status.best_dice, status.step) == ("preparing", 0.5, 7)
        assert (status.message, status.where, status.remedy) == ("", "", "")


def test_the_manifest_grows_by_entries(tmp_path):
    path = tmp_path / "environment.json"
    assert read_manifest(path) == {}
    add_to_manifest(path, seed=1, machine=describe_machine())
    add_to_manifest(path, seed=2)
    assert read_manifest(path)["seed"] == 2
    assert read_manifest(path)["machine"]["packages"]["numpy"]
