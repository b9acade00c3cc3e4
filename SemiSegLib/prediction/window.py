"""A method applied to an image of any size: windows blended with Gaussian weights, slab by slab.

Windows run along the first axis, and rows that no later window reaches are handed on at once. So the memory for
probabilities is that of one patch depth of rows, however many rows the image has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ShapeError, explain
from SemiSegLib.methods.method import Method
from SemiSegLib.networks.modes import evaluating
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.device import PRECISIONS
from SemiSegLib.prediction.forward import Forward

# Width and floor of the weights as in nnU-Net and MONAI: a window is trusted at its center.
SIGMA_FRACTION = 0.125
LEAST_WEIGHT = 1e-3
# Finished rows are handed on in small parts: what is made of them needs a multiple of their memory.
SLAB_ROWS = 16


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How windows are laid and evaluated.

    Attributes:
        overlap_fraction: least share of a window that its neighbor covers too, 0 to below 1.
        mirror: plan axes along which mirrored copies are averaged, 2 to the power of their number.
        precision: "auto", "fp32", "bf16" or "fp16"; see ``reduced_precision``.
        batch: windows per forward pass, or None for the plan's batch.
        uncertainty: also ask the method for its uncertainty.
    """

    overlap_fraction: float = 0.5
    mirror: tuple[bool, bool, bool] = (False, False, False)
    precision: str = "auto"
    batch: int | None = None
    uncertainty: bool = False

    def __post_init__(self) -> None:
        check_range("overlap_fraction", self.overlap_fraction, low=0.0, high=0.95)
        check_range("batch", self.batch or 1, low=1, high=4096)
        check_choice("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class Slab:
    """Finished rows of the image.

    Attributes:
        start: first row.
        probabilities: (L, rows, H, W) float32, summing to 1 over L.
        uncertainty: (rows, H, W) float32, 0 to 1, or None if the method has none of its own.
    """

    start: int
    probabilities: Tensor
    uncertainty: Tensor | None


def predict_array(
    method: Method,
    image: np.ndarray,
    plan: Plan,
    *,
    device: str | torch.device = "cpu",
    settings: WindowSettings | None = None,
) -> np.ndarray:
    """Return (L, D, H, W) float32 leaf probabilities of a prepared image; arguments as ``predict_slabs``."""
    result: np.ndarray | None = None
    for slab in predict_slabs(method, image, plan, device=device, settings=settings):
        values = slab.probabilities.cpu().numpy()
        if result is None:
            result = np.empty((len(values), *image.shape[1:]), dtype=np.float32)
        result[:, slab.start : slab.start + values.shape[1]] = values
    assert result is not None, "every image has at least one window"
    return result


def predict_slabs(
    method: Method,
    image: np.ndarray,
    plan: Plan,
    *,
    device: str | torch.device = "cpu",
    settings: WindowSettings | None = None,
    before_batch: Callable[[], None] | None = None,
) -> Iterator[Slab]:
    """Yield the leaf probabilities of a prepared image, rows in order, each row once.

    An image smaller than the patch lies in its middle, and the rest of the patch is 0, as in training. A 2-D plan
    sees each slice along the first axis as an image. The method's training mode is put back afterward.

    Args:
        method: on ``device``.
        image: (M, D, H, W) float32 along the plan axes.
        plan: gives patch, dimensions and batch.
        device: where windows are evaluated and blended.
        settings: overlap, mirroring and precision.
        before_batch: called before each batch of windows; what it raises ends the prediction.

    Raises:
        ShapeError: the image has another number of channels than the plan, or an axis of no voxels.
        CaseError: the method's output is not finite.
        RunError: a single window does not fit into the device's memory.
    """
    settings = settings or WindowSettings()
    device = torch.device(device)
    padded, place, patch, windows = _laid(image, plan, device, settings)
    forward = Forward(
        method,
        mirror_axes=[axis - (3 - plan.dimensions) for axis in range(3 - plan.dimensions, 3) if settings.mirror[axis]],
        precision=settings.precision,
        uncertainty=settings.uncertainty,
        device=device,
    )
    size = settings.batch or plan.batch
    blender: _Blender | None = None
    with evaluating(method):
        for first in range(0, len(windows), size):
            if before_batch is not None:
                before_batch()
            chosen = windows[first : first + size]
            values = forward(_cut(padded, chosen, patch, plan.dimensions))
            if plan.dimensions == 2:
                values = values.unsqueeze(2)
            blender = blender or _Blender(len(values[0]), padded.shape[1:], patch, place, device)
            for window, value in zip(chosen, values, strict=True):
                yield from blender.finished_before(window[0], forward.has_uncertainty)
                blender.add(window, value)
    if blender is not None:
        yield from blender.finished_before(padded.shape[1], forward.has_uncertainty)


def windows_of(
    image: np.ndarray, plan: Plan, *, device: str | torch.device = "cpu", settings: WindowSettings | None = None
) -> Iterator[Tensor]:
    """Yield the windows that ``predict_slabs`` evaluates, (B, M, *patch) in batches, as they are; arguments alike."""
    settings = settings or WindowSettings()
    padded, _, patch, windows = _laid(image, plan, torch.device(device), settings)
    size = settings.batch or plan.batch
    for first in range(0, len(windows), size):
        yield _cut(padded, windows[first : first + size], patch, plan.dimensions)


def _laid(
    image: np.ndarray, plan: Plan, device: torch.device, settings: WindowSettings
) -> tuple[Tensor, tuple[slice, slice, slice], tuple[int, ...], list[tuple[int, ...]]]:
    """Return the image with zeros where it is smaller than the patch, its place, the patch, and where windows start."""
    _check(image, plan)
    patch = (1, *plan.patch) if plan.dimensions == 2 else plan.patch
    padded, place = pad_to_patch(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), patch)
    starts = [
        window_starts(size, p, settings.overlap_fraction) for size, p in zip(padded.shape[1:], patch, strict=True)
    ]
    return padded.to(device), place, tuple(patch), list(product(*starts))


