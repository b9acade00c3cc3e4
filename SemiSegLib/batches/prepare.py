"""From a scan to what a network sees: the one code path of training and prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SemiSegLib.batches.grid import PlanGrid
from SemiSegLib.cases.alignment import SAME_GRID_VOXELS
from SemiSegLib.cases.volume import Volume
from SemiSegLib.errors import CaseError, ShapeError, explain
from SemiSegLib.planning.plan import ChannelPlan, Plan


def prepare_image(channels: Sequence[Volume], plan: Plan) -> tuple[np.ndarray, PlanGrid]:
    """Return the network's image of a scan and the way back to the scan's grid.

    Nothing is cropped. Intensities are normalized on the scan's own voxels, then resampled. A patch that reaches
    beyond the prepared array sees 0 there, in training and in prediction.

    Args:
        channels: one volume per channel of the plan, in its order, on one grid.
        plan: says orientation, spacing and normalization.

    Returns:
        (M, D, H, W) float32 along the plan axes, and its grid.

    Raises:
        ShapeError: another number of channels than the plan has, or grids that differ.
        CaseError: an intensity is not finite.
    """
    if len(channels) != len(plan.channels):
        raise ShapeError(
            explain(
                f"the image has {len(channels)} channels, the plan has {len(plan.channels)}",
                where=f"channels {', '.join(c.role for c in plan.channels)}",
                remedy="pass the same image channels, in the same order, as in training",
            )
        )
    first = channels[0].geometry
    for volume, channel in zip(channels, plan.channels, strict=True):
        if volume.geometry.shape != first.shape:
            raise ShapeError(
                explain(
                    f"channel '{channel.role}' has shape {volume.geometry.shape}, the first has {first.shape}",
                    where="image channels",
                    remedy="resample every channel to the grid of the first",
                )
            )
        if (apart := first.displacement_voxels(volume.geometry)) > SAME_GRID_VOXELS:
            raise ShapeError(
                explain(
                    f"channel '{channel.role}' lies on another grid than the first: corners are {apart:.3g} voxels "
                    "apart",
                    where="image channels",
                    remedy="resample every channel to the grid of the first, or read them with "
                    "``cases.channels.read_channels``, which places them",
                )
            )
    grid = PlanGrid.of(first, plan)
    image = np.empty((len(channels), *grid.shape), dtype=np.float32)
    for index, (volume, channel) in enumerate(zip(channels, plan.channels, strict=True)):
        image[index] = grid.resample_image(normalize(grid.turn(volume.voxels), channel))
    return image, grid


def prepare_codes(codes: np.ndarray, grid: PlanGrid) -> np.ndarray:
    """Return (D, H, W) uint8 codes along the plan axes for codes on the scan's grid."""
    return grid.resample_codes(grid.turn(codes))


def normalize(voxels: np.ndarray, channel: ChannelPlan) -> np.ndarray:
    """Return float32 intensities in the network's range; a constant image becomes 0.

    Raises:
        CaseError: an intensity is not finite.
    """
    image: np.ndarray = voxels.astype(np.float32)
    if not np.isfinite(image).all():
        count = int((~np.isfinite(image)).sum())
        raise CaseError(
            explain(
                f"{count} voxels are not finite numbers",
                where=f"channel '{channel.role}'",
                remedy="export the image again, or replace these voxels by the value of air",
            )
        )
    if channel.normalization == "ct":
        image = (np.clip(image, channel.low, channel.high) - np.float32(channel.mean)) / _divisor(channel.deviation)
    elif channel.normalization == "unit":
        low, high = float(image.min()), float(image.max())
        image = (image - np.float32(low)) / _divisor(high - low)
    elif channel.normalization == "zscore_nonzero":
        tissue = image != 0
        if tissue.any():
            image[tissue] = _zscore(image[tissue])
    else:
        image = _zscore(image)
    return image


def _zscore(image: np.ndarray) -> np.ndarray:
    image = image - np.float32(image.mean(dtype=np.float64))
    image /= _divisor(float(np.sqrt(np.square(image).mean(dtype=np.float64))))
    return image


def _divisor(value: float) -> np.float32:
    # A constant image carries no information and becomes 0 whatever it is divided by.
    return np.float32(value if value > 1e-8 else 1.0)
