"""From a fingerprint to a plan, as nnU-Net does it, with a network that the device can train in reasonable time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.planning import fitting
from SemiSegLib.planning.fingerprint import ChannelFingerprint, Fingerprint
from SemiSegLib.planning.fitting import Budget, Outputs
from SemiSegLib.planning.fixed_backbones import require_heeded
from SemiSegLib.planning.memory import free_memory_gib
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.planning.processor import fp32_cores
from SemiSegLib.runs.request import PlanSettings, TrainingSettings

# One axis this much thicker than the finest: slices are planned as such (nnU-Net).
THICK = 3.0
# A stack of so few thick slices has hardly any third dimension to learn from. Ours.
FEW_SLICES = 12
# A channel of which more than this share is exactly 0 was blanked outside the head or body (nnU-Net: a quarter).
BLANKED = 0.25
# Budget of a step on a graphics card when nothing is said: nnU-Net plans for 8 to 11 GiB, and larger patches cost time
# and rarely help.
USUAL_GIB = 10.0
# Rows of one batch hold at most this share of the dataset's voxels on a graphics card (nnU-Net).
SHARE_OF_DATASET = 0.05
# What a step may take of one CPU core: a third of a second on two. Fewer and dearer steps at full resolution win:
# hippocampus, marginal, 6 + 134, 270 s, validation Dice 0.869 / 0.847 after 888 steps of 16-32-64-128 channels,
# 0.861 / 0.845 after 1,869 steps of 32-64-128 at half resolution.
CPU_CORE_SECONDS = 0.7
# A short time budget must still hold so many steps; below that, more and cheaper steps win.
FEWEST_STEPS = 500
# Features of the first stage and downsampling before it, best first.
CPU_WIDTHS = ((32, 1), (16, 1), (32, 2), (16, 2))
GRAPHICS_WIDTHS = ((32, 1),)
# Fewest and most rows, by dimensions.
CPU_ROWS = {2: (4, 12), 3: (2, 4)}
GRAPHICS_ROWS = {2: (8, 48), 3: (2, 12)}


def make_plan(  # noqa: PLR0913 - what a step is planned for, each with a default
    fingerprint: Fingerprint,
    dataset: Dataset,
    settings: PlanSettings,
    *,
    device: str = "cpu",
    core_seconds: float | None = None,
    structures: int = 0,
    graphs: int = 1,
) -> Plan:
    """Return the plan for a dataset on a device.

    Spacing, axis order, normalization, depth and patch follow nnU-Net (Isensee et al. 2021). On a CPU the
    multiply-adds of a step are bounded too: full resolution is what costs there, so the network may be narrower or
    halve the image before its first stage.

    Args:
        fingerprint: of the training cases.
        dataset: gives modality and dimensions.
        settings: what a person fixed; without a budget of memory it is three quarters of what is free (on a graphics
            card at most 10 GiB).
        device: what to plan for: "cpu", "cuda", "cuda:1", "mps".
        core_seconds: time budget of the training, see ``time_on_cores``, or None; a short one gets a cheaper network
            on a CPU.
        structures: that the method answers one by one, see ``Card.answers``.
        graphs: networks whose activations a step holds at once, see ``methods.catalogue.graphs_at_once``.

    Raises:
        ConfigError: an intensity window is fixed, and there is no channel that it could be of; or the backbone does not
            heed what is fixed of its shape.
    """
    require_heeded(settings)
    # No plan in three dimensions could be made for scans of one slice, however thick their headers call it.
    asked = settings.dimensions or dataset.dimensions or (2 if len(_single_axes(fingerprint)) == 1 else None)
    spacing, order = _grid(fingerprint, settings, is_flat=asked == 2)
    median = fingerprint.median_shape_at(spacing)[list(order)]
    spacing = spacing[list(order)]
    dimensions = asked or (2 if spacing[0] > THICK * spacing.min() and median[0] <= FEW_SLICES else 3)
    d, h, w = (float(mm) for mm in spacing)
    plan = Plan(
        dimensions=dimensions,
        channels=_channels(fingerprint, settings),
        axis_order=order,
        # The slices of a 2-D plan are taken as they are; only their own plane is resampled.
        spacing_mm=(0.0 if dimensions == 2 else d, h, w),
        patch=(1,) * dimensions,
        batch=1,
        network=NetworkPlan(),
        median_shape=(int(median[0]), int(median[1]), int(median[2])),
    )
    budget = _budget(fingerprint, device, settings.memory_gib, dimensions)
    if core_seconds is not None and torch.device(device).type == "cpu":
        budget = replace(budget, core_seconds=core_seconds / FEWEST_STEPS)
    outputs = Outputs(fingerprint.classes, structures, graphs)
    return fitting.fit(plan, settings, budget, spacing_mm=(d, h, w)[3 - dimensions :], outputs=outputs)


def time_on_cores(training: TrainingSettings) -> float | None:
    """Return the time budget of a training in seconds of one core that computes in fp32; None if steps end it."""
    return None if training.seconds is None else training.seconds * fp32_cores(training)


def shrink(plan: Plan, *, least_rows: int = 1) -> Plan:
    """Return a plan that needs less memory, after a step ran out of it; see ``fitting.shrink``."""
    return fitting.shrink(plan, least_rows=least_rows)


def _single_axes(fingerprint: Fingerprint) -> np.ndarray:
    """Return the axes along which most scans are one voxel, that is, across which they are one slice."""
    return np.flatnonzero(np.median(fingerprint.shapes, axis=0) == 1)


def _grid(
    fingerprint: Fingerprint, settings: PlanSettings, *, is_flat: bool
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the target spacing on canonical axes and the order of the plan axes."""
    spacing = fingerprint.median_spacing_mm
    single = _single_axes(fingerprint)
    # Scans of one slice: what stands in a header for its thickness is often invented, and then finer than the pixels.
    thickest = int(single[0]) if is_flat and len(single) == 1 else int(np.argmax(spacing))
    others = [axis for axis in range(3) if axis != thickest]
    if spacing[thickest] > THICK * spacing[others].min():
        # With the median, half of the cases would lose slices; the 10th percentile keeps most of them (nnU-Net).
        low = float(np.percentile([s[thickest] for s in fingerprint.spacings_mm], 10))
        spacing[thickest] = max(low, float(spacing[others].max()))
        is_flat = True
    order = (thickest, others[0], others[1]) if is_flat else (0, 1, 2)
    if settings.spacing_mm is not None:
        wanted = np.array(settings.spacing_mm)
        spacing[list(order)] = np.where(wanted > 0, wanted, spacing[list(order)])
    return spacing, order


