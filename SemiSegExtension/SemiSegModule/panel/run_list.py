"""The runs of a study with what is known of each, read in portions that stop nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.places import is_there
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs

# A portion of reading: at least some runs, so that it comes to an end, and then no more than may go unnoticed.
LEAST_AT_ONCE = 10
PORTION_SECONDS = 0.03
PORTION_PAUSE_MILLISECONDS = 10
# Runs that another program starts or ends are noticed this often.
LOOK_MILLISECONDS = 5000


@dataclass
class RunEntry:
    """One run.

    Attributes:
        run: its folder.
        title: what a person calls it.
        created: when it was asked for, seconds since 1970.
        status: what it is doing; None if that was not read yet, or cannot be.
        isRead: whether the files have been read.
        hasModel: whether there is a model to apply or to go on from.
        baselineOf: the run whose gain over it is measured, or None.
        after: while it is queued, the run that it comes after; else None.
    """

    run: RunFolder
    title: str
    created: float = 0.0
    status: RunStatus | None = None
    isRead: bool = False
    hasModel: bool = False
    baselineOf: Path | None = None
    after: Path | None = None
    _stamp: int = -1

    @property
    def state(self) -> str:
        """State of the run, "" while it is not known."""
        return self.status.state if self.status is not None else ""

    @property
    def isBusy(self) -> bool:
        """Whether it is worked on or waits for its turn."""
        return self.status is not None and self.status.is_active

    @property
    def when(self) -> str:
        """Day and time of the request."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created))

    def hasNews(self) -> bool:
        """Return whether the status has changed since it was read."""
        return not self.isRead or self.isBusy or self._stamp != _changed(self.run.status_path)

    def read(self) -> None:
        """Read what the files say; files that cannot be read leave things unknown."""
        self._stamp = _changed(self.run.status_path)
        if not self.isRead:
            self.created = _changed(self.run.request_path) / 1e9
            self.baselineOf = _baselineOf(self.run)
        self.title = jobs.titleOf(self.run)
        try:
            self.status = observe(self.run)
            self.after = self.run.after if self.state == "queued" else None
        except (SemiSegError, OSError):
            self.status = None
        self.hasModel = is_there(self.run.model_path)
        self.isRead = True


class RunList:
    """Knows the runs of one study folder, newest first.

    Args:
        onRead: called whenever more has been read.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(self, onRead: Callable[[], None], makeTimer: Callable[[], Any] = qt.QTimer) -> None:
        self.entries: list[RunEntry] = []
        self._folder: Path | None = None
        self._pending: list[RunEntry] = []
        self._onRead = onRead
        self._isLooking = False
        self._portions, self._looks = makeTimer(), makeTimer()
        self._portions.setInterval(PORTION_PAUSE_MILLISECONDS)
        self._portions.connect("timeout()", self._readOn)
        self._looks.setInterval(LOOK_MILLISECONDS)
        self._looks.connect("timeout()", self.look)

    @property
    def isComplete(self) -> bool:
        """Whether every run has been read."""
        return not self._pending

    def entry(self, path: Path | str) -> RunEntry | None:
        """Return what is known of the run in a folder, or None if it is none of the study's."""
        return next((entry for entry in self.entries if str(entry.run.path) == str(path)), None)

    def next(self, ended: RunFolder | None = None) -> RunEntry | None:
        """Return the run that is at work, else the one that waits for no other, or None; the oldest of several.

        Args:
            ended: the run after which it comes; what is only compared with this one does not count.
        """
        busy = [entry for entry in reversed(self.entries) if entry.isBusy]
        if ended is not None:
            busy = [entry for entry in busy if entry.baselineOf != ended.path]
        paths = [entry.run.path for entry in busy]
        return min(busy, key=lambda entry: (entry.state == "queued", entry.after in paths), default=None)

    def show(self, folder: Path | None) -> None:
        """List the runs of a study folder; what is known of them already is kept, and what may have changed is read."""
        self._folder = folder
        known = {entry.run.path: entry for entry in self.entries}
        found = jobs.findRuns(folder) if folder is not None else []
        self.entries = [known.get(run.path) or RunEntry(run, run.path.name) for run in found]
        self._pending = [entry for entry in self.entries if not entry.isRead or entry.isBusy]
        if not self._isLooking:
            # Started once: a panel that is refreshed all the time would put the next look off for ever.
            self._isLooking = True
            self._looks.start()
        self._read()

    def look(self) -> None:
        """List the runs again and read what has changed."""
        self.show(self._folder)
        waiting = [entry.run.path for entry in self._pending]
        self._pending += [e for e in self.entries if e.run.path not in waiting and e.hasNews()]
        if self._pending:
            self._portions.start()
        self._onRead()

    def take(self, run: RunFolder, status: RunStatus) -> None:
        """Take note of a status that somebody else has read."""
        entry = self.entry(run.path)
        if entry is not None:
            ended = entry.isBusy and not status.is_active
            entry.status = status
            if ended:
                entry.hasModel = is_there(run.model_path)

    def close(self) -> None:
        """Look no more."""
        self._portions.stop()
        self._looks.stop()
        self._isLooking = False
        self._pending = []

    def _readOn(self) -> None:
        self._read()
        self._onRead()

    def _read(self) -> None:
        end = time.monotonic() + PORTION_SECONDS
        for number in range(len(self._pending)):
            if number >= LEAST_AT_ONCE and time.monotonic() > end:
                break
            self._pending.pop(0).read()
        if self._pending:
            self._portions.start()
        else:
            self._portions.stop()


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _baselineOf(run: RunFolder) -> Path | None:
    try:
        named = run.request.compare_with
    except (SemiSegError, OSError):
        return None
    return None if named is None else run.sibling(named)
