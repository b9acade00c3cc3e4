"""The U-Net of paper 000 (Efficient Subclass Segmentation): batch norm, max-pooling, linear upsampling.

Five levels of 16 to 256 channels, each two 3 x 3 convolutions with batch norm and ReLU; dropout 0.3 at the bottleneck
and before the head. 1.97 M parameters in 2-D with a head of 4 classes. Of the plan only the name is used.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape
from SemiSegLib.networks.layers import convolutions

WIDTHS = (16, 32, 64, 128, 256)
CONVOLUTIONS = 2
DROPOUT = 0.3


@BACKBONES.register("paper_unet")
class PaperUNet(Backbone):
    """The U-Net of paper 000; see the module."""

    offers_raw_map = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dimensions = shape.dimensions
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = WIDTHS[0], WIDTHS[-1]
        self.divisor = (2 ** (len(WIDTHS) - 1),) * dimensions
        pairs = zip((shape.channels, *WIDTHS[:-1]), WIDTHS, strict=True)
        self.encoder = nn.ModuleList(convolutions(i, w, CONVOLUTIONS, dimensions) for i, w in pairs)
        up = [convolutions(low + high, high, CONVOLUTIONS, dimensions) for low, high in pairwise(WIDTHS[::-1])]
        if shape.raw_map:
            # Without the norm and ReLU after the last convolution; every other block keeps its own.
            up[-1] = nn.Sequential(*list(up[-1])[:-2])
        self.decoder = nn.ModuleList(up)
        self.pool = (nn.MaxPool2d if dimensions == 2 else nn.MaxPool3d)(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear" if dimensions == 2 else "trilinear", align_corners=True)
        self.dropout = nn.Dropout(DROPOUT)

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 16."""
        maps = [self.encoder[0](image)]
        for block in list(self.encoder)[1:]:
            maps.append(block(self.pool(maps[-1])))
        bottleneck = current = self.dropout(maps.pop())
        for block in self.decoder:
            current = block(torch.cat([maps.pop(), self.up(current)], dim=1))
        return Features(self.dropout(current), bottleneck)
