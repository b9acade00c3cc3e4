"""Networks that judge a segmentation: of a whole row whether it was labeled, or of each voxel whether it was drawn.

They are trained against the network they judge, never used to predict. Both take patches of any size: released ones
are tied to the crop they were written for.
"""

from __future__ import annotations

from itertools import pairwise

from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.networks.backbone import padded_size
from SemiSegLib.networks.layers import convolution, norm_layer

# Slope of the rectifiers of both adversaries, as published.
SLOPE = 0.2
# Channel dropout of SASSNet's discriminator between its convolutions.
DROPOUT = 0.5
# Each halving is a convolution of 4 voxels along each axis.
KERNEL = 4
# Widths of a discriminator's stages, and halvings of a confidence network.
WIDENING = (1, 2, 4, 8)
HALVINGS = 3


class Discriminator(nn.Module):
    """Says of each row whether its map looks like that of a labeled one: the discriminator of SASSNet (Li et al. 2020).

    Four convolutions of 4 x 4 x 4 that halve the map, of 64 to 512 channels; the first is two, one for the map and one
    for the image, added. Leaky ReLU 0.2 after each, channel dropout 0.5 between them. The released code then averages
    over a window of 7 x 7 x 5, what is left of its crop of 112 x 112 x 80; here the mean is over the whole map, which
    is the same for that crop and takes any other. A map that has shrunk to one voxel along an axis is padded by zeros.

    Args:
        map_channels: of the map that is judged.
        image_channels: of the image.
        dimensions: 2 or 3.
        width: channels of the first stage; 64 in the paper.
    """

    def __init__(self, map_channels: int, image_channels: int, dimensions: int, *, width: int = 64) -> None:
        super().__init__()
        widths = [width * factor for factor in WIDENING]
        self.map_stem = _halving(map_channels, width, dimensions)
        self.image_stem = _halving(image_channels, width, dimensions)
        self.stages = nn.ModuleList(_halving(before, after, dimensions) for before, after in pairwise(widths))
        self.dropout = (nn.Dropout2d if dimensions == 2 else nn.Dropout3d)(DROPOUT)
        self.head = nn.Linear(widths[-1], 2)

    def forward(self, judged: Tensor, image: Tensor) -> Tensor:
        """Return (B, 2) logits, unlabeled and labeled, for a (B, K, *S) map and its (B, M, *S) image."""
        current = functional.leaky_relu(
            self.map_stem(_at_least_two(judged)) + self.image_stem(_at_least_two(image)), SLOPE
        )
        for stage in self.stages:
            current = functional.leaky_relu(stage(_at_least_two(self.dropout(current))), SLOPE)
        logits: Tensor = self.head(current.flatten(2).mean(2))
        return logits


class ConfidenceNetwork(nn.Module):
    """Says of each voxel whether the map around it looks drawn or predicted: that of ASDNet (Nie et al. 2018).

    A small U-Net: a convolution, three that halve and double the channels (leaky ReLU 0.2), three transposed ones back
    with a norm and ReLU, skips added, one logit. The released code gives each step upward the map on the way down
    instead of the one below it, so that its deepest two levels never reach the result; here they do. It also gives two
    logits whose softmax its loss takes twice; one logit and one sigmoid say the same once.

    Args:
        channels: of the map that is judged.
        dimensions: 2 or 3.
        width: channels at full resolution; 32 in the released code.
        norm: "batch" (released code), "instance" or "group".
    """

    def __init__(self, channels: int, dimensions: int, *, width: int = 32, norm: str = "batch") -> None:
        super().__init__()
        levels = list(pairwise(width * 2**level for level in range(HALVINGS + 1)))
        self.divisor = (2**HALVINGS,) * dimensions
        self.stem = convolution(channels, width, (3,) * dimensions)
        self.down = nn.ModuleList(_halving(high, low, dimensions) for high, low in levels)
        self.up = nn.ModuleList(
            nn.Sequential(_doubling(low, high, dimensions), norm_layer(norm, high, dimensions), nn.ReLU())
            for high, low in reversed(levels)
        )
        self.head = convolution(width, 1, (1,) * dimensions)

    def forward(self, judged: Tensor) -> Tensor:
        """Return (B, *S) logits, above 0 where the voxel looks drawn, for a (B, L, *S) map."""
        size = judged.shape[2:]
        missing = [whole - part for whole, part in zip(padded_size(size, self.divisor), size, strict=True)]
        current = functional.pad(judged, [side for extra in reversed(missing) for side in (0, extra)])
        maps = [functional.leaky_relu(self.stem(current), SLOPE)]
        for down in self.down:
            maps.append(functional.leaky_relu(down(maps[-1]), SLOPE))
        current = maps.pop()
        for up in self.up:
            current = functional.relu(up(current) + maps.pop())
        logits: Tensor = self.head(current)[(slice(None), 0, *(slice(0, length) for length in size))]
        return logits


def _halving(channels: int, filters: int, dimensions: int) -> nn.Module:
    built: nn.Module = Conv[Conv.CONV, dimensions](channels, filters, KERNEL, 2, 1)
    return built


def _doubling(channels: int, filters: int, dimensions: int) -> nn.Module:
    built: nn.Module = Conv[Conv.CONVTRANS, dimensions](channels, filters, KERNEL, 2, 1)
    return built


def _at_least_two(current: Tensor) -> Tensor:
    """Return a map of at least two voxels along each axis, padded by zeros at the end: fewer cannot be halved."""
    missing = [max(2 - length, 0) for length in current.shape[2:]]
    if not any(missing):
        return current
    return functional.pad(current, [side for extra in reversed(missing) for side in (0, extra)])
