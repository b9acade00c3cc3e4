"""How the command line shows things: errors of one screen, tables, and the progress of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from SemiSegLib.config import to_json
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Event, Finished, Noticed, Started, Stepped, Tuned, Validated

console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def show_error(title: str, text: str) -> None:
    """Show what went wrong on one screen, on the error stream."""
    error_console.print(Panel(escape(text), title=escape(title), border_style="red", title_align="left"))


def show_json(value: Any) -> None:
    """Write one JSON document to the output stream, and nothing else."""
    data = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    console.file.write(json.dumps(to_json(data), indent=1, ensure_ascii=False) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, ruled: bool = False) -> None:
    """Show a table; numbers given as floats get three decimals, and names in the first column are never broken.

    Args:
        title: above it.
        columns: their names.
        rows: a cell may have several lines.
        ruled: draw a line between rows.
    """
    table = Table(title=escape(title), title_justify="left", header_style="bold", show_lines=ruled)
    for index, column in enumerate(columns):
        table.add_column(escape(column), overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(escape(f"{cell:.3f}" if isinstance(cell, float) else str(cell)) for cell in row))
    console.print(table)


def duration(seconds: float | None) -> str:
    """Return a time in the words of a clock, or "unknown"."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class RunView:
    """A progress bar for one run, fed by its events and its status; it has no end before the training begins.

    Args:
        title: what stands before the bar.
    """

    def __init__(self, title: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=error_console,
        )
        self._task = self._progress.add_task(escape(title), total=None, detail="preparing")

    def __enter__(self) -> RunView:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Show what one event tells."""
        if isinstance(event, Started):
            self._say(f"on {event.device}")
        elif isinstance(event, Tuned):
            self._say(f"timed trials chose {event.chosen}")
        elif isinstance(event, Stepped):
            losses = " ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
            detail = f"step {event.step}  {losses}  {duration(event.eta_seconds)} left"
            self._progress.update(self._task, total=1.0, completed=event.fraction, detail=escape(detail))
        elif isinstance(event, Validated):
            dice = "  ".join(f"{name} {value:.3f}" for name, value in event.dice.items())
            self._say(f"step {event.step}: validation Dice  {dice}{'  (best)' if event.is_best else ''}")
        elif isinstance(event, Noticed):
            self._say(f"step {event.step}: {event.text}")
        elif isinstance(event, Finished):
            self._progress.update(self._task, total=1.0, completed=1.0, detail=event.reason)

    def tell(self, status: RunStatus) -> None:
        """Show what a run does of which no event tells: before the training, or when something is unusual."""
        is_usual = status.state == "training" and status.message == "training"
        if status.is_active and status.message and not is_usual:
            self._progress.update(self._task, detail=escape(status.message))

    def _say(self, text: str) -> None:
        self._progress.console.print(escape(text))
