"""One worker per run folder: a lock that the operating system drops when its holder dies, however it dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from SemiSegLib.errors import RunError, explain

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Windows locks byte ranges and forbids others to read them, so a byte far behind the readable text is locked.
WINDOWS_LOCK_OFFSET = 1 << 20


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock file for the length of a ``with`` block.

    Raises:
        RunError: another process holds it; the message names that process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        if not _try_lock(file):
            raise RunError(
                explain(
                    f"the run is already being worked on by {_holder(file)}",
                    where=f"run '{path.parent.name}'",
                    remedy="wait for it, stop it, or start another run in a folder of its own",
                )
            )
        try:
            _write_holder(file)
            yield
        finally:
            _unlock(file)


def _write_holder(file: BinaryIO) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    file.seek(0)
    file.truncate()
    file.write(json.dumps(holder).encode())
    file.flush()


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read(4096))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        # The holder has locked the file and is about to write its name.
        return "another process"


if sys.platform == "win32":

    def _try_lock(file: BinaryIO) -> bool:
        file.seek(WINDOWS_LOCK_OFFSET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        file.seek(WINDOWS_LOCK_OFFSET)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
