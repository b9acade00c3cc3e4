"""Commands that use a trained model: what it segments, and segmentations of scans with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from SemiSegLib import api
from SemiSegLib.cases.dataset import file_of, frame_of
from SemiSegLib.cases.foreign import strip_ending
from SemiSegLib.cli_runs import AllPieces, LargestComponent
from SemiSegLib.cli_study import AsJson
from SemiSegLib.console import console, duration, show_json, show_table
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.scheme import name_key
from SemiSegLib.prediction.findings import (
    Findings,
    add_to_findings_csv,
    beside,
    findings_path,
    read_findings,
    read_findings_lines,
)
from SemiSegLib.prediction.result_files import REVIEW
from SemiSegLib.runs.model_info import read_model_info
from SemiSegLib.runs.review import by_rank, read_review


def model(
    file: Annotated[Path, typer.Argument(help="Model file (model.safetensors of a run).")], as_json: AsJson = False
) -> None:
    """Say what a model file segments and where it comes from; its weights are not read."""
    info = read_model_info(file)
    if as_json:
        show_json(info)
        return
    console.print(info.sentence(), soft_wrap=True, markup=False)
    dice = {name_key(name): f"{value:.3f}" for name, value in info.structure_dice.items()}
    rows = [("  " * depth + s.name, dice.get(name_key(s.name), "not measured")) for depth, s in info.tree()]
    show_table("Structures", ("name", "validation Dice"), rows)
    mean = "not measured" if info.validation_dice is None else f"{info.validation_dice:.3f}"
    spacing = " x ".join("own" if mm == 0 else f"{mm:g}" for mm in info.spacing_mm)
    facts = [
        ("run", info.title or str(info.provenance.get("run", ""))),
        ("method", info.method if info.preset is None else f"{info.method}, preset {info.preset}"),
        ("images", ", ".join(info.channels)),
        ("network", f"{info.backbone}, {info.dimensions}-D, patch {' x '.join(map(str, info.patch))}, {spacing} mm"),
        ("made", " by SemiSeg ".join(part for part in (info.created, info.version) if part) or "unknown"),
        ("training", f"{info.steps if info.steps is not None else 'unknown'} steps, {duration(info.seconds)}"),
        ("mean validation Dice", mean),
    ]
    show_table("Facts", ("what", "value"), facts)


def predict(
    model: Annotated[Path, typer.Argument(help="Model file (model.safetensors of a run).")],
    scans: Annotated[
        list[str], typer.Argument(help="Scans; channels of one scan joined by commas, unless a file has that name.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    ending: Annotated[str, typer.Option(help=".seg.nrrd, .nii.gz, .nrrd or .mha")] = ".seg.nrrd",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    mirror: Annotated[
        bool, typer.Option(help="Average over mirrored copies; for a model trained with mirror=true.")
    ] = False,
    uncertainty: Annotated[bool, typer.Option(help="Also write an uncertainty map.")] = False,
    largest_component: LargestComponent = False,
    all_pieces: AllPieces = False,
    drawn: Annotated[
        list[str] | None, typer.Option(help="Structure that a person has drawn in these scans already, repeatable.")
    ] = None,
    rank: Annotated[
        bool, typer.Option(help="Also tell which results are worth a look first, and why; in a JSON file beside each.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace results that are there already.")] = False,
) -> None:
    """Segment scans with a model; each result has the grid of its scan.

    For each structure of each scan it is said whether it was drawn already, found, surely not there, or unsure; in a
    table here, in structures.csv, and in a JSON file beside each result. Scans that structures.csv has already stay.
    """
    output.mkdir(parents=True, exist_ok=True)
    images = [_channels(scan) for scan in scans]
    outputs = [output / f"{_stem(files[0])}{ending}" for files in images]
    doubled = {str(o) for o in outputs if outputs.count(o) > 1}
    if doubled:
        raise ConfigError(
            explain(f"two scans would be written to {sorted(doubled)[0]}", where="scans", remedy="run them one by one")
        )
    settings = api.PredictionSettings(
        device=device,
        mirror=mirror,
        uncertainty=uncertainty,
        largest_component=largest_component,
        all_pieces=all_pieces,
        drawn=tuple(drawn or ()),
        review=rank,
    )
    names = {path: _stem(files[0]) for files, path in zip(images, outputs, strict=True)}
    table = output / "structures.csv"
    read_findings_lines(table)

    def tell(path: Path) -> None:
        console.print(str(path), soft_wrap=True, markup=False)
        # Scan by scan: those that are done have their lines whatever becomes of the next.
        add_to_findings_csv(names[path], read_findings(findings_path(path)), table)

    found = api.predict(model, images, outputs, settings, overwrite=overwrite, on_done=tell)
    _show_structures(dict(zip(names.values(), found, strict=True)))
    if rank:
        _show_ranks({name: path for path, name in names.items()})


def _show_structures(tables: Mapping[str, Findings]) -> None:
    source = next((f", by {table.source}" for table in tables.values()), "")
    show_table(
        f"Structures{source}",
        ("scan", "structure", "state", "score", "ml"),
        [
            (
                name,
                row.structure,
                row.state,
                "unknown" if row.score is None else f"{row.score:.2f}",
                f"{row.volume_ml:.2f}",
            )
            for name, table in tables.items()
            for row in table.structures
        ],
    )


def _show_ranks(outputs: Mapping[str, Path]) -> None:
    reviews = {name: read_review(beside(output, REVIEW)) for name, output in outputs.items()}
    show_table(
        "Worth a look, first to last",
        ("scan", "score", "unsure ml", "why"),
        [(name, f"{r.score:.2f}", f"{r.uncertain_ml:.2f}", r.reason) for name, r in by_rank(reviews)],
    )


def _channels(scan: str) -> list[str]:
    """Return the files of a scan: one, also where its name has commas ("Doe, J.nii.gz"), or several joined by them."""
    try:
        is_one_file = Path(scan).exists()
    except OSError:
        # Joined names may be longer than that of any file can be.
        is_one_file = False
    return [scan] if is_one_file else scan.split(",")


def _stem(reference: str) -> str:
    """Return what the result of "file" or "file#frame" is called; each frame has a name of its own."""
    frame = None if Path(reference).is_file() else frame_of(reference)
    name = Path(reference if frame is None else file_of(reference)).name
    stem = strip_ending(name)
    stem = Path(name).stem if stem == name else stem
    return stem if frame is None else f"{stem}_{frame}"
