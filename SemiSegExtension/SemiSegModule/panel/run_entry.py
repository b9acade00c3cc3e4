"""What is known of one run of a study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from SemiSegLib.errors import ConfigError, SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import Gain, read_gain
from SemiSegLib.runs.places import is_there
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.used_sides import splitOf


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
        sides: patient to the side of the split on which it uses it; empty until it has been split.
        isAskedToStop: whether somebody has asked it to end, or not to begin.
        gain: what its comparison with ``baselineOf`` says; None until it is there.
        gainTrouble: why the comparison cannot be read, or "".
    """

    run: RunFolder
    title: str
    created: float = 0.0
    status: RunStatus | None = None
    isRead: bool = False
    hasModel: bool = False
    baselineOf: Path | None = None
    after: Path | None = None
    sides: Mapping[str, str] = field(default_factory=dict)
    isAskedToStop: bool = False
    gain: Gain | None = None
    gainTrouble: str = ""
    _stamp: int = -1
    _gainStamp: int = 0

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
        return (
            not self.isRead
            or self.isBusy
            or self._stamp != _changed(self.run.status_path)
            or self._gainStamp != self._newGainStamp()
        )

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
            self.isAskedToStop = self.isBusy and self.run.stop_requested()
        except (SemiSegError, OSError):
            self.status = None
        self.hasModel = is_there(self.run.model_path)
        self.sides = splitOf(self.run.split_path)
        self._readGain()
        self.isRead = True

    def _newGainStamp(self) -> int:
        return 0 if self.baselineOf is None else _changed(self.run.gain_path)

    def _readGain(self) -> None:
        stamp = self._newGainStamp()
        if stamp == self._gainStamp:
            return
        self._gainStamp, self.gain, self.gainTrouble = stamp, None, ""
        try:
            self.gain = read_gain(self.run.gain_path)
        except (ConfigError, OSError) as error:
            self.gainTrouble = str(error)


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
