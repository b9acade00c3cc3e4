"""Scores of one case: every leaf, group and superclass, over the voxels where the reference knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from SemiSegLib.cases.volume import Volume
from SemiSegLib.errors import ShapeError, explain
from SemiSegLib.evaluation.counts import Counts, JudgedStructure, count_voxels, joint_histogram, judged_structures
from SemiSegLib.evaluation.modes import DISTANCE_METRICS, MODES, OVERLAP_METRICS, EvaluationMode
from SemiSegLib.evaluation.surface import bounding_box, surface_distances
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.reach import largest_component
from SemiSegLib.labels.scheme import LabelScheme


@dataclass(frozen=True, kw_only=True)
class StructureScore:
    """How well one structure of one case was found. A metric that says nothing here is None.

    Attributes:
        structure: name.
        kind: "leaf", "group" or "superclass"; a superclass of one leaf is a "leaf".
        dice, jaccard, sensitivity, precision: overlap, 0 to 1.
        hd, hd95, hd95_directed, asd, assd: distances in ``unit``.
        surface_dice: share of the surfaces within the mode's tolerance, 0 to 1.
        unit: "mm" or "voxel".
        prediction_ml, reference_ml: volumes over the known voxels.
        known_fraction: share of the voxels at which the reference knows whether this structure is there, 0 to 1.
        empty: "" if both hold the structure, else which lacks it: "prediction", "reference" or "both".
    """

    structure: str
    kind: str
    dice: float | None = None
    jaccard: float | None = None
    sensitivity: float | None = None
    precision: float | None = None
    hd: float | None = None
    hd95: float | None = None
    hd95_directed: float | None = None
    asd: float | None = None
    assd: float | None = None
    surface_dice: float | None = None
    unit: str
    prediction_ml: float
    reference_ml: float
    known_fraction: float
    empty: str


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case.

    Attributes:
        case: id of the case.
        rows: one per structure that could be judged, in scheme order.
    """

    case: str
    rows: tuple[StructureScore, ...]

    def mean_dice(self, kind: str = "leaf") -> float | None:
        """Return the mean Dice over the structures of one kind, or None if none of them was judged."""
        values = [row.dice for row in self.rows if row.kind == kind and row.dice is not None]
        return sum(values) / len(values) if values else None


def score_case(
    case: str,
    prediction: Volume,
    reference: np.ndarray,
    table: LabelSetTable,
    scheme: LabelScheme,
    *,
    mode: str | EvaluationMode = "strict",
) -> CaseScore:
    """Return the scores of every foreground structure that the reference can judge.

    A structure is judged over the voxels whose label set lies inside or outside it. It is left out where the
    annotation never says it: no voxel is surely inside, and some annotated voxel may or may not be (the leaves
    of a coarse case). Distances need a surface, so they are given only where every voxel is known.

    Args:
        case: id of the case.
        prediction: integer leaf indices.
        reference: (D, H, W) uint8 codes of ``table`` on the same grid.
        table: the label sets of the reference.
        scheme: label scheme.
        mode: "strict", "paper_000" to "paper_003", or a mode of your own.

    Raises:
        ShapeError: the shapes differ.
        LabelError: the prediction holds an index that is not a leaf, or the reference a code that is not in
            its table.
    """
    chosen = MODES[mode] if isinstance(mode, str) else mode
    leaves = prediction.voxels
    if leaves.shape != reference.shape:
        raise ShapeError(
            explain(
                f"the prediction has the shape {leaves.shape}, the reference {reference.shape}",
                where=f"case '{case}'",
                remedy="bring both to the grid of the scan",
            )
        )
    joint = joint_histogram(leaves, reference, len(scheme.leaves), len(table))
    boxes = _Boxes(leaves, reference)
    spacing_mm = prediction.geometry.spacing_mm
    scores = (_score(s, count_voxels(joint, s), boxes, spacing_mm, chosen) for s in judged_structures(scheme, table))
    return CaseScore(case, tuple(score for score in scores if score is not None))


