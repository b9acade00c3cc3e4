"""A file from the network: asked for, told of, checked, and there whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from SemiSegLib.config import replace_file
from SemiSegLib.errors import RunError, explain

TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 20
# A file whose length is not known beforehand is a small one.
LARGEST_UNKNOWN = 16 << 20
SHA1_LENGTH, SHA256_LENGTH = 40, 64
LOCAL = ("127.0.0.1", "localhost", "::1")

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file and how it is known to be the right one.

    Attributes:
        name: in the folder where it is kept.
        url: where it is.
        size_bytes: its length, or None for a small file whose length is not known.
        sha256: of its content, or None: then it is checked against the mark that the server states, an ETag that is
            the content's SHA-256 or the SHA-1 of a git blob (as Hugging Face states for large and small files).
    """

    name: str
    url: str
    size_bytes: int | None = None
    sha256: str | None = None


def is_there(file: RemoteFile, folder: Path) -> bool:
    """Return whether the folder holds the file, whole; where its checksum is known the content is read."""
    path = Path(folder) / file.name
    if not path.is_file() or file.size_bytes not in (None, path.stat().st_size):
        return False
    return file.sha256 is None or _sha256(path) == file.sha256


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    on_progress: Told | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    instead: str = "copy the file into the folder by hand",
) -> Path:
    """Return the file's path in a folder, fetching it if it is not there.

    It is written under a temporary name and renamed when its length and checksum are right.

    Args:
        file: what to fetch.
        folder: made if missing.
        on_progress: called with the bytes that are there and their number; what it raises ends the download.
        timeout_seconds: longest silence of the server.
        instead: what else a person can do, for the message if it fails.

    Raises:
        RunError: the file cannot be reached, the connection ends early, or the content is not what it should be.
    """
    folder = Path(folder)
    target = folder / file.name
    if is_there(file, folder):
        return target
    if urlsplit(file.url).scheme != "https" and urlsplit(file.url).hostname not in LOCAL:
        raise _error(file, "its address is not one of https", instead)
    temporary = folder / f".{file.name}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stated = _receive(file, temporary, on_progress, timeout_seconds)
        wrong = _fault(file, temporary, stated)
        if wrong:
            raise _error(file, wrong, instead)
        replace_file(temporary, target)
    except urllib.error.HTTPError as error:
        # It is an answer, and holds a connection.
        error.close()
        raise _error(file, f"the server answered {error.code} {error.reason}", instead) from error
    except http.client.HTTPException as error:
        raise _error(file, f"the connection ended early ({type(error).__name__})", instead) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise _error(file, f"it could not be fetched ({reason}); this computer may be offline", instead) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _receive(file: RemoteFile, temporary: Path, on_progress: Told | None, timeout_seconds: float) -> str:
    """Write what the server sends, and not much more than is expected; return the mark that it states."""
    request = urllib.request.Request(file.url, headers={"User-Agent": "SemiSeg", "Accept-Encoding": "identity"})
    with urllib.request.urlopen(request, timeout=timeout_seconds) as answer, open(temporary, "wb") as kept:
        total, done = file.size_bytes or int(answer.headers.get("Content-Length") or 0), 0
        while done <= (file.size_bytes or LARGEST_UNKNOWN) and (chunk := answer.read(CHUNK)):
            done += len(chunk)
            kept.write(chunk)
            if on_progress is not None:
                on_progress(done, max(done, total))
        kept.flush()
        os.fsync(kept.fileno())
        mark = answer.headers.get("X-Linked-ETag") or answer.headers.get("ETag") or ""
    return str(mark).removeprefix("W/").strip('"').lower()


def _fault(file: RemoteFile, path: Path, stated: str) -> str:
    """Return what is wrong with a file that was received, or ""."""
    size = path.stat().st_size
    if file.size_bytes not in (None, size) or size > (file.size_bytes or LARGEST_UNKNOWN):
        return f"{size} bytes came, expected {file.size_bytes or 'fewer'}: the connection ended early, or it is another"
    if file.sha256 is None and len(stated) not in (SHA1_LENGTH, SHA256_LENGTH):
        return "the server states no checksum, so nothing tells whether it is the right one"
    expected = file.sha256 or stated
    found = _sha256(path) if len(expected) == SHA256_LENGTH else _git_blob(path)
    return "" if found == expected else f"its checksum is {found}, expected {expected}: it is damaged, or is another"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _git_blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _error(file: RemoteFile, what: str, instead: str) -> RunError:
    size = "" if file.size_bytes is None else f" of {file.size_bytes / 1e6:.0f} MB"
    return RunError(explain(f"'{file.name}'{size}: {what}", where=file.url, remedy=instead))
