"""Heads of few features: as quick as wide ones where the plan asks for it, and otherwise the papers' plain ones."""

import torch

from SemiSegLib.methods.method import Progress, Trainable
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.heads import QUICK_CHANNELS, LinearHead
from SemiSegLib.networks.hierarchy import HierarchyHead
from SemiSegLib.networks.network import SegmentationNetwork
from SemiSegLib.planning.plan import NetworkPlan
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.optimizers import Optimizers
from Testing.lib.schemes import ORGAN_AND_VESSEL


def network(*, quick, width=4, deep=1):
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
    return SegmentationNetwork(backbone, {"subclass": LinearHead(backbone.feature_channels, 3, 2)}, leaves=3)


def moved_by_a_step(made, **settings):
    """What one step of the training's optimizer adds to each logit."""
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    chosen = TrainingSettings(**{"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, **settings})
    optimizers = Optimizers(Heads(made), chosen)
    optimizers.set_learning_rate(Progress(step=0, fraction=0.0))
    before = made(image)["subclass"]
    (before * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)).sum().backward()
    optimizers.step(None)
    return made(image)["subclass"] - before


class Heads(Trainable):
    """Trains the heads of a network alone, so that what moves is theirs."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def losses(self, batch, progress):
        raise NotImplementedError

    def parameter_groups(self):
        return {"main": list(self.made.heads.parameters())}


def test_a_step_of_a_quick_head_goes_as_far_as_that_of_a_wide_one():
    plain, quick = (moved_by_a_step(network(quick=quick)) for quick in (False, True))
    torch.testing.assert_close(quick, plain * QUICK_CHANNELS / 2, atol=2e-5, rtol=1e-3)
    assert 0 < plain.abs().max() < 0.02


def test_quick_weights_decay_as_slowly_as_all_others():
    made = {quick: network(quick=quick) for quick in (False, True)}
    for one in made.values():
        for parameter in one.heads.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizers = Optimizers(Heads(one), TrainingSettings(learning_rate=0.01, weight_decay=0.5))
        optimizers.set_learning_rate(Progress(step=0, fraction=0.0))
        optimizers.step(None)
    weights = [one.heads["subclass"].convolution.weight for one in made.values()]
    torch.testing.assert_close(*weights)


def test_a_wide_head_is_left_as_it_is():
    head = LinearHead(2 * QUICK_CHANNELS, 3, 2)
    head.quicken()
    assert head.rate == 1


def test_the_papers_networks_have_plain_heads():
    made = network(quick=False)
    assert {part.rate for part in made.modules() if isinstance(part, LinearHead)} == {1.0}


def test_every_output_of_the_joint_head_is_quick():
    plan = NetworkPlan(features=(4, 6), strides=((2, 2),), kernels=((3, 3),) * 2, stem_stride=(1, 1), quick_heads=True)
    backbone = build_backbone(plan, in_channels=1, dimensions=2, patch=(16, 16), raw_map=True)
    head = HierarchyHead(4, ORGAN_AND_VESSEL, 2, norm="instance", separate=True, prior="logits")
    made = SegmentationNetwork(backbone, {"hierarchy": head}, leaves=4)
    rates = {part.channels: part.rate for part in made.modules() if isinstance(part, LinearHead)}
    assert rates == {4: QUICK_CHANNELS / 4, 5: QUICK_CHANNELS / 5}