class _Boxes:
    """Cuts the masks of a structure out of its own bounding box; each image is scanned once for all boxes."""

    def __init__(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        self.images = (prediction, reference)

    @cached_property
    def boxes(self) -> list[list[tuple[slice, ...] | None]]:
        """For each image the box of every value that it holds."""
        return [_value_boxes(image) for image in self.images]

    def masks(self, structure: JudgedStructure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return prediction, reference and known voxels (bool) inside the structure's box."""
        chosen = [
            box
            for boxes, members in zip(self.boxes, (structure.leaves, structure.target), strict=True)
            for box, is_member in zip(boxes, members, strict=False)
            if is_member and box is not None
        ]
        if not chosen:
            empty = np.zeros((1,) * self.images[0].ndim, dtype=bool)
            return empty, empty, empty
        box = tuple(
            slice(min(s.start for s in along), max(s.stop for s in along)) for along in zip(*chosen, strict=True)
        )
        codes = self.images[1][box]
        return structure.leaves[self.images[0][box]], structure.target[codes], structure.known[codes]


def _value_boxes(image: np.ndarray) -> list[tuple[slice, ...] | None]:
    """Return the box of every value, by value; 0 has none, being background in one image and anything in the other."""
    # Most voxels have the value of the corner; the box of the others is found ten times faster than all boxes.
    corner = int(image.flat[0])
    others = image != corner
    boxes: list[tuple[slice, ...] | None] = [None] * (corner + 1)
    if others.any():
        outer = bounding_box(others)
        for value, box in enumerate(ndimage.find_objects(image[outer]), start=1):
            boxes += [None] * (value + 1 - len(boxes))
            if box is not None:
                boxes[value] = tuple(
                    slice(along.start + start.start, along.stop + start.start)
                    for along, start in zip(box, outer, strict=True)
                )
    if corner:
        boxes[corner] = tuple(slice(0, size) for size in image.shape)
    return boxes


def _score(
    structure: JudgedStructure, counts: Counts, boxes: _Boxes, spacing_mm: Sequence[float], mode: EvaluationMode
) -> StructureScore | None:
    if counts.known == 0 or (counts.reference == 0 and counts.unknown_annotated > 0):
        return None
    wants_distances = mode.measures_distances and counts.known == counts.voxels
    values: dict[str, float | None] = {}
    if mode.largest_component or wants_distances:
        prediction, reference, known = boxes.masks(structure)
        if mode.largest_component:
            prediction = largest_component(prediction)
            counts = replace(
                counts,
                both=int((prediction & reference).sum()),
                prediction=int((prediction & known).sum()),
            )
        if wants_distances:
            values = _distances(prediction, reference, boxes.images[0].shape, spacing_mm, mode)
    values |= _overlap(counts, mode)
    voxel_ml = float(np.prod(np.asarray(spacing_mm, dtype=np.float64))) / 1000.0
    return StructureScore(
        structure=structure.name,
        kind=structure.kind,
        unit=mode.unit,
        prediction_ml=counts.prediction * voxel_ml,
        reference_ml=counts.reference * voxel_ml,
        known_fraction=counts.known / counts.voxels,
        empty=counts.empty,
        **{name: value for name, value in values.items() if name in mode.metrics},
    )


def _overlap(counts: Counts, mode: EvaluationMode) -> dict[str, float | None]:
    both, prediction, reference = counts.both, counts.prediction, counts.reference
    absent = counts.empty
    if mode.empty == "left_out" and reference == 0:
        return {}
    if (mode.empty == "zero" and absent) or (mode.empty == "zero_without_prediction" and prediction == 0):
        return dict.fromkeys(OVERLAP_METRICS, 0.0)
    if absent == "both":
        return dict.fromkeys(OVERLAP_METRICS, 1.0)
    return {
        "dice": 2 * both / (prediction + reference + mode.dice_smoothing),
        "jaccard": both / (prediction + reference - both),
        "sensitivity": both / reference if reference else None,
        "precision": both / prediction if prediction else None,
    }


def _distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    image_shape: tuple[int, ...],
    spacing_mm: Sequence[float],
    mode: EvaluationMode,
) -> dict[str, float | None]:
    spacing = tuple(spacing_mm) if mode.in_mm else (1.0,) * len(image_shape)
    has_prediction, has_reference = bool(prediction.any()), bool(reference.any())
    if has_prediction and has_reference:
        if mode.empty == "decided":
            prediction, reference, spacing = _without_thin_axes(prediction, reference, image_shape, spacing)
        found = surface_distances(prediction, reference, spacing)
        return {
            "hd": found.hausdorff,
            "hd95": found.hausdorff95_directed if mode.hd95_is_directed else found.hausdorff95,
            "hd95_directed": found.hausdorff95_directed,
            "asd": found.asd,
            "assd": found.assd,
            "surface_dice": found.surface_dice(mode.tolerance_mm),
        }
    if mode.empty == "decided":
        is_perfect = has_prediction == has_reference
        diagonal = float(np.linalg.norm(np.multiply(image_shape, spacing)))
        worst = dict.fromkeys(DISTANCE_METRICS, 0.0 if is_perfect else diagonal)
        return {**worst, "surface_dice": float(is_perfect)}
    if mode.empty == "zero" or (mode.empty == "zero_without_prediction" and not has_prediction):
        return dict.fromkeys(DISTANCE_METRICS, 0.0)
    return {}


def _without_thin_axes(
    prediction: np.ndarray, reference: np.ndarray, image_shape: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Return masks without the axes along which the image is one voxel thin.

    In a single slice every voxel has the array's outside as its neighbor, so all of it would be surface and
    every distance too small; such an image is judged as the 2-D image it is.
    """
    thin = tuple(axis for axis, size in enumerate(image_shape) if size == 1)
    if not thin or len(thin) == len(image_shape):
        return prediction, reference, spacing
    kept = tuple(size for axis, size in enumerate(spacing) if axis not in thin)
    return prediction.squeeze(thin), reference.squeeze(thin), kept
