"""Every backbone: any size, the promised channels, its published parameter count; and the plan's U-Net in detail."""

import sys

import pytest
import torch
from torch import nn

from SemiSegLib.errors import ConfigError, ShapeError
from SemiSegLib.networks.backbone import BACKBONES, padded_size
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.heads import LinearHead, Projection
from SemiSegLib.networks.layers import GroupNorm, InstanceNorm, PointwiseConv2d, PointwiseConv3d, is_channels_last
from SemiSegLib.networks.network import SegmentationNetwork
from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES
from SemiSegLib.planning.plan import NetworkPlan

# UNETR and Swin UNETR take seconds to build, so each is built once, in 2-D and small.
QUICK = [name for name in BACKBONES if name not in ("unetr", "swin_unetr")]


def plan(dimensions=3, *, features=(4, 6, 8), stem=1, **more):
    count = len(features)
    return NetworkPlan(
        features=features,
        strides=((2,) * dimensions,) * (count - 1),
        kernels=((3,) * dimensions,) * count,
        stem_stride=(stem,) * dimensions,
        **more,
    )


def build(network=None, *, dimensions=3, channels=2, patch=None, seed=0):
    torch.manual_seed(seed)
    network = network or plan(dimensions)
    return build_backbone(network, in_channels=channels, dimensions=dimensions, patch=patch or (16,) * dimensions)


def named(name, dimensions=3, **more):
    return build(plan(dimensions, backbone=name), dimensions=dimensions, **more)


# UNETR and Swin UNETR have no maps at lower resolutions, whatever is asked: checked on the two that are built below.
@pytest.mark.parametrize("name", [name for name in QUICK if name != "plan_unet"])
def test_what_is_said_to_be_a_backbones_own_is(name):
    """And only that: what it heeds changes it."""
    plain, own = str(named(name, 2)), FIXED_BACKBONES[name].own
    changes = {"features": {"features": (8, 10, 12)}, "norm": {"norm": "group"}, "dropout": {"dropout": 0.1}}
    for setting, change in changes.items():
        changed = str(build(plan(2, backbone=name, **change), dimensions=2))
        is_own = setting in own or (name, setting) in (("vnet", "dropout"), ("paper_unet", "dropout"))
        assert (changed == plain) == is_own, setting
    deep = build(plan(2, backbone=name, deep_supervision=1), dimensions=2)
    assert deep.deep_channels == ()
    assert own["deep_supervision"] == 0
    norms = {"batch": "BatchNorm", "group": "GroupNorm", "instance": "InstanceNorm"}
    assert norms[own.get("norm", "instance")] in plain
    module = sys.modules[BACKBONES[name].__module__]
    assert own["features"] == getattr(module, "WIDTHS", None) or own["features"] == module.FEATURES


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", QUICK)
def test_any_size_goes_in_and_comes_out(name, dimensions):
    backbone = named(name, dimensions)
    for size in ((1, 1, 1), (5, 19, 3), (17, 4, 16)):
        image = torch.randn(2, 2, *size[:dimensions])
        found = backbone(image)
        assert found.map.shape == (2, backbone.feature_channels, *size[:dimensions])
        assert found.bottleneck.shape[1] == backbone.bottleneck_channels
        assert found.map.isfinite().all()
        assert len(backbone.divisor) == dimensions


@pytest.mark.parametrize("name", ["unetr", "swin_unetr"])
def test_a_transformer_takes_any_size_and_equals_monais(name):
    backbone = named(name, 2, patch=(32, 48)).eval()
    with torch.no_grad():
        image = torch.randn(1, 2, 32, 64 if name == "swin_unetr" else 48)
        found = backbone(image)
        assert torch.allclose(found.map, backbone.net(image), atol=1e-5)
        assert found.bottleneck.shape[1] == backbone.bottleneck_channels
        for size in ((7, 33), (80, 21)):
            assert backbone(torch.randn(1, 2, *size)).map.shape == (1, backbone.feature_channels, *size)


