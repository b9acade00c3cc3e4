"""Runs that wait for each other: one at a time, small while they wait, and whatever happens to the one before."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from SemiSegLib.config import write_json
from SemiSegLib.errors import RunError
from SemiSegLib.runs import process
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.turn import end_of_queue, runs_before

REQUEST = RunRequest(dataset="data", method="marginal")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")
# Of a waiting process.
MOST_MEGABYTES = 60

# Stands for the worker: it notes when it begins and ends, and works until it may end or is stopped.
FAKE_WORKER = """
import os, sys, time
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.job import gentle_signals
from SemiSegLib.runs.reporter import Reporter

run = RunFolder(sys.argv[1])
def note(word):
    with open(run.path.parent / "notes", "a") as file:
        file.write(f"{word} {run.path.name}\\n")
with run.lock(), gentle_signals(run), Reporter(run, version="", owns_group="--detached" in sys.argv) as reporter:
    reporter.update(state="training", step=5)
    note("begin")
    while not (run.stop_requested() or (run.path / "may_end").exists()):
        time.sleep(0.02)
    note("end")
    reporter.update(state="stopped" if run.stop_requested() else "finished")
    run.clear_stop()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "fake_worker.py").write_text(FAKE_WORKER)
    monkeypatch.setattr(RunFolder, "worker_module", "fake_worker")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    parent = tmp_path / "José Müller 中"
    yield parent
    for run in process.find_runs(parent):
        process.kill(run)


def a_run(folder, name, after=None, **changes):
    request = replace(REQUEST, after=None if after is None else str(after.path), title=f"Run {name}", **changes)
    return RunFolder.create(folder, request, name=name)


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def has_state(run, state):
    return process.observe(run).state == state


def notes(folder):
    return (folder / "notes").read_text().splitlines() if (folder / "notes").exists() else []


def let_end(run):
    (run.path / "may_end").touch()


@pytest.fixture
def three(folder):
    """The first trains, the others wait."""
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    third = a_run(folder, "third", second)
    for run in (first, second, third):
        process.start(run)
    wait_until(lambda: has_state(first, "training"))
    for run in (second, third):
        wait_until(lambda run=run: "waiting for the end" in run.status().message)
    return first, second, third


