"""The U-Net that the plan shapes: residual or plain, with the strides and kernels of each stage.

Structure of nnU-Net (Isensee et al. 2021) and its residual-encoder form (Isensee et al. 2024): strided convolutions
down, transposed convolutions up, concatenated skips, leaky ReLU. With ``stem_stride`` above 1 the first stage works at
a lower resolution, which saves most of the time of a full-resolution stage, and a transposed convolution brings the
last map back with half as many channels: at full resolution every channel counts, in 3-D there are 8 voxels for each of
the map's, and a third of a step's time went into 16 channels there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape
from SemiSegLib.networks.layers import convolution, initialize, norm_layer, rectifier, upsampling
from SemiSegLib.planning.plan import NetworkPlan


class Unit(nn.Module):
    """Some convolutions with norm and rectifier; a residual one adds its input before the last rectifier.

    Args:
        channels: in and out.
        kernel: per axis.
        stride: of the first convolution, per axis.
        count: convolutions.
        norm: "instance", "batch" or "group".
        residual: with a shortcut.
        raw: without the last norm and rectifier; not for a residual one.
    """

    def __init__(  # noqa: PLR0913 - the shape of a block of convolutions
        self,
        channels: tuple[int, int],
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        count: int,
        norm: str,
        residual: bool,
        raw: bool = False,
    ) -> None:
        super().__init__()
        start, width = channels
        dimensions = len(kernel)
        layers: list[nn.Module] = []
        for index in range(count):
            first = index == 0
            layers += [
                convolution(start if first else width, width, kernel, stride if first else None, bias=False),
                norm_layer(norm, width, dimensions),
                rectifier(),
            ]
        self.layers = nn.Sequential(*(layers[:-2] if raw else layers[:-1] if residual else layers))
        self.shortcut: nn.Module | None = None
        self.rectify: nn.Module | None = rectifier() if residual else None
        if residual and (start != width or max(stride) > 1):
            self.shortcut = nn.Sequential(
                convolution(start, width, (1,) * dimensions, stride, bias=False), norm_layer(norm, width, dimensions)
            )

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, width, *S / stride) for (B, start, *S)."""
        result: Tensor = self.layers(image)
        if self.rectify is not None:
            result = self.rectify(result + (image if self.shortcut is None else self.shortcut(image)))
        return result


class Up(nn.Module):
    """One step up: transposed convolution, skip, convolutions."""

    def __init__(self, channels: int, width: int, stride: Sequence[int], unit: nn.Module) -> None:
        super().__init__()
        self.up = upsampling(channels, width, stride)
        self.unit = unit

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        """Return a map at the resolution of the skip."""
        result: Tensor = self.unit(torch.cat([self.up(image), skip], dim=1))
        return result


@BACKBONES.register("plan_unet")
class PlanUNet(Backbone):
    """The U-Net of a network plan; see the module."""

    offers_raw_map = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        plan, dimensions = shape.plan, shape.dimensions
        _check_plan(plan, dimensions, raw_map=shape.raw_map)
        strides = (plan.stem_stride, *plan.strides)
        sums = list(accumulate(strides, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True))))
        self.channels = shape.channels
        self.divisor = sums[-1]
        self.has_stem = max(plan.stem_stride) > 1
        width = plan.features[0]
        self.feature_channels = (width + 1) // 2 if self.has_stem else width
        self.bottleneck_channels = plan.features[-1]
        inputs = (shape.channels, *plan.features)
        self.encoder = nn.ModuleList(
            _stage(plan, (inputs[i], plan.features[i]), plan.kernels[i], strides[i]) for i in range(len(plan.features))
        )
        self.decoder = nn.ModuleList(
            Up(
                plan.features[i + 1],
                plan.features[i],
                plan.strides[i],
                # Of the blocks, only the one that makes the feature map may stay raw.
                _decoder_unit(plan, i, raw=shape.raw_map and i == 0 and not self.has_stem),
            )
            for i in reversed(range(len(plan.strides)))
        )
        self.finish: nn.Module = nn.Identity()
        if self.has_stem:
            up = upsampling(width, self.feature_channels, plan.stem_stride)
            self.finish = nn.Sequential(up) if shape.raw_map else nn.Sequential(up, rectifier())
        deep = range(0 if self.has_stem else 1, len(plan.strides))[: plan.deep_supervision]
        self.deep_channels = tuple(plan.features[i] for i in deep)
        self.deep_strides = tuple(sums[i] for i in deep)
        self.dropout = (nn.Dropout2d if dimensions == 2 else nn.Dropout3d)(plan.dropout)
        self.apply(initialize)

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of the divisor."""
        maps = [image]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        bottleneck = current = self.dropout(maps.pop())
        ups = []
        for up in self.decoder:
            current = up(current, maps.pop())
            ups.append(current)
        finest_first = ups[::-1] if self.has_stem else ups[-2::-1]
        deep = tuple(finest_first[: len(self.deep_channels)])
        return Features(self.dropout(self.finish(current)), bottleneck, deep)


def _stage(plan: NetworkPlan, channels: tuple[int, int], kernel: Sequence[int], stride: Sequence[int]) -> nn.Sequential:
    """Return ``plan.blocks`` convolutions, two to a residual unit."""
    counts = [2] * (plan.blocks // 2) + [1] * (plan.blocks % 2) if plan.residual else [plan.blocks]
    start, width = channels
    units = []
    for index, count in enumerate(counts):
        ends = (start, width) if index == 0 else (width, width)
        step = stride if index == 0 else (1,) * len(kernel)
        units.append(Unit(ends, kernel, step, count=count, norm=plan.norm, residual=plan.residual))
    return nn.Sequential(*units)


def _decoder_unit(plan: NetworkPlan, stage: int, *, raw: bool) -> Unit:
    # One convolution per decoder stage beside a residual encoder, as in nnU-Net's: depth pays in the encoder.
    width, kernel = plan.features[stage], plan.kernels[stage]
    count = 1 if plan.residual else plan.blocks
    ends, step = (2 * width, width), (1,) * len(kernel)
    return Unit(ends, kernel, step, count=count, norm=plan.norm, residual=False, raw=raw)


def _check_plan(plan: NetworkPlan, dimensions: int, *, raw_map: bool) -> None:
    available = max(len(plan.strides) - (0 if max(plan.stem_stride) > 1 else 1), 0)
    lengths = {len(part) for part in (plan.stem_stride, *plan.strides, *plan.kernels)}
    problem = None
    if lengths != {dimensions}:
        problem = f"strides or kernels do not have {dimensions} axes"
    elif any(size % 2 == 0 for kernel in plan.kernels for size in kernel):
        problem = "a kernel size is even"
    elif plan.blocks < 1:
        problem = f"{plan.blocks} blocks per stage"
    elif not 0 <= plan.deep_supervision <= available:
        problem = f"deep supervision at {plan.deep_supervision} lower resolutions, {available} exist"
    elif raw_map and not plan.strides and max(plan.stem_stride) == 1:
        problem = "a single stage has no decoder block to leave without a norm"
    if problem:
        raise ConfigError(explain(problem, where="network plan of plan_unet", remedy="mend the plan's network part"))
