"""One run from request to model: ``python -m SemiSegLib.worker RUN``. The only file that knows all rooms.

Started by ``runs.process.start``, by hand, or on several processes by ``torchrun -m SemiSegLib.worker RUN``. Started
again on the same folder, it goes on from the last checkpoint. By hand it begins at once, also where the request names
a run to come after: it is ``runs.process.start`` that waits.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from SemiSegLib import __version__
from SemiSegLib.errors import DependencyError, RunError, SemiSegError
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.prediction.device import pick_device
from SemiSegLib.preparation import StoppedEarlyError
from SemiSegLib.run_gain import take_over_split
from SemiSegLib.run_report import write_run_report
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.job import Words, gentle_signals, read_command_line, work_or_fail
from SemiSegLib.runs.manifest import add_to_manifest, describe_machine
from SemiSegLib.runs.reporter import Reporter
from SemiSegLib.session import Session
from SemiSegLib.training.allocation import keep_freed_memory
from SemiSegLib.training.distributed import Ranks, join_ranks
from SemiSegLib.training.events import Noticed, event_to_line

WORDS = Words(noun="run", again="resume the run", log="log.txt, which names no patient's files")
logger = logging.getLogger("SemiSegLib.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work on one run and return the exit code: 0 finished or stopped, 1 failed."""
    path, detached = read_command_line("SemiSegLib.worker", "Train a run, or go on with it.", arguments)
    try:
        folder = RunFolder(path)
    except SemiSegError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with join_ranks() as ranks, _logging_to(folder, ranks, to_file=not detached):
        if not ranks.is_first:
            return _follow(folder, ranks)
        try:
            with folder.lock():
                return _lead(folder, ranks, detached=detached)
        except RunError as error:
            # Another worker is at it: its status must stay.
            logger.error("%s", error)
            return 1


def run(folder: RunFolder) -> None:
    """Train the run in this process, from request to model; for scripts and tests.

    Raises:
        SemiSegError: what a user can mend.
    """
    with folder.lock(), Reporter(folder, version=__version__, owns_group=False) as reporter:
        _work(folder, reporter, Ranks())


def _lead(folder: RunFolder, ranks: Ranks, *, detached: bool) -> int:
    with gentle_signals(folder), Reporter(folder, version=__version__, owns_group=detached) as reporter:
        redact = _Redacting.of(folder).redact
        return work_or_fail(lambda: _work_alone(folder, reporter, ranks), reporter, WORDS, logger=logger, redact=redact)


def _follow(folder: RunFolder, ranks: Ranks) -> int:
    """Work as one of the other processes of torchrun: rank 0 writes and tells."""
    try:
        with contextlib.suppress(StoppedEarlyError):
            device = _device(folder, ranks)
            _own_process(device)
            Session(folder, None, ranks, device).run()
    except SemiSegError as error:
        logger.error("rank %d: %s", ranks.rank, error)
        return 1
    return 0


def _own_process(device: torch.device) -> None:
    """Set up a process that does nothing but this run, as a host program of ``run`` must not be."""
    if device.type == "cpu":
        keep_freed_memory()


def _work_alone(folder: RunFolder, reporter: Reporter, ranks: Ranks) -> None:
    _own_process(_device(folder, ranks))
    _work(folder, reporter, ranks)


def _work(folder: RunFolder, reporter: Reporter, ranks: Ranks) -> None:
    request = folder.request
    add_to_manifest(
        folder.environment_path,
        version=__version__,
        run=request.id,
        machine={**describe_machine(), "devices": _gpu_names()},
        ranks=ranks.count,
        seed=request.seed,
        request={name: value for name, value in vars(request).items() if name not in _PATH_SETTINGS},
    )
    logger.info("SemiSeg %s, run %s, method %s", __version__, request.id, request.method)
    take_over_split(folder)
    session = Session(folder, reporter, ranks, _device(folder, ranks))
    try:
        reason = session.run()
    except StoppedEarlyError:
        reporter.listen(None, None)
        reporter.update(state="stopped", eta_seconds=None, message="stopped before the training began; no model yet")
        folder.clear_stop()
        return
    reporter.listen(None, None)
    if reason != "stopped" and request.method != PRESENCE.name:
        _report(folder, reporter)
    state = "stopped" if reason == "stopped" else "finished"
    text = {"stopped": "stopped as asked; the model is the best so far", "time": "the time is up; the model is saved"}
    reporter.update(state=state, eta_seconds=0.0, message=text.get(reason, "done; the model is saved"))
    folder.clear_stop()
    logger.info("%s", reporter.status.message)


def _report(folder: RunFolder, reporter: Reporter) -> None:
    """Write the report; the model is saved already, so a run without matplotlib is still a finished run."""

    def tell(problem: str) -> None:
        text = f"no comparison: {problem.splitlines()[0]}"
        logger.warning("no comparison: %s", problem)
        folder.append_event(event_to_line(Noticed(step=reporter.status.step, text=text), time=time.time()))

    def count(done: int, cases: int) -> None:
        if folder.stop_requested():
            raise StoppedEarlyError
        reporter.update(message=f"the model is saved; report: case {done} of {cases}")

    try:
        page = write_run_report(folder, on_case=count, on_problem=tell)
    except StoppedEarlyError:
        logger.info("no report: a stop was asked for")
        return
    except DependencyError as error:
        logger.warning("no report: %s", error)
        return
    logger.info("report: %s", "no validation case has labels" if page is None else page.name)


# Absolute paths are in the request alone.
_PATH_SETTINGS = ("dataset", "warm_start", "presence_model", "prepared_folder", "embeddings", "after", "compare_with")


def _device(folder: RunFolder, ranks: Ranks) -> torch.device:
    device = pick_device(folder.request.training.device)
    if device.type == "cuda" and ranks.count > 1:
        device = torch.device("cuda", ranks.local_rank)
    return device


def _gpu_names() -> list[str]:
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


@contextlib.contextmanager
def _logging_to(folder: RunFolder, ranks: Ranks, *, to_file: bool) -> Iterator[None]:
    """Log to the run's log; a detached worker's standard error is that file already."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if to_file and ranks.is_first:
        handlers.append(logging.FileHandler(folder.log_path, encoding="utf-8"))
    root = logging.getLogger("SemiSegLib")
    level, root.level = root.level, logging.INFO
    for handler in handlers:
        handler.setFormatter(_Redacting.of(folder))
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


class _Redacting(logging.Formatter):
    """Leaves the folders of data, prepared cases and home out of what is logged: they may name people."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self.names = names

    @classmethod
    def of(cls, folder: RunFolder) -> _Redacting:
        names = {str(Path.home()): "~", str(folder.path): "RUN", str(folder.path.parent): "RUNS"}
        with contextlib.suppress(SemiSegError):
            data = folder.dataset
            data = data.parent if data.suffix == ".json" else data
            names |= {str(folder.prepared): "PREPARED", str(data): "DATASET", str(data.resolve()): "DATASET"}
        return cls(dict(sorted(names.items(), key=lambda item: -len(item[0]))))

    def redact(self, text: str) -> str:
        """Return the text with these folders replaced by words, the longest first."""
        for path, word in self.names.items():
            if len(path) > 1:
                text = text.replace(path, word)
        return text

    def format(self, record: logging.LogRecord) -> str:
        return self.redact(super().format(record))


if __name__ == "__main__":
    sys.exit(main())
