"""The command that trains a network that tells which structures an image holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from SemiSegLib import api
from SemiSegLib.cli_follow import interruptible
from SemiSegLib.cli_settings import assignment, read_settings
from SemiSegLib.cli_study import AsJson, DatasetPath
from SemiSegLib.config import from_json, to_json, write_atomically
from SemiSegLib.console import RunView, console, duration, show_json, show_table
from SemiSegLib.errors import CheckpointError, ConfigError, explain
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.prediction.presence_file import ClassFacts, load_presence
from SemiSegLib.preparation import Preparation
from SemiSegLib.presence_stage import fixed_settings
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import read_manifest
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.request import PresenceSettings, RunRequest

# Budget where nobody gives one.
MINUTES = 10.0


def train_presence(
    dataset: DatasetPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the trained network, .safetensors.")],
    minutes: Annotated[float | None, typer.Option(help=f"Time budget, {MINUTES:g} unless told.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of a time budget.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Presence setting NAME=VALUE, such as minimum_voxels=50; repeatable.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Training or plan setting NAME=VALUE, repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, sampling and initialization.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train the network that tells which structures an image holds, from whatever each case has drawn.

    It works in a folder beside the file. When it was stopped or killed, the same command goes on; when it was done and
    the data are still the same, nothing is trained again.
    """
    if output.suffix != ".safetensors":
        raise ConfigError(
            explain(f"'{output.name}' is no file of weights", where="--output", remedy="end its name in .safetensors")
        )
    seconds = None if minutes is None else 60 * minutes
    given = read_settings(setting or [], seconds=seconds, steps=steps, usual_seconds=60 * MINUTES)
    _require_own(given.names)
    options = dict(assignment(text) for text in option or [])
    _require_alone(options)
    request = RunRequest(
        dataset=str(dataset),
        method=PRESENCE.name,
        training=given.training,
        plan=given.plan,
        presence=from_json(PresenceSettings, options, where="--option"),
        seed=seed,
    )
    _require_presence_file(output)
    run = _run_of(request, output)
    if not run.presence_path.exists():
        start_process(run)
        with interruptible(lambda: [run]), RunView(output.stem) as view:
            api.follow(run, on_event=view.show, on_status=view.tell)
    if not run.presence_path.exists():
        console.print(f"{run.status().message}; the same command goes on", soft_wrap=True, markup=False)
        raise typer.Exit(1)
    write_atomically(output, run.presence_path.read_bytes())
    presence = load_presence(output)
    if as_json:
        show_json({"file": str(output), "classes": list(presence.facts), "provenance": presence.provenance})
        return
    show_table(
        f"{output.name}: {presence.provenance['steps']} steps in {duration(presence.provenance['seconds'])}",
        ("structure", "patches with", "without", "temperature", "calibration error", "calibrated"),
        [_row(fact) for fact in presence.facts],
    )
    for fact in presence.facts:
        if fact.note:
            console.print(f"{fact.name}: {fact.note}", soft_wrap=True, markup=False)


def _run_of(request: RunRequest, output: Path) -> RunFolder:
    """Return the folder that works on this file: a new one, or the one that was asked the same."""
    name = f"{output.stem}-training"
    path = output.absolute().parent / name
    if not path.exists():
        return RunFolder.create(path.parent, request, name=name)
    run = RunFolder(path)
    asked = dataclasses.replace(request, dataset=str(Path(request.dataset).absolute()), id=run.request.id)
    if to_json(run.request) != to_json(asked):
        raise ConfigError(
            explain(
                "an earlier training of this file was asked for other data or settings",
                where=str(path),
                remedy="repeat its command, remove this folder, or name another file",
            )
        )
    if run.presence_path.exists() and _content_keys(run) != read_manifest(run.environment_path).get("data"):
        raise ConfigError(
            explain(
                "images, labels or the split have changed since this file was trained",
                where=str(path),
                remedy="remove this folder to train anew, or name another file",
            )
        )
    return run


def _content_keys(run: RunFolder) -> Any:
    """Return the hashes of the data that a training would see now, as its ``environment.json`` keeps them."""
    return to_json(Preparation(run, None, "cpu").run().store.content_keys())


def _require_own(typed: Iterable[str]) -> None:
    """Raise ConfigError if a training setting was typed that a presence network has of its own."""
    fixed = next((name for name in typed if name in fixed_settings(PresenceSettings())), None)
    if fixed is None:
        return
    is_option = fixed in PresenceSettings.__dataclass_fields__
    remedy = f"write --option {fixed}=... instead" if is_option else "leave it out"
    raise ConfigError(explain(f"a presence network has its own '{fixed}'", where="--setting", remedy=remedy))


def _require_alone(options: Iterable[str]) -> None:
    """Raise ConfigError if an option was typed that says how a run gets on with its presence network."""
    of_run = next((name for name in options if name in ("share", "classes")), None)
    if of_run is not None:
        raise ConfigError(
            explain(
                f"'{of_run}' would change nothing: a run has it, to get on with its presence network",
                where="--option",
                remedy="leave it out, and give it to the run in a request",
            )
        )


def _require_presence_file(output: Path) -> None:
    """Raise ConfigError if the output is another file, which would be lost."""
    if not output.exists():
        return
    try:
        load_presence(output)
    except CheckpointError as error:
        raise ConfigError(
            explain(
                f"there is a file of another kind, which would be lost: {str(error).splitlines()[0]}",
                where=str(output),
                remedy="name another file, or remove this one",
            )
        ) from error


def _row(fact: ClassFacts) -> tuple[object, ...]:
    errors = ("unknown" if error is None else error for error in (fact.error_before, fact.error_after))
    return (fact.name, fact.present, fact.absent, fact.temperature, *errors)