def _channels(fingerprint: Fingerprint, settings: PlanSettings) -> tuple[ChannelPlan, ...]:
    channels = tuple(_channel(channel, settings) for channel in fingerprint.channels)
    if settings.window is not None and all(channel.normalization != "ct" for channel in channels):
        raise ConfigError(
            explain(
                f"an intensity window of {settings.window} is asked for, and no channel is CT",
                where="plan settings",
                remedy="leave it out, name the modality in the dataset, or set normalization=ct",
            )
        )
    return channels


def _channel(channel: ChannelFingerprint, settings: PlanSettings) -> ChannelPlan:
    is_blanked = channel.zero_share > BLANKED
    usual = "ct" if channel.modality == "CT" else "zscore_nonzero" if is_blanked else "zscore"
    normalization = settings.normalization or usual
    if normalization != "ct":
        return ChannelPlan(role=channel.role, normalization=normalization)
    low, high, mean, deviation = channel.low, channel.high, channel.mean, channel.deviation
    if settings.window is not None:
        low, high = settings.window
        # Mean and deviation are those of all foreground, also of what the window cuts off; its own ends are known.
        mean, deviation = low, high - low
    return ChannelPlan(
        role=channel.role, normalization=normalization, low=low, high=high, mean=mean, deviation=deviation
    )


def _budget(fingerprint: Fingerprint, device: str, memory_gib: float | None, dimensions: int) -> Budget:
    is_cpu = torch.device(device).type == "cpu"
    if memory_gib is None:
        free = 0.75 * free_memory_gib(device)
        memory_gib = free if is_cpu else min(USUAL_GIB, free)
    if is_cpu:
        return Budget(
            memory_gib=memory_gib,
            core_seconds=math.inf,
            planned_core_seconds=CPU_CORE_SECONDS,
            widths=CPU_WIDTHS,
            rows=CPU_ROWS[dimensions],
            most_voxels=math.inf,
        )
    voxels = float(np.prod(fingerprint.median_shape_at(fingerprint.median_spacing_mm))) * len(fingerprint.shapes)
    return Budget(
        memory_gib=memory_gib,
        core_seconds=math.inf,
        planned_core_seconds=math.inf,
        widths=GRAPHICS_WIDTHS,
        rows=GRAPHICS_ROWS[dimensions],
        most_voxels=SHARE_OF_DATASET * voxels,
    )
