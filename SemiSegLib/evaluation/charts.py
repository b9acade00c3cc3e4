"""Charts of a run: losses and Dice while training, and the scores of all cases by structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SemiSegLib.evaluation.drawing import new_figure, save_figure
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore

# The palette without its yellow, which is too light for a line on white.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
LINE_STYLES = ("-", "--", ":", "-.")
# Points of a structure are spread by this share of its row, so that equal scores stay visible.
SPREAD = 0.16
BOX_FILL = (0.0, 0.447, 0.698)


def curves_chart(events: Sequence[Mapping[str, Any]], path: Path) -> Path | None:
    """Write the loss terms and the validation Dice over the steps, and return the path; None if there are neither.

    Args:
        events: lines of the event file, parsed; kinds "stepped" and "validated" are used.
        path: PNG file.
    """
    losses = _series(events, "stepped", "losses")
    dice = _series(events, "validated", "dice")
    drawn = [(title, series) for title, series in (("training loss", losses), ("validation Dice", dice)) if series]
    if not drawn:
        return None
    figure = new_figure(4.6 * len(drawn), 3.6)
    for axes, (title, series) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        for number, (name, (steps, values)) in enumerate(series.items()):
            axes.plot(
                steps,
                values,
                label=name,
                **_style(number),
                **({"marker": "o", "markersize": 3} if len(steps) < 30 else {}),
            )
        _finish(axes, title)
        if series is dice:
            _mark_best(axes, events)
            axes.set_ylim(min(0.99, axes.get_ylim()[0]), min(1.0, axes.get_ylim()[1] + 0.01))
        elif _spans_decades(series):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=8)
    return save_figure(figure, path)


def boxes_chart(scores: Sequence[CaseScore], path: Path) -> Path | None:
    """Write Dice and HD95 of every structure as boxes with one point per case, and return the path.

    The box spans the middle half of the cases with the median in it; whiskers reach the 5th and 95th percentile.
    None if nothing was scored.
    """
    rows = [row for score in scores for row in score.rows]
    names = list(dict.fromkeys(row.structure for row in rows))
    titles = [("Dice", "dice"), (f"HD95 ({rows[0].unit})", "hd95")] if rows else []
    drawn = [(title, metric) for title, metric in titles if any(getattr(row, metric) is not None for row in rows)]
    if not drawn:
        return None
    figure = new_figure(4.4 * len(drawn) + 0.8, 1.3 + 0.42 * len(names))
    panels = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
    for axes, (title, metric) in zip(panels, drawn, strict=True):
        _draw_boxes(axes, [_values(rows, name, metric) for name in names])
        axes.set_xlabel(title)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        # Bars pin the limits to their ends, which would cut points and boxes at 0 and 1.
        axes.use_sticky_edges = False
        axes.margins(x=0.04)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    panels[0].set_yticks(range(len(names)), [_row_title(rows, name) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return save_figure(figure, path)


def _draw_boxes(axes: Any, values: Sequence[np.ndarray]) -> None:
    # Drawn by hand: the argument that lays matplotlib's boxes down changed its name between supported versions.
    generator = np.random.default_rng(0)
    color = LINE_COLORS[0]
    for place, found in enumerate(values):
        if not found.size:
            continue
        least, low, middle, high, most = np.percentile(found, [5, 25, 50, 75, 95])
        axes.barh(place, high - low, left=low, height=0.55, facecolor=(*BOX_FILL, 0.25), edgecolor=color)
        axes.hlines([place, place], [least, high], [low, most], color=color, linewidth=1)
        axes.vlines([least, most], place - 0.12, place + 0.12, color=color, linewidth=1)
        axes.vlines(middle, place - 0.275, place + 0.275, color="black", linewidth=1.8)
        heights = place + generator.uniform(-SPREAD, SPREAD, found.size)
        axes.plot(found, heights, "o", color=color, markersize=3, alpha=0.6, markeredgewidth=0)


def _values(rows: Sequence[StructureScore], name: str, metric: str) -> np.ndarray:
    values = [getattr(row, metric) for row in rows if row.structure == name]
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _row_title(rows: Sequence[StructureScore], name: str) -> str:
    chosen = [row for row in rows if row.structure == name]
    kind = "" if chosen[0].kind == "leaf" else f", {chosen[0].kind}"
    return f"{name}{kind}\n{len(chosen)} case{'s' if len(chosen) > 1 else ''}"


def _series(events: Sequence[Mapping[str, Any]], kind: str, field: str) -> dict[str, tuple[list[int], list[float]]]:
    series: dict[str, tuple[list[int], list[float]]] = {}
    for event in events:
        if event.get("kind") != kind:
            continue
        for name, value in event.get(field, {}).items():
            steps, values = series.setdefault(name, ([], []))
            steps.append(int(event["step"]))
            values.append(float(value))
    return series


def _mark_best(axes: Any, events: Sequence[Mapping[str, Any]]) -> None:
    best = [event for event in events if event.get("kind") == "validated" and event.get("is_best")]
    if best:
        axes.axvline(best[-1]["step"], color="0.5", linewidth=1, linestyle=":", label="best model")


def _spans_decades(series: Mapping[str, tuple[list[int], list[float]]]) -> bool:
    values = np.array([value for _steps, found in series.values() for value in found])
    return bool(values.min() > 0 and values.max() > 30 * values.min())


def _style(number: int) -> dict[str, Any]:
    # A second cue beside color: the line style changes where the palette starts again.
    return {
        "color": LINE_COLORS[number % len(LINE_COLORS)],
        "linestyle": LINE_STYLES[number // len(LINE_COLORS) % len(LINE_STYLES)],
        "linewidth": 1.5,
    }


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("step")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
