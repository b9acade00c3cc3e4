"""Networks that judge: any patch, the published sizes, and passes through them that teach the other alone."""

import pytest
import torch
from torch.nn import functional

from SemiSegLib.networks.adversary import ConfidenceNetwork, Discriminator
from SemiSegLib.networks.modes import frozen

SIZES = [(1, 1, 1), (2, 3, 1), (5, 16, 7), (16, 16, 16), (33, 9, 2)]
in_2d_and_3d = pytest.mark.parametrize("dimensions", [2, 3])


@in_2d_and_3d
@pytest.mark.parametrize("size", SIZES)
def test_a_discriminator_takes_patches_of_any_size(dimensions, size):
    judge = Discriminator(3, 2, dimensions, width=2)
    found = judge(torch.randn(2, 3, *size[:dimensions]), torch.randn(2, 2, *size[:dimensions]))
    assert found.shape == (2, 2)
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in judge.parameters())


@in_2d_and_3d
@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("size", SIZES)
def test_a_confidence_network_gives_one_logit_for_each_voxel_of_any_patch(dimensions, norm, size):
    judge = ConfidenceNetwork(3, dimensions, width=2, norm=norm)
    found = judge(torch.randn(1, 3, *size[:dimensions]))
    assert found.shape == (1, *size[:dimensions])
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in judge.parameters())


def test_the_discriminator_of_the_paper_has_its_weights_and_averages_over_what_is_left_of_its_crop():
    judge = Discriminator(1, 1, 3).eval()
    # Two stems of 64, then 128, 256, 512 channels of 4 x 4 x 4 and a linear map to 2, each with shifts.
    expected = 2 * 64 * (64 + 1) + 128 * (64 * 64 + 1) + 256 * (128 * 64 + 1) + 512 * (256 * 64 + 1) + 2 * (512 + 1)
    assert sum(p.numel() for p in judge.parameters()) == expected
    small = Discriminator(1, 1, 3, width=2).eval()
    image, judged = torch.randn(2, 1, 1, 112, 112, 80)
    current = functional.leaky_relu(small.map_stem(judged) + small.image_stem(image), 0.2)
    for stage in small.stages:
        current = functional.leaky_relu(stage(current), 0.2)
    assert current.shape[2:] == (7, 7, 5)
    released = small.head(functional.avg_pool3d(current, (7, 7, 5)).flatten(1))
    assert torch.allclose(small(judged, image), released, atol=1e-6)


def test_every_level_of_the_confidence_network_reaches_its_result():
    # In the released code the two deepest do not.
    torch.manual_seed(0)
    judge = ConfidenceNetwork(2, 3, width=4, norm="batch").eval()
    judge(torch.randn(1, 2, 24, 24, 24)).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in judge.named_parameters() if "weight" in name)
    found = torch.zeros(1, 2, 48, 8, 8).requires_grad_()
    judge(found)[0, 24, 4, 4].backward()
    reach = found.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten()
    assert reach.min() < 12
    assert reach.max() > 36


def test_every_skip_of_the_confidence_network_reaches_its_result():
    # With nothing coming up from below, each level still passes on what its skip brings.
    for level in range(3):
        built = ConfidenceNetwork(2, 2, width=4, norm="instance").eval()
        with torch.no_grad():
            for parameter in built.up[level].parameters():
                parameter.zero_()
        judged = torch.randn(1, 2, 16, 16, requires_grad=True)
        built(judged).sum().backward()
        assert judged.grad.abs().sum() > 0, level


@pytest.mark.parametrize("broken", [False, True], ids=["frozen", "not frozen"])
def test_a_pass_through_a_frozen_judge_teaches_what_is_judged_and_not_the_judge(broken):
    judge = Discriminator(1, 1, 3, width=2).eval()
    judged = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    image = torch.randn(1, 1, 16, 16, 16)
    if broken:
        loss = judge(judged, image).sum()
    else:
        with frozen(judge):
            loss = judge(judged, image).sum()
    loss.backward()
    assert judged.grad.abs().sum() > 0
    is_taught = any(p.grad is not None and p.grad.abs().sum() > 0 for p in judge.parameters())
    assert is_taught == broken
    assert all(p.requires_grad for p in judge.parameters())


def test_parameters_that_were_fixed_stay_fixed_after_a_frozen_pass():
    judge = ConfidenceNetwork(1, 2, width=2)
    judge.head.requires_grad_(False)
    with frozen(judge):
        assert not any(p.requires_grad for p in judge.parameters())
    assert judge.stem.weight.requires_grad
    assert not judge.head.weight.requires_grad
