"""The folder of one run: every file in it has one place, one writer and one meaning."""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from SemiSegLib.config import from_json, read_json, write_atomically, write_json
from SemiSegLib.errors import RunError, explain
from SemiSegLib.runs.lock import hold_lock
from SemiSegLib.runs.places import is_there, where_is
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus, read_status, write_status

REQUEST = "request.json"
# In names of files and folders, of some system or other.
FORBIDDEN = r'[<>:"/\\|?*\x00-\x1f]'


class RunFolder:
    """One run on disk.

    Args:
        path: an existing run folder (it holds ``request.json``).

    Raises:
        RunError: the folder is not a run.
    """

    # The program that works on such a folder: ``python -m worker_module PATH --detached``.
    worker_module: ClassVar[str] = "SemiSegLib.worker"
    # What to do when that program died without a word.
    after_death: ClassVar[str] = "resume the run: it goes on from its last checkpoint"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        if not self.request_path.is_file():
            raise RunError(
                explain(
                    "this is not a run folder: it has no request.json",
                    where=str(self.path),
                    remedy="choose a folder that a training was started in, or start a new training",
                )
            )

    @classmethod
    def create(cls, parent: Path | str, request: RunRequest, *, name: str | None = None) -> RunFolder:
        """Return a new run folder below ``parent`` that holds the request.

        Args:
            parent: folder of the runs; made if missing.
            request: what is asked; its paths are made absolute and it gets an id.
            name: name of the folder, or None for time and method.

        Raises:
            RunError: a folder with this name exists, or the name cannot be one.
        """
        parent = Path(parent).absolute()
        stem = name or f"{time.strftime('%Y%m%d-%H%M%S')}_{request.method}"
        if re.search(FORBIDDEN, stem) or stem.strip(". ") == "":
            raise RunError(explain(f"'{stem}' cannot be a folder name", where=str(parent), remedy="use another name"))
        parent.mkdir(parents=True, exist_ok=True)
        path = _new_folder(parent, stem, is_fixed=name is not None)
        write_json(path / REQUEST, _with_absolute_paths(replace(request, id=request.id or uuid.uuid4().hex)))
        return cls(path)

    @cached_property
    def request(self) -> RunRequest:
        """What was asked.

        Raises:
            ConfigError: the file was damaged or holds an unknown setting.
        """
        return from_json(RunRequest, read_json(self.request_path), where=f"{self.path.name}/{REQUEST}")

    def status(self) -> RunStatus:
        """Return what the worker last said; ``runs.process.observe`` also notices that it died."""
        return read_status(self.status_path)

    def write_status(self, status: RunStatus) -> None:
        """Replace the status as a whole."""
        write_status(self.status_path, status)

    def append_event(self, line: str) -> None:
        """Add one JSON line (without its newline) to the events."""
        with open(self.events_path, "ab+") as file:
            # A killed writer may have left half a line: what follows must not be glued to it.
            file.seek(0, 2)
            end = file.tell()
            file.seek(max(end - 1, 0))
            start = b"\n" if end and file.read(1) != b"\n" else b""
            file.write(start + line.encode() + b"\n")

    def events(self, offset: int = 0, *, most_bytes: int | None = None) -> tuple[list[dict[str, Any]], int]:
        """Return the events that begin at or after a byte offset, and the offset to go on from.

        A line that is still being written is left for the next call; the remains of a killed writer are skipped.

        Args:
            offset: 0, or what the last call returned.
            most_bytes: read about this much at most, for who must not be kept for long; None reads all.
        """
        if not self.events_path.exists():
            return [], offset
        with open(self.events_path, "rb") as file:
            file.seek(offset)
            # To the end of the line in which the portion ends.
            content = file.read() if most_bytes is None else file.read(most_bytes) + file.readline()
        complete = content[: content.rfind(b"\n") + 1]
        found = [_parse(line) for line in complete.splitlines()]
        return [event for event in found if event is not None], offset + len(complete)

    def request_stop(self) -> None:
        """Ask the worker to finish its step, save a model and end."""
        self.stop_path.touch()

    def stop_requested(self) -> bool:
        """Return whether somebody asked the worker to stop; not as long as the folder is out of reach."""
        return is_there(self.stop_path)

    def clear_stop(self) -> None:
        """Take back a request to stop."""
        self.stop_path.unlink(missing_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Return a context in which this process alone works on the run.

        Raises:
            RunError: another process does; the message names it.
        """
        return hold_lock(self.path / "lock")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run, whole or not at all."""
        write_atomically(self.path / name, text.encode())

    @property
    def request_path(self) -> Path:
        """What was asked."""
        return self.path / REQUEST

    @property
    def status_path(self) -> Path:
        """What the worker is doing."""
        return self.path / "status.json"

    @property
    def process_path(self) -> Path:
        """The process that was started for this run, written by who started it."""
        return self.path / "process.json"

    @property
    def after_path(self) -> Path:
        """The run that this one waits for since it was resumed, written by who resumed it."""
        return self.path / "after.json"

    @property
    def events_path(self) -> Path:
        """What happened, one JSON line each."""
        return self.path / "events.jsonl"

    @property
    def stop_path(self) -> Path:
        """Exists while a stop is asked for."""
        return self.path / "stop"

    @property
    def model_path(self) -> Path:
        """The model to predict with."""
        return self.path / "model.safetensors"

    @property
    def presence_path(self) -> Path:
        """The network that tells which structures an image holds, where the method needs one."""
        return self.path / "presence.safetensors"

    @property
    def presence_checkpoints(self) -> Path:
        """Folder of the states from which its training goes on."""
        return self.path / "presence_checkpoints"

    @property
    def plan_path(self) -> Path:
        """The data and network plan."""
        return self.path / "plan.json"

    @property
    def split_path(self) -> Path:
        """Patient to side."""
        return self.path / "split.json"

    @property
    def embeddings_path(self) -> Path:
        """The vectors of structures, if they came from text or a file."""
        return self.path / "embeddings.safetensors"

    @property
    def environment_path(self) -> Path:
        """Versions, hardware, seed, data hashes and the setting that the timed trials chose."""
        return self.path / "environment.json"

    @property
    def scores_path(self) -> Path:
        """Validation Dice of the model, case by case."""
        return self.path / "scores.json"

    @property
    def log_path(self) -> Path:
        """Everything the worker said."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """Folder of the states to go on from."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def gain_path(self) -> Path:
        """What this run's model is worth against that of the run it is compared with; see ``runs.gain``."""
        return self.report / "gain.json"

    @property
    def preview(self) -> Path:
        """Folder of what the unfinished model predicts for a case, to look at while it trains."""
        return self.path / "preview"

    def preview_path(self, case_id: str) -> Path:
        """Return where the preview of a case is."""
        return self.preview / f"{re.sub(FORBIDDEN, '_', case_id)}.seg.nrrd"

    @property
    def prepared(self) -> Path:
        """Folder of the prepared cases, shared by the runs beside this one unless the request names another."""
        chosen = self.request.prepared_folder
        return where_is(chosen, self.path) if chosen is not None else self.path.parent / "prepared"

    def sibling(self, path: str) -> Path:
        """Return the folder of another run that a request names, also if both were moved."""
        return where_is(path, self.path)

    @property
    def after(self) -> Path | None:
        """The run that must have ended before this one begins; may not exist.

        It is the one that was said when the run was last started, else the one that the request names.

        Raises:
            ConfigError: the file that says so was damaged.
        """
        source = self.after_path if is_there(self.after_path) else self.request_path
        named = read_json(source).get("after")
        return None if named is None else self.sibling(str(named))

    @property
    def dataset(self) -> Path:
        """The dataset's folder or file, also if the study was moved with its runs."""
        return where_is(self.request.dataset, self.path)

    @property
    def warm_start(self) -> Path:
        """The model file to start from, only where the request names one; also if it was moved with the run."""
        return where_is(str(self.request.warm_start), self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"


def _new_folder(parent: Path, stem: str, *, is_fixed: bool) -> Path:
    for number in range(1, 1000):
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            if is_fixed:
                break
            continue
        return path
    raise RunError(explain(f"'{stem}' exists already", where=str(parent), remedy="choose another name, or resume it"))


def _with_absolute_paths(request: RunRequest) -> RunRequest:
    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    vectors = request.embeddings
    return replace(
        request,
        dataset=str(Path(request.dataset).absolute()),
        embeddings=replace(vectors, file=absolute(vectors.file), encoder=absolute(vectors.encoder)),
        warm_start=absolute(request.warm_start),
        presence_model=absolute(request.presence_model),
        after=absolute(request.after),
        compare_with=absolute(request.compare_with),
        prepared_folder=absolute(request.prepared_folder),
    )


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
