"""Heads: from a feature map to one logit per class, or one distance per structure, and voxel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from SemiSegLib.networks.layers import convolution, norm_layer

# Features of a voxel at which a logit is as quick as Adam moves it; heads of fewer are helped up to it.
QUICK_CHANNELS = 64


class LinearHead(nn.Module):
    """One linear map of the features of each voxel.

    Adam changes each weight by the learning rate whatever its gradient, so a logit of C features moves by at most C
    times that a step: at 2e-3 and 8 features by hundredths, and a network takes hundreds of steps to become sure of
    what it sees. ``quicken`` makes narrow heads as quick as those of 64 features.

    Args:
        channels: of the feature map.
        classes: logits per voxel.
        dimensions: 2 or 3.
        competes: whether the classes share one probability, as a softmax gives it; for a warm start.

    Attributes:
        rate: by which the learning rate of its weights is multiplied, at least 1.
    """

    def __init__(self, channels: int, classes: int, dimensions: int, *, competes: bool = True) -> None:
        super().__init__()
        self.competes = competes
        self.channels = channels
        self.rate = 1.0
        self.convolution = convolution(channels, classes, (1,) * dimensions)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, classes, *S) logits for (B, channels, *S) features."""
        logits: Tensor = self.convolution(features)
        return logits

    def quicken(self) -> None:
        """Let its weights take larger steps the fewer they are."""
        self.rate = max(1.0, QUICK_CHANNELS / self.channels)


class DistanceHead(LinearHead):
    """The signed distance of each voxel to each structure, squashed to -1 to 1 by tanh; negative inside.

    As in the released code of paper 003 (DTML), DTC and SASSNet; paper 003 speaks of a convolution block before it.

    Args:
        channels: of the feature map.
        structures: distances per voxel.
        dimensions: 2 or 3.
    """

    def __init__(self, channels: int, structures: int, dimensions: int) -> None:
        super().__init__(channels, structures, dimensions, competes=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, structures, *S) float32 for (B, channels, *S) features."""
        return torch.tanh(super().forward(features).float())

    def quicken(self) -> None:
        """Leave it as it is: what it says is multiplied by the steepness (30 for ours) before it is a logit."""


class Projection(nn.Module):
    """The map g that the two heads of the modified U-Net share: g = ReLU(conv3(ReLU(BN F))), as many channels as F.

    Source: paper 000 (Efficient Subclass Segmentation), "Mod". Its last convolution has no norm.

    Args:
        channels: of the feature map.
        dimensions: 2 or 3.
        norm: "batch" (paper), "instance" or "group".
    """

    def __init__(self, channels: int, dimensions: int, *, norm: str = "batch") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            norm_layer(norm, channels, dimensions),
            nn.ReLU(),
            convolution(channels, channels, (3,) * dimensions),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels, *S) for (B, channels, *S) features."""
        projected: Tensor = self.layers(features)
        return projected
