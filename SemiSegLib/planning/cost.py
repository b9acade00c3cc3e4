"""What a training step costs: multiply-adds and time, counted from the plan without building the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES, per_voxel, width_of
from SemiSegLib.planning.plan import Plan

GIB = 2.0**30
# Weight, gradient and the two moments of Adam, float32.
BYTES_PER_WEIGHT = 16
# What one core of a current processor takes in fp32, for a multiply-add and for each value that a layer puts out:
# norms, rectifiers and copies cost as much as the convolutions where channels are few. Fitted to ten plans in 2-D and
# 3-D of 0.08 to 1.4 s a step (8 to 256 channels, AVX-512); the worst is off by a third. Backbones of fixed shape take
# 1.2 to 1.6 times as long (two rows of 32 x 32 x 32 voxels, 0.25 to 1.45 s).
SECONDS_PER_MULTIPLY_ADD = 1.8e-11
SECONDS_PER_OUTPUT = 1.1e-8


@dataclass(frozen=True)
class Layer:
    """One convolution with what follows it.

    Attributes:
        voxels: of its output, per row.
        features: output channels.
        weights: number of weights.
        multiply_adds: per row, forward.
    """

    voxels: int
    features: int
    weights: int
    multiply_adds: int


def unet_layers(plan: Plan, *, classes: int) -> tuple[Layer, ...]:
    """Return the convolutions of the planned U-Net, encoder first."""
    network = plan.network
    sizes = [[-(-n // s) for n, s in zip(plan.patch, network.stem_stride, strict=True)]]
    for stride in network.strides:
        sizes.append([-(-n // s) for n, s in zip(sizes[-1], stride, strict=True)])
    voxels = [math.prod(size) for size in sizes]
    kernels = [math.prod(kernel) for kernel in network.kernels]
    layers: list[Layer] = []

    def add(voxels: int, before: int, after: int, *, taps: int, weights: int | None = None) -> None:
        used = taps * before * after
        layers.append(Layer(voxels, after, weights or used, used * voxels))

    strides = (network.stem_stride, *network.strides)
    before = len(plan.channels)
    for stage, features in enumerate(network.features):
        if network.residual and (before != features or max(strides[stage]) > 1):
            add(voxels[stage], before, features, taps=1)
        for _ in range(network.blocks):
            add(voxels[stage], before, features, taps=kernels[stage])
            before = features
    for stage in reversed(range(len(network.strides))):
        features = network.features[stage]
        # Every voxel of a transposed convolution whose kernel is its stride sees one voxel below.
        count = math.prod(network.strides[stage]) * before * features
        add(voxels[stage], before, features, taps=1, weights=count)
        for index in range(1 if network.residual else network.blocks):
            add(voxels[stage], features if index else 2 * features, features, taps=kernels[stage])
        before = features
    full = math.prod(plan.patch)
    if max(network.stem_stride) > 1:
        # The way back to full resolution halves the channels.
        after = (before + 1) // 2
        add(full, before, after, taps=1, weights=math.prod(network.stem_stride) * before * after)
        before = after
    add(full, before, classes, taps=1)
    return tuple(layers)


def planned_core_seconds(plan: Plan, *, classes: int) -> float:
    """Return about how long a step of the planned U-Net takes on one core of a processor, whatever the backbone."""
    layers = unet_layers(plan, classes=classes)
    return _core_seconds(
        plan.batch * sum(layer.multiply_adds for layer in layers),
        plan.batch * sum(layer.voxels * layer.features for layer in layers),
    )


def step_core_seconds(plan: Plan, *, classes: int, work: float = 1.0) -> float:
    """Return about how long a training step takes on one core of a processor.

    Args:
        plan: of the study.
        classes: output channels.
        work: of a step, relative to one network that goes forward and back; see ``methods.catalogue.work_of``.
    """
    fixed = FIXED_BACKBONES.get(plan.network.backbone)
    if fixed is None:
        return work * planned_core_seconds(plan, classes=classes)
    width = width_of(plan.network.backbone, plan.network.features)
    # The network pads what its divisor does not divide.
    voxels = plan.batch * math.prod(-(-n // fixed.divisor) * fixed.divisor for n in plan.patch)
    return work * _core_seconds(
        voxels * per_voxel(fixed.multiply_adds[plan.dimensions], width),
        voxels * (per_voxel(fixed.outputs[plan.dimensions], width) + classes),
    )


def _core_seconds(multiply_adds: float, outputs: float) -> float:
    """Return seconds for what a forward pass multiplies and puts out; the way back is twice as much work."""
    return 3.0 * multiply_adds * SECONDS_PER_MULTIPLY_ADD + outputs * SECONDS_PER_OUTPUT