def test_basic_unet_is_monais():
    backbone = named("basic_unet", 2).eval()
    image = torch.randn(1, 2, 32, 16)
    assert torch.allclose(backbone(image).map, backbone.net(image), atol=1e-6)


def test_published_parameter_counts_are_met():
    # Paper 000 in 2-D with a head of 4 classes: 1.97 M.
    paper = named("paper_unet", 2, channels=1)
    assert round(parameters(paper) + parameters(LinearHead(16, 4, 2)), -4) == 1_970_000
    # Paper 003 with two heads of one channel: 9.45 M. Paper 001 with 4 channels in and out: 5.75 M.
    assert round(parameters(named("vnet", channels=1)) + 2 * 17, -4) == 9_450_000
    basic = named("basic_unet", channels=4)
    assert round(parameters(basic) + parameters(LinearHead(32, 4, 3)), -4) == 5_750_000


def test_paper_networks_drop_out_at_the_bottleneck_and_before_the_head():
    for name, rate in (("paper_unet", 0.3), ("vnet", 0.5)):
        backbone = named(name, 2).train()
        found = backbone(torch.randn(4, 2, 32, 32))
        for part in (found.map, found.bottleneck):
            # A ReLU gives zeros too; a dropped value is 0 whatever the rest of its channel is.
            assert (part == 0).float().mean() > rate * 0.9
        assert torch.equal(backbone.eval()(torch.ones(1, 2, 32, 32)).map, backbone(torch.ones(1, 2, 32, 32)).map)


def test_the_plan_shapes_the_unet():
    network = NetworkPlan(
        features=(4, 6, 8),
        strides=((1, 2, 2), (2, 2, 1)),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        stem_stride=(1, 2, 2),
        blocks=3,
        deep_supervision=2,
    )
    backbone = build(network)
    assert backbone.divisor == (2, 8, 4)
    assert backbone.deep_strides == ((1, 2, 2), (1, 4, 4))
    found = backbone(torch.randn(1, 2, 5, 9, 7))
    # Half of the first stage's channels, because the stem halves the resolution.
    assert found.map.shape == (1, 2, 5, 9, 7)
    assert [tuple(part.shape) for part in found.deep] == [(1, 4, 5, 5, 4), (1, 6, 5, 3, 2)]
    sizes = [m.kernel_size for m in backbone.encoder[0].modules() if isinstance(m, nn.Conv3d)]
    # Two convolutions and the shortcut of the first residual unit, one convolution of the second.
    assert sizes == [(1, 3, 3), (1, 3, 3), (1, 1, 1), (1, 3, 3)]


def test_deep_supervision_without_a_stem_starts_at_the_second_resolution():
    backbone = build(plan(features=(4, 6, 8, 10), deep_supervision=2))
    assert backbone.deep_strides == ((2, 2, 2), (4, 4, 4))
    found = backbone(torch.randn(1, 2, 9, 8, 16))
    assert [tuple(part.shape) for part in found.deep] == [(1, 6, 5, 4, 8), (1, 8, 3, 2, 4)]


@pytest.mark.parametrize(
    ("norm", "kind"), [("instance", InstanceNorm), ("batch", nn.BatchNorm3d), ("group", GroupNorm)]
)
def test_the_plan_chooses_norm_and_shortcut(norm, kind):
    for residual in (False, True):
        backbone = build(plan(norm=norm, residual=residual))
        kinds = {type(m) for m in backbone.modules() if "Norm" in type(m).__name__}
        assert kinds == {kind}
        assert any("shortcut" in name for name, _ in backbone.named_parameters()) == residual


def test_dropout_of_the_plan_is_active_in_training_only():
    backbone = build(plan(dropout=0.5))
    image = torch.randn(1, 2, 16, 16, 16)
    assert not torch.equal(backbone.train()(image).map, backbone(image).map)
    assert torch.equal(backbone.eval()(image).map, backbone(image).map)


