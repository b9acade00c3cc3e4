"""The ``semiseg`` command: every step of the main job, for the shell and for scripts."""

from __future__ import annotations

import logging
import sys
import traceback

import typer

from SemiSegLib import cli_compare, cli_models, cli_preflight, cli_presence, cli_queue, cli_runs, cli_study
from SemiSegLib.console import show_error
from SemiSegLib.errors import SemiSegError, explain
from SemiSegLib.planning.memory import is_out_of_memory

EXIT_USER_ERROR = 2
EXIT_BUG = 70

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for command in (
    cli_runs.demo,
    cli_study.methods,
    cli_study.check,
    cli_study.plan,
    cli_runs.train,
    cli_presence.train_presence,
    cli_runs.resume,
    cli_runs.stop,
    cli_runs.status,
    cli_models.predict,
    cli_models.model,
    cli_runs.evaluate,
    cli_study.doctor,
    cli_study.version,
):
    app.command()(command)
app.command(name="recommend")(cli_study.recommend_command)
app.command(name="preflight")(cli_preflight.preflight_command)
app.command(name="compare")(cli_compare.compare_command)
app.command(name="runs")(cli_queue.runs_command)
app.command(name="gain")(cli_queue.gain_command)


def main() -> None:
    """Run the command and turn every error a user can cause into one screen and an exit code."""
    logging.basicConfig(level=logging.WARNING)
    try:
        app()
    except SemiSegError as error:
        show_error(type(error).__name__, str(error))
        sys.exit(EXIT_USER_ERROR)
    except Exception as error:  # noqa: BLE001 - the last line of defense: a bug is shown whole, never hidden
        if is_out_of_memory(error):
            what = next(iter(str(error).splitlines()), "this computer has too little memory for it")
            remedy = "close other programs, choose another device, or use smaller images or a smaller plan"
            show_error("Out of memory", explain(what, where="this command", remedy=remedy))
            sys.exit(EXIT_USER_ERROR)
        if isinstance(error, OSError):
            show_error("A file or a device refused", _explained(error))
            sys.exit(EXIT_USER_ERROR)
        show_error("This is a bug in SemiSeg; please report it with this text", traceback.format_exc())
        sys.exit(EXIT_BUG)


def _explained(error: OSError) -> str:
    """Return what the operating system refused, at which path."""
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    return explain(
        error.strerror or str(error) or type(error).__name__,
        where=" and ".join(paths) or "this command",
        remedy="check that it is there and may be read or written, and that the disk is neither full nor gone",
    )
