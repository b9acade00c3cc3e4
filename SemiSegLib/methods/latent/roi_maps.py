"""What the labels of a batch say of each ROI: where it is, where that is known, and which ROIs a row leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        annotated: (B, K) bool, the case of the row shows the ROI somewhere, see ``RoiTable.shown``: what a patch holds
            does not tell whether it was looked for. So are, by the background beside it, the parts of an organ that was
            drawn as a whole: a teacher would give all of the organ to the part that it finds first.
        elsewhere: (B, *S) bool, voxels that nobody annotated, of cases that were annotated in other places.
        unasked: (K,) bool, ROIs that are nowhere known and nowhere open.
    """

    target: Tensor
    known: Tensor
    annotated: Tensor
    elsewhere: Tensor | None = None
    unasked: Tensor | None = None

    @property
    def open(self) -> Tensor:
        """(B, K, *S) bool: no label teaches the ROI there, for the case does not show it or nobody looked there."""
        lead = (*self.annotated.shape, *(1,) * (self.known.ndim - 2))
        found = ~self.annotated.view(lead)
        if self.elsewhere is not None:
            found = found | self.elsewhere.unsqueeze(1)
        if self.unasked is not None:
            found = found & ~self.unasked.view(1, *lead[1:])
        return ~self.known & found

    def without(self, rois: Tensor) -> RoiMaps:
        """Return the maps in which nothing is known of these ROIs, (K,) bool, and no row leaves them open."""
        lead = (1, -1, *(1,) * (self.known.ndim - 2))
        return replace(self, known=self.known & ~rois.view(lead), annotated=self.annotated | rois, unasked=rois)

    def rows(self, chosen: slice) -> RoiMaps:
        """Return the maps of some rows, as views."""
        elsewhere = None if self.elsewhere is None else self.elsewhere[chosen]
        return RoiMaps(self.target[chosen], self.known[chosen], self.annotated[chosen], elsewhere, self.unasked)

    def strided(self, stride: tuple[int, ...]) -> RoiMaps:
        """Return what is known under each voxel of a map of lower resolution: its voxel i lies over i * stride."""
        under = (slice(None), slice(None), *(slice(None, None, step) for step in stride))
        elsewhere = None if self.elsewhere is None else self.elsewhere[under[1:]]
        return replace(self, target=self.target[under], known=self.known[under], elsewhere=elsewhere)


def roi_maps_of(batch: Batch, members: Tensor, *, exclusion: bool) -> RoiMaps:
    """Return what the labels of a batch say of each ROI.

    Args:
        batch: codes and label sets.
        members: (K, L) bool, the leaves of each ROI.
        exclusion: a voxel that surely belongs to another structure teaches that a ROI is absent there, also in rows
            whose cases do not show the ROI; without it such rows teach nothing of it (paper 002, DoDNet).
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
        occurs = one_hot.amax(2) if batch.case_codes is None else batch.case_codes.float()
        annotated = (occurs @ shown.float()) > 0.5
    # Where every voxel of a case is some structure, none of them says that another was looked for.
    annotated[batch.rows[Regime.FULL]] = True
    target, known = found[:, 0], found[:, 1]
    if not exclusion:
        known = known & annotated.view(*annotated.shape, *(1,) * (known.ndim - 2))
    elsewhere = None
    if batch.case_codes is not None:
        # Beyond a volume there is nothing to find, but the codes do not tell it from where nobody looked.
        elsewhere = (codes == 0) & batch.case_codes[:, 0].view(-1, *(1,) * (codes.ndim - 1))
    return RoiMaps(target, known, annotated, elsewhere)
