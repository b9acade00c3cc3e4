"""Signed distances to the surfaces of structures: from the whole case, in millimeters, cached beside its codes.

The released code of paper 003 and its family computes distances in each patch, normalizes them by the patch's own
largest and sets the inner boundary to 0: targets then depend on the crop, and a perfect one loses a voxel all around
(Dice 0.945 on the left atrium). Here the surface lies half a voxel beyond the last voxel inside, so the sign is the
mask, and a patch of the map is the map of the patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edt
import numpy as np

from SemiSegLib.batches.entry import Arrays, Stack, content_hash, open_array, require_entry
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.labels.scheme import LabelScheme

# The map's name in a card and in a batch; the batch also says for which rows and structures it is known.
SIGNED_DISTANCE = "signed_distance"
SIGNED_DISTANCE_KNOWN = "signed_distance_known"
# Raise this when the same input would give another map; entries of older numbers are then never found.
FORMAT = 1
# The distance where a structure has no surface in the whole case, and the largest one: far beyond any patch.
FAR_MM = 1000.0


@dataclass(frozen=True)
class CaseDistances:
    """The signed distances of one case on the plan's grid.

    Attributes:
        known: (K,) bool, the labels say of every voxel of the case whether it lies in the structure; only then is a
            distance known.
        maps: (n, D, H, W) float16 mm of the n known structures in their order, negative inside, mapped from the disk.
    """

    known: np.ndarray
    maps: np.ndarray


def distance_structures(scheme: LabelScheme) -> tuple[str, ...]:
    """Return the names of the K structures that have a distance: foreground leaves, then superclasses of several.

    A coarse case has no distance to its leaves, but it has one to its superclasses.
    """
    several = [s.name for s in scheme.superclasses if len(scheme.leaves_of(s.name)) > 1]
    return (*scheme.leaf_names[1:], *several)


def structure_members(scheme: LabelScheme) -> np.ndarray:
    """Return (K, L) bool: leaf l lies in structure k of ``distance_structures``."""
    names = distance_structures(scheme)
    members = np.zeros((len(names), len(scheme.leaf_names)), dtype=bool)
    for row, name in enumerate(names):
        members[row, sorted(scheme.leaves_of(name))] = True
    return members


def signed_distance(mask: np.ndarray, spacing_mm: Sequence[float], *, in_plane: bool = False) -> np.ndarray:
    """Return the distance of every voxel to the surface of a mask, negative inside.

    With d_in and d_out the distances from a voxel's center to the nearest center on the other side, and h the smallest
    spacing: d = d_out - h / 2 outside, -(d_in - h / 2) inside. Across the finest axes the surface so lies exactly
    between two voxels; across a thicker one of spacing s both sides are (s - h) / 2 too far from it. No distance is 0.

    Args:
        mask: (D, H, W) bool.
        spacing_mm: voxel size along each axis.
        in_plane: each slice along the first axis is an image of its own.

    Returns:
        (D, H, W) float32 mm within plus and minus ``FAR_MM``, which stands where there is no surface.
    """
    space = tuple(float(size) for size in spacing_mm[1 if in_plane else 0 :])
    # Two labels in one array: one transform gives every voxel its distance to the other side.
    sides = np.ascontiguousarray(mask).astype(np.uint8) + 1
    images = sides if in_plane else [sides]
    distance: np.ndarray = np.stack([edt.edt(image, anisotropy=space) for image in images]).reshape(mask.shape)
    distance -= min(space) / 2
    np.negative(distance, out=distance, where=mask)
    return np.clip(distance, -FAR_MM, FAR_MM, out=distance)


class DistanceMaps:
    """The signed distances of a store's cases: computed once, found again by the hash of the codes' entry.

    Args:
        store: the prepared cases.
    """

    def __init__(self, store: PreparedStore) -> None:
        self.store = store
        self.members = structure_members(store.dataset.scheme)
        # Kept, because a hash of all that a name depends on takes longer than the rest of a row's look-up.
        self._entries: dict[str, tuple[Path, dict[str, Any]]] = {}

    def prepare(self, case_ids: Iterable[str], *, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Make sure that the maps of cases are there and sound.

        Args:
            case_ids: the cases.
            on_progress: told (cases done, cases in all).

        Raises:
            CaseError: a case cannot be read, or the disk refuses.
        """
        ids = list(case_ids)
        for done, case_id in enumerate(ids, start=1):
            if self.store.codes_name(case_id):
                self._require(case_id)
            if on_progress is not None:
                on_progress(done, len(ids))

    def get(self, case_id: str) -> CaseDistances:
        """Return the maps of a case; computes them when needed. A case without annotation has none."""
        if not self.store.codes_name(case_id):
            shape = self.store.get(case_id).codes.shape
            return CaseDistances(np.zeros(len(self.members), dtype=bool), np.zeros((0, *shape), dtype=np.float16))
        folder, facts = self._require(case_id)
        return CaseDistances(np.array(facts["known"], dtype=bool), open_array(folder, "distance", facts))

    def _require(self, case_id: str) -> tuple[Path, dict[str, Any]]:
        if case_id not in self._entries:
            folder = self.store.folder / self._name(case_id)
            self._entries[case_id] = folder, require_entry(folder, lambda: self._write(case_id))
        return self._entries[case_id]

    def _name(self, case_id: str) -> str:
        # The name of the codes' entry is a hash of labels, structures and grid.
        parts = [self.store.codes_name(case_id), self.members.tolist(), self.store.plan.dimensions]
        return f"distance-{content_hash(FORMAT, *parts)}"

    def _write(self, case_id: str) -> tuple[Arrays, dict[str, Any]]:
        case = self.store.get(case_id)
        inside, known = case.table.roi_targets(self.members)
        occurring = np.unique(case.codes)
        is_known = known[occurring].all(axis=0)
        in_plane = self.store.plan.dimensions == 2
        chosen = np.flatnonzero(is_known)
        # One structure at a time: those of a whole body together are tens of gigabytes.
        maps = (
            signed_distance(inside[:, structure][case.codes], case.spacing_mm, in_plane=in_plane)
            for structure in chosen
        )
        stack = Stack((len(chosen), *case.codes.shape), np.dtype(np.float16), maps)
        return {"distance": stack}, {"known": is_known.tolist()}
