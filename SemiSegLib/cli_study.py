"""Commands that look at a data set, the methods or this computer and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import SemiSegLib
from SemiSegLib.cases.checks import check_dataset
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.config import from_json, read_json
from SemiSegLib.console import console, show_json, show_table
from SemiSegLib.doctor import diagnose
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.catalogue import Card, needs_of
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.request import PlanSettings

EXIT_FINDINGS = 3
# What a case is called whose labels say so much.
KINDS = {"full": "fully labeled", "coarse": "coarse", "partial": "partly labeled", "none": "unlabeled"}

DatasetPath = Annotated[Path, typer.Argument(help="Folder or dataset.json: ours, MSD, nnU-Net raw, or images/labels.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script instead of a table.")]


def version() -> None:
    """Print the version."""
    console.print(SemiSegLib.__version__)


def methods(as_json: AsJson = False) -> None:
    """List the methods: what each is for, its paper and the labels it needs."""
    if as_json:
        show_json(list(CARDS))
        return
    rows = [(c.name, f"{c.summary}\n{c.paper}\n{_labels(c)}") for c in CARDS]
    show_table("Methods", ("name", "what it does, where it was published, which cases it needs"), rows, ruled=True)


def recommend_command(dataset: DatasetPath, as_json: AsJson = False) -> None:
    """Say which method suits a data set, and why."""
    advice = recommend(load_dataset(dataset))
    if as_json:
        show_json(advice)
        return
    console.print(f"[bold]{advice.method}[/bold]: {escape(advice.reason)}")
    if advice.alternatives:
        console.print(f"Alternatives: {', '.join(advice.alternatives)}")


def _labels(card: Card) -> str:
    """Return the cases that a method needs and uses, and those that presets of it need, in a line."""
    more = [KINDS[name] for name in card.uses if name not in card.needs]
    line = f"Needs {_kinds(card.needs)} cases" + (f"; uses {_listed(more, 'and')} ones too." if more else ".")
    presets: dict[tuple[str, ...], list[str]] = {}
    for preset, options in card.presets.items():
        presets.setdefault(needs_of(card, options), []).append(preset)
    for needs, names in presets.items():
        if needs != card.needs:
            line += f" With {_listed(names, 'or')} it needs {_kinds(needs)} cases."
    return line


def _kinds(regimes: Sequence[str]) -> str:
    return _listed([KINDS[name] for name in regimes], "or")


def _listed(words: list[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


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
            console.print(
                f"[{color}]{f.severity}[/{color}] [bold]{escape(f.case or study.name)}[/bold] {f.code}", soft_wrap=True
            )
            console.print(f"  {f.what}\n  where:  {f.where}\n  remedy: {f.remedy}", soft_wrap=True, markup=False)
        # What an annotation with an unknown structure amounts to cannot be told.
        unclear = {f.case for f in findings if f.code == "unknown_structure"}
        clear = study.with_cases(tuple(case for case in study.cases if case.id not in unclear))
        rows = [(regime.value, len(cases)) for regime, cases in clear.by_regime().items()]
        show_table("Cases", ("labels", "cases"), [*rows, ("unclear", len(unclear))] if unclear else rows)
        errors = sum(f.severity == "error" for f in findings)
        console.print(f"{len(study.cases)} cases, {errors} errors, {len(findings) - errors} other findings")
    if any(f.severity == "error" for f in findings):
        raise typer.Exit(EXIT_FINDINGS)


def plan(
    dataset: DatasetPath,
    settings: Annotated[Path | None, typer.Option(help="JSON file of plan settings to fix.")] = None,
    device: Annotated[str, typer.Option(help="Device to plan for: cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show the plan for a data set: grid, patch, batch, normalization and network."""
    study = load_dataset(dataset)
    wanted = PlanSettings() if settings is None else from_json(PlanSettings, read_json(settings), where=str(settings))
    result = make_plan(fingerprint(study, as_ct=wanted.normalization == "ct"), study, wanted, device=device)
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


def doctor(as_json: AsJson = False) -> None:
    """Check this computer: packages, a real 3-D convolution on each device, and one line of advice."""
    found = diagnose()
    if as_json:
        show_json(found)
        return
    console.print(found.system, markup=False)
    show_table("Packages", ("package", "version"), [(k, v or "not installed") for k, v in found.packages.items()])
    show_table(
        "Devices",
        ("device", "what it is", "trial"),
        [(d.device, d.title, d.failure or f"{d.milliseconds:.1f} ms") for d in found.devices],
    )
    console.print(f"{found.free_disk_gib:.0f} GiB of disk free\n{found.advice}", soft_wrap=True, markup=False)
