import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import RunError
from SemiSegLib.runs import process
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import family, process_mark
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus

REQUEST = RunRequest(dataset="data", method="marginal")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

# Stands for the worker: it tells who it is as the worker does, and never imports torch.
FAKE_WORKER = """
import os, socket, subprocess, sys, time
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.status import RunStatus

run = RunFolder(sys.argv[1])
def say(state, **more):
    run.write_status(RunStatus(state=state, pid=os.getpid(), pid_started=process_mark(os.getpid()),
                               host=socket.gethostname(), owns_group="--detached" in sys.argv,
                               heartbeat=time.time(), **more))
print("hello from the worker", flush=True)
MORE
say("training", step=5)
while not (run.stop_requested() and OBEYS):
    time.sleep(0.05)
say("stopped")
run.clear_stop()
"""


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "José Müller 中", REQUEST)
    yield run
    process.kill(run)


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    def make(*, obeys=True, more=""):
        script = tmp_path / "fake_worker.py"
        script.write_text(FAKE_WORKER.replace("OBEYS", str(obeys)).replace("MORE", textwrap.dedent(more)))
        monkeypatch.setattr(RunFolder, "worker_module", "fake_worker")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_started_worker_is_found_by_a_program_that_did_not_start_it(run, fake_worker):
    fake_worker()
    process.start(run)
    wait_until(lambda: run.status().step == 5)
    assert process.is_running(RunFolder(run.path))
    assert process.observe(run).state == "training"
    assert "hello from the worker" in run.log_path.read_text()


def test_a_run_is_preparing_from_the_moment_it_is_started(run, fake_worker):
    fake_worker()
    run.write_status(RunStatus(state="failed", message="before", step=3, pid=1, pid_started="x"))
    process.start(run)
    assert process.observe(run).state in ("preparing", "training")
    assert process.observe(run).message != "before"


def test_a_worker_that_obeys_stops_in_good_order(run, fake_worker):
    fake_worker()
    process.start(run)
    wait_until(lambda: run.status().step == 5)
    assert process.stop(run, grace_seconds=20)
    assert not process.is_running(run)
    assert process.observe(run).state == "stopped"


def test_stopping_a_run_that_does_not_run_is_no_error(run):
    assert process.stop(run, grace_seconds=0)


def test_a_second_start_is_refused_with_the_number_of_the_first(run, fake_worker):
    fake_worker()
    process.start(run)
    wait_until(lambda: run.status().step == 5)
    with pytest.raises(RunError, match=f"process {run.status().pid}"):
        process.start(run)


