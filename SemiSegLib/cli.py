"""The ``semiseg`` command: every step of the main job, for the shell and for scripts."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

import SemiSegLib
from SemiSegLib import api
from SemiSegLib.cases.checks import check_dataset
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.compare import ComparisonSettings, compare, comparison_markdown
from SemiSegLib.config import from_json, read_json
from SemiSegLib.console import RunView, console, duration, show_error, show_json, show_table
from SemiSegLib.demo import run_demo
from SemiSegLib.doctor import diagnose
from SemiSegLib.errors import ConfigError, SemiSegError, explain
from SemiSegLib.evaluation.report import write_case_csv
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.process import stop as stop_process
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

EXIT_USER_ERROR = 2
EXIT_FINDINGS = 3
EXIT_BUG = 70

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

DatasetPath = Annotated[Path, typer.Argument(help="Folder or dataset.json: ours, MSD, nnU-Net raw, or images/labels.")]
RunPath = Annotated[Path, typer.Argument(help="Run folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]


def main() -> None:
    """Run the command and turn every error a user can cause into one screen and an exit code."""
    logging.basicConfig(level=logging.WARNING)
    try:
        app(standalone_mode=True)
    except SemiSegError as error:
        show_error(type(error).__name__, str(error))
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        show_error("Interrupted", "A run that was started goes on in the background; `semiseg status RUN` shows it.")
        sys.exit(130)
    except Exception:  # noqa: BLE001 - the last line of defense: a bug is shown whole, never hidden
        show_error("This is a bug in SemiSeg; please report it with this text", traceback.format_exc())
        sys.exit(EXIT_BUG)


@app.command()
def version() -> None:
    """Print the version."""
    console.print(SemiSegLib.__version__)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the cohort, the runs and the picture.")] = Path("demo-output"),
    seconds: Annotated[float, typer.Option(help="Time budget of each of the two trainings.")] = 75.0,
) -> None:
    """Train on the built-in sample cohort with and without coarse labels, and show what the coarse labels gave."""
    result = run_demo(output, seconds=seconds, view=RunView)
    show_table("Dice on scans that no training saw", result.columns, result.rows)
    console.print(f"Picture: {result.picture}\nReport:  {result.report}", soft_wrap=True)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the methods: what each is for, its paper and the labels it needs."""
    if as_json:
        show_json(list(CARDS))
        return
    show_table(
        "Methods",
        ("name", "what it does", "paper", "needs one of", "learns from"),
        [(c.name, c.summary, c.paper, ", ".join(c.needs), ", ".join(c.uses)) for c in CARDS],
    )


