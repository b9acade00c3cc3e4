"""Layers whose fast form depends on the memory format, and the shorthand that makes them in 2-D and 3-D.

On a CPU, PyTorch's instance norm and group norm copy a channels-last tensor to channels-first and back, and oneDNN's
fp32 1 x 1 convolution is several times slower in channels-last. Both are replaced by equal arithmetic that is fast
there: a batch norm per row, and a matrix product over the channel axis. And oneDNN must never be asked for the weight
gradient of a 1 x 1 convolution with a stride: for channels-last images of fewer than 16 channels it writes beyond its
memory (oneDNN 3, ``jit_1x1:avx512_core``), which ends the process then or much later.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

# Slope of the rectifiers, as in nnU-Net.
NEGATIVE_SLOPE = 1e-2
# Largest number of groups of a group norm.
MOST_GROUPS = 8


def is_channels_last(image: Tensor) -> bool:
    """Return whether the channels of a (B, C, *S) tensor are neighbors in memory and its voxels are not."""
    if image.ndim not in (4, 5) or image.is_contiguous():
        return False
    # What ``is_contiguous(memory_format=...)`` computes; inside torch.vmap that cannot be asked, strides can.
    expected, stride = 1, image.stride()
    for axis in (1, *range(image.ndim - 1, 1, -1), 0):
        size = image.shape[axis]
        if size != 1 and stride[axis] != expected:
            return False
        expected *= size
    return True


class InstanceNorm(nn.Module):
    """Normalizes each channel of each row over space, with a learned scale and shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, image: Tensor) -> Tensor:
        """Return a tensor of the same shape and memory format."""
        if image[0, 0].numel() == 1:
            # One voxel differs from its own mean by 0; PyTorch refuses it.
            return image * 0.0 + self.bias.view(1, -1, *(1,) * (image.ndim - 2))
        if image.device.type == "cpu" and is_channels_last(image):
            rows = [
                functional.batch_norm(r, None, None, self.weight, self.bias, training=True)
                for r in torch.split(image, 1)
            ]
            return torch.cat(rows)
        return functional.instance_norm(image, weight=self.weight, bias=self.bias)


class GroupNorm(nn.GroupNorm):
    """PyTorch's group norm, computed channels-first on a CPU.

    The backward pass of its channels-last kernel takes 2 to 30 times as long as the change of layout.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return a tensor of the same shape and memory format."""
        if image.device.type == "cpu" and is_channels_last(image):
            layout = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
            return super().forward(image.contiguous()).contiguous(memory_format=layout)
        return super().forward(image)


