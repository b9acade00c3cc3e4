"""Time and results of HD, HD95 and ASSD of one volume: ours against MONAI and medpy.

    python Testing/benchmarks/metrics_cost.py [LABEL_IMAGE] [--factor 2] [--repeats 5] [--threads 1] [--json]

Without a label image a generated shape of the size of a left atrium scan (183 x 140 x 88 voxels of 0.625 mm) is used.
The second mask is the first, shifted and with a rough surface, so that the distances are like those of a prediction.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from reporting import Cell, Result, add_output_option, show
from scipy import ndimage

from SemiSegLib.cases.volume import Geometry, Volume, read_labels
from SemiSegLib.evaluation.metrics import score_case
from SemiSegLib.evaluation.surface import surface_distances
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import LabelScheme, Structure

SCHEME = LabelScheme(name="benchmark", structures=(Structure(name="structure"),))
SIZE = (88, 140, 183)
Metrics = Callable[[], tuple[float | None, ...]]
OURS, WHOLE_CASE, MONAI, MEDPY = (
    "ours: HD, both HD95, ASSD",
    "ours: score_case, all 10 metrics",
    "MONAI: HD, HD95, ASSD",
    "medpy: HD, HD95, ASSD",
)


def generated_shape() -> np.ndarray:
    """Return a body with appendages that fills about 7 percent of the volume, as an atrium with its veins."""
    d, h, w = np.meshgrid(*(np.linspace(-1, 1, size) for size in SIZE), indexing="ij")
    body = (d / 0.6) ** 2 + (h / 0.5) ** 2 + (w / 0.55) ** 2 < 0.75
    for side in (-1, 1):
        for height in (-0.25, 0.25):
            body |= (np.abs(w * side - 0.5) < 0.33) & ((d - height) ** 2 + (h + 0.2) ** 2 < 0.012)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SIZE), 2)
    shape: np.ndarray = ndimage.gaussian_filter(body.astype(np.float32), 1.5) + 0.6 * noise > 0.5
    return shape


def disturbed(mask: np.ndarray) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=mask.shape), 3)
    moved = np.roll(mask, (1, 1, -1), (0, 1, 2)).astype(np.float32)
    result: np.ndarray = ndimage.gaussian_filter(moved + 4 * noise, 2) > 0.5
    return result


def timed(function: Metrics, repeats: int) -> tuple[float, float, tuple[float | None, ...]]:
    """Return least and median seconds, and the result."""
    seconds = []
    for _repeat in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), statistics.median(seconds), result


def candidates(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> dict[str, Metrics]:
    table = LabelSetTable.of(2, [frozenset({0}), frozenset({1})])
    volume = Volume(prediction.astype(np.uint8), Geometry(prediction.shape, np.diag([*spacing, 1.0])))
    codes = np.array([table.code(frozenset({leaf})) for leaf in (0, 1)], dtype=np.uint8)[reference.astype(np.uint8)]
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": list(spacing)}

    def ours() -> tuple[float, ...]:
        found = surface_distances(prediction, reference, spacing)
        return found.hausdorff, found.hausdorff95, found.hausdorff95_directed, found.assd

    def ours_whole_case() -> tuple[float | None, ...]:
        (row,) = score_case("one", volume, codes, table, SCHEME).rows
        return row.hd, row.hd95, row.hd95_directed, row.assd

    def monai() -> tuple[float, ...]:
        return (
            compute_hausdorff_distance(*pair, **options).item(),
            float("nan"),
            compute_hausdorff_distance(*pair, percentile=95, **options).item(),
            compute_average_surface_distance(*pair, symmetric=True, **options).item(),
        )

    def medpys() -> tuple[float, ...]:
        arguments = (prediction, reference, spacing)
        return medpy.hd(*arguments), medpy.hd95(*arguments), float("nan"), medpy.assd(*arguments)

    return {OURS: ours, WHOLE_CASE: ours_whole_case, MONAI: monai, MEDPY: medpys}


def measure(reference: np.ndarray, spacing: tuple[float, ...], options: argparse.Namespace) -> Result:
    found = {
        name: timed(function, options.repeats)
        for name, function in candidates(reference, disturbed(reference), spacing).items()
    }
    d, h, w = reference.shape
    facts: dict[str, Cell] = {
        "volume": f"{w} x {h} x {d} voxels of {' x '.join(f'{mm:g}' for mm in reversed(spacing))} mm, "
        f"{int(reference.sum()):,} in the structure",
        "threads": options.threads,
        "repeats": options.repeats,
    }
    values = {f"{name}: median s": median for name, (_least, median, _result) in found.items()}
    values |= {f"{name}: times ours": median / found[OURS][1] for name, (_least, median, _result) in found.items()}
    return Result(
        title="Surface metrics of one volume",
        facts=facts,
        columns=("", "least s", "median s", "HD", "HD95 pooled", "HD95 directed", "ASSD"),
        rows=[(name, least, median, *result) for name, (least, median, result) in found.items()],
        values=values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("label", nargs="?", type=Path)
    parser.add_argument("--factor", type=int, default=1, help="repeat each voxel of the label image so often")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    add_output_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", FutureWarning)
    if options.label is None:
        reference, spacing = generated_shape(), (0.625, 0.625, 0.625)
    else:
        volume = read_labels(options.label)
        reference = (volume.voxels > 0).repeat(options.factor, 0).repeat(options.factor, 1).repeat(options.factor, 2)
        spacing = tuple(size / options.factor for size in volume.geometry.spacing_mm)
    show(measure(reference, spacing, options), as_json=options.json)


if __name__ == "__main__":
    main()
