"""What the operating system knows of processes: alive or not, since when, whose children; and how to end them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STILL_ACTIVE = 259
QUERY_LIMITED_INFORMATION = 0x1000


@dataclass(frozen=True)
class ProcessEntry:
    """One process.

    Attributes:
        pid: its number.
        parent: number of its parent.
        group: number of its process group.
        is_zombie: whether it has ended and only waits for its parent to notice.
        started: when it started, in a form that is compared and nothing else.
    """

    pid: int
    parent: int
    group: int
    is_zombie: bool
    started: str


def process_mark(pid: int) -> str:
    """Return a mark of a living process that no later process with the same number has, or "" if none lives.

    A number alone is not enough: after a reboot, or after a while, another program may have it.
    """
    if sys.platform == "win32":
        return _windows_mark(pid)
    entry = _entry(pid)
    return "" if entry is None or entry.is_zombie else entry.started


def end_processes(pids: set[int], groups: set[int], *, is_final: bool) -> None:
    """Signal processes, all their descendants and whole process groups.

    Args:
        pids: processes; those that have ended already are passed over.
        groups: process groups (POSIX only).
        is_final: kill at once, instead of asking to terminate.
    """
    if sys.platform == "win32":
        for pid in pids:
            force = ["/F"] if is_final else []
            subprocess.run(["taskkill", "/PID", str(pid), "/T", *force], capture_output=True, check=False)
        return
    number = signal.SIGKILL if is_final else signal.SIGTERM
    for pid in family(pids, groups):
        # It may have ended by itself since it was listed.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def family(pids: set[int], groups: set[int]) -> set[int]:
    """Return the living processes among ``pids``, their descendants, the groups' members and theirs.

    On Windows, where ``taskkill /T`` finds the descendants itself, only the living among ``pids``.
    """
    if sys.platform == "win32":
        return {pid for pid in pids if process_mark(pid)}
    entries = [entry for entry in process_entries() if not entry.is_zombie]
    found = {e.pid for e in entries if e.pid in pids or e.group in groups}
    while True:
        more = {e.pid for e in entries if e.parent in found} - found
        if not more:
            return found
        found |= more


def process_entries() -> list[ProcessEntry]:
    """Return all processes that this user can see (POSIX)."""
    if Path("/proc/self/stat").exists():
        listed = [_entry_from_proc(int(name)) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        return [entry for entry in listed if entry is not None]
    return _entries_from_ps(["-A"])


def _entry(pid: int) -> ProcessEntry | None:
    if Path("/proc/self/stat").exists():
        return _entry_from_proc(pid)
    found = _entries_from_ps(["-p", str(pid)])
    return found[0] if found else None


def _entry_from_proc(pid: int) -> ProcessEntry | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The program's name stands in parentheses and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessEntry(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        is_zombie=fields[0] in ("Z", "X"),
        started=f"{boot}:{fields[19]}",
    )


def _entries_from_ps(which: list[str]) -> list[ProcessEntry]:
    columns = "pid=,ppid=,pgid=,stat=,lstart="
    listing = subprocess.run(["ps", *which, "-o", columns], capture_output=True, text=True, check=False).stdout
    entries = []
    for line in listing.splitlines():
        pid, parent, group, state, started = line.split(None, 4)
        entries.append(ProcessEntry(int(pid), int(parent), int(group), state.startswith("Z"), started.strip()))
    return entries


def _windows_mark(pid: int) -> str:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(QUERY_LIMITED_INFORMATION, False, pid))
    if not handle:
        return ""
    try:
        code = ctypes.c_ulong()
        times = [ctypes.c_uint64() for _ in range(4)]
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.GetProcessTimes(handle, *(ctypes.byref(moment) for moment in times))
        return str(times[0].value) if code.value == STILL_ACTIVE else ""
    finally:
        kernel.CloseHandle(handle)
