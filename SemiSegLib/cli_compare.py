"""The command that compares methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cli_follow import interruptible
from SemiSegLib.cli_settings import read_settings
from SemiSegLib.cli_study import AsJson, DatasetPath
from SemiSegLib.compare import RUNS, compare
from SemiSegLib.comparison import ComparisonSettings, comparison_markdown
from SemiSegLib.console import RunView, console, show_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.process import find_runs

# Budget of a training where nobody gives one.
MINUTES = 4.5


def compare_command(
    dataset: DatasetPath,
    methods: Annotated[
        str, typer.Option(help="Methods, joined by commas, each as NAME[:PRESET][+OPTION=VALUE...].")
    ] = "supervised,marginal,modified_unet",
    fine: Annotated[str, typer.Option(help="Numbers of fine cases, joined by commas; 'all' keeps every one.")] = "6",
    others: Annotated[str, typer.Option(help="What the other cases keep of their labels: coarse or none.")] = "coarse",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, less one.")] = 3,
    minutes: Annotated[
        float | None, typer.Option(help=f"Time budget of every training, {MINUTES} unless told.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps of every training, instead of a budget.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Training or plan setting NAME=VALUE, repeatable.")] = None,
    preset_settings: Annotated[
        bool, typer.Option(help="Train each with the settings its preset asks for; what is given here wins.")
    ] = False,
    largest_component: Annotated[
        bool, typer.Option(help="Score every model a second time with one piece of each structure, the largest.")
    ] = False,
    validation_share: Annotated[float, typer.Option(help="Used when the data set has no split.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Used when the data set has no split.")] = 0.2,
    full: Annotated[bool, typer.Option(help="Add the supervised method on every fine label, as upper bound.")] = True,
    output: Annotated[Path, typer.Option(help="Folder for runs and tables; finished runs in it are kept.")] = Path(
        "comparison"
    ),
    as_json: AsJson = False,
) -> None:
    """Train several methods on few fine labels, several seeds each, and tabulate them with their spread."""
    seconds = None if minutes is None else 60 * minutes
    # The usual budget is nobody's wish, so it does not win over a preset's.
    given = read_settings(setting or [], seconds=seconds, steps=steps, usual_seconds=60 * MINUTES)
    settings = ComparisonSettings(
        methods=tuple(methods.split(",")),
        fine=tuple(_count(text) for text in fine.split(",")),
        other_labels=others,
        seeds=seeds,
        validation_share=validation_share,
        test_share=test_share,
        with_full=full,
        training=given.training,
        plan=given.plan,
        preset_settings=preset_settings,
        given=given.names,
        largest_component=largest_component,
    )
    with interruptible(lambda: find_runs(output / RUNS)):
        result = compare(load_dataset(dataset), dataset, settings, output, view=RunView)
    if as_json:
        show_json(result)
    else:
        console.print(comparison_markdown(result), markup=False, soft_wrap=True)


def _count(text: str) -> int | None:
    if text.strip() == "all":
        return None
    try:
        return int(text)
    except ValueError:
        where, remedy = "--fine", "write numbers joined by commas, or 'all'"
        raise ConfigError(explain(f"'{text}' is no number of cases", where=where, remedy=remedy)) from None
