"""What the programs that work on a folder share: their command line, and the end of a job that fails."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from SemiSegLib.errors import SemiSegError, explain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a kind of job is called in what people read.

    Attributes:
        noun: "run" or "job".
        again: what to do to try again, for example "resume the run".
        log: its log, as somebody is told who may pass it on.
    """

    noun: str
    again: str
    log: str = "log.txt"


def read_command_line(program: str, description: str, arguments: Sequence[str] | None) -> tuple[Path, bool]:
    """Return the folder to work on, and whether this process leads a session of its own (``runs.process.start``)."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("folder", type=Path, help="folder with the request")
    parser.add_argument("--detached", action="store_true", help="this process leads a session of its own")
    given = parser.parse_args(arguments)
    return given.folder, given.detached


@contextlib.contextmanager
def gentle_signals(folder: RunFolder) -> Iterator[None]:
    """Let a batch system's time limit and Ctrl-C stop as gently as the panel's button."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda _number, _frame: folder.request_stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def work_or_fail(
    work: Callable[[], None],
    reporter: Reporter,
    words: Words,
    *,
    logger: logging.Logger,
    redact: Callable[[str], str] = str,
) -> int:
    """Do the work of a job and return the exit code: 0 done, 1 failed; the status then says why and what to do.

    Args:
        work: what is done; whatever it raises ends the job.
        reporter: tells the failure.
        words: of this kind of job.
        logger: gets the error, and the traceback of one that a user cannot cause.
        redact: takes out of a text what must not stand in the status.
    """
    try:
        work()
    except SemiSegError as error:
        logger.error("%s", error)
        text = str(error)
    except Exception as error:
        logger.exception("unexpected error")
        text = _in_one_sentence(error, words)
    else:
        return 0
    reporter.fail(redact(text), remedy=f"read log.txt in the {words.noun} folder, then {words.again}")
    return 1


def _in_one_sentence(error: Exception, words: Words) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return explain(
            "the disk is full",
            where=f"{words.noun} folder, or another that the {words.noun} writes to",
            remedy=f"free some space and {words.again}; what was finished is intact",
        )
    detail = str(error).strip().splitlines()
    return explain(
        f"an unexpected error ended the {words.noun}: {type(error).__name__}{': ' + detail[0] if detail else ''}",
        where=f"log.txt in the {words.noun} folder tells the place in the program",
        remedy=f"{words.again}; if it fails again, report the error with {words.log}",
    )
