"""What the benchmarks share: one form of result, shown as Markdown or as one line of JSON.

Importing this file also makes a source tree usable that is not installed, for the script and for what it starts.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

Cell = str | int | float | None


@dataclass(frozen=True)
class Result:
    """What one benchmark found.

    Attributes:
        title: what was measured, in words.
        facts: what it was measured with, in words; never a path.
        columns: heads of the table.
        rows: cells of the table; the first is a name.
        values: single numbers by name, for other programs; seconds, GiB, shares and factors.
    """

    title: str
    facts: Mapping[str, Cell]
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    values: Mapping[str, float]


def markdown(result: Result) -> str:
    """Return facts and table as Markdown."""
    lines = [f"{result.title}.", "", *(f"- {name}: {in_words(value)}" for name, value in result.facts.items()), ""]
    return "\n".join([*lines, table(result.columns, result.rows), ""])


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(in_words, row))} |" for row in rows)])


def in_words(cell: Cell) -> str:
    """Return a cell as text: three digits of a number, nothing for what does not exist."""
    if cell is None or cell != cell:
        return ""
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}" if abs(cell) < 1 else f"{cell:.4g}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def add_output_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")


def show(result: Result, *, as_json: bool) -> None:
    """Print a result; JSON has no NaN, so what does not exist is null there."""
    text = json.dumps(_plain(vars(result))) if as_json else markdown(result)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """Tell how far it is, beside the result."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which a child process finds SemiSegLib; what the caller has set wins over extras."""
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(ROOT)]
    return {**(extra or {}), **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *known])}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if value == value else None
    return value