def window_starts(size: int, patch: int, overlap_fraction: float) -> list[int]:
    """Return the first voxels of windows that cover an axis, evenly spread, none reaching beyond it."""
    if size <= patch:
        return [0]
    step = max(1, int(patch * (1 - overlap_fraction)))
    count = math.ceil((size - patch) / step) + 1
    return [round(float(start)) for start in np.linspace(0, size - patch, count)]


def gaussian_weights(patch: Sequence[int]) -> Tensor:
    """Return (*patch) float32 weights, 1 in the middle of a window and falling to its faces."""
    weights = torch.ones(tuple(patch))
    for axis, size in enumerate(patch):
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        line = torch.exp(-0.5 * (distance / (SIGMA_FRACTION * size)) ** 2)
        weights = weights * line.reshape([-1 if other == axis else 1 for other in range(len(patch))])
    return weights.clamp_(min=LEAST_WEIGHT)


def pad_to_patch(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """Return the image with zeros around it where it is smaller than the patch, and its place inside.

    Args:
        image: (M, D, H, W).
        patch: voxels along D, H and W.
    """
    shape = image.shape[1:]
    # Of an odd rest, the larger half comes first: the rule of the patches in training.
    before = [max(0, -(-(size - n) // 2)) for n, size in zip(shape, patch, strict=True)]
    after = [max(0, size - n - b) for n, size, b in zip(shape, patch, before, strict=True)]
    d, h, w = (slice(b, b + n) for b, n in zip(before, shape, strict=True))
    if any(before) or any(after):
        pads = [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]
        image = functional.pad(image, pads)
    return image, (d, h, w)


class _Blender:
    """Weighted sums over the rows that windows still reach; rows behind them are handed out and forgotten."""

    def __init__(
        self,
        channels: int,
        shape: Sequence[int],
        patch: Sequence[int],
        place: tuple[slice, slice, slice],
        device: torch.device,
    ) -> None:
        self.weights = gaussian_weights(patch).to(device)
        self.sums = torch.zeros((channels, patch[0], *shape[1:]), device=device)
        self.totals = torch.zeros((patch[0], *shape[1:]), device=device)
        self.patch = tuple(patch)
        self.place = place
        self.first = 0

    def add(self, window: Sequence[int], value: Tensor) -> None:
        """Add the (C, *patch) result of one window, which starts at the first row that is held."""
        _row, h, w = window
        height, width = slice(h, h + self.patch[1]), slice(w, w + self.patch[2])
        self.sums[:, :, height, width].addcmul_(value, self.weights)
        self.totals[:, height, width] += self.weights

    def finished_before(self, row: int, has_uncertainty: bool) -> Iterator[Slab]:
        """Yield the rows before ``row``, which no later window reaches, and make room for the next ones."""
        count = min(row - self.first, self.patch[0])
        if count <= 0:
            return
        rows, height, width = self.place
        stop = min(self.first + count, rows.stop)
        for start in range(max(self.first, rows.start), stop, SLAB_ROWS):
            held = slice(start - self.first, min(start + SLAB_ROWS, stop) - self.first)
            values = self.sums[:, held, height, width] / self.totals[held, height, width]
            split = len(values) - has_uncertainty
            yield Slab(start - rows.start, values[:split], values[split] if has_uncertainty else None)
        # Channel by channel, so that only one is held twice.
        for channel in (*self.sums, self.totals):
            channel[:-count] = channel[count:].clone()
            channel[-count:] = 0
        self.first = row


def _cut(image: Tensor, windows: Sequence[Sequence[int]], patch: Sequence[int], dimensions: int) -> Tensor:
    """Return (B, M, *patch); a 2-D plan's windows lose their axis of one slice."""
    cuts = []
    for window in windows:
        d, h, w = (slice(start, start + size) for start, size in zip(window, patch, strict=True))
        cuts.append(image[:, d, h, w])
    stacked = torch.stack(cuts)
    return stacked.squeeze(2) if dimensions == 2 else stacked


def _check(image: np.ndarray, plan: Plan) -> None:
    if image.ndim != 4 or image.shape[0] != len(plan.channels) or min(image.shape) < 1:
        raise ShapeError(
            explain(
                f"the image has the shape {image.shape}, expected ({len(plan.channels)}, D, H, W) with no empty axis",
                where="prediction",
                remedy="pass the channels that the model was trained on, prepared by its plan",
            )
        )
