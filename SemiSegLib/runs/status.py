"""The state of a run as one small file: written whole or not at all, so that anybody may read it at any time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SemiSegLib.config import check_choice, from_json, read_json, write_json
from SemiSegLib.errors import RunError, explain

ACTIVE_STATES = ("queued", "preparing", "training", "stopping")
STATES = ("created", *ACTIVE_STATES, "finished", "stopped", "failed")


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What a run is doing. This is ``status.json``.

    Attributes:
        state: "created", "queued" (waiting for the end of another run), "preparing", "training", "stopping",
            "finished", "stopped" or "failed".
        step: optimizer steps done.
        total_steps: planned steps, or None when a time budget ends the run.
        fraction: share of the training done, 0 to 1.
        eta_seconds: estimated time to the end, or None while unknown.
        message: what is being done, or what went wrong, in one sentence.
        where: the place of what went wrong, or "".
        remedy: what to do about it, or "".
        device: device, precision, memory format and threads, in words; "" until the training begins.
        best_dice: best mean validation Dice so far, 0 to 1, or None.
        best_step: the step it was reached at, or None.
        pid: process of the worker, or None before it started.
        pid_started: mark of that process that no later process with the same number has, or "".
        host: name of the worker's machine.
        owns_group: whether the worker leads a session (POSIX) or group (Windows) of its own.
        heartbeat: last sign of life, seconds since 1970.
        version: version of SemiSegLib that wrote this.
    """

    state: str = "created"
    step: int = 0
    total_steps: int | None = None
    fraction: float = 0.0
    eta_seconds: float | None = None
    message: str = ""
    where: str = ""
    remedy: str = ""
    device: str = ""
    best_dice: float | None = None
    best_step: int | None = None
    pid: int | None = None
    pid_started: str = ""
    host: str = ""
    owns_group: bool = False
    heartbeat: float = 0.0
    version: str = ""

    def __post_init__(self) -> None:
        check_choice("state", self.state, STATES)

    @property
    def is_active(self) -> bool:
        """Whether the worker says that it is at work, or waits for its turn (it may have died since)."""
        return self.state in ACTIVE_STATES


def write_status(path: Path, status: RunStatus) -> None:
    """Write the status so that a reader sees the old or the new one, never half of one."""
    write_json(path, status)


def read_status(path: Path) -> RunStatus:
    """Return the status in a file; a file that does not exist yet means "created".

    Fields of a newer version are ignored, so an older panel can still watch a newer worker.

    Raises:
        RunError: the file holds something else.
    """
    if not path.exists():
        return RunStatus()
    data = read_json(path)
    if not isinstance(data, Mapping):
        raise RunError(explain("the status is not an object", where=str(path), remedy="start the run again"))
    known = {field.name for field in dataclasses.fields(RunStatus)}
    kept: dict[str, Any] = {key: value for key, value in data.items() if key in known}
    return from_json(RunStatus, kept, where=str(path))