@POSIX
def test_stop_ends_a_deaf_worker_and_the_children_of_its_children(run, fake_worker, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "TERMINATE_SECONDS", 1.0)
    deaf = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)"
    child = ("import subprocess,sys,time,os; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);"
             "q = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True);"
             "open(sys.argv[2], 'w').write(f'{os.getpid()} {p.pid} {q.pid}\\\\n'); time.sleep(100)")
    subprocess.Popen([sys.executable, "-c", child, grandchild, sys.argv[1] + "/children"])
    """
    fake_worker(obeys=False, more=deaf)
    process.start(run)
    children = run.path / "children"
    wait_until(lambda: children.exists() and children.read_text().endswith("\n") and run.status().step == 5)
    pids = {int(pid) for pid in children.read_text().split()} | {run.status().pid}
    assert len(family(pids, set())) == 4
    assert not process.stop(run, grace_seconds=0.2)
    wait_until(lambda: not family(pids, set()), 5)
    assert process.observe(run).state == "stopped"
    assert not run.stop_requested()


@POSIX
def test_a_worker_behind_a_launcher_is_ended_with_it(run, fake_worker, tmp_path):
    fake_worker(obeys=False)
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n{sys.executable} "$@"\n')
    launcher.chmod(0o755)
    started = process.start(run, python=str(launcher))
    wait_until(lambda: run.status().step == 5)
    worker = run.status().pid
    assert worker != started
    process.kill(run)
    assert not family({started, worker}, set())


@POSIX
def test_a_worker_whose_launcher_was_killed_is_still_found_and_ended(run, fake_worker, tmp_path):
    fake_worker(obeys=False)
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n{sys.executable} "$@"\n')
    launcher.chmod(0o755)
    started = process.start(run, python=str(launcher))
    wait_until(lambda: run.status().step == 5)
    os.kill(started, signal.SIGKILL)
    wait_until(lambda: not process_mark(started))
    assert process.is_running(run)
    process.kill(run)
    assert not process.is_running(run)


@POSIX
def test_a_worker_that_was_not_detached_does_not_take_its_shell_with_it(run, fake_worker, tmp_path):
    fake_worker(obeys=False)
    environment = process._environment(None)
    worker = subprocess.Popen([sys.executable, "-m", "fake_worker", str(run.path)], env=environment)
    wait_until(lambda: run.status().step == 5)
    process.kill(run)
    assert worker.wait(10) == -signal.SIGKILL


def test_a_worker_that_was_killed_is_reported_as_failed_with_a_remedy(run, fake_worker):
    fake_worker()
    process.start(run)
    wait_until(lambda: run.status().step == 5)
    os.kill(run.status().pid, signal.SIGTERM)
    wait_until(lambda: not process.is_running(run))
    status = process.observe(run)
    assert status.state == "failed"
    assert "resume" in status.remedy
    assert run.status().state == "training"


def test_another_process_with_the_old_number_is_not_taken_for_the_worker(run):
    mine = RunStatus(state="training", pid=os.getpid(), pid_started="of an earlier boot", host=socket.gethostname())
    run.write_status(mine)
    write_json(run.process_path, {"pid": os.getpid(), "pid_started": "also earlier", "host": socket.gethostname()})
    assert not process.is_running(run)
    assert process.observe(run).state == "failed"
    run.write_status(replace(mine, pid_started=process_mark(os.getpid())))
    assert process.is_running(run)
    run.write_status(RunStatus())
    run.process_path.unlink()


def test_a_run_is_ones_own_by_computer_and_user_and_by_the_computer_alone_in_older_files(run, monkeypatch):
    here = {"pid": 1, "pid_started": "x", "host": socket.gethostname()}
    run.write_status(RunStatus(state="training", host="gpu-server"))
    assert not process.is_own(run)
    run.write_status(RunStatus(state="training", host=socket.gethostname()))
    assert process.is_own(run)
    for more, own in (({}, True), ({"user": "somebody else"}, False), ({"host": "gpu-server"}, False)):
        write_json(run.process_path, {**here, **more})
        assert process.is_own(run) == own

    def nobody():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(process.getpass, "getuser", nobody)
    write_json(run.process_path, {**here, "user": str(os.getuid()) if hasattr(os, "getuid") else ""})
    assert process.is_own(run)
    run.write_status(RunStatus())
    run.process_path.unlink()


def test_a_worker_on_another_machine_is_judged_by_its_heartbeat(run):
    remote = RunStatus(state="training", pid=os.getpid(), pid_started="x", host="gpu-server", heartbeat=time.time())
    run.write_status(remote)
    assert process.is_running(run)
    with pytest.raises(RunError, match="machine 'gpu-server'"):
        process.kill(run)
    run.write_status(replace(remote, heartbeat=time.time() - 1000))
    assert not process.is_running(run)


def test_an_interpreter_that_does_not_exist_is_named_and_the_status_stays(run, tmp_path):
    with pytest.raises(RunError, match="NoSuchPython"):
        process.start(run, python=str(tmp_path / "NoSuchPython"))
    assert run.status() == RunStatus()


def test_a_worker_outlives_the_program_that_started_it(run, fake_worker, tmp_path):
    fake_worker()
    starter = (
        "import sys; from SemiSegLib.runs import process; from SemiSegLib.runs.folder import RunFolder;"
        "RunFolder.worker_module = 'fake_worker'; process.start(RunFolder(sys.argv[1]))"
    )
    arguments = [sys.executable, "-c", starter, str(run.path)]
    subprocess.run(arguments, env=process._environment(None), check=True, timeout=30)
    wait_until(lambda: run.status().step == 5)
    assert process.is_running(run)
    assert process.stop(run, grace_seconds=20)


def test_a_megabyte_of_output_that_nobody_reads_blocks_nothing(run, fake_worker):
    fake_worker(more="print('x' * 1_000_000)")
    process.start(run)
    wait_until(lambda: run.status().step == 5)
    assert run.log_path.stat().st_size > 1_000_000


def test_runs_are_found_oldest_first(tmp_path):
    assert process.find_runs(tmp_path / "nowhere") == []
    made = [RunFolder.create(tmp_path, REQUEST, name=name) for name in ("b", "a")]
    os.utime(made[0].request_path, (1, 1))
    (tmp_path / "prepared").mkdir()
    assert [run.path for run in process.find_runs(tmp_path)] == [run.path for run in made]


def test_where_nobody_can_look_there_are_no_runs_and_one_that_vanishes_meanwhile_is_left_out(tmp_path, monkeypatch):
    assert process.find_runs(tmp_path / ("x" * 300) / "runs") == []
    made = [RunFolder.create(tmp_path, REQUEST, name=name) for name in ("a", "b", "c")]
    original = type(tmp_path).stat

    def stat(path, **how):
        if path == made[1].request_path:
            raise OSError(116, "Stale file handle")
        return original(path, **how)

    monkeypatch.setattr(type(tmp_path), "stat", stat)
    assert [run.path.name for run in process.find_runs(tmp_path)] == ["a", "c"]


def test_the_library_comes_first_on_the_path_of_the_worker(run, fake_worker, tmp_path):
    fake_worker(
        more="import json, SemiSegLib; open(sys.argv[1] + '/where', 'w').write(json.dumps(SemiSegLib.__file__))"
    )
    process.start(run, environment={**os.environ, "PYTHONPATH": f"/nowhere{os.pathsep}{tmp_path}"})
    wait_until(lambda: run.status().step == 5)
    import SemiSegLib

    assert read_json(run.path / "where") == SemiSegLib.__file__


def test_threads_that_wait_sleep_unless_the_user_chose_otherwise():
    assert process._environment({})["GOMP_SPINCOUNT"] == "1000"
    assert process._environment({"GOMP_SPINCOUNT": "7"})["GOMP_SPINCOUNT"] == "7"
    assert "GOMP_SPINCOUNT" not in process._environment({"OMP_WAIT_POLICY": "ACTIVE"})
