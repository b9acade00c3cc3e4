"""The residual U-Net of DoDNet (Zhang et al., CVPR 2021, https://arxiv.org/abs/2011.10217).

Five levels of 32, 64, 128, 256, 256 channels with 1, 2, 2, 2, 2 residual blocks, then one block a level after linear
upsampling and an added skip. Every convolution has standardized weights (Qiao et al. 2019) and no shift; norms of 16
groups come before it, so the feature map ends without one: the head begins with its norm. 17.3 M parameters in 3-D.
Of the plan only the name is used.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape
from SemiSegLib.networks.layers import GroupNorm, subsampled

WIDTHS = (32, 64, 128, 256, 256)
BLOCKS = (1, 2, 2, 2, 2)
GROUPS = 16
SMALLEST_VARIANCE = 1e-12


class Standardized(nn.Module):
    """A convolution without shift whose weights have mean 0 and deviation 1 for each channel that it makes.

    Args:
        channels: in.
        filters: channels out.
        dimensions: 2 or 3.
        kernel: 1 or 3, along every axis.
        stride: along every axis.
    """

    def __init__(self, channels: int, filters: int, dimensions: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        # A 1 x 1 convolution sees its strided image; see networks/layers.py for why.
        self.steps = (stride if kernel == 1 else 1,) * dimensions
        self.stride, self.padding = 1 if kernel == 1 else stride, kernel // 2
        self.layer = Conv[Conv.CONV, dimensions](channels, filters, kernel, self.stride, self.padding, bias=False)
        self.convolve = functional.conv2d if dimensions == 2 else functional.conv3d

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, filters, *S / stride)."""
        weight = self.layer.weight
        flat = weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
        variance, mean = torch.var_mean(flat, dim=1, keepdim=True)
        standard = ((flat - mean) * (variance + SMALLEST_VARIANCE).rsqrt()).view_as(weight)
        seen = subsampled(image, self.steps)
        return self.convolve(seen, standard.to(weight.dtype), stride=self.stride, padding=self.padding)


class Block(nn.Module):
    """Norm, ReLU and convolution twice, and a shortcut, which has the same three where the shape changes."""

    def __init__(self, channels: int, filters: int, dimensions: int, *, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_before(channels, Standardized(channels, filters, dimensions, stride=stride)),
            *_before(filters, Standardized(filters, filters, dimensions)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != filters:
            self.shortcut = nn.Sequential(
                *_before(channels, Standardized(channels, filters, dimensions, kernel=1, stride=stride))
            )

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, filters, *S / stride)."""
        result: Tensor = self.layers(image) + self.shortcut(image)
        return result


@BACKBONES.register("dodnet_unet")
class DodnetUNet(Backbone):
    """The residual U-Net of DoDNet; see the module."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dimensions = shape.dimensions
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = WIDTHS[0], WIDTHS[-1]
        self.divisor = (2 ** (len(WIDTHS) - 1),) * dimensions
        self.first = Standardized(shape.channels, WIDTHS[0], dimensions)
        pairs = [(WIDTHS[0], WIDTHS[0]), *pairwise(WIDTHS)]
        self.encoder = nn.ModuleList(
            _stage(ends, dimensions, blocks=count, stride=min(level + 1, 2))
            for level, (ends, count) in enumerate(zip(pairs, BLOCKS, strict=True))
        )
        self.fusion = nn.Sequential(*_before(WIDTHS[-1], Standardized(WIDTHS[-1], WIDTHS[-1], dimensions, kernel=1)))
        # At each level the map has the width of its skip, and the block brings it to that of the next finer one.
        widths = (*WIDTHS[-2::-1], WIDTHS[0])
        self.decoder = nn.ModuleList(Block(start, end, dimensions) for start, end in pairwise(widths))
        self.up = nn.Upsample(scale_factor=2, mode="bilinear" if dimensions == 2 else "trilinear")

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 16."""
        maps = [self.encoder[0](self.first(image))]
        for stage in list(self.encoder)[1:]:
            maps.append(stage(maps[-1]))
        bottleneck = current = self.fusion(maps.pop())
        for block in self.decoder:
            current = block(self.up(current) + maps.pop())
        return Features(current, bottleneck)


def _before(channels: int, layer: nn.Module) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a layer with what comes before it."""
    return GroupNorm(GROUPS, channels), nn.ReLU(), layer


def _stage(ends: tuple[int, int], dimensions: int, *, blocks: int, stride: int) -> nn.Sequential:
    start, width = ends
    first = Block(start, width, dimensions, stride=stride)
    return nn.Sequential(first, *(Block(width, width, dimensions) for _ in range(blocks - 1)))
