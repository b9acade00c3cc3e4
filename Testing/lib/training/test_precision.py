"""Which convolutions leave bf16 on a CPU: those from or to maps that its kernels cannot be trusted with."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from SemiSegLib.networks.backbone import BACKBONES
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.dodnet_unet import Standardized
from SemiSegLib.networks.layers import convolution, downsampling, upsampling
from SemiSegLib.planning.plan import NetworkPlan
from SemiSegLib.training.precision import Compute, fp32_where_tiny

BF16 = Compute(device="cpu", precision="bf16")
CONVOLUTIONS = (torch.conv2d, torch.conv3d, functional.conv_transpose2d, functional.conv_transpose3d)


class Watched(TorchFunctionMode):
    """Notes shape in, shape out, kernel, stride and type of every convolution, whoever calls it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if function in CONVOLUTIONS:
            stride = (options or {}).get("stride", arguments[3] if len(arguments) > 3 else 1)
            shapes = [tuple(value.shape[2:]) for value in (arguments[0], made, arguments[1])]
            self.seen.append((*shapes, stride, torch.is_autocast_enabled("cpu")))
        return made


def convolutions_of(network, size):
    """Return (shape in, shape out, kernel, stride, whether in bf16) of each convolution over an image of a size.

    Nothing is computed (device "meta"): not every CPU has bf16.
    """
    watched, network = Watched(), network.to("meta")
    with fp32_where_tiny(network, BF16), BF16.autocast(), watched:
        network(torch.zeros(1, 1, *size, device="meta"))
    return watched.seen


def is_tiny(before, after, kernel, stride):
    """Return whether oneDNN must not be asked for the weight gradient in bf16."""
    steps = (stride,) * len(kernel) if isinstance(stride, int) else stride
    smallest = [min(pair) for pair in zip(before, after, strict=True)]
    overlaps = [n < k for n, k, step in zip(smallest[:-1], kernel[:-1], steps[:-1], strict=True) if k > step]
    return smallest[-1] < 4 or any(overlaps)


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("widths", [2, 4])
def test_no_backbone_convolves_tiny_maps_in_bf16(name, dimensions, widths):
    divisor = 32 if name == "swin_unetr" else 16
    # Widths that suit every backbone: groups of a norm divide them, and Swin UNETR's heads.
    plan = NetworkPlan(
        backbone=name,
        features=(12, 24, 24, 24, 24),
        strides=((2,) * dimensions,) * 4,
        kernels=((3,) * dimensions,) * 5,
        stem_stride=(1,) * dimensions,
    )
    # At the lowest resolution so many voxels in width, and 1 or 2 along the other axes.
    size = (*(divisor, 2 * divisor)[: dimensions - 1], widths * divisor)
    network = build_backbone(plan, in_channels=1, dimensions=dimensions, patch=size)
    seen = convolutions_of(network, size)
    tiny = [is_tiny(*facts) for *facts, _ in seen]
    assert any(tiny)
    assert any(is_bf16 for *_, is_bf16 in seen)
    assert not [case for case, tiny_one in zip(seen, tiny, strict=True) if tiny_one and case[-1]]


@pytest.mark.parametrize(
    ("layer", "width", "is_bf16"),
    [
        (nn.Conv3d(1, 2, 3, padding=1), 3, False),
        (nn.Conv3d(1, 2, 3, padding=1), 4, True),
        (nn.Conv3d(1, 2, 3, padding="same"), 4, True),
        (nn.Conv3d(1, 2, 3, padding="valid"), 5, False),
        (nn.Conv3d(1, 2, 3, padding=2, dilation=2), 4, True),
        (nn.Conv3d(1, 2, 3, stride=2, padding=1), 4, False),
        (nn.Conv3d(1, 2, 3, stride=(2, 2, 1), padding=1), 4, True),
        (nn.Conv3d(1, 2, 3, stride=2, padding=1), 7, True),
        (nn.Conv3d(1, 2, 4, stride=2, padding=1), 7, False),
        (downsampling(1, 2, (2, 2, 2)), 6, False),
        (downsampling(1, 2, (2, 2, 2)), 8, True),
        (convolution(1, 2, (1, 1, 1), (2, 2, 2)), 6, False),
        (convolution(1, 2, (1, 1, 1), (2, 2, 2)), 7, True),
        (upsampling(1, 2, (2, 2, 2)), 3, False),
        (upsampling(1, 2, (2, 2, 2)), 4, True),
        (Standardized(1, 2, 3), 3, False),
        (Standardized(1, 2, 3), 4, True),
        (Standardized(1, 2, 3, stride=2), 4, False),
        (Standardized(1, 2, 3, stride=2), 7, True),
        (Standardized(1, 2, 3, kernel=1, stride=2), 6, False),
        (Standardized(1, 2, 3, kernel=1, stride=2), 7, True),
    ],
)
def test_the_narrower_of_input_and_output_decides(layer, width, is_bf16):
    assert [kind for *_, kind in convolutions_of(layer, (8, 8, width))] == [is_bf16]


@pytest.mark.parametrize(
    ("layer", "depth", "is_bf16"),
    [
        (nn.Conv3d(1, 2, 3, padding=1), 2, False),
        (nn.Conv3d(1, 2, 3, padding=1), 3, True),
        (nn.Conv3d(1, 2, 3, padding="same"), 2, False),
        (nn.Conv3d(1, 2, (1, 3, 3), padding=(0, 1, 1)), 1, True),
        (nn.Conv3d(1, 2, 3, stride=2, padding=1), 4, False),
        (nn.Conv3d(1, 2, 3, stride=2, padding=1), 5, True),
        (nn.Conv3d(1, 2, 5, padding=2), 4, False),
        (nn.Conv3d(1, 2, 5, padding=2), 5, True),
        (nn.Conv3d(1, 2, 7, stride=2, padding=3), 12, False),
        (nn.Conv3d(1, 2, 7, stride=2, padding=3), 13, True),
        (downsampling(1, 2, (2, 2, 2)), 2, True),
        (upsampling(1, 2, (2, 2, 2)), 1, True),
        (nn.ConvTranspose3d(1, 2, 3, padding=1), 2, False),
        (nn.ConvTranspose3d(1, 2, 3, padding=1), 3, True),
        (Standardized(1, 2, 3), 2, False),
        (Standardized(1, 2, 3), 3, True),
        (Standardized(1, 2, 3, kernel=1, stride=2), 1, True),
    ],
)
def test_overlapping_windows_need_as_many_voxels_as_the_kernel(layer, depth, is_bf16):
    for size in ((depth, 16, 16), (16, depth, 16)):
        if layer.__class__ is nn.Conv3d and layer.kernel_size[0] != layer.kernel_size[1] and size[1] == depth:
            continue
        assert [kind for *_, kind in convolutions_of(layer, size)] == [is_bf16]


def test_the_hooks_are_gone_afterward_also_after_an_error():
    layer = Standardized(1, 2, 3)
    with pytest.raises(ValueError, match="stop"), fp32_where_tiny(layer, BF16):
        raise ValueError("stop")
    assert not layer._forward_pre_hooks
    assert not layer._forward_hooks
