"""The worker's sign of life: a thread that writes the status, listens for a stop and notices when nothing moves."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from SemiSegLib.errors import take_apart
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.status import RunStatus

HEARTBEAT_SECONDS = 2.0
LISTEN_SECONDS = 0.5
# When a worker counts as silent: no step for 10 times the usual time, but at least 120 s.
SILENT_STEPS = 10.0
SILENT_SECONDS = 120.0


@dataclass(frozen=True)
class Pulse:
    """What a training says when it is asked how far it is.

    Attributes:
        activity: differs from the last one if something was done since.
        usual_seconds: usual time between two activities.
        changes: fields of the status.
    """

    activity: Hashable
    usual_seconds: float
    changes: Mapping[str, Any] = field(default_factory=dict)


class Reporter:
    """Keeps the status of a run fresh while a ``with`` block lasts.

    Args:
        folder: the run.
        version: of SemiSegLib.
        owns_group: whether this process leads a session of its own.
    """

    def __init__(self, folder: RunFolder, *, version: str, owns_group: bool) -> None:
        self._folder = folder
        self._status = replace(
            folder.status(),
            state="preparing",
            message="",
            where="",
            remedy="",
            eta_seconds=None,
            pid=os.getpid(),
            pid_started=process_mark(os.getpid()),
            host=socket.gethostname(),
            owns_group=owns_group,
            version=version,
        )
        # Held by the thread for each look: after ``listen`` neither of those before is called or written of any more.
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._pulse: Callable[[], Pulse] | None = None
        self._on_stop: Callable[[], None] | None = None
        self._activity: Hashable = None
        self._active_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="semiseg-heartbeat", daemon=True)

    def __enter__(self) -> Reporter:
        self.update()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    @property
    def status(self) -> RunStatus:
        """The status as last written."""
        return self._status

    def update(self, **changes: Any) -> None:
        """Change the status and write it."""
        with self._lock:
            self._status = replace(self._status, **changes, heartbeat=time.time())
            self._folder.write_status(self._status)

    def fail(self, text: str, *, remedy: str) -> None:
        """Say that the job failed, and take back a stop that was asked for: what comes next must not stop at once.

        Args:
            text: why, in the form of ``errors.explain``.
            remedy: what to do if the text does not say.
        """
        self.listen(None, None)
        what, where, told = take_apart(text)
        self.update(state="failed", eta_seconds=None, message=what, where=where, remedy=told or remedy)
        self._folder.clear_stop()

    def listen(self, pulse: Callable[[], Pulse] | None, on_stop: Callable[[], None] | None) -> None:
        """Ask ``pulse`` how far the training is at every heartbeat, and call ``on_stop`` when a stop is asked for."""
        with self._lock:
            self._pulse, self._on_stop = pulse, on_stop
            self._activity, self._active_at = None, time.monotonic()

    def _work(self) -> None:
        due = time.monotonic() + HEARTBEAT_SECONDS
        while not self._end.wait(LISTEN_SECONDS):
            # A full disk or a lost network drive must not end the heartbeat: the training itself will tell.
            with self._lock, contextlib.suppress(OSError):
                self._pass_stop_on()
                if time.monotonic() >= due:
                    due = time.monotonic() + HEARTBEAT_SECONDS
                    self.update(**self._changes())

    def _pass_stop_on(self) -> None:
        if self._on_stop is not None and self._folder.stop_requested():
            self._on_stop()
            self._on_stop = None
            self.update(state="stopping", message="finishing the step and saving the model")

    def _changes(self) -> dict[str, Any]:
        pulse = self._pulse() if self._pulse is not None else None
        if pulse is None:
            return {}
        now = time.monotonic()
        if pulse.activity != self._activity:
            self._activity, self._active_at = pulse.activity, now
        silence = now - self._active_at
        changes = dict(pulse.changes)
        if self._status.state == "training":
            changes["message"] = "training"
        if silence > max(SILENT_SECONDS, SILENT_STEPS * pulse.usual_seconds) and self._status.state == "training":
            changes["message"] = (
                f"no step for {silence:.0f} s (usually {pulse.usual_seconds:.1f} s): "
                "the computer may be asleep, overloaded or short of memory"
            )
        return changes
