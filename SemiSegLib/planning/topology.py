"""How deep the network goes and along which axes it downsamples and convolves at each depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A feature map is not halved along an axis on which fewer than this many voxels would remain (nnU-Net's value).
LEAST_EDGE = 4
MOST_STAGES = 6


@dataclass(frozen=True)
class Topology:
    """Strides and kernels of the stages.

    Attributes:
        strides: downsampling between stages, one fewer than stages.
        kernels: convolution size of each stage.
        divisor: what a patch is best divisible by, stem included.
    """

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    divisor: tuple[int, ...]


def plan_topology(
    patch: Sequence[int], spacing_mm: Sequence[float], *, stem_stride: Sequence[int], stages: int | None = None
) -> Topology:
    """Return strides and kernels for a patch.

    As in nnU-Net (Isensee et al. 2021, ``get_pool_and_conv_props``): an axis is halved while at least 8 voxels are
    left of it and its current spacing is less than twice the finest; it is convolved over (kernel 3) from the stage
    on at which its spacing is less than twice the finest.

    Args:
        patch: voxels per network axis.
        spacing_mm: per network axis.
        stem_stride: downsampling before the first stage.
        stages: wanted number of stages (more than the patch allows get stride 1), or None for all that fit, 6 at most.
    """
    axes = range(len(patch))
    size = [-(-n // s) for n, s in zip(patch, stem_stride, strict=True)]
    spacing = [mm * s for mm, s in zip(spacing_mm, stem_stride, strict=True)]
    strides: list[tuple[int, ...]] = []
    kernels = [_kernel(spacing, (1,) * len(size))]
    while len(strides) < (stages or MOST_STAGES) - 1:
        stride = _next_stride(size, spacing)
        if max(stride) == 1:
            break
        size = [-(-n // s) for n, s in zip(size, stride, strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, stride, strict=True)]
        strides.append(stride)
        kernels.append(_kernel(spacing, kernels[-1]))
    missing = (stages or 1) - 1 - len(strides)
    strides += [(1,) * len(size)] * missing
    kernels += [kernels[-1]] * missing
    # nnU-Net convolves over every axis at the lowest resolution.
    kernels[-1] = (3,) * len(size)
    divisor = [stem_stride[axis] for axis in axes]
    for stride in strides:
        divisor = [d * s for d, s in zip(divisor, stride, strict=True)]
    return Topology(tuple(strides), tuple(kernels), tuple(divisor))


def _next_stride(size: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, ...]:
    large = [axis for axis, n in enumerate(size) if n >= 2 * LEAST_EDGE]
    if not large:
        return (1,) * len(size)
    finest = min(spacing_mm[axis] for axis in large)
    chosen = [axis for axis in large if spacing_mm[axis] < 2 * finest]
    if len(chosen) == 1 and size[chosen[0]] < 3 * LEAST_EDGE:
        return (1,) * len(size)
    return tuple(2 if axis in chosen else 1 for axis in range(len(size)))


def _kernel(spacing_mm: Sequence[float], previous: Sequence[int]) -> tuple[int, ...]:
    finest = min(spacing_mm)
    return tuple(3 if k == 3 or mm < 2 * finest else 1 for k, mm in zip(previous, spacing_mm, strict=True))