def pointwise(image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a linear map of the channels of each voxel, by whichever way is the faster.

    Args:
        image: (B, C, *S).
        weight: (C', C, 1, ...), as a 1 x 1 convolution keeps it.
        bias: (C'), or None.

    Returns:
        (B, C', *S).
    """
    is_fp32 = image.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if image.device.type == "cpu" and is_fp32 and is_channels_last(image):
        return functional.linear(image.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
    return (functional.conv2d if image.ndim == 4 else functional.conv3d)(image, weight, bias)


def subsampled(image: Tensor, stride: Sequence[int]) -> Tensor:
    """Return the voxels that a 1 x 1 convolution with a stride looks at, in the memory format of the image.

    Args:
        image: (B, C, *S).
        stride: per axis of space.
    """
    if max(stride) == 1:
        return image
    seen = image
    for axis, step in enumerate(stride, start=2):
        seen = seen[(slice(None),) * axis + (slice(None, None, step),)]
    if not is_channels_last(image):
        return seen.contiguous()
    return seen.contiguous(memory_format=torch.channels_last if image.ndim == 4 else torch.channels_last_3d)


class PointwiseConv2d(nn.Conv2d):
    """1 x 1 convolution over images, of any stride."""

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, C', *S / stride) for (B, C, *S)."""
        return pointwise(subsampled(image, self.stride), self.weight, self.bias)


class PointwiseConv3d(nn.Conv3d):
    """1 x 1 x 1 convolution over volumes, of any stride."""

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, C', *S / stride) for (B, C, *S)."""
        return pointwise(subsampled(image, self.stride), self.weight, self.bias)


def convolution(
    channels: int, filters: int, kernel: Sequence[int], stride: Sequence[int] | None = None, *, bias: bool = True
) -> nn.Module:
    """Return a convolution of odd kernel that divides each axis by its stride, rounding up.

    Args:
        channels: in.
        filters: channels out.
        kernel: odd size per axis; its length decides between 2-D and 3-D.
        stride: per axis, 1 if not given.
        bias: with a learned shift; not needed before a norm.
    """
    stride = tuple(stride or (1,) * len(kernel))
    if max(kernel) == 1:
        if len(kernel) == 2:
            return PointwiseConv2d(channels, filters, 1, (stride[0], stride[1]), bias=bias)
        return PointwiseConv3d(channels, filters, 1, (stride[0], stride[1], stride[2]), bias=bias)
    layer = Conv[Conv.CONV, len(kernel)]
    built: nn.Module = layer(channels, filters, tuple(kernel), stride, tuple(size // 2 for size in kernel), bias=bias)
    return built


def upsampling(channels: int, filters: int, stride: Sequence[int]) -> nn.Module:
    """Return a transposed convolution whose kernel is its stride: every new voxel sees one old one."""
    built: nn.Module = Conv[Conv.CONVTRANS, len(stride)](channels, filters, tuple(stride), tuple(stride))
    return built


def downsampling(channels: int, filters: int, stride: Sequence[int]) -> nn.Module:
    """Return a convolution whose kernel is its stride."""
    built: nn.Module = Conv[Conv.CONV, len(stride)](channels, filters, tuple(stride), tuple(stride))
    return built


def norm_layer(kind: str, channels: int, dimensions: int) -> nn.Module:
    """Return the norm named "instance", "batch" or "group" for tensors of so many space axes."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "group":
        groups = max(g for g in range(1, MOST_GROUPS + 1) if channels % g == 0)
        return GroupNorm(groups, channels)
    return nn.BatchNorm2d(channels) if dimensions == 2 else nn.BatchNorm3d(channels)


def convolutions(channels: int, filters: int, count: int, dimensions: int) -> nn.Sequential:
    """Return a block of the papers' networks: so many convolutions of 3 along each axis, as ``normalized`` each."""
    layers: list[nn.Module] = []
    for index in range(count):
        layer = convolution(filters if index else channels, filters, (3,) * dimensions)
        layers += normalized(layer, filters, dimensions)
    return nn.Sequential(*layers)


def normalized(layer: nn.Module, filters: int, dimensions: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a layer of so many channels out with what follows it in the papers' networks: batch norm and ReLU."""
    return layer, norm_layer("batch", filters, dimensions), nn.ReLU(inplace=True)


def rectifier() -> nn.Module:
    """Return the activation between convolutions: leaky ReLU, which is 5 times cheaper to train than PReLU."""
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


def initialize(module: nn.Module) -> None:
    """Draw convolution weights as nnU-Net does (He et al. 2015 for the leaky ReLU) and set their shifts to 0."""
    if isinstance(module, nn.modules.conv._ConvNd):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def exchange_strided_pointwise(network: nn.Module) -> None:
    """Give a network that others have written our 1 x 1 convolutions where it has some with a stride; see the module.

    Values and names of all parameters stay as they are.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if not isinstance(child, (nn.Conv2d, nn.Conv3d)) or isinstance(child, (PointwiseConv2d, PointwiseConv3d)):
                continue
            if max(child.kernel_size) > 1 or max(child.stride) == 1:
                continue
            ours = convolution(
                child.in_channels, child.out_channels, child.kernel_size, child.stride, bias=child.bias is not None
            )
            ours.load_state_dict(child.state_dict())
            setattr(parent, name, ours)
