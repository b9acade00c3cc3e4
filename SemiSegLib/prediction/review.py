"""How much a look at a result is worth: how unsure the model is of it, why, and where most.

Doubt is the entropy of the leaf probabilities in bits, at most 1: nearly 0 where one leaf has all, 1 where two or more
are equally likely, whatever the number of leaves; so it can be compared between scans and models. A voxel is *unsure*
from 0.81 bits on, where of two leaves the likelier has three quarters.

Outlines are always somewhat unsure, so the amount is set against the size of what was segmented:

    score = 1 - (1 - D / (D + F)) (1 - M / 2)

with the doubt D summed over unsure voxels, the segmented voxels F, and the share M of structures that may be missing,
or are there only perhaps. What a person drew does not count as missing. Where nothing was segmented at all the score
is at least a half.

The place is the center of the worst blob: unsure voxels are averaged over some millimeters, so that a thick unsure
region wins over the thin shell around every structure, and of the connected regions with at least half of the largest
average the one with the largest sum is taken; its place is where its average is largest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.prediction.findings import ABSENT, AMBIGUOUS, ANNOTATED, Finding, Findings
from SemiSegLib.runs.review import Review

# Doubt is held in one byte a voxel: this is one bit.
ONE_BIT = 255
# Entropy of probabilities 3/4 and 1/4.
UNSURE = round(ONE_BIT * 0.811)
# Edge over which doubt is averaged to find the worst place; less in small scans.
CELL_MM = 3.0
MOST_CELLS = 2_000_000
# Below this share of what was segmented, nobody needs to know how much is unsure.
NEGLIGIBLE = 0.01
# So many slices are looked at at once.
ROWS = 16


def review(leaves: Volume, doubt: np.ndarray, scheme: LabelScheme, findings: Findings | None = None) -> Review:
    """Return how much a look at a result is worth.

    Args:
        leaves: leaf index of each voxel.
        doubt: (D, H, W) uint8 on the same grid, 255 for one bit.
        scheme: what the indices mean.
        findings: what is known of each structure, or None.
    """
    counts, total, unsure = _sums(leaves.voxels, doubt, len(scheme.leaves))
    voxel_ml = abs(float(np.linalg.det(leaves.geometry.affine[:3, :3]))) / 1000
    segmented, uncertain = int(counts[1:].sum()), int(unsure.sum())
    amount = float(total.sum()) / ONE_BIT
    missing, judged = _missing(findings)
    share = len(missing) / judged if judged else 0.0
    score = 1 - (1 - (amount / (amount + segmented) if amount else 0.0)) * (1 - share / 2)
    if segmented == 0:
        score = max(score, 0.5)
    return Review(
        score=min(1.0, max(0.0, score)),
        reason=_reason(segmented, uncertain, voxel_ml, _worst(counts, unsure, scheme), missing),
        place_lps_mm=worst_place(doubt, leaves.geometry),
        uncertain_ml=uncertain * voxel_ml,
    )


def worst_place(doubt: np.ndarray, geometry: Geometry) -> tuple[float, float, float] | None:
    """Return the LPS millimeters of the worst blob's center, or None where nothing is in doubt.

    Where no voxel is unsure the doubt as it is shows the place.

    Args:
        doubt: (D, H, W) uint8.
        geometry: of its grid.
    """
    largest = int(doubt.max())
    if largest == 0:
        return None
    sizes = _cell_sizes(geometry)
    cells = _averaged(doubt, sizes, least=UNSURE if largest >= UNSURE else 1)
    around = ndimage.uniform_filter(cells, size=3, mode="constant")
    regions, count = ndimage.label(around >= 0.5 * around.max(), structure=np.ones((3, 3, 3)))
    sums = ndimage.sum_labels(around, regions, range(1, count + 1))
    worst = regions == int(np.argmax(sums)) + 1
    peak = np.unravel_index(int(np.argmax(np.where(worst, around, -1.0))), cells.shape)
    # The center of what is unsure around the peak, finer than a cell.
    near = tuple(slice(max(0, int(p) - 1), int(p) + 2) for p in peak)
    weights = cells[near] * worst[near]
    center = np.array([p.start for p in near]) + np.array(ndimage.center_of_mass(weights))
    # Cell c covers the voxels c n to c n + n - 1.
    index = np.minimum((center + 0.5) * sizes - 0.5, np.array(doubt.shape) - 1)
    left, posterior, superior = (geometry.affine @ [*index, 1.0])[:3]
    return float(left), float(posterior), float(superior)


def _sums(leaves: np.ndarray, doubt: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each leaf (L,): voxels, doubt of its unsure voxels, and number of unsure voxels."""
    voxels, total, unsure = (np.zeros(count, dtype=np.int64) for _ in range(3))
    for start in range(0, len(leaves), ROWS):
        rows, own = leaves[start : start + ROWS], doubt[start : start + ROWS]
        voxels += np.bincount(rows.ravel(), minlength=count)
        there = own >= UNSURE
        found = rows[there]
        unsure += np.bincount(found, minlength=count)
        total += np.bincount(found, weights=own[there], minlength=count).astype(np.int64)
    return voxels, total, unsure


