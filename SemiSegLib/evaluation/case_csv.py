"""Scores of cases as a CSV file, one line per case and structure, and back."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

from SemiSegLib.config import write_atomically
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore

FIXED_FIELDS = ("structure", "kind", "unit", "empty", "prediction_ml", "reference_ml", "known_fraction")
FIELDS = tuple(field.name for field in dataclasses.fields(StructureScore))


def write_case_csv(scores: Iterable[CaseScore], path: Path) -> None:
    """Write one line per case and structure; a metric without a value is left empty. Numbers keep every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", *FIELDS))
    for score in scores:
        for row in score.rows:
            values = (getattr(row, name) for name in FIELDS)
            writer.writerow((score.case, *("" if value is None else value for value in values)))
    write_atomically(Path(path), text.getvalue().encode())


def read_case_csv(path: Path) -> list[CaseScore]:
    """Return the scores of a file that ``write_case_csv`` wrote, cases in the order of the file.

    Raises:
        ConfigError: the file is missing, a column is missing or unknown, or a number cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(explain("the file does not exist", where=str(path), remedy="check the path"))
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != ("case", *FIELDS):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise ConfigError(
                explain(
                    f"the columns are {found}; expected case, {', '.join(FIELDS)}",
                    where=str(path),
                    remedy="evaluate again to write the file anew",
                )
            )
        rows: dict[str, list[StructureScore]] = {}
        for line in reader:
            rows.setdefault(line["case"], []).append(_row(line, f"{path}, line {reader.line_num}"))
    return [CaseScore(case, tuple(found)) for case, found in rows.items()]


def _row(line: dict[str, str], where: str) -> StructureScore:
    metrics = {name: _number(line[name], f"{where}: {name}") for name in FIELDS if name not in FIXED_FIELDS}
    return StructureScore(
        structure=line["structure"],
        kind=line["kind"],
        unit=line["unit"],
        empty=line["empty"],
        prediction_ml=_needed(line["prediction_ml"], f"{where}: prediction_ml"),
        reference_ml=_needed(line["reference_ml"], f"{where}: reference_ml"),
        known_fraction=_needed(line["known_fraction"], f"{where}: known_fraction"),
        **metrics,
    )


def _needed(text: str, where: str) -> float:
    value = _number(text, where)
    if value is None:
        raise ConfigError(explain("a number is missing", where=where, remedy="evaluate again to write the file anew"))
    return value


def _number(text: str, where: str) -> float | None:
    if text == "":
        return None
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ConfigError(
            explain(f"'{text}' is not a number", where=where, remedy="mend or rewrite the file")
        ) from None
