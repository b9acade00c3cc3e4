"""What a training step costs: multiply-adds and memory, counted from the plan without building the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from SemiSegLib.planning.plan import Plan

GIB = 2.0**30
# Weight, gradient and the two moments of Adam, float32.
BYTES_PER_WEIGHT = 16


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
    before = len(plan.channels)
    for stage, features in enumerate(network.features):
        for _ in range(network.blocks * (2 if network.residual else 1)):
            weights = kernels[stage] * before * features
            layers.append(Layer(voxels[stage], features, weights, weights * voxels[stage]))
            before = features
    for stage in reversed(range(len(network.strides))):
        features = network.features[stage]
        # A transposed convolution whose kernel is its stride costs what a 1 x 1 convolution of its output does.
        up = before * features
        layers.append(Layer(voxels[stage], features, up * math.prod(network.strides[stage]), up * voxels[stage]))
        for inside in (2 * features, features):
            weights = kernels[stage] * inside * features
            layers.append(Layer(voxels[stage], features, weights, weights * voxels[stage]))
        before = features
    full = math.prod(plan.patch)
    layers.append(Layer(full, classes, before * classes, before * classes * full))
    return tuple(layers)


def step_multiply_adds(plan: Plan, *, classes: int) -> float:
    """Return the multiply-adds of one training step: forward once, backward twice that, for every row."""
    return 3.0 * plan.batch * sum(layer.multiply_adds for layer in unet_layers(plan, classes=classes))
