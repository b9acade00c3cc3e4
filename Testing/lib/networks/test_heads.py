"""Heads of few features: as quick as wide ones where the plan asks for it, and otherwise the papers' plain ones."""

import pytest
import torch

from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.heads import QUICK_CHANNELS, DistanceHead, LinearHead
from SemiSegLib.networks.hierarchy import HierarchyHead
from SemiSegLib.networks.network import SegmentationNetwork
from SemiSegLib.planning.plan import NetworkPlan
from Testing.lib.schemes import ORGAN_AND_VESSEL


def network(*, quick, width=4, deep=1, kind=LinearHead):
    torch.manual_seed(0)
    plan = NetworkPlan(
        features=(width, 6),
        strides=((2, 2),),
        kernels=((3, 3),) * 2,
        stem_stride=(2, 2),
        deep_supervision=deep,
        quick_heads=quick,
    )
    backbone = build_backbone(plan, in_channels=1, dimensions=2, patch=(16, 16))
    return SegmentationNetwork(backbone, {"subclass": kind(backbone.feature_channels, 3, 2)}, leaves=3)


def logits_after_a_step(made, rate=1e-3):
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    before = made(image)
    optimizer = torch.optim.Adam(made.heads.parameters(), lr=rate)
    (before["subclass"] * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)).sum().backward()
    optimizer.step()
    return before, made(image)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [LinearHead, DistanceHead])
def test_a_quick_head_begins_as_a_plain_one(layout, kind):
    plain, quick = (network(quick=quick, kind=kind).to(memory_format=layout) for quick in (False, True))
    image = torch.randn(2, 1, 15, 17).contiguous(memory_format=layout)
    expected, found = plain(image), quick(image)
    torch.testing.assert_close(found["subclass"], expected["subclass"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.deep[0], expected.deep[0], atol=1e-5, rtol=1e-5)
    assert quick.heads["subclass"].gain == QUICK_CHANNELS / 2
    assert quick.deep_heads[0].gain == QUICK_CHANNELS / 4


def test_a_step_moves_the_logits_of_a_quick_head_by_its_gain():
    moved = {}
    for is_quick in (False, True):
        before, after = logits_after_a_step(network(quick=is_quick))
        moved[is_quick] = after["subclass"] - before["subclass"]
    torch.testing.assert_close(moved[True], moved[False] * QUICK_CHANNELS / 2, atol=2e-4, rtol=1e-3)
    assert moved[False].abs().max() < 0.02


def test_a_wide_head_is_left_as_it_is():
    head = LinearHead(2 * QUICK_CHANNELS, 3, 2)
    weights = head.convolution.weight.clone()
    head.quicken()
    assert head.gain == 1
    assert torch.equal(head.convolution.weight, weights)


def test_the_papers_networks_have_plain_heads():
    made = network(quick=False)
    assert {part.gain for part in made.modules() if isinstance(part, LinearHead)} == {1.0}


def test_every_output_of_the_joint_head_is_quick():
    plan = NetworkPlan(features=(4, 6), strides=((2, 2),), kernels=((3, 3),) * 2, stem_stride=(1, 1), quick_heads=True)
    backbone = build_backbone(plan, in_channels=1, dimensions=2, patch=(16, 16), raw_map=True)
    head = HierarchyHead(4, ORGAN_AND_VESSEL, 2, norm="instance", separate=True, prior="logits")
    made = SegmentationNetwork(backbone, {"hierarchy": head}, leaves=4)
    gains = {part.channels: part.gain for part in made.modules() if isinstance(part, LinearHead)}
    assert gains == {4: QUICK_CHANNELS / 4, 5: QUICK_CHANNELS / 5}
