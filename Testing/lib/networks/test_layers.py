"""The layers with a fast form: equal to PyTorch's in every memory format, value and gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from SemiSegLib.networks.layers import (
    GroupNorm,
    InstanceNorm,
    PointwiseConv2d,
    convolution,
    downsampling,
    exchange_strided_pointwise,
    is_channels_last,
    norm_layer,
    upsampling,
)


def images(channels=6):
    draw = torch.Generator().manual_seed(0)
    for size, layout in (((5, 7), torch.channels_last), ((3, 5, 4), torch.channels_last_3d)):
        first = torch.randn(3, channels, *size, generator=draw)
        yield first, first.contiguous(memory_format=layout)


def outcome(function, image, parameters):
    image = image.detach().clone().requires_grad_()
    result = function(image)
    weights = torch.linspace(0, 1, result.numel()).reshape(result.shape)
    return result, torch.autograd.grad((result * weights).sum(), (image, *parameters))


def assert_same(found, expected):
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    for a, b in zip(found[1], expected[1], strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_channels_last_is_recognized():
    for first, last in images():
        assert not is_channels_last(first)
        assert is_channels_last(last)
        # With one channel the two formats are one; the usual path serves both.
        assert not is_channels_last(first[:, :1].contiguous())
    assert not is_channels_last(torch.zeros(2, 3))


def test_channels_last_is_what_pytorch_says_it_is():
    for size, layout in (((5, 7), torch.channels_last), ((1, 5, 4), torch.channels_last_3d)):
        whole = torch.randn(2, 6, *size).contiguous(memory_format=layout)
        parts = (whole[:1], whole[:, :1], whole[:, :3], whole[..., :3], whole[..., :1], whole.transpose(2, 3))
        for image in (whole, *parts):
            expected = image.is_contiguous(memory_format=layout) and not image.is_contiguous()
            assert is_channels_last(image) == expected


def test_instance_norm_can_be_computed_for_several_networks_side_by_side():
    # PyTorch does not tell a memory format inside vmap; the norm must not ask for it.
    norm = InstanceNorm(6)
    for image in (part for pair in images() for part in pair):
        found = torch.vmap(norm)(torch.stack([image, 2 * image]))
        assert torch.allclose(found[0], norm(image), atol=1e-5)


def test_instance_norm_is_that_of_pytorch_in_both_formats():
    norm = InstanceNorm(6)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    for first, last in images():
        expected = outcome(
            lambda image: functional.instance_norm(image, weight=norm.weight, bias=norm.bias), first, norm.parameters()
        )
        assert_same(outcome(norm, first, norm.parameters()), expected)
        found = outcome(norm, last, norm.parameters())
        assert_same(found, expected)
        assert is_channels_last(found[0])


def test_instance_norm_of_one_voxel_is_its_shift():
    norm = InstanceNorm(6)
    nn.init.uniform_(norm.bias, -1, 1)
    found = norm(torch.randn(2, 6, 1, 1))
    assert torch.equal(found, norm.bias.view(1, 6, 1, 1).expand(2, 6, 1, 1))


def test_group_norm_is_that_of_pytorch_in_both_formats():
    norm, plain = GroupNorm(3, 6), nn.GroupNorm(3, 6)
    for first, last in images():
        expected = outcome(plain, first, plain.parameters())
        assert_same(outcome(norm, first, norm.parameters()), expected)
        found = outcome(norm, last, norm.parameters())
        assert_same(found, expected)
        assert is_channels_last(found[0])


def test_a_pointwise_convolution_is_a_convolution_in_both_formats():
    for first, last in images():
        layer = convolution(6, 4, (1,) * (first.ndim - 2))
        plain = functional.conv2d if first.ndim == 4 else functional.conv3d
        expected = outcome(
            lambda i, layer=layer, plain=plain: plain(i, layer.weight, layer.bias), first, layer.parameters()
        )
        assert_same(outcome(layer, first, layer.parameters()), expected)
        assert_same(outcome(layer, last, layer.parameters()), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(last).dtype == torch.bfloat16


def test_convolutions_round_the_size_up_and_upsampling_multiplies_it():
    image = torch.zeros(1, 2, 5, 6, 7)
    assert convolution(2, 3, (3, 1, 3), (2, 1, 2))(image).shape == (1, 3, 3, 6, 4)
    assert upsampling(2, 3, (2, 1, 3))(image).shape == (1, 3, 10, 6, 21)
    assert downsampling(2, 3, (2, 2))(image[:, :, 0]).shape == (1, 3, 3, 3)


@pytest.mark.parametrize("kind", ["instance", "batch", "group"])
def test_every_norm_can_be_made_for_any_channel_count(kind):
    for dimensions in (2, 3):
        for channels in (1, 7, 12, 16):
            image = torch.randn(2, channels, *(4,) * dimensions)
            assert norm_layer(kind, channels, dimensions)(image).shape == image.shape


@pytest.mark.parametrize("channels", [1, 3, 6, 16])
def test_a_pointwise_convolution_with_a_stride_is_pytorchs(channels):
    for stride in ((2, 1), (2, 2), (1, 3), (2, 2, 2), (1, 2, 2)):
        layer = convolution(channels, 5, (1,) * len(stride), stride)
        reference = (nn.Conv2d if len(stride) == 2 else nn.Conv3d)(channels, 5, 1, stride)
        reference.load_state_dict(layer.state_dict())
        for image in (part for pair in images(channels) for part in pair if part.ndim == len(stride) + 2):
            plain = outcome(reference, image.contiguous(), list(reference.parameters()))
            assert_same(outcome(layer, image, list(layer.parameters())), plain)


class Downsampled(nn.Module):
    def __init__(self):
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(3, 4, 1, 2, bias=False), nn.BatchNorm2d(4))
        self.usual = nn.Conv2d(4, 4, 3, 2)

    def forward(self, image):
        return self.usual(self.shortcut(image))


def test_networks_of_others_never_ask_for_a_strided_pointwise_convolution():
    network = Downsampled()
    image = torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(0))
    expected = outcome(network, image, list(network.parameters()))
    names = list(network.state_dict())
    exchange_strided_pointwise(network)
    assert type(network.shortcut[0]) is PointwiseConv2d
    assert type(network.usual) is nn.Conv2d
    assert list(network.state_dict()) == names
    assert_same(outcome(network, image, list(network.parameters())), expected)
