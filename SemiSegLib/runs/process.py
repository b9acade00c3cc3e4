"""The worker as a process: start it so that it outlives its parent, find it again, stop it, end it for sure."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import RunError, explain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import end_processes, family, process_mark
from SemiSegLib.runs.status import RunStatus

# A worker on another machine cannot be asked for its process; it writes a heartbeat every few seconds.
HEARTBEAT_SECONDS = 60.0
TERMINATE_SECONDS = 5.0
POLL_SECONDS = 0.1
# Waits for the runs before one, and is its worker then; it imports this file.
WAITING_PROGRAM = "SemiSegLib.runs.turn"
# OpenMP threads that wait by spinning take the core that the one they wait for needs: with busy neighbors a step on
# 2 cores took 2 to 5 s instead of 0.4 s. So they sleep after a moment (libgomp; Intel's runtime in milliseconds).
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
# Windows' process creation flags; the names exist in `subprocess` on Windows only.
NEW_PROCESS_GROUP = 0x00000200
NO_WINDOW = 0x08000000
BREAKAWAY_FROM_JOB = 0x01000000


def start(
    run: RunFolder,
    *,
    python: str | None = None,
    environment: Mapping[str, str] | None = None,
    after: RunFolder | None = None,
) -> int:
    """Start the worker of a run, or go on with a run that was stopped or killed; return the process number.

    A run that comes ``after`` another waits in its process for the end of that one.

    The worker leads a session of its own, has no pipe to this process and writes to the run's log, so it
    outlives this process. Nothing waits for it.

    Args:
        run: the run.
        python: the interpreter: None for the running one; in Slicer pass the path of PythonSlicer.
        environment: all environment variables of the worker, or None for those of this process.
        after: the run that it comes after from now on; None for the one that it was asked to come after, if any.

    Raises:
        RunError: the run is being worked on, or the interpreter cannot be started.
    """
    if is_running(run):
        raise RunError(
            explain(
                f"the run is already being worked on by process {run.status().pid or _started(run)[0]}",
                where=f"run '{run.path.name}'",
                remedy="wait for it, stop it, or start another run in a folder of its own",
            )
        )
    run.clear_stop()
    if after is not None:
        write_json(run.after_path, {"after": str(after.path)})
    before = run.status()
    run.write_status(_starting(before, is_queued=run.after is not None))
    program = [run.worker_module, str(run.path), "--detached"]
    if run.after is not None:
        program = [WAITING_PROGRAM, *program[1:], "--then", run.worker_module]
    command = [python or sys.executable, "-m", *program]
    with open(run.log_path, "ab") as log:
        try:
            process = _launch(command, log.fileno(), _environment(environment))
        except OSError as error:
            run.write_status(before)
            raise RunError(
                explain(
                    f"the worker could not be started: {error.strerror or error}",
                    where=command[0],
                    remedy="check that this Python interpreter exists and may be run",
                )
            ) from error
    mark = {"pid": process.pid, "pid_started": process_mark(process.pid)}
    write_json(run.process_path, {**mark, "host": socket.gethostname(), "user": _user()})
    # Somebody must take note of the end of a child, or it stays in the process table as a zombie.
    threading.Thread(target=process.wait, name="semiseg-reaper", daemon=True).start()
    return process.pid


def is_running(run: RunFolder) -> bool:
    """Return whether a worker is at work on the run (also after this program was restarted)."""
    status = run.status()
    if status.is_active and status.host and status.host != socket.gethostname():
        return time.time() - status.heartbeat < HEARTBEAT_SECONDS
    return bool(_living(run))


def is_own(run: RunFolder) -> bool:
    """Return whether this user has started the run last, on this computer, as far as its files tell.

    Where an older version started it, they name the computer alone.

    Raises:
        ConfigError: the files are damaged.
        OSError: they cannot be read.
    """
    here = socket.gethostname()
    if not run.process_path.exists():
        return run.status().host == here
    started = read_json(run.process_path)
    return bool(started["host"] == here and started.get("user", _user()) == _user())


def observe(run: RunFolder) -> RunStatus:
    """Return the status of a run as it really is: a worker that died without a word is reported as failed."""
    status = run.status()
    if is_running(run):
        return status
    # It may have ended in good order between the two looks.
    status = run.status()
    if not status.is_active:
        return status
    return replace(
        status,
        state="failed",
        eta_seconds=None,
        message="the worker ended without a word: it was killed, crashed, or the computer went down",
        where=f"run '{run.path.name}', last sign of life at step {status.step}",
        remedy=f"{run.after_death}; log.txt may say more",
    )


def stop(run: RunFolder, *, grace_seconds: float = 60.0) -> bool:
    """Stop a run and return whether it ended in good order, with a model of its best state so far.

    First the worker is asked (it finishes its step and saves), then told to terminate, then ended together
    with everything it started. The call returns when no process of the run lives; a program that must not
    wait calls ``run.request_stop()`` instead and looks again later.

    Args:
        run: the run.
        grace_seconds: how long the worker may take to stop by itself.
    """
    if not is_running(run):
        return True
    run.request_stop()
    if _wait_for_end(run, grace_seconds):
        return True
    end_processes(_living(run), _groups(run), is_final=False)
    if _wait_for_end(run, TERMINATE_SECONDS):
        return True
    kill(run)
    return False


def kill(run: RunFolder) -> None:
    """End the worker and everything it started, at once; the run can be resumed from its last checkpoint.

    Raises:
        RunError: a process of the run lives on, or it runs on another machine.
    """
    status = run.status()
    if status.host and status.host != socket.gethostname() and is_running(run):
        raise RunError(
            explain(
                f"the worker runs on the machine '{status.host}'",
                where=f"run '{run.path.name}'",
                remedy="ask it to stop, or end it on that machine",
            )
        )
    pids, groups = _living(run), _groups(run)
    end = time.monotonic() + TERMINATE_SECONDS
    # Once is not enough: a process may have started another one while they were being listed.
    while (left := family(pids, groups)) and time.monotonic() < end:
        end_processes(pids, groups, is_final=True)
        time.sleep(POLL_SECONDS)
    if left:
        raise RunError(
            explain(
                f"process {sorted(left)} could not be ended",
                where=f"run '{run.path.name}'",
                remedy="end it with the tools of the operating system, or restart the computer",
            )
        )
    run.clear_stop()
    if pids:
        is_queued = status.state == "queued"
        message = "the run was taken out of the queue" if is_queued else "the training was ended at once"
        remedy = "resume the run: it goes on from its last checkpoint"
        status = replace(run.status(), state="stopped", eta_seconds=None, message=message, remedy=remedy)
        run.write_status(status)


def find_runs(parent: Path | str) -> list[RunFolder]:
    """Return the runs directly below a folder, oldest first; none where nobody can look."""
    try:
        folders = list(Path(parent).iterdir())
    except OSError:
        # It is missing, its drive is away, or its name is too long.
        return []
    found = []
    for folder in folders:
        # What is no run, and one that is deleted or gets out of reach meanwhile, is left out.
        with contextlib.suppress(OSError, RunError):
            run = RunFolder(folder)
            found.append((run.request_path.stat().st_mtime, run.path, run))
    return [run for _asked, _path, run in sorted(found, key=lambda each: each[:2])]


def _starting(before: RunStatus, *, is_queued: bool) -> RunStatus:
    return replace(
        before,
        state="queued" if is_queued else "preparing",
        message="waiting for its turn" if is_queued else "the worker is starting",
        where="",
        remedy="",
        eta_seconds=None,
        pid=None,
        pid_started="",
        host=socket.gethostname(),
        heartbeat=time.time(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        # A container may give its user a number without a name.
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _launch(command: list[str], log: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if sys.platform != "win32":
        return _popen(command, log, environment, 0)
    flags = NEW_PROCESS_GROUP | NO_WINDOW
    try:
        # A program inside a job object may be ended with the job when its parent dies; not every job lets go.
        return _popen(command, log, environment, flags | BREAKAWAY_FROM_JOB)
    except PermissionError:
        return _popen(command, log, environment, flags)


def _popen(command: list[str], log: int, environment: dict[str, str], flags: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
        creationflags=flags,
    )


def _environment(given: Mapping[str, str] | None) -> dict[str, str]:
    variables = dict(os.environ if given is None else given)
    library = str(Path(__file__).resolve().parents[2])
    others = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path and path != library]
    chosen_already = "OMP_WAIT_POLICY" in variables
    return {
        **({} if chosen_already else WAITING),
        **variables,
        "PYTHONPATH": os.pathsep.join([library, *others]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def _started(run: RunFolder) -> tuple[int, str]:
    """Return number and mark of the process that ``start`` made (in Slicer the launcher), or (0, "")."""
    if not run.process_path.exists():
        return 0, ""
    data = read_json(run.process_path)
    is_here = data["host"] == socket.gethostname()
    return (int(data["pid"]), str(data["pid_started"])) if is_here else (0, "")


def _living(run: RunFolder) -> set[int]:
    """Return the living ones of the process that was started and the worker (its child, if by a launcher)."""
    status = run.status()
    worker = (status.pid or 0, status.pid_started)
    return {pid for pid, mark in (_started(run), worker) if pid and mark and process_mark(pid) == mark}


def _groups(run: RunFolder) -> set[int]:
    """Return the process group that this run has for itself, if one of its processes still lives in it."""
    living, started = _living(run), _started(run)[0]
    if sys.platform == "win32" or not living:
        return set()
    groups = {started} if started in living else set()
    status = run.status()
    if status.owns_group and status.pid in living:
        groups.add(os.getpgid(status.pid))
    return groups


def _wait_for_end(run: RunFolder, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(run):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True
