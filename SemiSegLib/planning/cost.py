"""What a training step costs: multiply-adds and memory, counted from the plan without building the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from SemiSegLib.planning.plan import Plan

GIB = 2.0**30
# Weight, gradient and the two moments of Adam, float32.
BYTES_PER_WEIGHT = 16
# What one core of a current processor takes in fp32, for a multiply-add and for each value that a layer puts out:
# norms, rectifiers and copies cost as much as the convolutions where channels are few. Fitted to ten plans in 2-D and
# 3-D of 0.08 to 1.4 s a step (8 to 256 channels, AVX-512); the worst is off by a third.
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


def step_multiply_adds(plan: Plan, *, classes: int) -> float:
    """Return the multiply-adds of one training step: forward once, backward twice that, for every row."""
    return 3.0 * plan.batch * sum(layer.multiply_adds for layer in unet_layers(plan, classes=classes))


def step_core_seconds(plan: Plan, *, classes: int) -> float:
    """Return about how long a training step of the planned U-Net takes on one core of a processor."""
    outputs = plan.batch * sum(layer.voxels * layer.features for layer in unet_layers(plan, classes=classes))
    return step_multiply_adds(plan, classes=classes) * SECONDS_PER_MULTIPLY_ADD + outputs * SECONDS_PER_OUTPUT
