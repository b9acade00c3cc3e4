"""The V-Net of paper 003 and its family (UA-MT, DTC, SASSNet, DTML), width 16, batch norm.

Five levels of 1, 2, 3, 3, 3 convolutions (3 x 3 x 3, batch norm, ReLU), strided convolutions down, transposed
convolutions up, added skips; channel dropout 0.5 at the bottleneck and before the head. 9.45 M parameters with two
heads. The plan's features, strides and norm are not used.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape
from SemiSegLib.networks.layers import convolutions, downsampling, normalized, upsampling

WIDTHS = (16, 32, 64, 128, 256)
ENCODER_CONVOLUTIONS = (1, 2, 3, 3, 3)
DECODER_CONVOLUTIONS = (1, 2, 3, 3)
DROPOUT = 0.5


@BACKBONES.register("vnet")
class VNet(Backbone):
    """The V-Net of paper 003; see the module."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dimensions = shape.dimensions
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = WIDTHS[0], WIDTHS[-1]
        self.divisor = (2 ** (len(WIDTHS) - 1),) * dimensions
        first = (shape.channels, *WIDTHS[1:])
        self.encoder = nn.ModuleList(
            convolutions(channels, width, count, dimensions)
            for channels, width, count in zip(first, WIDTHS, ENCODER_CONVOLUTIONS, strict=True)
        )
        pairs = list(pairwise(WIDTHS))
        self.down = nn.ModuleList(_resample(high, low, dimensions, up=False) for high, low in pairs)
        self.up = nn.ModuleList(_resample(low, high, dimensions, up=True) for high, low in reversed(pairs))
        self.decoder = nn.ModuleList(
            convolutions(width, width, count, dimensions)
            for width, count in zip(WIDTHS[-2::-1], DECODER_CONVOLUTIONS[::-1], strict=True)
        )
        self.dropout = (nn.Dropout2d if dimensions == 2 else nn.Dropout3d)(DROPOUT)

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 16."""
        maps = [self.encoder[0](image)]
        for down, block in zip(self.down, list(self.encoder)[1:], strict=True):
            maps.append(block(down(maps[-1])))
        bottleneck = current = self.dropout(maps.pop())
        for up, block in zip(self.up, self.decoder, strict=True):
            current = block(up(current) + maps.pop())
        return Features(self.dropout(current), bottleneck)


def _resample(channels: int, filters: int, dimensions: int, *, up: bool) -> nn.Sequential:
    stride = (2,) * dimensions
    layer = (upsampling if up else downsampling)(channels, filters, stride)
    return nn.Sequential(*normalized(layer, filters, dimensions))
