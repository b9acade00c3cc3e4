"""Voxel counts of one case: one joint histogram, from which every overlap of every structure follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key

CHUNK_VOXELS = 1 << 22


@dataclass(frozen=True)
class JudgedStructure:
    """One structure of the scheme with what the reference's codes say about it.

    Attributes:
        name: of the structure.
        kind: "leaf", "group" or "superclass"; a superclass of one leaf is a "leaf".
        leaves: (L,) bool, its leaves.
        target: (C,) bool, codes whose voxels surely belong to it.
        known: (C,) bool, codes whose voxels surely do or surely do not.
    """

    name: str
    kind: str
    leaves: np.ndarray
    target: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Counts:
    """Voxels of one structure in one case, as Python integers, which cannot overflow.

    Attributes:
        both, prediction, reference: voxels with the structure in both images or in one, among the known ones.
        known: voxels at which the reference knows whether the structure is there.
        unknown_annotated: voxels that were annotated (not "anything") and still leave it open.
        voxels: all voxels.
    """

    both: int
    prediction: int
    reference: int
    known: int
    unknown_annotated: int
    voxels: int

    @property
    def empty(self) -> str:
        """Which lacks the structure: "prediction", "reference", "both", or "" for neither."""
        if self.prediction == 0:
            return "both" if self.reference == 0 else "prediction"
        return "reference" if self.reference == 0 else ""


def joint_histogram(prediction: np.ndarray, reference: np.ndarray, leaf_count: int, code_count: int) -> np.ndarray:
    """Return (L, C) int64: voxels with each pair of predicted leaf and reference code.

    Works slab by slab, so it needs little memory beside the two images.

    Raises:
        LabelError: an index or a code is out of range.
    """
    total = np.zeros(leaf_count * code_count, dtype=np.int64)
    if prediction.size == 0:
        return total.reshape(leaf_count, code_count)
    for name, image, count in (("prediction", prediction, leaf_count), ("reference", reference, code_count)):
        low, high = int(image.min()), int(image.max())
        if low < 0 or high >= count:
            raise LabelError(
                explain(
                    f"the {name} holds the value {high if high >= count else low}, expected 0 to {count - 1}",
                    where="evaluation",
                    remedy="evaluate with the label scheme that the images were made with",
                )
            )
    slices = max(1, CHUNK_VOXELS // max(1, prediction[0].size))
    for start in range(0, len(prediction), slices):
        pairs = prediction[start : start + slices].astype(np.intp) * code_count + reference[start : start + slices]
        total += np.bincount(pairs.ravel(), minlength=total.size)
    return total.reshape(leaf_count, code_count)


def judged_structures(scheme: LabelScheme, table: LabelSetTable) -> list[JudgedStructure]:
    """Return every structure besides background, in scheme order."""
    leaf_names = {name_key(name) for name in scheme.leaf_names}
    foreground = [s for s in scheme.structures if name_key(s.name) != BACKGROUND]
    members = np.zeros((len(foreground), len(scheme.leaves)), dtype=bool)
    for row, structure in enumerate(foreground):
        members[row, sorted(scheme.leaves_of(structure.name))] = True
    target, known = table.roi_targets(members)
    return [
        JudgedStructure(
            name=structure.name,
            kind="leaf" if name_key(structure.name) in leaf_names else "group" if structure.parent else "superclass",
            leaves=members[row],
            target=target[:, row],
            known=known[:, row],
        )
        for row, structure in enumerate(foreground)
    ]


def count_voxels(joint: np.ndarray, structure: JudgedStructure) -> Counts:
    """Return the counts of one structure from the joint histogram of the case."""
    leaves, known, inside = structure.leaves, structure.known, structure.known & structure.target
    return Counts(
        both=int(joint[leaves][:, inside].sum()),
        prediction=int(joint[leaves][:, known].sum()),
        reference=int(joint[:, inside].sum()),
        known=int(joint[:, known].sum()),
        unknown_annotated=int(joint[:, 1:][:, ~known[1:]].sum()),
        voxels=int(joint.sum()),
    )
