"""A picture of structures found in scans in which nobody drew them, on the built-in cohort of three sites.

    python Testing/benchmarks/latent_picture.py [--picture latent.png] [--output latent_picture] [--steps 1500]

Trains latent classes on the partly drawn scans, on one CPU thread in about 3 minutes, and draws one training scan of
each site: the scan, what its site drew, what was found besides, and the truth. Scan and slice are those that by the
truth show most of the structure of which they show least; what was found has no say. Prints the table of the scans'
structures and the Dice on the test scans. The run is kept in the folder OUTPUT and used again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import Result, add_output_option, say, show

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import read_codes, read_images
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
from SemiSegLib.evaluation.pictures import COARSE_COLOR, FILL
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.prediction.findings import ANNOTATED, LATENT, Findings, drawn_structures
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.predictor import Predictor
from Testing.lib.site_lines import mean_dice, train_line, write_both

SITES = ("site_a", "site_b", "site_c")
COLUMNS = ("scan", "drawn", "found", "truth")
PANEL_INCHES = 2.4
Masks = list[tuple[Any, np.ndarray]]


@dataclass(frozen=True)
class Row:
    """One scan on canonical axes.

    Attributes:
        case: id.
        image: first channel.
        drawn, found, truth: color and mask of each structure.
        plane: what is shown.
        findings: what is known of each structure.
    """

    case: str
    image: np.ndarray
    drawn: Masks
    found: Masks
    truth: Masks
    plane: Plane
    findings: Findings

    def names(self, state: str) -> str:
        """Return the names of the structures in a state."""
        return ", ".join(found.structure for found in self.findings.structures if found.state == state)


def row_of(predictor: Predictor, drawn: Dataset, full: Dataset, name: str) -> Row:
    """Return what is known of a training scan, and the truth."""
    scheme = drawn.scheme
    case = drawn.case(name)
    assert case.annotation is not None
    images = read_images(drawn, case)
    prediction = predictor.predict(images, drawn=drawn_structures(case.annotation, scheme))
    assert prediction.findings is not None
    geometry = images[0].geometry
    image, spacing_mm = canonical(images[0].voxels, geometry)
    leaves, _ = canonical(prediction.leaves.voxels, geometry)
    truth = truth_of(full, full.case(name))
    colors = leaf_colors(scheme)
    latent = [k for k, leaf in enumerate(scheme.leaf_names) if is_latent(prediction.findings, leaf)]
    return Row(
        case=name,
        image=image,
        drawn=drawn_masks(drawn, case),
        found=[(colors[k], leaves == k) for k in latent],
        truth=[(colors[k], truth == k) for k in range(1, len(colors))],
        plane=plane_of(truth, spacing_mm)[0],
        findings=prediction.findings,
    )


def is_latent(findings: Findings, name: str) -> bool:
    found = findings.of(name)
    return found is not None and found.state == LATENT


def truth_of(full: Dataset, case: Case) -> np.ndarray:
    """Return the leaf of each voxel, on canonical axes."""
    geometry = read_images(full, case)[0].geometry
    codes, table = read_codes(full, case, geometry)
    return canonical(table.array[codes].argmax(-1).astype(np.uint8), geometry)[0]


def drawn_masks(dataset: Dataset, case: Case) -> Masks:
    """Return color and mask of what the site drew: white where it did not say which part it is."""
    geometry = read_images(dataset, case)[0].geometry
    codes, table = read_codes(dataset, case, geometry)
    turned, _ = canonical(codes, geometry)
    colors = leaf_colors(dataset.scheme)
    sets = [(code, sorted(leaves)) for code, leaves in enumerate(table.sets) if 0 not in leaves]
    return [(colors[s[0]] if len(s) == 1 else COARSE_COLOR, turned == code) for code, s in sets]


def plane_of(truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[Plane, float]:
    """Return the slice that shows most of the structure of which it shows least, and the share of its largest area."""
    plane = best_plane(truth > 0, spacing_mm)
    others = tuple(axis for axis in range(3) if axis != plane.axis)
    areas = np.stack([(truth == leaf).sum(axis=others) for leaf in np.unique(truth) if leaf])
    least = (areas / areas.max(axis=1, keepdims=True)).min(axis=0)
    return replace(plane, index=int(least.argmax())), float(least.max())


def chosen(full: Dataset, site: str) -> str:
    """Return the scan of a site that shows most of the structure of which it shows least, in its best slice."""

    def share(case: Case) -> float:
        geometry = read_images(full, case)[0].geometry
        return plane_of(truth_of(full, case), canonical(np.zeros(geometry.shape), geometry)[1])[1]

    return max((case for case in full.cases if case.id.startswith(site)), key=share).id


def draw(rows: Sequence[Row], scheme: LabelScheme, path: Path) -> Path:
    """Write the picture and return its path."""
    heights = [PANEL_INCHES * row.plane.size_mm[0] / row.plane.size_mm[1] for row in rows]
    figure = new_figure(PANEL_INCHES * len(COLUMNS), sum(heights) + 0.35 * len(rows) + 0.4)
    grid = figure.subplots(len(rows), len(COLUMNS), squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes_row, row in zip(grid, rows, strict=True):
        titles = (row.case, f"drawn: {row.names(ANNOTATED)}", f"found: {row.names(LATENT)}", "truth")
        for axes, title, masks in zip(axes_row, titles, ([], row.drawn, row.found, row.truth), strict=True):
            show_image(axes, row.image, row.plane)
            axes.set_title(title, fontsize=8)
            show_masks(axes, [(color, row.plane.cut(mask)) for color, mask in masks], fill=FILL)
    patches, colors = plotting("patches"), leaf_colors(scheme)
    handles = [patches.Patch(color=colors[k], label=scheme.leaf_names[k]) for k in range(1, len(colors))]
    handles.append(patches.Patch(facecolor=COARSE_COLOR, edgecolor="0.4", label="organ, parts not told apart"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    return save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=Path("latent.png"))
    parser.add_argument("--output", type=Path, default=Path("latent_picture"))
    parser.add_argument("--steps", type=int, default=1500)
    add_output_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = write_both(options.output / "cohort")
    drawn, full = data[False], data[True]
    run = train_line(options.output / "runs", drawn.root, "narrowed", steps=options.steps)
    predictor = Predictor(load_model(run.model_path, device="cpu"), device="cpu")
    rows = [row_of(predictor, drawn, full, name) for name in (chosen(full, site) for site in SITES)]
    draw(rows, drawn.scheme, options.picture)
    say(f"{options.picture}")
    dice = mean_dice(run, drawn.root)
    result = Result(
        title="What is known of each structure of three training scans",
        facts={"steps": options.steps, **{f"Dice of {name} on 4 test scans": value for name, value in dice.items()}},
        columns=("scan", "structure", "state", "presence", "ml"),
        rows=[(r.case, f.structure, f.state, f.score, f.volume_ml) for r in rows for f in r.findings.structures],
        values=dice,
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
