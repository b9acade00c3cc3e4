"""Run folders seen from Slicer: start a training or a prediction in another process, watch it, stop it, find it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import ConfigError, RunError, SemiSegError, explain
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import find_runs, is_own, observe, start
from SemiSegLib.runs.status import RunStatus
from SemiSegModule.aside import Aside

Folder = TypeVar("Folder", bound=RunFolder)

WATCH_MILLISECONDS = 1000
# A run of days has thousands of events: they are told in portions of some 10 ms, so that opening it stops nothing.
EVENTS_AT_ONCE = 100
CATCH_UP_MILLISECONDS = 10
# Looks in a row that may find the files out of reach: a network drive comes back, a virus scanner lets go.
LOOKS_OUT_OF_REACH = 30
# As much of a run's events is read at once as is parsed within some 10 ms.
READ_BYTES = 100_000
ENDED_STATES = ("finished", "stopped", "failed")
# Trainings that this Slicer has started or resumed, by folder: they may lie in any study.
_startedHere: dict[Path, RunFolder] = {}
# The title that a person has given a run later; what was asked of the run is never written again.
TITLE = "title.txt"


def runsFolder(studyFolder: Path | str) -> Path:
    """Return where the trainings of a study are."""
    return Path(studyFolder) / "runs"


def appliedFolder(studyFolder: Path | str) -> Path:
    """Return where the jobs that apply a model are."""
    return Path(studyFolder) / "applied"


def appliedFolderOf(model: Path) -> Path:
    """Return where the jobs of a model are: in the study if it is of one of its trainings, else beside the file."""
    runs = model.parent.parent
    return appliedFolder(runs.parent if runAt(model.parent) and runs == runsFolder(runs.parent) else model.parent)


def findRuns(studyFolder: Path | str) -> list[RunFolder]:
    """Return the trainings of a study, newest first."""
    return list(reversed(find_runs(runsFolder(studyFolder))))


def canBeReached(folder: Path) -> bool:
    """Return whether a study folder is there or could be made, as far as looking tells."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        # A stale mount, no right to look, a name that is too long.
        return False
    return True


def runAt(path: Path | str, kind: type[Folder] = RunFolder) -> Folder | None:
    """Return the run (or job, by its class) in a folder, or None if the path is empty or none can be found there."""
    try:
        return kind(path) if str(path) else None
    except (RunError, OSError):
        return None


