"""From probabilities on the plan's grid to leaves on the scan's own grid, class by class and slab by slab."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from SemiSegLib.batches.grid import PlanGrid, resample
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.window import Slab

# Plan rows that are restored at once: enough to keep the overlap of neighboring chunks small.
CHUNK_ROWS = 16


class Restorer:
    """Takes finished slabs of the plan's grid and keeps the leaf of each voxel of the scan's grid.

    Probabilities are restored and only then compared, so a thin structure is not cut by the coarser grid. Of the
    scan's grid only leaves and uncertainty are held, never the probabilities of all classes at once.

    Args:
        grid: of the scan.
        decision: how leaves come from probabilities.
        uncertainty: also keep the uncertainty: the method's own, else the entropy over its largest value, ln L.
        doubt: also keep the entropy in bits, at most 1, in one byte a voxel (255 is one bit); for a review.
    """

    def __init__(self, grid: PlanGrid, decision: Decision, *, uncertainty: bool, doubt: bool = False) -> None:
        self.grid = grid
        self.decision = decision
        self.leaves = np.zeros(grid.native_shape, dtype=np.uint8)
        self.uncertainty = np.zeros(grid.native_shape, dtype=np.float32) if uncertainty else None
        self.doubt = np.zeros(grid.native_shape, dtype=np.uint8) if doubt else None
        self.is_resampled = grid.shape != grid.native_shape
        rows, native = grid.shape[0], grid.native_shape[0]
        if self.is_resampled:
            # The interpolation along the first axis as a matrix (native rows, plan rows): the grid's own rule.
            identity = np.eye(rows, dtype=np.float32).reshape(rows, rows, 1)
            self.matrix = resample(identity, (native, rows, 1), kind="linear", nearest=grid.nearest)[..., 0]
            self.last_needed = rows - 1 - (self.matrix[:, ::-1] > 0).argmax(axis=1)
        self.held: list[np.ndarray] = []
        self.held_first = 0
        self.done = 0

    def add(self, slab: Slab) -> None:
        """Take the next rows."""
        if not self.is_resampled:
            self._keep_exact(slab)
            return
        values = slab.probabilities.cpu().numpy()
        if self.uncertainty is not None and slab.uncertainty is not None:
            values = np.concatenate([values, slab.uncertainty.cpu().numpy()[None]])
        self.held.append(values)
        count = sum(part.shape[1] for part in self.held)
        is_last = self.held_first + count == self.grid.shape[0]
        if is_last or count >= CHUNK_ROWS:
            self._restore_rows(self.held_first + count, has_own=slab.uncertainty is not None)

    def finish(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return leaves (D, H, W) uint8 and uncertainty (D, H, W) float32 or None, on the scan's grid."""
        assert self.done == self.grid.native_shape[0], "a slab is missing"
        return self._turn_back(self.leaves), None if self.uncertainty is None else self._turn_back(self.uncertainty)

    def finished_doubt(self) -> np.ndarray:
        """Return the doubt (D, H, W) uint8 on the scan's grid."""
        assert self.doubt is not None, "no doubt was asked for"
        return self._turn_back(self.doubt)

    def _keep_exact(self, slab: Slab) -> None:
        rows = slice(slab.start, slab.start + slab.probabilities.shape[1])
        self.leaves[rows] = self.decision(slab.probabilities).cpu().numpy()
        entropy = None
        if self.doubt is not None or (self.uncertainty is not None and slab.uncertainty is None):
            entropy = torch.special.entr(slab.probabilities).sum(0)
        if self.uncertainty is not None:
            own = slab.uncertainty
            if own is None:
                assert entropy is not None, "asked for above"
                own = entropy / math.log(len(slab.probabilities))
            self.uncertainty[rows] = own.clamp(0, 1).cpu().numpy()
        if self.doubt is not None:
            assert entropy is not None, "asked for above"
            self.doubt[rows] = in_bits(entropy.cpu().numpy())
        self.done = rows.stop

    def _restore_rows(self, known: int, *, has_own: bool) -> None:
        """Restore every row of the scan that needs only plan rows before ``known``."""
        stop = int(np.searchsorted(self.last_needed, known))
        block = self.held[0] if len(self.held) == 1 else np.concatenate(self.held, axis=1)
        if stop > self.done:
            first = int((self.matrix[self.done] > 0).argmax())
            weights = self.matrix[self.done : stop, first:known]
            self._compare(block[:, first - self.held_first :], weights, slice(self.done, stop), has_own=has_own)
            self.done = stop
        if self.done < len(self.matrix):
            # Where nearest slices are taken the next row that is needed may not have come yet.
            keep = min(known, int((self.matrix[self.done] > 0).argmax()))
            block, self.held_first = block[:, keep - self.held_first :], keep
        self.held = [block]

    def _compare(self, block: np.ndarray, weights: np.ndarray, rows: slice, *, has_own: bool) -> None:
        count = len(block) - has_own
        has_entropy = self.doubt is not None or (self.uncertainty is not None and not has_own)
        entropy = np.zeros((len(weights), *self.grid.native_shape[1:]), dtype=np.float32)

        def restored(leaf: int) -> Tensor:
            probability = self._restored(block[leaf], weights)
            if has_entropy:
                entropy[:] -= probability * np.log(np.maximum(probability, 1e-12))
            return torch.from_numpy(probability)

        self.leaves[rows] = self.decision.one_by_one(restored).numpy()
        if self.uncertainty is not None:
            own = self._restored(block[-1], weights) if has_own else entropy / np.float32(math.log(count))
            self.uncertainty[rows] = np.clip(own, 0, 1)
        if self.doubt is not None:
            self.doubt[rows] = in_bits(entropy)

    def _restored(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        in_plane = resample(
            values, (len(values), *self.grid.native_shape[1:]), kind="linear", nearest=self.grid.nearest
        )
        rows: np.ndarray = (weights @ in_plane.reshape(len(in_plane), -1)).reshape(-1, *in_plane.shape[1:])
        return rows

    def _turn_back(self, array: np.ndarray) -> np.ndarray:
        return self.grid.orientation.undo(array.transpose(np.argsort(self.grid.axis_order)))


def in_bits(entropy: np.ndarray) -> np.ndarray:
    """Return an entropy in nats as uint8, 255 for one bit or more."""
    scaled: np.ndarray = np.clip(np.round(entropy * np.float32(255 / math.log(2))), 0, 255).astype(np.uint8)
    return scaled
