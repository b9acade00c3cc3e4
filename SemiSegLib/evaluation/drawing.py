"""The parts pictures are made of: figures without a screen, colors everyone can tell apart, slices in millimeters."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.config import write_atomically
from SemiSegLib.errors import DependencyError, explain
from SemiSegLib.labels.scheme import LabelScheme

# Okabe and Ito 2008, told apart with every kind of color vision; blue last, as it is dark on dark images.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
MARGIN_MM = 12.0


@dataclass(frozen=True)
class Plane:
    """A cut through canonical arrays, and how it lies on the page.

    Attributes:
        axis: canonical axis it is perpendicular to: 0 axial, 1 coronal, 2 sagittal.
        index: of the slice.
        box: rows and columns that are shown.
        aspect: height of a row over width of a column, in mm.
    """

    axis: int
    index: int
    box: tuple[slice, slice]
    aspect: float

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Return (rows, columns): superior or anterior up, the patient's right on the left of the page."""
        plane: np.ndarray = array.take(self.index, axis=self.axis)[self.box]
        # Canonical rows run to posterior in an axial cut, which is down already, and to superior in the others.
        return plane if self.axis == 0 else plane[::-1]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of what is shown, in units of a column's width."""
        rows, columns = (along.stop - along.start for along in self.box)
        return rows * self.aspect, float(columns)


def plotting(name: str) -> Any:
    """Return a module of matplotlib.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ImportError as error:
        raise DependencyError(
            explain(
                "matplotlib is not installed, and pictures need it",
                where="report",
                remedy="install it with `pip install matplotlib`, or leave the pictures out",
            )
        ) from error


def new_figure(width: float, height: float) -> Any:
    """Return a figure of so many inches that needs no screen and no global state."""
    return plotting("figure").Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure as PNG under a temporary name first, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
    return path


def leaf_colors(scheme: LabelScheme) -> tuple[Any, ...]:
    """Return a color per leaf, background included: the palette, or the scheme's own where it is too short."""
    if len(scheme.leaves) - 1 <= len(PALETTE):
        return ("#000000", *PALETTE[: len(scheme.leaves) - 1])
    return tuple(leaf.color for leaf in scheme.leaves)


def canonical(array: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return an array with its axes toward superior, posterior and left, and its spacing in mm."""
    orientation = closest_orientation(geometry)
    return orientation.apply(array), orientation.apply_geometry(geometry).spacing_mm


def best_plane(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> Plane:
    """Return the plane of the finest voxels that shows most of a mask, with a margin around it.

    Args:
        mask: (D, H, W) bool, canonical; where it is empty the middle slice is taken, whole.
        spacing_mm: voxel size.
    """
    # Rounded, so that a last digit does not decide: equal voxels are cut axially.
    axis = int(np.argmax(np.round(spacing_mm, 2)))
    others = [other for other in range(3) if other != axis]
    counts = mask.sum(axis=tuple(others))
    index = int(counts.argmax()) if counts.any() else mask.shape[axis] // 2
    box = []
    for other in others:
        size = mask.shape[other]
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != other)))
        margin = round(MARGIN_MM / spacing_mm[other])
        low, high = (int(found[0]), int(found[-1]) + 1) if found.size else (0, size)
        box.append(slice(max(0, low - margin), min(size, high + margin)))
    rows, columns = others
    return Plane(axis, index, (box[0], box[1]), spacing_mm[rows] / spacing_mm[columns])


def show_image(axes: Any, image: np.ndarray, plane: Plane) -> None:
    """Draw the intensities of a plane in gray, from the 1st to the 99th percentile of what is shown."""
    shown = plane.cut(image).astype(np.float32)
    low, high = np.percentile(shown, [1, 99])
    axes.imshow(shown, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=plane.aspect, interpolation="bilinear")
    axes.set_axis_off()


def show_masks(axes: Any, masks: Iterable[tuple[Any, np.ndarray]], *, dashed: bool = False, fill: float = 0.0) -> None:
    """Draw the outlines of masks that were cut by ``Plane.cut``, each in its color, with a dark edge for contrast.

    Args:
        axes: what to draw on; an image of the same shape is shown there.
        masks: color and (rows, columns) bool.
        dashed: dashed lines instead of solid ones.
        fill: opacity of the inside, 0 to 1.
    """
    effects = plotting("patheffects")
    limits = axes.get_xlim(), axes.get_ylim()
    for color, mask in masks:
        if not mask.any():
            continue
        # A rim of zeros closes outlines at the edge of what is shown.
        padded = np.pad(mask.astype(np.float32), 1)
        rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        if fill:
            axes.contourf(columns, rows, padded, levels=[0.5, 2], colors=[color], alpha=fill)
        lines = axes.contour(
            columns,
            rows,
            padded,
            levels=[0.5],
            colors=[color],
            linewidths=0.9 if dashed else 1.3,
            linestyles="--" if dashed else "-",
        )
        lines.set_path_effects([effects.withStroke(linewidth=1.8 if dashed else 2.4, foreground="black", alpha=0.6)])
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
