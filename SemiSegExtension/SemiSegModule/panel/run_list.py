"""The runs of a study with what is known of each, read aside, so that no folder keeps the panel waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import qt

from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.aside import Aside
from SemiSegModule.panel.run_entry import RunEntry

# A portion of reading: at least some runs, so that it comes to an end, and then what is shown before the rest.
LEAST_AT_ONCE = 10
PORTION_SECONDS = 0.02
# Runs that another program starts or ends are noticed this often.
LOOK_MILLISECONDS = 5000


@dataclass(frozen=True)
class Reading:
    """What a look at a study folder has found.

    Attributes:
        folder: the study folder; None if none is chosen.
        isReachable: whether it is there or could be made, as far as looking tells.
        entries: its runs, newest first.
        rest: folders of those that were not looked at yet.
    """

    folder: Path | None
    isReachable: bool
    entries: list[RunEntry]
    rest: list[Path]


class RunList:
    """Knows the runs of one study folder, newest first, without waiting for the folder.

    All reading is done aside: the folder may be on a network drive, and the panel asks at every click.

    Args:
        onRead: called whenever more has been read.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(self, onRead: Callable[[], None], makeTimer: Callable[[], Any] = qt.QTimer) -> None:
        self.entries: list[RunEntry] = []
        self.isReachable = True
        self._folder: Path | None = None
        # Those that the last reading left out; None before the first one.
        self._rest: list[Path] | None = None
        self._added: dict[Path, RunEntry] = {}
        self._taken: set[Path] = set()
        self._onRead = onRead
        self._isLooking = self._isShowing = self._isStale = False
        self._aside: Aside[Reading] = Aside(self._take, makeTimer)
        self._looks = makeTimer()
        self._looks.setInterval(LOOK_MILLISECONDS)
        self._looks.connect("timeout()", self.look)

    @property
    def isComplete(self) -> bool:
        """Whether the folder was looked at and every run has been read."""
        return self._rest is not None and all(entry.isRead for entry in self.entries)

    @property
    def sides(self) -> dict[str, str]:
        """Patient to the side of the split on which the first run with it has used it."""
        found: dict[str, str] = {}
        for entry in reversed(self.entries):
            for patient, side in entry.sides.items():
                found.setdefault(patient, side)
        return found

    @property
    def facts(self) -> tuple[Any, ...]:
        """What other parts of the panel show of the runs; equal as long as nothing is new for them."""
        models = [entry.run.path for entry in self.entries if entry.hasModel]
        return self.sides, self.isReachable, self.isComplete, models

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

    def ownBusy(self) -> list[RunFolder]:
        """Return the runs that are at work or wait now and were started by this user on this computer; reads files."""
        # What was known may be old, and what others train is not for this person to stop.
        return [entry.run for entry in self.entries if entry.isBusy and jobs.isOwnWork(entry.run)]

    def show(self, folder: Path | None) -> None:
        """Know the runs of a study folder from now on; of the one that is known already nothing is read."""
        if self._isLooking and folder == self._folder:
            return
        self._folder = folder
        self.entries, self.isReachable, self._rest = [], True, None
        self._added.clear()
        if not self._isLooking:
            # Started once: a panel that is refreshed all the time would put the next look off for ever.
            self._isLooking = True
            self._looks.start()
        # Whoever shows a folder looks at the list next.
        self._isShowing = True
        self._ask()
        self._isShowing = False

    def look(self) -> None:
        """List the runs again and read what has changed."""
        self._ask()

    def add(self, run: RunFolder, title: str) -> None:
        """List a run that was started here a moment ago, before it is found in the folder; then look again."""
        if self.entry(run.path) is None:
            self._added[run.path] = RunEntry(run, title, created=time.time())
            self.entries = [self._added[run.path], *self.entries]
        self._ask()

    def take(self, run: RunFolder, status: RunStatus) -> None:
        """Take note of a status that somebody else has read."""
        entry = self.entry(run.path)
        if entry is not None:
            isNews = entry.state != status.state
            entry.status = status
            entry.isAskedToStop &= entry.isBusy
            self._taken.add(run.path)
            if isNews:
                # It may have been split, or have a model now.
                self._ask()

    def renamed(self, run: RunFolder) -> None:
        """Take note that a run was given another title."""
        entry = self.entry(run.path)
        if entry is not None:
            entry.title = jobs.titleOf(run)
            self._taken.add(run.path)

    def stopped(self, run: RunFolder) -> None:
        """Take note that a run was asked to stop, or not to begin."""
        entry = self.entry(run.path)
        if entry is not None:
            entry.isAskedToStop = True
            self._taken.add(run.path)

    def close(self) -> None:
        """Look no more."""
        self._aside.close()
        self._looks.stop()
        self._isLooking = self._isStale = False
        self._rest = None

    def _ask(self) -> None:
        """Have the folder read, at once or when the reading that goes on has ended."""
        self._aside.letGo(self._folder)
        self._isStale = self._aside.isBusy
        if not self._isStale:
            self._begin(None)

    def _begin(self, rest: list[Path] | None) -> None:
        folder, known = self._folder, [replace(entry) for entry in self.entries]
        self._taken.clear()
        self._aside.ask(lambda: _read(folder, known, rest), about=folder, isAwaited=rest is None)

    def _take(self, reading: Reading) -> None:
        """Take over what was read, but for what is known better by now."""
        isCurrent = reading.folder == self._folder
        if isCurrent:
            self._merge(reading)
        if self._isStale or not isCurrent:
            self._isStale = False
            self._begin(None)
        elif reading.rest:
            self._begin(reading.rest)
        if isCurrent and not self._isShowing:
            self._onRead()

    def _merge(self, reading: Reading) -> None:
        for entry in reading.entries:
            self._added.pop(entry.run.path, None)
            known = self.entry(entry.run.path) if entry.run.path in self._taken else None
            if known is not None:
                entry.status, entry.title, entry.isAskedToStop = known.status, known.title, known.isAskedToStop
        self.entries = [*self._added.values(), *reading.entries]
        self.isReachable, self._rest = reading.isReachable, reading.rest


def _read(folder: Path | None, known: Sequence[RunEntry], rest: Sequence[Path] | None) -> Reading:
    """Return the runs of a folder, a portion of them read. In a thread.

    Args:
        folder: the study folder.
        known: runs that are known, whose records may be changed.
        rest: folders of the runs to read; None lists all anew and reads what has changed, what was never read first.
    """
    if folder is None:
        return Reading(None, True, [], [])
    entries = {entry.run.path: entry for entry in known}
    isReachable = True
    if rest is None:
        isReachable = jobs.canBeReached(folder)
        found = [entries.get(run.path) or RunEntry(run, run.path.name) for run in jobs.findRuns(folder)]
        entries = {entry.run.path: entry for entry in found}
        rest = sorted(entries, key=lambda path: entries[path].isRead)
    count, end = 0, time.monotonic() + PORTION_SECONDS
    for number, path in enumerate(rest):
        if count >= LEAST_AT_ONCE and time.monotonic() > end:
            return Reading(folder, isReachable, list(entries.values()), list(rest[number:]))
        if path in entries and entries[path].hasNews():
            entries[path].read()
            count += 1
    return Reading(folder, isReachable, list(entries.values()), [])