@app.command(name="recommend")
def recommend_command(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Say which method suits a data set, and why."""
    advice = recommend(load_dataset(dataset))
    if as_json:
        show_json(advice)
        return
    console.print(f"[bold]{advice.method}[/bold]: {advice.reason}")
    if advice.alternatives:
        console.print(f"Alternatives: {', '.join(advice.alternatives)}")


@app.command()
def check(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Check every case and name each damage with its place and remedy; nothing is written.

    Exit code 3 when there is an error.
    """
    study = load_dataset(dataset)
    findings = check_dataset(study)
    if as_json:
        show_json({"dataset": study.name, "cases": len(study.cases), "findings": list(findings)})
    else:
        for f in findings:
            color = {"error": "red", "warning": "yellow"}.get(f.severity, "cyan")
            console.print(f"[{color}]{f.severity}[/{color}] [bold]{f.case}[/bold] {f.code}", soft_wrap=True)
            console.print(f"  {f.what}\n  where:  {f.where}\n  remedy: {f.remedy}", soft_wrap=True, markup=False)
        show_table("Cases", ("labels", "cases"), [(r.value, len(c)) for r, c in study.by_regime().items()])
        errors = sum(f.severity == "error" for f in findings)
        console.print(f"{len(study.cases)} cases, {errors} errors, {len(findings) - errors} other findings")
    if any(f.severity == "error" for f in findings):
        raise typer.Exit(EXIT_FINDINGS)


@app.command()
def plan(
    dataset: DatasetPath,
    settings: Annotated[Path | None, typer.Option(help="JSON file of plan settings to fix.")] = None,
    device: Annotated[str, typer.Option(help="Device to plan for: cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show the plan for a data set: grid, patch, batch, normalization and network."""
    study = load_dataset(dataset)
    wanted = PlanSettings() if settings is None else from_json(PlanSettings, read_json(settings), where=str(settings))
    result = make_plan(fingerprint(study), study, wanted, device=device)
    if as_json:
        show_json(result)
        return
    network = result.network
    show_table(
        "Plan",
        ("what", "value"),
        [
            ("dimensions", result.dimensions),
            ("spacing in mm", result.spacing_mm),
            ("patch in voxels", result.patch),
            ("rows of a batch", result.batch),
            ("channels", ", ".join(f"{c.role} ({c.normalization})" for c in result.channels)),
            ("network", f"{network.backbone}, {network.features}, {network.norm} norm"),
        ],
    )


@app.command()
def train(
    dataset: DatasetPath,
    method: Annotated[str | None, typer.Option(help="Method name; the recommended one if not given.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the method.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Method option NAME=VALUE; may be repeated.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Training or plan setting NAME=VALUE, repeatable.")] = None,
    request: Annotated[Path | None, typer.Option(help="JSON file of a whole request, instead of the options.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run folder is made.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of a time budget.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of split, sampling and initialization.")] = 0,
    detach: Annotated[bool, typer.Option(help="Return at once and let the run go on in the background.")] = False,
) -> None:
    """Train a model in a background process and show its progress."""
    if request is not None:
        asked = from_json(RunRequest, read_json(request), where=str(request))
    else:
        training, planned = _settings(setting or [], minutes=minutes, steps=steps)
        asked = RunRequest(
            dataset=str(dataset),
            method=method or _recommended(load_dataset(dataset)),
            preset=preset,
            options=dict(_assignment(text) for text in option or []),
            training=training,
            plan=planned,
            seed=seed,
        )
    run = api.start(asked, runs, name=name)
    console.print(f"Run folder: {run.path}", soft_wrap=True)
    if not detach:
        _follow(run)


@app.command()
def resume(run: RunPath, detach: Annotated[bool, typer.Option(help="Return at once.")] = False) -> None:
    """Go on with a run that was stopped or killed, from its last checkpoint."""
    folder = RunFolder(run)
    folder.clear_stop()
    start_process(folder)
    if not detach:
        _follow(folder)


@app.command()
def stop(
    run: RunPath, grace: Annotated[float, typer.Option(help="Seconds to let it save its model.")] = 60.0
) -> None:
    """Stop a run so that it leaves a usable model; it can be resumed."""
    folder = RunFolder(run)
    stop_process(folder, grace_seconds=grace)
    console.print(f"{folder.status().state}; model: {folder.model_path}", soft_wrap=True)


@app.command()
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
    show_table(RunFolder(run).path.name, ("what", "value"), [*rows, *([("message", now.message)] if now.message else [])])


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model file (model.safetensors of a run).")],
    scans: Annotated[list[str], typer.Argument(help="Scans; channels of one scan joined by commas.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    ending: Annotated[str, typer.Option(help=".seg.nrrd, .nii.gz, .nrrd or .mha")] = ".seg.nrrd",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    mirror: Annotated[bool, typer.Option(help="Average over mirrored inputs.")] = False,
    uncertainty: Annotated[bool, typer.Option(help="Also write an uncertainty map.")] = False,
) -> None:
    """Segment scans with a model; each result has the grid of its scan."""
    output.mkdir(parents=True, exist_ok=True)
    images = [scan.split(",") for scan in scans]
    outputs = [output / f"{_stem(files[0])}{ending}" for files in images]
    doubled = {str(o) for o in outputs if outputs.count(o) > 1}
    if doubled:
        raise ConfigError(
            explain(f"two scans would be written to {sorted(doubled)[0]}", where="scans", remedy="run them one by one")
        )
    settings = api.PredictionSettings(device=device, mirror=mirror, uncertainty=uncertainty)
    api.predict(model, images, outputs, settings, on_done=lambda path: console.print(str(path), soft_wrap=True))


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    dataset: DatasetPath,
    split: Annotated[Path | None, typer.Option(help="split.json of a run, to score its own validation cases.")] = None,
    side: Annotated[Side, typer.Option(help="Side of the split to score.")] = Side.VALIDATION,
    mode: Annotated[str, typer.Option(help="strict, or paper_000 to paper_003 for the definitions of a paper.")] = "strict",
    csv: Annotated[Path | None, typer.Option(help="Write one row per case and structure.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labeled cases: Dice, HD95 and surface distances in mm, with confidence intervals."""
    study = api.with_split(load_dataset(dataset), split)
    scores = api.evaluate(model, study, study.side(side), mode=mode)
    if csv is not None:
        write_case_csv(scores, csv)
    summary = api.summarize(scores)
    if as_json:
        show_json([row.__dict__ for row in summary])
        return
    show_table(
        f"{side.value}, {len(scores)} cases",
        ("structure", "cases", "Dice", "95 % interval", "HD95 mm", "ASSD mm", "empty"),
        [(r.structure, r.cases, r.dice, f"{r.dice_low:.3f} to {r.dice_high:.3f}", r.hd95_mm, r.assd_mm, r.empty) for r in summary],
    )


@app.command(name="compare")
def compare_command(
    dataset: DatasetPath,
    methods: Annotated[str, typer.Option(help="Method names, joined by commas.")] = "supervised,marginal,modified_unet",
    fine: Annotated[str, typer.Option(help="Numbers of fine cases, joined by commas; the others become coarse.")] = "6",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this, less one.")] = 3,
    minutes: Annotated[float, typer.Option(help="Time budget of every training.")] = 4.5,
    validation_share: Annotated[float, typer.Option(help="Used when the data set has no split.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Used when the data set has no split.")] = 0.2,
    full: Annotated[bool, typer.Option(help="Add the supervised method on every fine label, as upper bound.")] = True,
    output: Annotated[Path, typer.Option(help="Folder for runs and tables; finished runs in it are kept.")] = Path("comparison"),
    as_json: AsJson = False,
) -> None:
    """Train several methods on few fine labels, several seeds each, and tabulate them with their spread."""
    settings = ComparisonSettings(
        methods=tuple(methods.split(",")),
        fine=tuple(int(n) for n in fine.split(",")),
        seeds=seeds,
        seconds=60 * minutes,
        validation_share=validation_share,
        test_share=test_share,
        with_full=full,
    )
    result = compare(load_dataset(dataset), dataset, settings, output, view=RunView)
    if as_json:
        show_json(result)
    else:
        console.print(comparison_markdown(result), markup=False, soft_wrap=True)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this computer: packages, a real 3-D convolution on each device, and one line of advice."""
    found = diagnose()
    if as_json:
        show_json(found)
        return
    console.print(found.system)
    show_table("Packages", ("package", "version"), [(k, v or "not installed") for k, v in found.packages.items()])
    show_table(
        "Devices",
        ("device", "what it is", "trial"),
        [(d.device, d.title, d.failure or f"{d.milliseconds:.1f} ms") for d in found.devices],
    )
    console.print(f"{found.free_disk_gib:.0f} GiB of disk free\n{found.advice}", soft_wrap=True)


def _follow(run: RunFolder) -> None:
    with RunView(run.path.name) as view:
        final = api.follow(run, on_event=view.show)
    console.print(f"{final.state}; model: {run.model_path}\nreport: {run.report}", soft_wrap=True)


def _recommended(dataset: Dataset) -> str:
    advice = recommend(dataset)
    console.print(f"Method {advice.method}: {advice.reason}", soft_wrap=True)
    return advice.method


def _settings(
    texts: list[str], *, minutes: float | None, steps: int | None
) -> tuple[TrainingSettings, PlanSettings]:
    training: dict[str, Any] = {}
    planned: dict[str, Any] = {}
    for name, value in map(_assignment, texts):
        target = planned if name in PlanSettings.__dataclass_fields__ else training
        target[name] = value
    if minutes is not None:
        training |= {"steps": None, "seconds": 60 * minutes}
    elif steps is not None:
        training |= {"steps": steps, "seconds": None}
    return (
        from_json(TrainingSettings, training, where="--setting"),
        from_json(PlanSettings, planned, where="--setting"),
    )


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(explain(f"'{text}' is not NAME=VALUE", where="command line", remedy="write for example seed=1"))
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _stem(path: str) -> str:
    name = Path(path).name
    for known in (".nii.gz", ".seg.nrrd"):
        if name.lower().endswith(known):
            return name[: -len(known)]
    return Path(name).stem