def test_three_runs_train_one_after_the_other(three, folder):
    first, second, third = three
    assert [process.observe(run).state for run in three] == ["training", "queued", "queued"]
    assert second.status().message == "waiting for the end of 'Run first'"
    assert third.status().message == "waiting for the end of 'Run second'; 2 runs are before this one"
    waiting = second.status().pid
    let_end(first)
    wait_until(lambda: has_state(second, "training"))
    assert second.status().pid == waiting
    assert has_state(third, "queued")
    let_end(second)
    let_end(third)
    wait_until(lambda: has_state(third, "finished") and not process.is_running(third))
    assert notes(folder) == [f"{word} {name}" for name in ("first", "second", "third") for word in ("begin", "end")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_waiting_run_is_small_and_has_no_torch(three):
    for run in three[1:]:
        pid = run.status().pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGE_SIZE") < MOST_MEGABYTES * 1e6
        assert not {"torch", "numpy"} & set(Path(f"/proc/{pid}/maps").read_text().replace("/", " ").split())


@pytest.mark.parametrize(("end", "words"), [(process.stop, "stopped while it waited"), (process.kill, "out of the")])
def test_a_run_that_is_taken_out_of_the_queue_does_not_let_the_next_one_pass(three, folder, end, words):
    first, second, third = three
    begin = time.monotonic()
    end(second)
    assert time.monotonic() - begin < 10
    assert not process.is_running(second)
    assert process.observe(second).state == "stopped"
    assert words in second.status().message
    assert not second.stop_requested()
    time.sleep(2.5)
    assert has_state(third, "queued")
    assert third.status().message == "waiting for the end of 'Run first'"
    let_end(first)
    wait_until(lambda: has_state(third, "training"))
    assert "begin second" not in notes(folder)


def test_a_run_whose_folder_in_the_middle_was_deleted_still_waits_for_the_first(three):
    first, second, third = three
    process.stop(second)
    shutil.rmtree(second.path)
    time.sleep(2.5)
    assert has_state(third, "queued")
    let_end(first)
    wait_until(lambda: has_state(third, "training"))


def kill_hard(run):
    os.kill(run.status().pid, signal.SIGKILL)


@POSIX
@pytest.mark.parametrize("end", [let_end, process.stop, process.kill, kill_hard])
def test_the_next_run_begins_however_the_one_before_ended(folder, end):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    process.start(first)
    process.start(second)
    wait_until(lambda: has_state(first, "training") and "Run first" in second.status().message)
    end(first)
    wait_until(lambda: has_state(second, "training"))
    assert not process.is_running(first)


@pytest.mark.parametrize("state", ["deleted", "created"])
def test_a_run_that_is_not_at_work_is_not_waited_for(folder, state):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    if state == "deleted":
        shutil.rmtree(first.path)
    process.start(second)
    wait_until(lambda: has_state(second, "training"))


def test_a_run_that_was_taken_out_of_the_queue_can_be_put_back(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    process.start(first)
    for _ in range(2):
        process.start(second)
        assert process.observe(second).state == "queued"
        with pytest.raises(RunError, match="being worked on"):
            process.start(second)
        wait_until(lambda: "Run first" in second.status().message)
        process.stop(second)
        assert has_state(second, "stopped")
    process.start(second)
    process.stop(first)
    wait_until(lambda: has_state(second, "training"))


def test_a_run_keeps_what_it_had_reached_when_it_waits_again(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    process.start(second)
    wait_until(lambda: second.status().step == 5)
    process.stop(second)
    process.start(first)
    wait_until(lambda: has_state(first, "training"))
    process.start(second)
    wait_until(lambda: "Run first" in second.status().message)
    assert (second.status().state, second.status().step) == ("queued", 5)


def test_a_run_that_is_resumed_waits_for_those_that_came_meanwhile(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    process.start(first)
    process.start(second)
    wait_until(lambda: has_state(first, "training") and "Run first" in second.status().message)
    process.stop(first)
    wait_until(lambda: has_state(second, "training"))
    process.start(first, after=end_of_queue(folder))
    wait_until(lambda: first.status().message == "waiting for the end of 'Run second'")
    # A new one comes after the resumed one, not beside it.
    assert end_of_queue(folder).path == first.path
    assert [run.path.name for run in runs_before(first)] == ["second"]
    let_end(second)
    wait_until(lambda: has_state(first, "training"))
    assert notes(folder)[-3:] == ["begin second", "end second", "begin first"]


@POSIX
def test_a_request_to_terminate_takes_a_waiting_run_out_in_good_order(three):
    second = three[1]
    os.kill(second.status().pid, signal.SIGTERM)
    wait_until(lambda: not process.is_running(second))
    assert second.status().state == "stopped"


def test_a_waiting_run_that_was_killed_is_reported_as_failed(three):
    second = three[1]
    pid = second.status().pid
    os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    wait_until(lambda: not process_mark(pid))
    assert process.observe(second).state == "failed"
    assert "resume" in process.observe(second).remedy


def test_a_queue_goes_on_when_the_program_that_started_it_has_ended(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    starter = (
        "import sys; from SemiSegLib.runs import process; from SemiSegLib.runs.folder import RunFolder;"
        "RunFolder.worker_module = 'fake_worker';"
        "[process.start(RunFolder(path)) for path in sys.argv[1:]]"
    )
    arguments = [sys.executable, "-c", starter, str(first.path), str(second.path)]
    subprocess.run(arguments, env=process._environment(None), check=True, timeout=30)
    wait_until(lambda: has_state(first, "training") and has_state(second, "queued"))
    let_end(first)
    wait_until(lambda: has_state(second, "training"))


def test_a_ring_that_somebody_wrote_by_hand_holds_nobody_up(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    request = {**vars(first.request), "after": str(second.path)}
    write_json(first.request_path, request)
    assert runs_before(RunFolder(first.path)) == runs_before(second) == []


def test_a_second_worker_of_a_waiting_run_is_refused_and_its_status_stays(folder):
    first = a_run(folder, "first")
    second = a_run(folder, "second", first)
    with second.lock():
        process.start(second)
        wait_until(lambda: not process.is_running(second))
    assert "being worked on by process" in second.log_path.read_text()


def test_the_end_of_the_queue_is_the_run_that_a_new_one_comes_after(folder):
    assert end_of_queue(folder) is None
    first = a_run(folder, "first")
    a_run(folder, "idle")
    assert end_of_queue(folder) is None
    process.start(first)
    assert end_of_queue(folder).path == first.path
    second = a_run(folder, "second", first)
    process.start(second)
    assert end_of_queue(folder).path == second.path
    process.kill(second)
    assert end_of_queue(folder).path == first.path
