"""Mixing of one scan's structures into another's, superclass by superclass: the image part of HierarchicalMix.

For every superclass r but background that both scans of a pair hold: the box around r in the donor is stretched onto
the box around r in the recipient (image linear, labels nearest, half-voxel convention), and where the recipient is r
and the stretched donor shows a leaf that the recipient's label allows there, the images are blended:

    x_mix(v) = (1 - a) x(v) + a x'(v) on M,  x(v) elsewhere

As regions of one scan do not overlap, each voxel belongs to one box, so a whole batch with any number of superclasses
is one sampling of the donors; nothing depends on how many voxels there are, and nothing waits for the device.

Boxes are taken of patches, after augmentation; the released code takes them of whole slices before the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from SemiSegLib.losses.label_set import superclass_sets


@dataclass(frozen=True)
class Meaning:
    """What the codes of a batch say, as tables.

    Attributes:
        leaf: (C,) int64, the only leaf a code allows, or -1.
        superclass: (C,) int64, the superclass inside which a code's leaves lie, or -1.
        label_sets: (C, L) bool.
        superclass_count: R.
        background: index of the superclass background.
    """

    leaf: Tensor
    superclass: Tensor
    label_sets: Tensor
    superclass_count: int
    background: int

    @classmethod
    def of(cls, label_sets: Tensor, membership: Tensor, *, background: int) -> Meaning:
        """Return the tables of (C, L) bool label sets for (R, L) bool membership."""
        possible = superclass_sets(label_sets, membership)
        return cls(_only(label_sets), _only(possible), label_sets, len(membership), background)

    def allowed(self, codes: Tensor) -> Tensor:
        """Return (B, L, *S) bool: the leaf is possible at the voxel, for (B, *S) codes."""
        return self.label_sets[codes].movedim(-1, 1)


@dataclass(frozen=True)
class Scans:
    """Some rows of a batch.

    Attributes:
        image: (B, M, *S) float.
        codes: (B, *S) int64.
    """

    image: Tensor
    codes: Tensor


@dataclass(frozen=True)
class Mixed:
    """Recipients with a share of their donors in them.

    Attributes:
        image: (B, M, *S).
        leaf: (B, *S) int64, the donor's leaf at each voxel; meaningful where ``share`` is above 0.
        share: (B, *S) float, a on M and 0 elsewhere.
    """

    image: Tensor
    leaf: Tensor
    share: Tensor


@dataclass(frozen=True)
class Boxes:
    """The smallest box around each superclass of each row.

    Attributes:
        low: (B, R, axes) float, first voxel inside.
        size: (B, R, axes) float, voxels; 0 where the row does not hold the superclass.
    """

    low: Tensor
    size: Tensor


def region_mix(recipients: Scans, donors: Scans, meaning: Meaning, alpha: Tensor) -> Mixed:
    """Return the recipients mixed with the donors of the same rows.

    Args:
        recipients: rows that receive.
        donors: as many fully labeled rows.
        meaning: of the codes of both.
        alpha: (B,) share a of the donor, 0 to 1.
    """
    regions, given = meaning.superclass[recipients.codes], meaning.superclass[donors.codes]
    count = meaning.superclass_count
    place = _sources(regions, boxes(regions, count), boxes(given, count))
    leaf = _nearest(meaning.leaf[donors.codes], place)
    is_allowed = meaning.label_sets[recipients.codes, leaf.clamp_min(0)]
    is_mixed = place.exists & (regions != meaning.background) & (leaf >= 0) & is_allowed
    share = torch.where(is_mixed, alpha.view(-1, *(1,) * (regions.ndim - 1)), 0.0)
    sampled = _linear(donors.image, place)
    kind = recipients.image.dtype
    image = torch.lerp(recipients.image, sampled.to(kind), share.unsqueeze(1).to(kind))
    return Mixed(image, leaf, share)


def boxes(regions: Tensor, count: int) -> Boxes:
    """Return the boxes around the regions 0 to ``count`` - 1 of a (B, *S) int64 map; -1 is no region."""
    own = torch.arange(count, device=regions.device).view(1, -1, *(1,) * (regions.ndim - 1))
    mask = regions.unsqueeze(1) == own
    lows, sizes = [], []
    for axis in range(2, mask.ndim):
        length = mask.shape[axis]
        profile = mask.any(dim=tuple(other for other in range(2, mask.ndim) if other != axis))
        index = torch.arange(length, device=regions.device, dtype=torch.float32)
        low = torch.where(profile, index, float(length)).amin(-1)
        high = torch.where(profile, index, -1.0).amax(-1)
        lows.append(low)
        sizes.append((high - low + 1).clamp_min(0.0))
    return Boxes(torch.stack(lows, -1), torch.stack(sizes, -1))


@dataclass(frozen=True)
class _Place:
    """Where in the donor each voxel of the recipient comes from.

    Attributes:
        position: (B, *S, axes) float, in voxels of the donor, inside the donor's box.
        nearest: (B, *S, axes) int64, the voxel of the donor's box that holds it.
        exists: (B, *S) bool, the donor holds the superclass.
    """

    position: Tensor
    nearest: Tensor
    exists: Tensor


def _sources(regions: Tensor, own: Boxes, given: Boxes) -> _Place:
    is_present = (own.size > 0) & (given.size > 0)
    scale = torch.where(is_present, given.size / own.size.clamp_min(1.0), 1.0)
    # Donor voxel = low' + (v - low + 1/2) n' / n - 1/2; the constant part once per box.
    offset = given.low + (0.5 - own.low) * scale
    last = given.low + given.size - 1
    tables = torch.stack([scale, offset, given.low, last], -1)
    row = torch.arange(len(regions), device=regions.device).view(-1, *(1,) * (regions.ndim - 1))
    at = tables[row, regions.clamp_min(0)]
    scales, offsets, lows, lasts = at.unbind(-1)
    axes = [torch.arange(n, device=regions.device, dtype=torch.float32) for n in regions.shape[1:]]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    edge = voxel * scales + offsets
    limit = torch.tensor([n - 1.0 for n in regions.shape[1:]], device=regions.device)
    # Of boxes that do not exist only safe numbers are wanted; those voxels are not used.
    lows, lasts = torch.minimum(lows.clamp_min(0.0), limit), torch.minimum(lasts.clamp_min(0.0), limit)
    nearest = torch.minimum(torch.maximum(edge.floor(), lows), lasts).long()
    position = torch.minimum(torch.maximum(edge - 0.5, lows), lasts)
    exists = is_present.all(-1)[row, regions.clamp_min(0)] & (regions >= 0)
    return _Place(position, nearest, exists)


def _nearest(labels: Tensor, place: _Place) -> Tensor:
    """Return the (B, *S) labels of the donor at each place."""
    shape = labels.shape[1:]
    steps = torch.tensor([prod(shape[axis + 1 :]) for axis in range(len(shape))], device=labels.device)
    index = (place.nearest * steps).sum(-1).flatten(1)
    return labels.flatten(1).gather(1, index).view_as(labels)


def _linear(image: Tensor, place: _Place) -> Tensor:
    """Return the (B, M, *S) image of the donor at each place, interpolated along every axis."""
    lengths = torch.tensor([max(n - 1, 1) for n in image.shape[2:]], device=image.device)
    # grid_sample counts axes from the last, and from -1 to 1 between the centers of the outermost voxels.
    grid = (2 * place.position / lengths - 1).flip(-1)
    sampled: Tensor = functional.grid_sample(
        image.float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled


def _only(table: Tensor) -> Tensor:
    """Return the index of the only true entry of each row of a bool table, or -1 if there are several."""
    return torch.where(table.sum(1) == 1, table.to(torch.uint8).argmax(1), -1)
