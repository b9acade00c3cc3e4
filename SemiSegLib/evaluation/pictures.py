"""Pictures of cases: what was drawn and what was predicted, side by side on one slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.cases.reading import read_codes
from SemiSegLib.cases.volume import Volume
from SemiSegLib.evaluation.drawing import (
    Plane,
    best_plane,
    canonical,
    leaf_colors,
    new_figure,
    plotting,
    save_figure,
    show_image,
    show_masks,
)
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme

PANEL_INCHES = 2.7
LEAST_PANEL_INCHES = 1.6
FILL = 0.25
# Sets of several leaves, such as a superclass in a coarse case: which leaf it is was not drawn.
COARSE_COLOR = "#FFFFFF"


@dataclass(frozen=True)
class Panel:
    """One prediction of one case.

    Attributes:
        case: id.
        image: channel to show.
        leaves: predicted leaf indices on the same grid.
    """

    case: str
    image: Volume
    leaves: Volume


@dataclass(frozen=True)
class CaseView:
    """One row of a picture.

    Attributes:
        title: what stands beside the row, for example "worst: case_07, Dice 0.61".
        image: channel to show.
        codes: (D, H, W) reference on the same grid.
        table: what the codes mean.
        predictions: column title to leaf indices on the same grid.
    """

    title: str
    image: Volume
    codes: np.ndarray
    table: LabelSetTable
    predictions: tuple[tuple[str, np.ndarray], ...]


def comparison_picture(study: Dataset, panels: Sequence[tuple[str, Panel]], path: Path) -> Path:
    """Write a picture of several predictions beside the reference, one row per case, and return its path.

    Args:
        study: holds the references.
        panels: (title, prediction) in the order of the columns; the cases in the order of the rows.
        path: PNG file.
    """
    views = []
    for case in dict.fromkeys(panel.case for _title, panel in panels):
        chosen = [(title, panel) for title, panel in panels if panel.case == case]
        image = chosen[0][1].image
        codes, table = read_codes(study, study.case(case), image.geometry)
        predictions = tuple((title, panel.leaves.voxels) for title, panel in chosen)
        views.append(CaseView(case, image, codes, table, predictions))
    return cases_picture(views, study.scheme, path)


def cases_picture(views: Sequence[CaseView], scheme: LabelScheme, path: Path) -> Path:
    """Write a picture with one row per case: the scan, the reference, each prediction; return its path.

    Each row shows the slice with most of the reference. Predictions carry the reference as a dashed line.
    """
    rows = [_Row.of(view, scheme) for view in views]
    columns = 2 + max(len(view.predictions) for view in views)
    heights = [max(LEAST_PANEL_INCHES, row.height(PANEL_INCHES)) for row in rows]
    figure = new_figure(PANEL_INCHES * columns, sum(heights) + 0.35 * len(rows) + 0.6)
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes_row, row in zip(grid, rows, strict=True):
        row.draw(axes_row)
    _legend(figure, rows, scheme)
    return save_figure(figure, path)


@dataclass(frozen=True)
class _Row:
    """A case turned to canonical axes and cut."""

    view: CaseView
    image: np.ndarray
    codes: np.ndarray
    plane: Plane
    colors: tuple[Any, ...]

    @classmethod
    def of(cls, view: CaseView, scheme: LabelScheme) -> _Row:
        image, spacing_mm = canonical(view.image.voxels, view.image.geometry)
        codes, _spacing = canonical(view.codes, view.image.geometry)
        drawn = np.array([0 not in leaf_set for leaf_set in view.table.sets])[codes]
        if not drawn.any() and view.predictions:
            drawn = canonical(view.predictions[0][1], view.image.geometry)[0] > 0
        return cls(view, image, codes, best_plane(drawn, spacing_mm), leaf_colors(scheme))

    def height(self, width: float) -> float:
        """Return the height of a panel of so many inches."""
        rows, columns = self.plane.size_mm
        return min(2 * width, width * rows / columns)

    def reference(self) -> list[tuple[Any, np.ndarray]]:
        """Return color and mask of what was drawn: white where several leaves are possible, but not background."""
        codes = self.plane.cut(self.codes)
        drawn = [(code, sorted(s)) for code, s in enumerate(self.view.table.sets) if 0 not in s]
        return [(self.colors[s[0]] if len(s) == 1 else COARSE_COLOR, codes == code) for code, s in drawn]

    def predicted(self) -> Iterator[tuple[str, list[tuple[Any, np.ndarray]]]]:
        """Yield title, and color and mask of each leaf, of each prediction."""
        for title, leaves in self.view.predictions:
            cut = self.plane.cut(canonical(leaves, self.view.image.geometry)[0])
            yield title, [(color, cut == leaf) for leaf, color in enumerate(self.colors) if leaf]

    def shown_leaves(self) -> set[int]:
        """Return the leaves that the row shows."""
        pairs = [*self.reference(), *(pair for _title, masks in self.predicted() for pair in masks)]
        shown = {color for color, mask in pairs if mask.any()}
        return {leaf for leaf, color in enumerate(self.colors) if color in shown}

    def draw(self, axes_row: Sequence[Any]) -> None:
        """Draw scan, reference and predictions."""
        for axes in axes_row:
            axes.set_axis_off()
        reference = self.reference()
        show_image(axes_row[0], self.image, self.plane)
        axes_row[0].set_title(self.view.title, fontsize=9, loc="left")
        show_image(axes_row[1], self.image, self.plane)
        axes_row[1].set_title("reference", fontsize=9)
        show_masks(axes_row[1], reference, fill=FILL)
        for axes, (title, masks) in zip(axes_row[2:], self.predicted(), strict=False):
            show_image(axes, self.image, self.plane)
            axes.set_title(title, fontsize=9)
            show_masks(axes, masks, fill=FILL)
            show_masks(axes, [(COARSE_COLOR, mask) for _color, mask in reference], dashed=True)


def _legend(figure: Any, rows: Sequence[_Row], scheme: LabelScheme) -> None:
    patches, lines = plotting("patches"), plotting("lines")
    shown = sorted(set().union(*(row.shown_leaves() for row in rows)))
    handles = [patches.Patch(color=rows[0].colors[leaf], label=scheme.leaves[leaf].name) for leaf in shown]
    handles.append(lines.Line2D([], [], color="0.4", linestyle="--", linewidth=1, label="outline of the reference"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=9)
