"""A run's turn: it waits, small, until the runs before it have ended, and then its worker works in the same process.

``runs.process.start`` starts ``python -m SemiSegLib.runs.turn RUN`` for a run whose request names another in ``after``.
Nothing here imports torch, so a waiting run costs some 20 MB. The process and its number stay what they are when the
turn has come, so a run is found, stopped and ended alike while it waits and while it works.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import runpy
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from SemiSegLib import __version__
from SemiSegLib.errors import ConfigError, RunError, SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.job import gentle_signals
from SemiSegLib.runs.process import find_runs, is_running
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.status import RunStatus

LISTEN_SECONDS = 0.5
LOOK_SECONDS = 1.0
# Another machine takes a run for dead after 60 s without a sign of life.
HEARTBEAT_SECONDS = 10.0
logger = logging.getLogger("SemiSegLib.turn")


class Queue:
    """The runs that a run comes after, directly or through others; one that was deleted is no longer waited for.

    Those that were once seen are remembered: if the run in the middle of three is deleted, the last one still waits
    for the first.

    Args:
        run: the run that waits.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._earlier: list[RunFolder] = []

    def busy(self) -> list[RunFolder]:
        """Return the runs that must end before this one begins, the nearest first."""
        known = {run.path: run for run in (*runs_before(self._run), *self._earlier)}
        self._earlier = list(known.values())
        return [run for run in self._earlier if _is_busy(run)]


def runs_before(run: RunFolder) -> list[RunFolder]:
    """Return the runs that come before one in its queue, the nearest first, whatever they are doing."""
    found: list[RunFolder] = []
    named = run.after
    while named is not None:
        try:
            current = RunFolder(named)
        except RunError:
            # Deleted; what came before it is not known any more.
            break
        if current.path in (run.path, *(other.path for other in found)):
            # Somebody has written a ring: nobody would ever begin.
            return []
        found.append(current)
        named = _waits_for(current)
    return found


def end_of_queue(parent: Path | str) -> RunFolder | None:
    """Return the run below a folder that a new one must come ``after``, or None if nothing works or waits there."""
    busy = [run for run in find_runs(parent) if _is_busy(run)]
    followed = {_waits_for(run) for run in busy}
    return next((run for run in reversed(busy) if run.path not in followed), None)


def wait_for_turn(run: RunFolder, *, owns_group: bool = False) -> bool:
    """Wait until the runs before one have ended, telling it in the status; return whether it may begin.

    Args:
        run: locked by the caller.
        owns_group: whether this process leads a session of its own.

    Returns:
        False if a stop was asked for; the status then says "stopped".
    """
    queue = Queue(run)
    said, look_at, tell_at = "", 0.0, 0.0
    while not run.stop_requested():
        now = time.monotonic()
        if now >= look_at:
            busy, look_at = queue.busy(), now + LOOK_SECONDS
            if not busy:
                return True
            text = _words(busy)
            if text != said or now >= tell_at:
                _tell(run, owns_group, state="queued", message=text)
                said, tell_at = text, now + HEARTBEAT_SECONDS
        time.sleep(LISTEN_SECONDS)
    _tell(run, owns_group, state="stopped", message="stopped while it waited for its turn; nothing was trained")
    run.clear_stop()
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for the turn of a run, then be its worker; return the exit code: 0 done or stopped, 1 failed."""
    parser = argparse.ArgumentParser(prog="SemiSegLib.runs.turn", description="Wait for other runs, then train.")
    parser.add_argument("folder", type=Path, help="folder with the request")
    parser.add_argument("--detached", action="store_true", help="this process leads a session of its own")
    parser.add_argument("--then", default=RunFolder.worker_module, help="module of the worker")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        run = RunFolder(given.folder)
        with run.lock(), gentle_signals(run):
            if not wait_for_turn(run, owns_group=given.detached):
                return 0
            _tell(run, given.detached, state="preparing", message="the worker is starting")
    except SemiSegError as error:
        # No run, or another worker is at it: its status must stay.
        logger.error("%s", error)
        return 1
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)
    sys.argv[1:] = [str(given.folder), *(["--detached"] if given.detached else [])]
    runpy.run_module(given.then, run_name="__main__", alter_sys=True)
    return 0


def _waits_for(run: RunFolder) -> Path | None:
    """Return the run that one comes after; None once its worker works: then its turn has come."""
    try:
        status = run.status()
    except (SemiSegError, OSError):
        return run.after
    return None if status.is_active and status.state != "queued" else run.after


def _is_busy(run: RunFolder) -> bool:
    try:
        return is_running(run)
    except ConfigError:
        # A status that cannot be read is nobody's.
        return False
    except OSError:
        # A network drive comes back.
        return True


def _words(busy: Sequence[RunFolder]) -> str:
    nearest = busy[0]
    try:
        title = nearest.request.title or nearest.path.name
    except (ConfigError, OSError):
        title = nearest.path.name
    more = f"; {len(busy)} runs are before this one" if len(busy) > 1 else ""
    return f"waiting for the end of '{title}'{more}"


def _tell(run: RunFolder, owns_group: bool, *, state: str, message: str) -> None:
    try:
        before = run.status()
    except (ConfigError, OSError):
        before = RunStatus()
    status = replace(
        before,
        state=state,
        message=message,
        where="",
        remedy="",
        eta_seconds=None,
        pid=os.getpid(),
        pid_started=process_mark(os.getpid()),
        host=socket.gethostname(),
        owns_group=owns_group,
        heartbeat=time.time(),
        version=__version__,
    )
    # A full disk or a lost network drive must not end the waiting.
    with contextlib.suppress(OSError):
        run.write_status(status)


if __name__ == "__main__":
    sys.exit(main())