def test_padding_is_zeros_at_the_end():
    backbone = build(plan(deep_supervision=1))
    image = torch.randn(1, 2, 6, 7, 5)
    whole = torch.zeros(1, 2, 8, 8, 8)
    whole[:, :, :6, :7, :5] = image
    found, expected = backbone(image), backbone(whole)
    assert torch.equal(found.map, expected.map[:, :, :6, :7, :5])
    assert torch.equal(found.deep[0], expected.deep[0][:, :, :3, :4, :3])
    assert padded_size((6, 7, 5), (4, 4, 4)) == (8, 8, 8)
    assert padded_size((3, 4), (4, 4)) == (4, 8)


def test_memory_format_is_kept_and_changes_no_value():
    backbone = build(plan(stem=2)).eval()
    image = torch.randn(2, 2, 16, 16, 8)
    expected = backbone(image).map
    last = backbone.to(memory_format=torch.channels_last_3d)(image.contiguous(memory_format=torch.channels_last_3d)).map
    assert is_channels_last(last)
    assert torch.allclose(last, expected, atol=1e-5)


def test_every_parameter_of_a_network_learns():
    for network in (plan(stem=2, deep_supervision=2), plan(residual=False, blocks=1), plan(backbone="vnet")):
        backbone = build(network)
        heads = {
            "subclass": LinearHead(backbone.feature_channels, 3, 3),
            "other": LinearHead(backbone.feature_channels, 2, 3),
        }
        whole = SegmentationNetwork(
            backbone, heads, leaves=3, projection=Projection(backbone.feature_channels, 3, norm="batch")
        )
        outputs = whole(torch.randn(2, 2, 16, 16, 16))
        sum(part.square().sum() for part in (*outputs.logits.values(), *outputs.deep)).backward()
        for name, parameter in whole.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_outputs_have_names_and_deep_logits_only_while_training():
    backbone = build(plan(deep_supervision=1))
    network = SegmentationNetwork(backbone, {"subclass": LinearHead(4, 5, 3)}, leaves=5)
    image = torch.randn(1, 2, 7, 8, 9)
    outputs = network(image)
    assert outputs["subclass"].shape == (1, 5, 7, 8, 9)
    assert outputs.features.shape == (1, 4, 7, 8, 9)
    assert [tuple(part.shape) for part in outputs.deep] == [(1, 5, 4, 4, 5)]
    assert network.eval()(image).deep == ()
    rows = network.output_rows({"subclass": ("a", "b", "c", "d", "e")}, prefix="")
    assert set(rows) <= set(network.state_dict())
    assert all(len(network.state_dict()[name]) == len(names) for name, names in rows.items())


def test_a_wrong_input_or_plan_is_explained():
    with pytest.raises(ShapeError, match="3-D network of 2 channels"):
        build()(torch.zeros(1, 1, 8, 8, 8))
    with pytest.raises(ShapeError, match="network input"):
        build()(torch.zeros(1, 2, 8, 0, 8))
    with pytest.raises(ConfigError, match="did you mean 'plan_unet'"):
        named("plan_unt")
    with pytest.raises(ConfigError, match="do not have 3 axes"):
        build(plan(2), dimensions=3)
    with pytest.raises(ConfigError, match="2 lower resolutions, 1 exist"):
        build(plan(deep_supervision=2))
    with pytest.raises(ConfigError, match="kernel size is even"):
        build(NetworkPlan(features=(4, 4), strides=((2, 2, 2),), kernels=((3, 2, 3), (3, 3, 3))))


def strided_pointwise(network):
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    return [m for m in convolutions if max(m.kernel_size) == 1 and max(m.stride) > 1]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_no_strided_pointwise_convolution_is_left_to_onednn(name, dimensions):
    # Its weight gradient writes beyond its memory, see networks/layers.py.
    network = named(name, dimensions, patch=(32,) * dimensions)
    assert all(isinstance(m, (PointwiseConv2d, PointwiseConv3d)) for m in strided_pointwise(network))
    if name == "plan_unet":
        assert strided_pointwise(network)
