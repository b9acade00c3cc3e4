"""The command that says what a training will need before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cli_settings import assignment, read_settings
from SemiSegLib.cli_study import EXIT_FINDINGS, AsJson, DatasetPath
from SemiSegLib.console import console, show_json, show_table
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.presets import preset_settings
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.preflight import look_ahead
from SemiSegLib.runs.preflight import Needs
from SemiSegLib.runs.request import RunRequest


def preflight_command(
    dataset: DatasetPath,
    method: Annotated[str | None, typer.Option(help="Method name; the recommended one if not given.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the method.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Method option NAME=VALUE; may be repeated.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Training or plan setting NAME=VALUE, repeatable.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget; a short one has a smaller plan on a CPU.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of a time budget.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run folder would be made.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Say what a training will need: memory, disk and packages, against what there is. Nothing is written.

    What is asked for is typed as for `train`. Exit code 3 when the run could not end well.
    """
    given = read_settings(setting or [], seconds=None if minutes is None else 60 * minutes, steps=steps)
    method = method or recommend(load_dataset(dataset)).method
    training, planned = preset_settings(card_of(method), preset).under(given.training, given.plan, given=given.names)
    request = RunRequest(
        dataset=str(dataset),
        method=method,
        preset=preset,
        options=dict(assignment(text) for text in option or []),
        training=training,
        plan=planned,
    )
    found = look_ahead(request, runs)
    if as_json:
        show_json(found)
    else:
        if found.needs is not None:
            show_table(f"A training with {method}", ("what", "needed", "free"), _rows(found.needs))
        for entry in found.requirements:
            color = {"error": "red", "warning": "yellow"}.get(entry.severity, "cyan")
            console.print(f"[{color}]{entry.severity}[/{color}] {entry.code}", soft_wrap=True)
            remedy = f"\n  remedy: {entry.remedy}" if entry.remedy else ""
            console.print(f"  {entry.what}\n  where:  {entry.where}{remedy}", soft_wrap=True, markup=False)
    if not found.can_start:
        raise typer.Exit(EXIT_FINDINGS)


def _rows(needs: Needs) -> list[tuple[str, str, str]]:
    return [
        (f"memory of {needs.device}", f"{needs.memory_gib:.2f} GiB", f"{needs.memory_free_gib:.1f} GiB"),
        ("disk", f"{needs.disk_gib:.2f} GiB", f"{needs.disk_free_gib:.1f} GiB"),
        (f"  {needs.cases} prepared cases", f"{needs.prepared_gib:.2f} GiB", ""),
        ("  checkpoints", f"{needs.checkpoints_gib:.2f} GiB", ""),
        ("  model", f"{needs.model_gib:.2f} GiB", ""),
    ]
