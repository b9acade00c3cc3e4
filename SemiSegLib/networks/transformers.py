"""UNETR (Hatamizadeh et al. 2022), the network of paper 001, and Swin UNETR, that of paper 002, from MONAI's parts.

Both give their feature map before the output layer. UNETR's position embeddings are learned for the patch that its
training began with and interpolated where an image has another size, so a patch size is not fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from monai.networks import nets
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.networks.backbone import BACKBONES, Backbone, Features, Shape
from SemiSegLib.networks.basic_unet import monai_norm
from SemiSegLib.planning.fixed_backbones import width_of

# Voxels per token and axis (UNETR), and what Swin UNETR's five halvings need.
TOKEN_EDGE = 16
SWIN_DIVISOR = 32
HIDDEN = 768


@BACKBONES.register("unetr")
class Unetr(Backbone):
    """UNETR with MONAI's standard size: 12 layers of 768 with 12 heads; ``features[0]`` is its feature size."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        dimensions, width = shape.dimensions, shape.plan.features[0]
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = width, HIDDEN
        self.divisor = (TOKEN_EDGE,) * dimensions
        self.grid = tuple(ceil(n / TOKEN_EDGE) for n in shape.plan.made_for or shape.patch)
        self.net = nets.UNETR(
            in_channels=shape.channels,
            out_channels=1,
            img_size=[n * TOKEN_EDGE for n in self.grid],
            feature_size=width,
            norm_name=monai_norm(shape.plan.norm),
            dropout_rate=shape.plan.dropout,
            spatial_dims=dimensions,
        )
        self.net.out = nn.Identity()

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 16."""
        net, embedding = self.net, self.net.vit.patch_embedding
        tokens = embedding.patch_embeddings(image)
        grid = tokens.shape[2:]
        tokens = embedding.dropout((tokens + self._positions(grid)).flatten(2).transpose(1, 2))
        states = []
        for block in net.vit.blocks:
            tokens = block(tokens)
            states.append(tokens)
        bottleneck = _to_map(net.vit.norm(tokens), grid)
        current = net.decoder5(bottleneck, net.encoder4(_to_map(states[9], grid)))
        current = net.decoder4(current, net.encoder3(_to_map(states[6], grid)))
        current = net.decoder3(current, net.encoder2(_to_map(states[3], grid)))
        return Features(net.decoder2(current, net.encoder1(image)), bottleneck)

    def _positions(self, grid: Sequence[int]) -> Tensor:
        learned = _to_map(self.net.vit.patch_embedding.position_embeddings, self.grid)
        if tuple(grid) == self.grid:
            return learned
        mode = "bilinear" if len(self.grid) == 2 else "trilinear"
        return functional.interpolate(learned, size=tuple(grid), mode=mode)


@BACKBONES.register("swin_unetr")
class SwinUnetr(Backbone):
    """Swin UNETR; its width is ``features[0]`` if that is a multiple of 12, else MONAI's 24."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = width_of("swin_unetr", shape.plan.features)
        self.channels = shape.channels
        self.feature_channels, self.bottleneck_channels = width, width * 16
        self.divisor = (SWIN_DIVISOR,) * shape.dimensions
        self.net = nets.SwinUNETR(
            in_channels=shape.channels,
            out_channels=1,
            feature_size=width,
            norm_name=monai_norm(shape.plan.norm),
            drop_rate=shape.plan.dropout,
            spatial_dims=shape.dimensions,
        )
        self.net.out = nn.Identity()

    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of 32."""
        net = self.net
        states = net.swinViT(image, net.normalize)
        bottleneck = net.encoder10(states[4])
        current = net.decoder5(bottleneck, states[3])
        current = net.decoder4(current, net.encoder4(states[2]))
        current = net.decoder3(current, net.encoder3(states[1]))
        current = net.decoder2(current, net.encoder2(states[0]))
        return Features(net.decoder1(current, net.encoder1(image)), bottleneck)


def _to_map(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """Return (B, H, *grid) for (B, N, H) tokens."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)
