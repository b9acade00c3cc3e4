"""Windows blended with Gaussian weights, on their device or, where its memory does not suffice, on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from SemiSegLib.planning.memory import is_out_of_memory

logger = logging.getLogger(__name__)

# Width and floor of the weights as in nnU-Net and MONAI: a window is trusted at its center.
SIGMA_FRACTION = 0.125
LEAST_WEIGHT = 1e-3
# Finished rows are handed on in small parts: what is made of them needs a multiple of their memory.
SLAB_ROWS = 16
CPU = torch.device("cpu")
T = TypeVar("T")


def gaussian_weights(patch: Sequence[int]) -> Tensor:
    """Return (*patch) float32 weights, 1 in the middle of a window and falling to its faces."""
    weights = torch.ones(tuple(patch))
    for axis, size in enumerate(patch):
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        line = torch.exp(-0.5 * (distance / (SIGMA_FRACTION * size)) ** 2)
        weights = weights * line.reshape([-1 if other == axis else 1 for other in range(len(patch))])
    return weights.clamp_(min=LEAST_WEIGHT)


class Blender:
    """Weighted sums over the rows that windows still reach; rows behind them are handed out and forgotten.

    Many classes over large slices are gigabytes of sums. What does not fit beside the network goes on on the CPU, with
    the same result: the step that it would otherwise end may be a validation of a training that fits.

    Args:
        channels: C of the windows' results.
        shape: (D, H, W) of the image that windows are laid over.
        patch: voxels of a window.
        place: of what is asked for inside ``shape``.
        device: of the windows' results.
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        patch: Sequence[int],
        place: tuple[slice, slice, slice],
        device: torch.device,
    ) -> None:
        self.patch = tuple(patch)
        self.place = place
        self.first = 0
        size = (patch[0], *shape[1:])

        def held(where: torch.device) -> tuple[Tensor, Tensor, Tensor]:
            weights = gaussian_weights(patch).to(where)
            return weights, torch.zeros((channels, *size), device=where), torch.zeros(size, device=where)

        try:
            found = held(device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found = None
        # Outside the handler: the traceback would keep what was made before the memory ran out.
        if found is None:
            _give_room(device)
            found = held(CPU)
        self.weights, self.sums, self.totals = found
        # What is handed out lies in one place from the first row to the last, also if the sums leave their device.
        self.device = self.sums.device

    def add(self, window: Sequence[int], value: Tensor) -> None:
        """Add the (C, *patch) result of one window, which starts at the first row that is held."""
        _row, h, w = window
        height, width = slice(h, h + self.patch[1]), slice(w, w + self.patch[2])
        self.sums[:, :, height, width].addcmul_(value.to(self.sums.device), self.weights)
        self.totals[:, height, width] += self.weights

    def finished_before(self, row: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the rows before ``row``, which no later window reaches, and make room for the next ones.

        Yields:
            First row and (C, rows, H, W) float32 means of some rows, in order.
        """
        count = min(row - self.first, self.patch[0])
        if count <= 0:
            return
        rows = self.place[0]
        stop = min(self.first + count, rows.stop)
        for start in range(max(self.first, rows.start), stop, SLAB_ROWS):
            held = slice(start - self.first, min(start + SLAB_ROWS, stop) - self.first)
            yield start - rows.start, self._within_memory(partial(self._mean, held)).to(self.device)
        # Channel by channel, so that only one is held twice.
        for channel in range(len(self.sums) + 1):
            self._within_memory(partial(self._move_up, channel, count))
        self.first = row

    def leave_device(self) -> bool:
        """Move the sums to the CPU and return whether that made room on a device."""
        source = self.sums.device
        if source == CPU:
            return False
        self.weights, self.sums, self.totals = (part.to(CPU) for part in (self.weights, self.sums, self.totals))
        _give_room(source)
        return True

    def _mean(self, held: slice) -> Tensor:
        _, height, width = self.place
        return self.sums[:, held, height, width] / self.totals[held, height, width]

    def _move_up(self, number: int, count: int) -> None:
        channel = self.sums[number] if number < len(self.sums) else self.totals
        # Only the copy takes memory: until it is there, nothing has changed.
        channel[:-count] = channel[count:].clone()
        channel[-count:] = 0

    def _within_memory(self, compute: Callable[[], T]) -> T:
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not self.leave_device():
                raise
        return compute()


def _give_room(device: torch.device) -> None:
    logger.warning("windows are blended on the CPU: %s has too little memory", device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
