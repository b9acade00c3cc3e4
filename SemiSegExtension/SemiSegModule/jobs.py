"""Run folders seen from Slicer: start a training or a prediction in another process, watch it, stop it, find it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import qt

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import find_runs, observe, start
from SemiSegLib.runs.status import RunStatus

WATCH_MILLISECONDS = 1000
ENDED_STATES = ("finished", "stopped", "failed")


def runsFolder(studyFolder: Path | str) -> Path:
    """Return where the trainings of a study are."""
    return Path(studyFolder) / "runs"


def appliedFolder(studyFolder: Path | str) -> Path:
    """Return where the jobs that apply a model are."""
    return Path(studyFolder) / "applied"


def findRuns(studyFolder: Path | str) -> list[RunFolder]:
    """Return the trainings of a study, newest first."""
    return list(reversed(find_runs(runsFolder(studyFolder))))


def workerPython() -> str:
    """Return the interpreter that a worker is started with: Slicer's own, as a program of its own."""
    return shutil.which("PythonSlicer") or sys.executable


def startWorker(run: RunFolder) -> None:
    """Start, or resume, the worker of a run or job; it outlives Slicer and writes to files only.

    Raises:
        RunError: it is being worked on already, or the interpreter cannot be started.
    """
    start(run, python=workerPython())


class Listener(Protocol):
    """What a watcher tells."""

    def onStatus(self, status: RunStatus) -> None:
        """Take note of the state; called about once a second, and at once when watching begins."""

    def onEvents(self, events: list[dict[str, Any]]) -> None:
        """Take note of what happened since the last call."""

    def onEnd(self, status: RunStatus) -> None:
        """Take note that nothing more will come; called once, after the last status and events."""

    def onError(self, error: SemiSegError) -> None:
        """Take note that the run's files cannot be read; watching has ended."""


class RunWatcher:
    """Reads a run's files on a timer; no call waits for the worker.

    Args:
        listener: is told what the files say.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(self, listener: Listener, makeTimer: Callable[[], Any] = qt.QTimer) -> None:
        self.run: RunFolder | None = None
        self._listener = listener
        self._offset = 0
        self._timer = makeTimer()
        self._timer.setInterval(WATCH_MILLISECONDS)
        self._timer.connect("timeout()", self.look)

    def watch(self, run: RunFolder) -> None:
        """Begin to watch a run from its first event; a run that was watched before is let go."""
        self.run, self._offset = run, 0
        self._timer.start()
        self.look()

    def unwatch(self) -> None:
        """Stop looking; the worker is not touched."""
        self._timer.stop()
        self.run = None

    def look(self) -> None:
        """Read what is new and tell the listener."""
        run = self.run
        if run is None:
            return
        try:
            status = observe(run)
            events, self._offset = run.events(self._offset)
        except SemiSegError as error:
            self.unwatch()
            self._listener.onError(error)
            return
        if events:
            self._listener.onEvents(events)
        self._listener.onStatus(status)
        # A listener may have begun to watch another run meanwhile.
        if status.state in ENDED_STATES and self.run is run:
            self.unwatch()
            self._listener.onEnd(status)


def logTail(run: RunFolder, lines: int = 40) -> str:
    """Return the end of a run's log, for the details of an error message."""
    if not run.log_path.exists():
        return ""
    with open(run.log_path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 20_000))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
