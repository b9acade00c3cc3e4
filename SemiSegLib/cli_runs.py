"""Commands that train, follow, apply and score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from SemiSegLib import api
from SemiSegLib.baseline import baseline_request, require_baseline
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cli_follow import interruptible
from SemiSegLib.cli_queue import show_gain
from SemiSegLib.cli_request import read_request, require_used
from SemiSegLib.cli_settings import assignment, named, read_settings
from SemiSegLib.cli_study import AsJson, DatasetPath
from SemiSegLib.compare import RUNS
from SemiSegLib.config import check_choice
from SemiSegLib.console import RunView, console, duration, error_console, show_json, show_table
from SemiSegLib.demo import run_demo
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.evaluation.case_csv import write_case_csv
from SemiSegLib.evaluation.modes import MODES
from SemiSegLib.evaluation.statistics import Interval
from SemiSegLib.evaluation.summary import summarize
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.presets import preset_settings
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import find_runs, observe
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.process import stop as stop_process
from SemiSegLib.runs.request import EmbeddingSettings, RunRequest
from SemiSegLib.runs.turn import end_of_queue

RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
LargestComponent = Annotated[bool, typer.Option(help="Keep one piece of each structure, the largest.")]
AllPieces = Annotated[
    bool, typer.Option(help="Keep pieces farther away than labels showed, for a model that knows how far that is.")
]


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the cohort, the runs and the picture.")] = Path(
        "demo-output"
    ),
    # Steps, not seconds: a busy or slow computer takes longer, and does not show something else.
    steps: Annotated[int, typer.Option(help="Steps of each of the two trainings.")] = 800,
) -> None:
    """Train on the built-in sample cohort with and without coarse labels, and show what the coarse labels gave."""
    with interruptible(lambda: find_runs(output / RUNS)):
        result = run_demo(output, steps=steps, view=RunView)
    show_table("Dice on scans that no training saw", result.columns, result.rows)
    console.print(f"Picture: {result.picture}\nReport:  {result.report}", soft_wrap=True, markup=False)


def train(
    context: typer.Context,
    dataset: DatasetPath,
    method: Annotated[str | None, typer.Option(help="Method name; the recommended one if not given.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset of the method, with its training and plan; what is given here wins.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="Method option NAME=VALUE; may be repeated.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Training or plan setting NAME=VALUE, repeatable.")] = None,
    presence_model: Annotated[
        Path | None, typer.Option(help="File of `train-presence`, for a method that would else train one first.")
    ] = None,
    embedding_file: Annotated[
        Path | None, typer.Option(help="Vectors of structures by name, .json or .safetensors, for embedding=file.")
    ] = None,
    embedding_prompt: Annotated[
        str | None, typer.Option(help="Sentence for the text encoder, with {item} for the structure's name.")
    ] = None,
    embedding_otherwise: Annotated[
        str | None, typer.Option(help="Embedding to take if those of text or file cannot be had, for example learned.")
    ] = None,
    fetch_text_encoder: Annotated[
        bool, typer.Option(help="Fetch the text encoder BiomedCLIP (784 MB, once) for embedding=text.")
    ] = False,
    from_model: Annotated[
        Path | None, typer.Option("--from", help="Model file to go on from; structures are matched by name.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="NEW=OLD: what a structure was called in that model, repeatable.")
    ] = None,
    merge: Annotated[
        list[str] | None, typer.Option(help="NEW=A,B: which of its structures one is made of, repeatable.")
    ] = None,
    request: Annotated[
        Path | None, typer.Option(help="JSON file of a whole request for this data set, instead of the options.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of a time budget.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, sampling and initialization.")] = 0,
    queue: Annotated[
        bool, typer.Option(help="Begin when the runs of the folder that train or wait have ended.")
    ] = False,
    baseline: Annotated[
        bool, typer.Option(help="Then train on the fine labels alone and say whether the other cases helped.")
    ] = False,
    detach: Annotated[bool, typer.Option(help="Return at once and let the run go on in the background.")] = False,
) -> None:
    """Train a model in a background process and show its progress."""
    if request is not None:
        asked = read_request(request, dataset, context)
    else:
        given = read_settings(setting or [], seconds=None if minutes is None else 60 * minutes, steps=steps)
        method = method or _recommended(load_dataset(dataset))
        own = preset_settings(card_of(method), preset)
        training, planned = own.under(given.training, given.plan, given=given.names)
        asked = RunRequest(
            dataset=str(dataset),
            method=method,
            preset=preset,
            options=dict(assignment(text) for text in option or []),
            training=training,
            plan=planned,
            seed=seed,
            embeddings=EmbeddingSettings(
                file=None if embedding_file is None else str(embedding_file),
                prompt=embedding_prompt,
                fetch=fetch_text_encoder,
                otherwise=embedding_otherwise,
            ),
            presence_model=None if presence_model is None else str(presence_model),
            warm_start=None if from_model is None else str(from_model),
            renamed=dict(named(text) for text in rename or []),
            merged={new: tuple(olds.split(",")) for new, olds in map(named, merge or [])},
        )
        require_used(asked)
    if baseline:
        require_baseline(asked)
    last = end_of_queue(runs) if queue else None
    started = [api.start(asked if last is None else replace(asked, after=str(last.path)), runs, name=name)]
    if baseline:
        started.append(api.start(baseline_request(started[0]), runs, name=None if name is None else f"{name}-baseline"))
    for run in started:
        console.print(f"Run folder: {run.path}", soft_wrap=True, markup=False)
    if detach:
        return
    _follow(started)
    if baseline:
        show_gain(started[-1])


def resume(run: RunPath, detach: Annotated[bool, typer.Option(help="Return at once.")] = False) -> None:
    """Go on with a run that was stopped or killed, from its last checkpoint."""
    folder = RunFolder(run)
    # It takes back a request to stop, but only of a run that nobody works on.
    start_process(folder)
    if not detach:
        _follow([folder])


def stop(run: RunPath, grace: Annotated[float, typer.Option(help="Seconds to let it save its model.")] = 60.0) -> None:
    """Stop a run so that it leaves a usable model; it can be resumed."""
    folder = RunFolder(run)
    stop_process(folder, grace_seconds=grace)
    console.print(f"{folder.status().state}; model: {folder.model_path}", soft_wrap=True, markup=False)


def status(run: RunPath, as_json: AsJson = False) -> None:
    """Show what a run is doing."""
    now = observe(RunFolder(run))
    if as_json:
        show_json(now)
        return
    best = "none yet" if now.best_dice is None else f"{now.best_dice:.3f} at step {now.best_step}"
    rows = [
        ("state", now.state),
        ("step", f"{now.step} ({100 * now.fraction:.0f} %)"),
        ("time left", duration(now.eta_seconds)),
        ("best mean validation Dice", best),
        ("device", now.device),
    ]
    show_table(
        RunFolder(run).path.name, ("what", "value"), [*rows, *([("message", now.message)] if now.message else [])]
    )


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    dataset: DatasetPath,
    split: Annotated[Path | None, typer.Option(help="split.json of a run, to score its own validation cases.")] = None,
    side: Annotated[Side, typer.Option(help="Side of the split to score.")] = Side.VALIDATION,
    mode: Annotated[
        str, typer.Option(help="strict, or paper_000 to paper_003 for the definitions of a paper.")
    ] = "strict",
    csv: Annotated[Path | None, typer.Option(help="Write one row per case and structure.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file of --csv if it is there already.")] = False,
    largest_component: LargestComponent = False,
    all_pieces: AllPieces = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on labeled cases: Dice, HD95 and surface distances in mm, with intervals over patients."""
    # Whatever would fail at the end is refused before the model is applied to every case.
    check_choice("--mode", mode, MODES)
    if csv is not None:
        _require_place(csv, overwrite=overwrite)
    study = api.with_split(load_dataset(dataset), split)
    cases = _labeled_cases(study, side, split)
    settings = api.PredictionSettings(largest_component=largest_component, all_pieces=all_pieces)
    scores = api.evaluate(model, study, cases, settings, mode=mode)
    if csv is not None:
        write_case_csv(scores, csv)
    summary = summarize(scores, {case.id: case.patient for case in cases})
    if as_json:
        show_json(list(summary))
        return
    show_table(
        f"{side.value}, {len(scores)} cases, mean (95 % interval)",
        ("structure", "cases", "Dice", "HD95", "ASSD", "unit", "empty"),
        [
            (
                row.structure,
                row.cases,
                *(_interval(row.metrics[name]) for name in ("dice", "hd95", "assd")),
                row.unit,
                row.empty_text,
            )
            for row in summary
        ],
    )


