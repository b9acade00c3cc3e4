"""What the labels of a batch say of each ROI: where it is, where that is known, and which ROIs a row leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.marginal import one_hot_codes


@dataclass(frozen=True)
class RoiMaps:
    """Labels by ROI.

    Attributes:
        target: (B, K, *S) bool, the voxel surely lies in the ROI.
        known: (B, K, *S) bool, the voxel surely lies in it or outside, and labels teach that.
        annotated: (B, K) bool, some voxel of the row shows the ROI, see ``RoiTable.shown``, or its case shows all. So
            are, by the background beside it, the parts of an organ that was drawn as a whole: a teacher would give all
            of the organ to the part that it finds first.
    """

    target: Tensor
    known: Tensor
    annotated: Tensor

    @property
    def open(self) -> Tensor:
        """(B, K, *S) bool: voxels of ROIs that the row does not show, where no label teaches them."""
        row = ~self.annotated
        return ~self.known & row.view(*row.shape, *(1,) * (self.known.ndim - 2))

    def without(self, rois: Tensor) -> RoiMaps:
        """Return the maps in which nothing is known of these ROIs, (K,) bool, and no row leaves them open."""
        lead = (1, -1, *(1,) * (self.known.ndim - 2))
        return RoiMaps(self.target, self.known & ~rois.view(lead), self.annotated | rois)

    def rows(self, chosen: slice) -> RoiMaps:
        """Return the maps of some rows, as views."""
        return RoiMaps(self.target[chosen], self.known[chosen], self.annotated[chosen])

    def strided(self, stride: tuple[int, ...]) -> RoiMaps:
        """Return the maps under each voxel of a map of lower resolution: its voxel i lies over voxel i * stride."""
        under = (slice(None), slice(None), *(slice(None, None, step) for step in stride))
        return RoiMaps(self.target[under], self.known[under], self.annotated)


def roi_maps_of(batch: Batch, members: Tensor, *, exclusion: bool) -> RoiMaps:
    """Return what the labels of a batch say of each ROI.

    Args:
        batch: codes and label sets.
        members: (K, L) bool, the leaves of each ROI.
        exclusion: a voxel that surely belongs to another structure teaches that a ROI is absent there, also in rows
            that do not show the ROI; without it such rows teach nothing of it (paper 002, DoDNet).
    """
    sets, codes = batch.label_sets, batch.codes
    inside = ~(sets[:, None] & ~members[None]).any(-1)
    outside = ~(sets[:, None] & members[None]).any(-1)
    shown = inside | (outside & sets[:, :1])
    # A product with one-hot codes; looking each voxel's code up in the tables takes several times as long.
    one_hot = one_hot_codes(codes, len(sets), torch.float32)
    with torch.autocast(codes.device.type, enabled=False):
        table = torch.cat([inside, inside | outside], dim=1).float()
        found = (torch.matmul(table.T, one_hot) > 0.5).view(len(codes), 2, len(members), *codes.shape[1:])
        occurs = one_hot.amax(2)
        annotated = (occurs @ shown.float()) > 0.5
    # A patch inside one structure shows that one alone; what is known of its case goes further.
    annotated[batch.rows[Regime.FULL]] = True
    target, known = found[:, 0], found[:, 1]
    if not exclusion:
        known = known & annotated.view(*annotated.shape, *(1,) * (known.ndim - 2))
    return RoiMaps(target, known, annotated)