def _missing(findings: Findings | None) -> tuple[list[Finding], int]:
    """Return the structures that may be missing or are there only perhaps, and how many could be."""
    if findings is None:
        return [], 0
    rows = [row for row in findings.structures if row.state != ANNOTATED]
    # That a structure is unsure though it was segmented with some confidence is what the doubt says already.
    doubtful = [
        row
        for row in rows
        if row.state == AMBIGUOUS and (row.volume_ml == 0 or (row.score is not None and row.score < findings.low))
    ]
    return doubtful, sum(row.state != ABSENT for row in rows)


def _worst(counts: np.ndarray, unsure: np.ndarray, scheme: LabelScheme) -> str | None:
    """Return the name of the structure of which the largest share is unsure, or None if all are sure."""
    shares = unsure[1:] / np.maximum(counts[1:], 1)
    return scheme.leaf_names[1 + int(shares.argmax())] if shares.max(initial=0.0) > 0 else None


def _reason(segmented: int, uncertain: int, voxel_ml: float, worst: str | None, missing: Sequence[Finding]) -> str:
    if segmented == 0:
        return "The model found none of the structures in this scan."
    sentences = []
    absent = [row.structure for row in missing if row.volume_ml == 0]
    doubtful = [row.structure for row in missing if row.volume_ml > 0]
    if absent:
        sentences.append(f"The model did not find {_listed(absent)}, but is not sure that nothing is there.")
    if doubtful:
        sentences.append(f"The model segmented {_listed(doubtful)}, though it is unlikely to be in this scan.")
    if uncertain > NEGLIGIBLE * segmented:
        where = f", most of all of '{worst}'" if worst else ""
        share = 100 * uncertain / segmented
        sentences.append(
            f"The model is unsure of {_milliliters(uncertain * voxel_ml)}, "
            f"{share:.0f} % of the size of what it segmented{where}."
            if share < 100
            else f"The model is unsure of {_milliliters(uncertain * voxel_ml)}, more than it segmented{where}."
        )
    return " ".join(sentences) or "The model is sure nearly everywhere."


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names[:3]]
    if len(names) > 3:
        return f"{', '.join(quoted)} and {len(names) - 3} more"
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _milliliters(value: float) -> str:
    return f"{value:.0f} ml" if value >= 10 else f"{value:.1f} ml" if value >= 0.1 else f"{1000 * value:.0f} mm³"


def _cell_sizes(geometry: Geometry) -> np.ndarray:
    """Return (3,) voxels along each edge of the cells over which doubt is averaged."""
    spacing, shape = np.array(geometry.spacing_mm), np.array(geometry.shape)
    edge = CELL_MM
    while True:
        sizes: np.ndarray = np.clip(np.round(edge / spacing), 1, shape).astype(int)
        if math.prod(int(n) for n in -(-shape // sizes)) <= MOST_CELLS:
            return sizes
        edge *= 1.25


def _averaged(doubt: np.ndarray, sizes: np.ndarray, *, least: int) -> np.ndarray:
    """Return the mean of each cell as float32, of the doubt that is at least so large."""
    depth, height, width = (int(n) for n in sizes)
    starts_h, starts_w = np.arange(0, doubt.shape[1], height), np.arange(0, doubt.shape[2], width)
    rows = []
    for start in range(0, len(doubt), depth):
        part = doubt[start : start + depth]
        summed = np.where(part >= least, part, 0).sum(axis=0, dtype=np.float32)
        rows.append(np.add.reduceat(np.add.reduceat(summed, starts_h, axis=0), starts_w, axis=1))
    return np.stack(rows) / np.float32(depth * height * width * ONE_BIT)
