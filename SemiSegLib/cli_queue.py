"""Commands that show several runs: those of a folder, and what a run gained over its baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from SemiSegLib.cli_study import AsJson
from SemiSegLib.config import to_json
from SemiSegLib.console import console, duration, show_json, show_table
from SemiSegLib.errors import ConfigError, RunError, explain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import GainRow, read_gain
from SemiSegLib.runs.process import find_runs, observe


def runs_command(
    folder: Annotated[Path, typer.Argument(help="Folder with the run folders.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs of a folder, oldest first: what each is doing, or which run it waits for."""
    found = [(run, observe(run)) for run in find_runs(folder)]
    if as_json:
        show_json([{"run": run.path.name, "title": _title(run), **to_json(now)} for run, now in found])
        return
    show_table(
        str(folder),
        ("run", "title", "state", "done", "time left", "best Dice", "message"),
        [
            (
                run.path.name,
                _title(run),
                now.state,
                f"{100 * now.fraction:.0f} %",
                duration(now.eta_seconds) if now.is_active and now.state != "queued" else "",
                "" if now.best_dice is None else f"{now.best_dice:.3f}",
                now.message,
            )
            for run, now in found
        ],
    )


def gain_command(
    run: Annotated[Path, typer.Argument(help="Run folder of the baseline.")], as_json: AsJson = False
) -> None:
    """Show whether the cases without fine labels helped: a run against the baseline that `train --baseline` queued."""
    show_gain(RunFolder(run), as_json=as_json)


def show_gain(run: RunFolder, *, as_json: bool = False) -> None:
    """Show what the run that this one is the baseline of gained.

    Raises:
        RunError: it was not measured (yet).
    """
    gain = read_gain(run.gain_path)
    if gain is None:
        remedy = "wait for its end; if it has ended, log.txt says why there is none, and `semiseg resume` tries again"
        if run.request.compare_with is None:
            remedy = "name the run folder of a baseline, which `semiseg train --baseline` makes"
        raise RunError(explain("the run has no comparison", where=f"run '{run.path.name}'", remedy=remedy))
    if as_json:
        show_json(gain)
        return
    show_table(
        "With all cases and without those that have no fine labels",
        ("structure", "cases", "Dice", "without them", "difference (95 % interval)", "verdict"),
        [
            (
                row.structure or "mean",
                row.cases,
                *("not scored" if value is None else value for value in (row.dice, row.baseline_dice)),
                _difference(row),
                row.verdict,
            )
            for row in gain.rows
        ],
    )
    console.print("\n".join([gain.sentence, *gain.notes]), soft_wrap=True, markup=False)


def _difference(row: GainRow) -> str:
    if row.difference is None:
        return ""
    return f"{row.difference:+.3f}" + ("" if row.low is None else f" ({row.low:+.3f} to {row.high:+.3f})")


def _title(run: RunFolder) -> str:
    try:
        return run.request.title
    except ConfigError:
        # Asked for by another version of SemiSeg.
        return ""
