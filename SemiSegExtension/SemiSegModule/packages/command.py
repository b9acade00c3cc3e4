"""A program that runs beside Slicer: its output comes line by line on a timer, and nothing waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt

from SemiSegLib.runs.process_table import end_processes, process_mark

LOOK_MILLISECONDS = 100
# Windows' process creation flag; the name exists in `subprocess` on Windows only.
NO_WINDOW = 0x08000000


class NoTimer:
    """Never fires: for a program that is waited for."""

    def setInterval(self, _milliseconds: int) -> None:
        """Take note of nothing."""

    def connect(self, _signal: str, _slot: Callable[[], None]) -> None:
        """Call nothing."""

    def start(self) -> None:
        """Begin nothing."""

    def stop(self) -> None:
        """End nothing."""


class Command:
    """Runs one program. It writes to a file, not to a pipe, so it goes on undisturbed if Slicer ends first.

    Args:
        arguments: the program and what it is told.
        log: file that takes all it says, added to what is there.
        onLine: called with each line, without its end.
        onEnd: called once with the exit code, after the last line; not after ``kill`` or ``letGo``.
        environment: variables set besides those of Slicer.
        seconds: the program is ended after this time, and its code is then ``None``; no limit if None.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        *,
        onLine: Callable[[str], None],
        onEnd: Callable[[int | None], None],
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
        makeTimer: Callable[[], Any] = qt.QTimer,
    ) -> None:
        self.arguments, self.log = list(arguments), log
        self._onLine, self._onEnd, self._seconds = onLine, onEnd, seconds
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = ""
        self._rest = b""
        self._timer = makeTimer()
        self._timer.setInterval(LOOK_MILLISECONDS)
        self._timer.connect("timeout()", self._look)

    @property
    def isRunning(self) -> bool:
        """Whether the program is at work and somebody listens to it."""
        return self._process is not None

    def start(self) -> None:
        """Start the program and return at once.

        Raises:
            OSError: it cannot be started, or its log cannot be written.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self._offset = log.tell()
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                creationflags=NO_WINDOW if sys.platform == "win32" else 0,
            )
        self._mark = process_mark(self._process.pid)
        self._started = time.monotonic()
        self._timer.start()

    def run(self) -> None:
        """Start the program and return when it has ended; made with ``NoTimer``, in any thread.

        Raises:
            OSError: as ``start``.
        """
        self.start()
        while self.isRunning:
            time.sleep(LOOK_MILLISECONDS / 1000)
            self._look()

    def hear(self) -> None:
        """Tell at once what it has said and was not told yet, but not that it has ended."""
        if self._process is not None:
            self._tell(isLast=False)

    def kill(self) -> None:
        """End the program with everything it started; the end is told to nobody."""
        process, mark = self._process, self._mark
        self.letGo()
        # PythonSlicer is a launcher: ended alone, it leaves the interpreter that it started.
        if process is not None and process.poll() is None and process_mark(process.pid) == mark:
            end_processes({process.pid}, {process.pid}, is_final=True)
            process.wait(5)

    def letGo(self) -> None:
        """Stop listening; the program goes on."""
        self._timer.stop()
        self._process = None

    def _look(self) -> None:
        process = self._process
        if process is None:
            return
        # Asked before the file is read, so that nothing it says at its end is missed.
        code = process.poll()
        self._tell(isLast=code is not None)
        if self._process is not process:
            return
        if code is not None:
            self.letGo()
            self._onEnd(code)
        elif self._seconds is not None and time.monotonic() - self._started > self._seconds:
            self.kill()
            self._onEnd(None)

    def _tell(self, *, isLast: bool) -> None:
        with open(self.log, "rb") as log:
            log.seek(self._offset)
            new = log.read()
        self._offset += len(new)
        lines = (self._rest + new).replace(b"\r", b"\n").split(b"\n")
        self._rest = b"" if isLast else lines.pop()
        for line in lines:
            if line.strip():
                self._onLine(line.decode("utf-8", errors="replace").rstrip())
