"""How far from its largest piece a structure reaches in labels, measured over the cases of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import edt
import numpy as np
from scipy import ndimage

from SemiSegLib.batches.entry import Arrays, content_hash, require_entry
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.labels.reach import Reach, largest_component
from SemiSegLib.labels.rois import is_lesion

# A lesson about anatomy from fewer cases would be one about these patients.
LEAST_CASES = 5
# In some drawings a voxel was left behind far from everything else.
CASES_SHARE = 0.95
# Raise this when the same input would give another reach; entries of older numbers are then never found.
FORMAT = 1


def measure_reach(
    store: PreparedStore, case_ids: Iterable[str], *, on_progress: Callable[[int, int], None] | None = None
) -> Reach:
    """Return of each leaf how far its voxels lie from its largest piece in nearly all cases that show it.

    Of a case the farthest voxel counts, under a plan of two dimensions that of all slices, each with a largest piece of
    its own; of the cases all but one in twenty. Only cases count whose labels say of every voxel whether it is the
    leaf. What is found of a case is kept beside its codes.

    Args:
        store: prepared cases.
        case_ids: which to look at.
        on_progress: told (cases done, cases in all).

    Returns:
        mm of the plan's grid, 0 for a leaf that is one piece; None for background, for lesions, of which the next
        patient may have another, and for a leaf that fewer than ``LEAST_CASES`` cases show.

    Raises:
        CaseError: a case cannot be read, or the disk refuses.
    """
    ids = list(case_ids)
    leaves = store.dataset.scheme.leaves
    found: list[list[tuple[float, float]]] = [[] for _ in leaves]
    for done, case_id in enumerate(ids, start=1):
        if store.codes_name(case_id):
            for known, value in zip(found, _of_case(store, case_id), strict=True):
                if value is not None:
                    known.append(value)
        if on_progress is not None:
            on_progress(done, len(ids))
    nearly_all = [
        (None, None)
        if len(values) < LEAST_CASES or is_lesion(leaf)
        else tuple(np.quantile(values, CASES_SHARE, axis=0, method="nearest").tolist())
        for leaf, values in zip(leaves, found, strict=True)
    ]
    return Reach(*zip(*nearly_all, strict=True))


def image_reach(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the largest distance of a voxel of a mask from its largest piece in mm; 0 for one piece or none.

    Args:
        mask: (*S) bool; voxels that share a corner are of one piece.
        spacing_mm: along each axis.
    """
    largest = largest_component(mask)
    if np.array_equal(largest, mask):
        return 0.0
    distance = edt.edt(np.ascontiguousarray(~largest), anisotropy=tuple(spacing_mm))
    return float(distance[mask].max())


def _of_case(store: PreparedStore, case_id: str) -> list[tuple[float, float] | None]:
    leaves = len(store.dataset.scheme.leaf_names)
    # The name of the codes' entry is a hash of labels, structures and grid.
    name = content_hash(FORMAT, store.codes_name(case_id), store.plan.dimensions)

    def write() -> tuple[Arrays, dict[str, Any]]:
        case = store.get(case_id)
        inside, known = case.table.roi_targets(np.eye(leaves, dtype=bool))
        occurring = np.unique(case.codes)
        is_shown = known[occurring].all(0) & inside[occurring].any(0)
        in_plane = store.plan.dimensions == 2
        found = [
            _reach(inside[:, leaf][case.codes], case.spacing_mm, in_plane=in_plane) if leaf and is_shown[leaf] else None
            for leaf in range(leaves)
        ]
        return {}, {"reach_mm": found}

    values = require_entry(store.folder / f"reach-{name}", write)["reach_mm"]
    return [None if value is None else tuple(value) for value in values]


def _reach(mask: np.ndarray, spacing_mm: Sequence[float], *, in_plane: bool) -> tuple[float, float]:
    """Return the reach in an image, the farthest of all slices where they are images, and in the whole case."""
    # The box of the structure: cases are much larger.
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    whole = image_reach(mask[box], spacing_mm)
    return max(image_reach(plane, spacing_mm[1:]) for plane in mask[box]) if in_plane else whole, whole
