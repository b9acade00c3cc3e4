"""A person stops watching: what of the work goes on, and how to look at it again or end it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import typer

from SemiSegLib.console import error_console
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import is_running

EXIT_INTERRUPTED = 130


@contextmanager
def interruptible(find: Callable[[], Iterable[RunFolder]]) -> Iterator[None]:
    """Say on Ctrl+C which runs go on without this command: their workers have sessions of their own.

    Args:
        find: the runs that this command may have started.

    Raises:
        typer.Exit: the command was interrupted.
    """
    try:
        yield
    except KeyboardInterrupt:
        going = [str(run.path) for run in find() if is_running(run)]
        if going:
            ways = "`semiseg status RUN` shows what a run does, `semiseg stop RUN` ends it with a usable model."
            # Unlike in the panel of an error, no name is broken over two lines: it is to be copied.
            error_console.print("\n".join(["Going on in the background:", *going, ways]), soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_INTERRUPTED) from None
