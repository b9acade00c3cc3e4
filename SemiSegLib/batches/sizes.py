"""How large structures usually are, as far as labels tell."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from SemiSegLib.batches.store import PreparedStore


def usual_sizes(store: PreparedStore, case_ids: Iterable[str], members: np.ndarray) -> np.ndarray:
    """Return the median number of voxels of each structure over the images that surely hold it.

    An image is a case, or under a plan of two dimensions a slice: what a patch can at most show.

    Args:
        store: prepared cases.
        case_ids: which to look at.
        members: (K, L) bool, the leaves of each structure.

    Returns:
        (K,) voxels of the plan's grid; 0 for a structure that no voxel surely belongs to.
    """
    found: list[list[np.ndarray]] = [[] for _ in members]
    for case_id in case_ids:
        case = store.get(case_id)
        inside, _ = case.table.roi_targets(members)
        # Slice by slice: counting takes 8 bytes a voxel.
        histogram = np.stack([np.bincount(plane.ravel(), minlength=len(case.table)) for plane in case.codes])
        counts = histogram @ inside.astype(np.int64)
        if store.plan.dimensions == 3:
            counts = counts.sum(0, keepdims=True)
        for structure, column in enumerate(counts.T):
            found[structure].append(column[column > 0])
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in found]
    return np.array([float(np.median(sizes)) if sizes.size else 0.0 for sizes in joined])
