"""Where a structure cannot be: farther from the largest piece that a teacher found than labels show it (ours).

A network that is told of each image where one structure is not, and nothing of the others, takes much that is far from
all of them for one of them. Its running mean says so too, often surely. But the labels of other images tell that the
structure is one piece, or how far apart its pieces lie; so what lies farther away is something else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import edt
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from SemiSegLib.labels.reach import ALIKE, MARGIN

# Patches of more voxels are looked at in cells of several: pieces are far apart, and a step must not wait for them.
MOST_CELLS = 2**15


class Pieces:
    """Finds where structures cannot be.

    Args:
        reach_mm: of each leaf how far from its largest piece its voxels lie in labels, see ``labels.reach``; one with
            None may be anywhere.
        spacing_mm: along the space axes of a patch.
    """

    def __init__(self, reach_mm: Sequence[float | None], spacing_mm: Sequence[float]) -> None:
        self.reach_mm = tuple(reach_mm)
        self.spacing_mm = tuple(spacing_mm)

    @torch.no_grad()
    def too_far(self, winner: Tensor, sure: Tensor, asked: Tensor) -> Tensor:
        """Return (B, L, *S) bool, the voxels that are too far from the largest piece of each leaf.

        A piece counts only if it has a voxel that the teacher is sure of; a leaf without one may be anywhere. Pieces
        that touch the border of the patch may be one beyond it: they are taken together, and what is near to any of
        them is not too far. So it is with a piece of which a part is near enough, and with one that is at least half as
        large as the largest.

        Args:
            winner: (B, *S) integer, the most probable leaf of each voxel.
            sure: (B, *S) bool, voxels where the teacher is sure of that.
            asked: (B, L) bool, leaves that are looked at.
        """
        shape = winner.shape[1:]
        found = torch.zeros((len(winner), len(self.reach_mm), *shape), dtype=torch.bool, device=winner.device)
        cell = self._cell(shape)
        rows = asked.tolist()
        for leaf, reach in enumerate(self.reach_mm):
            chosen = [row for row, wanted in enumerate(rows) if wanted[leaf]]
            if reach is None or not chosen:
                continue
            own = winner[chosen] == leaf
            images = zip(_in_cells(own, cell), _in_cells(own & sure[chosen], cell), strict=True)
            far = np.stack([self._far(mask, core, cell, reach) for mask, core in images])
            if far.any():
                found[chosen, leaf] = _in_voxels(torch.from_numpy(far).to(found.device), cell, shape)
        return found

    def _cell(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the voxels of a cell along each axis: the finest axes are made coarser first."""
        cell = [1] * len(shape)
        while math.prod(-(-size // step) for size, step in zip(shape, cell, strict=True)) > MOST_CELLS:
            sizes = [step * space for step, space in zip(cell, self.spacing_mm, strict=True)]
            cell[sizes.index(min(sizes))] *= 2
        return tuple(cell)

    def _far(self, mask: np.ndarray, core: np.ndarray, cell: Sequence[int], reach: float) -> np.ndarray:
        """Return (*cells) bool for a mask and those of its cells that the teacher is sure of."""
        nowhere = np.zeros_like(mask)
        if not core.any():
            return nowhere
        padded = np.pad(mask, 1, constant_values=True)
        numbered, count = ndimage.label(padded, structure=np.ones((3,) * mask.ndim))
        # All that touches the border of the patch is of one piece with what was added around it: number 1.
        pieces = np.where(mask, numbered[(slice(1, -1),) * mask.ndim], 0)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        is_sure = np.zeros(count + 1, dtype=bool)
        is_sure[pieces[core]] = True
        number = int((sizes * is_sure).argmax())
        sides = tuple(step * space for step, space in zip(cell, self.spacing_mm, strict=True))
        limit = reach + max(MARGIN * min(self.spacing_mm), *sides)
        largest = pieces == number
        far: np.ndarray = edt.edt(~largest, anisotropy=sides) > limit
        stays = sizes >= ALIKE * sizes[number]
        stays[pieces[mask & ~far]] = True
        stays[1] = True
        if (others := stays[pieces] & mask & ~largest).any():
            far &= edt.edt(~others, anisotropy=sides) > limit
        return far


def _in_cells(mask: Tensor, cell: Sequence[int]) -> np.ndarray:
    """Return (B, *cells) bool on the CPU: True where any voxel of the cell is, so that no piece falls apart."""
    if max(cell) > 1:
        pool = functional.max_pool2d if len(cell) == 2 else functional.max_pool3d
        mask = pool(mask.unsqueeze(1).float(), tuple(cell), ceil_mode=True)[:, 0] > 0
    found: np.ndarray = mask.cpu().numpy()
    return found


def _in_voxels(cells: Tensor, cell: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return (B, *S) of (B, *cells)."""
    for axis, step in enumerate(cell, start=1):
        cells = cells.repeat_interleave(step, dim=axis)
    return cells[(slice(None), *(slice(size) for size in shape))]