def _labeled_cases(study: Dataset, side: Side, split: Path | None) -> list[Case]:
    """Return the cases of a side that can be scored, and say how many cannot."""
    cases = study.side(side)
    labeled = [case for case in cases if case.annotation is not None]
    if not labeled:
        found = f"none of the {len(cases)} cases on the side '{side.value}' is labeled"
        raise CaseError(
            explain(
                found if cases else f"no case is on the side '{side.value}'",
                where=f"dataset '{study.name}'" if split is None else str(split),
                remedy="give --split RUN/split.json of the run that made the model, or another --side",
            )
        )
    if len(labeled) < len(cases):
        left_out = f"{len(cases) - len(labeled)} of {len(cases)} {side.value} cases are left out: they have no labels"
        # Not among the output: that may be JSON for a script.
        error_console.print(left_out, soft_wrap=True)
    return labeled


def _require_place(file: Path, *, overwrite: bool) -> None:
    """Raise ConfigError unless a file can be written there, as far as can be told, and none is lost by it."""
    if file.is_dir() or not file.absolute().parent.is_dir():
        what = f"'{file}' is a folder" if file.is_dir() else f"the folder of '{file}' does not exist"
        raise ConfigError(explain(what, where="--csv", remedy="name a file in a folder that exists"))
    if file.exists() and not overwrite:
        what, remedy = "there is a file of this name already", "name another file, or allow it to be replaced"
        raise ConfigError(explain(what, where=f"--csv {file}", remedy=f"{remedy} (--overwrite)"))


def _follow(runs: list[RunFolder]) -> None:
    with interruptible(lambda: runs):
        for run in runs:
            with RunView(run.path.name) as view:
                final = api.follow(run, on_event=view.show, on_status=view.tell)
            ended = f"{final.state}; model: {run.model_path}\nreport: {run.report}"
            console.print(ended, soft_wrap=True, markup=False)


def _recommended(dataset: Dataset) -> str:
    advice = recommend(dataset)
    console.print(f"Method {advice.method}: {advice.reason}", soft_wrap=True, markup=False)
    return advice.method


def _interval(value: Interval) -> str:
    if value.mean is None:
        return "not measured"
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"
