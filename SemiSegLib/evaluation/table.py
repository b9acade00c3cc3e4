"""Tables of repeated measurements: mean and spread over seeds, as Markdown and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from SemiSegLib.errors import ConfigError, did_you_mean, explain


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measured quantity.

    Attributes:
        name: key of the cells.
        unit: shown behind the name, "" for none.
        digits: decimals of mean and spread.
        best: "high", "low" or "" to mark no best row.
    """

    name: str
    unit: str = ""
    digits: int = 3
    best: str = ""


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        name: what was measured.
        cells: column name to one value per seed; a missing column stays empty.
    """

    name: str
    cells: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Table:
    """Rows of measurements, each repeated with several seeds.

    Attributes:
        first: heading of the first column.
        columns: in the order shown.
        rows: in the order shown.

    Raises:
        ConfigError: a row has a cell for a column that does not exist.
    """

    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        for row in self.rows:
            for cell in row.cells:
                if cell not in names:
                    raise ConfigError(
                        explain(
                            f"there is no column '{cell}'", where=f"row '{row.name}'", remedy=did_you_mean(cell, names)
                        )
                    )

    def to_markdown(self) -> str:
        """Return the table with "mean ± sample standard deviation"; one seed has no spread, the best is bold."""
        titles = [self.first, *(f"{c.name} ({c.unit})" if c.unit else c.name for c in self.columns)]
        lines = [_line(titles), _line(["---", *["---:"] * len(self.columns)])]
        best = {column.name: self._best(column) for column in self.columns}
        for row in self.rows:
            cells = [_cell(row.cells.get(c.name, ()), c, is_best=best[c.name] is row) for c in self.columns]
            lines.append(_line([row.name, *cells]))
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return plain data: per row and column the values of all seeds, their mean and spread."""
        return {
            "first": self.first,
            "columns": [{"name": c.name, "unit": c.unit} for c in self.columns],
            "rows": [
                {
                    "name": row.name,
                    "cells": {
                        name: {"values": list(values), "mean": _mean(values), "spread": _spread(values)}
                        for name, values in row.cells.items()
                    },
                }
                for row in self.rows
            ],
        }

    def _best(self, column: Column) -> Row | None:
        measured = [(mean, row) for row in self.rows if (mean := _mean(row.cells.get(column.name, ()))) is not None]
        if not column.best or len(measured) < 2:
            return None
        choose = max if column.best == "high" else min
        return choose(measured, key=lambda pair: pair[0])[1]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _spread(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _cell(values: Sequence[float], column: Column, *, is_best: bool) -> str:
    mean, spread = _mean(values), _spread(values)
    if mean is None:
        return ""
    text = f"{mean:.{column.digits}f}" + ("" if spread is None else f" ± {spread:.{column.digits}f}")
    return f"**{text}**" if is_best else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