def titleOf(run: RunFolder) -> str:
    """Return what a person calls a run: the title given later or at its start, else its folder's name."""
    try:
        given = (run.path / TITLE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        given = ""
    if given:
        return given
    try:
        return run.request.title or run.path.name
    except (ConfigError, OSError):
        # Another version of SemiSeg may have asked for what this one does not know; it is a run all the same.
        return run.path.name


def rename(run: RunFolder, title: str) -> None:
    """Give a run another title; an empty one takes back the title it was started with."""
    run.write_text(TITLE, f"{title.strip()}\n")


def isAtWork(run: RunFolder) -> bool:
    """Return whether a worker is busy with a run or waits for its turn, as far as its files can be read."""
    try:
        return observe(run).is_active
    except (SemiSegError, OSError):
        return False


def isOwnWork(run: RunFolder) -> bool:
    """Return whether a run is at work or waits, and this user started it on this computer, as far as files tell."""
    try:
        return is_own(run) and observe(run).is_active
    except (SemiSegError, OSError):
        return False


def workerPython() -> str:
    """Return the interpreter that a worker is started with: Slicer's own, as a program of its own."""
    return shutil.which("PythonSlicer") or sys.executable


def startWorker(run: RunFolder, after: RunFolder | None = None) -> None:
    """Start, or resume, the worker of a run or job; it outlives Slicer and writes to files only.

    Args:
        run: the run or job.
        after: the run whose end it waits for; None for the one that it was asked to come after, if any.

    Raises:
        RunError: it is being worked on already, or the interpreter cannot be started.
    """
    start(run, python=workerPython(), after=after)
    if not isinstance(run, ApplyFolder):
        _startedHere[run.path] = run


def startedHere() -> list[RunFolder]:
    """Return the trainings that this Slicer has started, in whatever study, and that are at work or wait; reads files.

    What has ended is forgotten; what somebody else, or another computer, has taken over is not this person's to stop.
    """
    for path in [path for path, run in _startedHere.items() if not isOwnWork(run)]:
        del _startedHere[path]
    return list(_startedHere.values())


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


@dataclass(frozen=True)
class _Look:
    """What a look at a run's files has found; either a status or an error."""

    turn: int
    run: RunFolder
    status: RunStatus | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    offset: int = 0
    isMore: bool = False
    error: SemiSegError | OSError | None = None


class RunWatcher:
    """Looks at a run's files on a timer, beside the panel; no call waits for the worker or for a slow drive.

    Args:
        listener: is told what the files say.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(self, listener: Listener, makeTimer: Callable[[], Any] = qt.QTimer) -> None:
        self.run: RunFolder | None = None
        self._listener = listener
        # A look that was begun before another run was watched, or the same one anew, tells nothing any more.
        self._turn = 0
        self._offset = 0
        self._untold: list[dict[str, Any]] = []
        self._isMore = False
        self._outOfReach = 0
        self._aside: Aside[_Look] = Aside(self._take, makeTimer)
        self._timer = makeTimer()
        self._timer.setInterval(WATCH_MILLISECONDS)
        self._timer.connect("timeout()", self.look)

    def watch(self, run: RunFolder) -> None:
        """Begin to watch a run from its first event; a run that was watched before is let go."""
        self.run, self._offset, self._untold, self._isMore, self._outOfReach = run, 0, [], False, 0
        self._turn += 1
        # The folder of the run before may never answer.
        self._aside.close()
        self._timer.setInterval(WATCH_MILLISECONDS)
        self._timer.start()
        self.look()

    def unwatch(self) -> None:
        """Stop looking; the worker is not touched."""
        self._timer.stop()
        self._turn += 1
        self.run = None

    def close(self) -> None:
        """Stop looking for good, also where a look has no answer yet."""
        self.unwatch()
        self._aside.close()

    @property
    def isBehind(self) -> bool:
        """Whether there is more to tell at once."""
        return bool(self._untold) or self._isMore

    def look(self) -> None:
        """Read what is new and tell the listener: at once if the files answer within a moment, else when they do."""
        run = self.run
        if run is not None and not self._aside.isBusy:
            turn, offset, wantsEvents = self._turn, self._offset, not self._untold
            self._aside.ask(lambda: _lookAt(run, turn, offset, wantsEvents=wantsEvents))

    def _take(self, look: _Look) -> None:
        if look.turn != self._turn:
            self.look()
            return
        if isinstance(look.error, SemiSegError):
            self._giveUp(look.error)
        elif look.error is not None:
            self._outOfReach += 1
            if self._outOfReach >= LOOKS_OUT_OF_REACH:
                self._giveUp(_unreachable(look.run, look.error))
        else:
            self._outOfReach = 0
            if not self._untold:
                self._untold, self._offset, self._isMore = look.events, look.offset, look.isMore
            elif look.status.state in ENDED_STATES:
                # Its last events were not read with it: they are told before the end is.
                self._isMore = True
            self._tell(look)

    def _tell(self, look: _Look) -> None:
        portion, self._untold = self._untold[:EVENTS_AT_ONCE], self._untold[EVENTS_AT_ONCE:]
        if portion:
            self._listener.onEvents(portion)
        self._listener.onStatus(look.status)
        # A listener may have begun to watch another run meanwhile.
        if look.turn != self._turn:
            return
        self._timer.setInterval(CATCH_UP_MILLISECONDS if self.isBehind else WATCH_MILLISECONDS)
        if look.status.state in ENDED_STATES and not self.isBehind:
            self.unwatch()
            self._listener.onEnd(look.status)

    def _giveUp(self, error: SemiSegError) -> None:
        self.unwatch()
        self._listener.onError(error)


def _lookAt(run: RunFolder, turn: int, offset: int, *, wantsEvents: bool) -> _Look:
    """Return what the files of a run say now, and its events from an offset on if they are wanted."""
    try:
        # What is not there any more would pass for a run that was never started.
        run.request_path.stat()
        status = observe(run)
        if not wantsEvents:
            return _Look(turn, run, status)
        events, end = run.events(offset, most_bytes=READ_BYTES)
        # Half a line at the end is no reason to look again at once.
        isMore = end > offset and run.events_path.stat().st_size > end
        return _Look(turn, run, status, events, end, isMore)
    except (SemiSegError, OSError) as error:
        return _Look(turn, run, error=error)


def _unreachable(run: RunFolder, error: OSError) -> RunError:
    return RunError(
        explain(
            _("the files of the run cannot be read: {reason}").format(reason=error.strerror or error),
            where=str(run.path),
            remedy=_(
                "check that the folder was not moved or deleted, that its drive is there and that you "
                "may read it, then choose the run again; a training goes on meanwhile if only the drive "
                "is away"
            ),
        )
    )


def logTail(run: RunFolder, lines: int = 40) -> str:
    """Return the end of a run's log, for the details of an error message."""
    try:
        with open(run.log_path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        # There is none yet, or it is out of reach.
        return ""
    return "\n".join(text.splitlines()[-lines:])
