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
from SemiSegLib.errors import RunError, ShapeError, explain
from SemiSegLib.methods.method import Method
from SemiSegLib.networks.modes import evaluating
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.blending import Blender
from SemiSegLib.prediction.device import PRECISIONS
from SemiSegLib.prediction.forward import Forward


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

    All slabs of an image are on one device: that of the windows, or the CPU where the sums do not fit into its memory.

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
        device: where windows are evaluated, and blended as long as its memory suffices; else the CPU blends them.
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
    blender: Blender | None = None
    with evaluating(method):
        for first in range(0, len(windows), size):
            if before_batch is not None:
                before_batch()
            chosen = windows[first : first + size]
            cut = _cut(padded, chosen, patch, plan.dimensions)
            try:
                values = forward(cut)
            except RunError:
                # One window alone has no room beside the sums, where they are on its device.
                if blender is None or not blender.leave_device():
                    raise
                values = forward(cut)
            if plan.dimensions == 2:
                values = values.unsqueeze(2)
            blender = blender or Blender(len(values[0]), padded.shape[1:], patch, place, device)
            for window, value in zip(chosen, values, strict=True):
                for start, done in blender.finished_before(window[0]):
                    yield _slab(start, done, forward.has_uncertainty)
                blender.add(window, value)
    if blender is not None:
        for start, done in blender.finished_before(padded.shape[1]):
            yield _slab(start, done, forward.has_uncertainty)


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


def _slab(start: int, values: Tensor, has_uncertainty: bool) -> Slab:
    """Return the slab of (C, rows, H, W) blended values, the last of which may be an uncertainty."""
    split = len(values) - has_uncertainty
    return Slab(start, values[:split], values[split] if has_uncertainty else None)


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
