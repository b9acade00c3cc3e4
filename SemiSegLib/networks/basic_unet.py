"""MONAI's BasicUNet (Falk et al. 2019), the "UNet" of paper 001: 5.75 M parameters in 3-D.

The plan's norm is used; features (32, 32, 64, 128, 256, 32) are MONAI's.
"""

from __future__ import annotations

from monai.networks.nets import BasicUNet as MonaiBasicUNet
from torch import Tensor, nn

from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape

FEATURES = (32, 32, 64, 128, 256, 32)


@BACKBONES.register("basic_unet")
class BasicUNet(Backbone):
    """MONAI's BasicUNet without its last layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = FEATURES[5], FEATURES[4]
        self.divisor = (16,) * shape.dimensions
        self.net = MonaiBasicUNet(
            spatial_dims=shape.dimensions,
            in_channels=shape.channels,
            features=FEATURES,
            norm=monai_norm(shape.plan.norm),
            dropout=shape.plan.dropout,
        )
        self.net.final_conv = nn.Identity()

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 16."""
        net = self.net
        maps = [net.conv_0(image)]
        for down in (net.down_1, net.down_2, net.down_3, net.down_4):
            maps.append(down(maps[-1]))
        bottleneck = current = maps.pop()
        for up in (net.upcat_4, net.upcat_3, net.upcat_2, net.upcat_1):
            current = up(current, maps.pop())
        return Features(current, bottleneck)


def monai_norm(kind: str) -> tuple[str, dict[str, object]]:
    """Return MONAI's name and arguments of the norm "instance", "batch" or "group"."""
    names: dict[str, tuple[str, dict[str, object]]] = {
        "instance": ("instance", {"affine": True}),
        "batch": ("batch", {}),
        "group": ("group", {"num_groups": 8}),
    }
    return names[kind]
