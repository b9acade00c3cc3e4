"""The work of the backbones whose shape a plan does not decide, and what it does to the plans of short trainings."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from SemiSegLib.networks.backbone import BACKBONES
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.dodnet_unet import Standardized
from SemiSegLib.planning import planner
from SemiSegLib.planning.cost import step_core_seconds
from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES, per_voxel, width_of
from SemiSegLib.planning.plan import NetworkPlan
from SemiSegLib.runs.request import PlanSettings
from Testing.lib.planning.test_planner import planned

HIPPOCAMPUS = ((35, 51, 35), (1.0, 1.0, 1.0))
WIDTHS = {"unetr": (16, 48), "swin_unetr": (16, 48)}


def counted(name, dimensions, width, edge):
    """Return multiply-adds and outputs per voxel of one forward pass; nothing is computed (device "meta")."""
    plan = NetworkPlan(
        backbone=name,
        features=(width, 64),
        strides=((2,) * dimensions,),
        kernels=((3,) * dimensions,) * 2,
        stem_stride=(1,) * dimensions,
    )
    size = (edge,) * dimensions
    network = build_backbone(plan, in_channels=1, dimensions=dimensions, patch=size).to("meta")
    outputs = []
    for module in network.modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, Standardized)):
            module.register_forward_hook(lambda _module, _given, made: outputs.append(made.numel()))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 1, *size, device="meta"))
    # A multiplication and an addition are two operations.
    return counter.get_total_flops() / 2 / edge**dimensions, sum(outputs) / edge**dimensions


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", sorted(FIXED_BACKBONES))
def test_the_work_of_a_fixed_backbone_is_that_of_the_network(name, dimensions):
    fixed = FIXED_BACKBONES[name]
    for width in WIDTHS.get(name, (8,)):
        own = width_of(name, (width,))
        multiply_adds, outputs = counted(name, dimensions, width, 96)
        assert per_voxel(fixed.multiply_adds[dimensions], own) == pytest.approx(multiply_adds, rel=0.05)
        assert per_voxel(fixed.outputs[dimensions], own) == pytest.approx(outputs, rel=0.05)


def test_every_backbone_but_the_planned_one_is_in_the_table():
    assert {*FIXED_BACKBONES, "plan_unet"} == {*BACKBONES}


def test_a_network_is_paid_for_what_its_divisor_makes_of_the_patch_and_as_often_as_there_is_work():
    plan = replace(planned(*HIPPOCAMPUS, settings=PlanSettings(backbone="vnet")), patch=(32, 48, 33))
    whole = step_core_seconds(replace(plan, patch=(32, 48, 48)), classes=3)
    assert step_core_seconds(plan, classes=3) == whole
    assert step_core_seconds(replace(plan, batch=2 * plan.batch), classes=3) == pytest.approx(2 * whole)
    assert step_core_seconds(plan, classes=3, work=2) == pytest.approx(2 * whole)
    ours = planned(*HIPPOCAMPUS)
    one = step_core_seconds(ours, classes=3)
    assert step_core_seconds(ours, classes=3, work=2) == pytest.approx(2 * one)


@pytest.mark.parametrize(("backbone", "graphs"), [("plan_unet", 2), ("vnet", 1), ("vnet", 2), ("paper_unet", 1)])
def test_a_short_time_on_a_cpu_holds_the_steps_that_are_wanted_whatever_is_trained(backbone, graphs):
    settings = PlanSettings(backbone=backbone)
    usual = planned(*HIPPOCAMPUS, settings=settings, graphs=graphs)
    for core_seconds in (240.0, 540.0):
        short = planned(*HIPPOCAMPUS, settings=settings, graphs=graphs, core_seconds=core_seconds)
        seconds = step_core_seconds(short, classes=3, work=graphs)
        # Of the networks that pad, nothing is left to cut from two rows of 32 voxels along each axis.
        is_least = math.prod(short.patch) == 32**3 and short.batch == 2
        assert seconds <= core_seconds / planner.FEWEST_STEPS or is_least
        assert seconds <= step_core_seconds(usual, classes=3, work=graphs)
    long = planned(*HIPPOCAMPUS, settings=settings, graphs=graphs, core_seconds=6000.0)
    assert long == usual


def test_one_planned_network_is_planned_as_if_the_others_were_not_there():
    # Measured on the hippocampus, see planner.py: what these plans are must not change by chance.
    short = planned(*HIPPOCAMPUS, core_seconds=240.0)
    assert (short.patch, short.batch, short.network.features[0], short.network.stem_stride) == (
        (40, 56, 40), 2, 32, (2, 2, 2),
    )  # fmt: skip
    usual = planned(*HIPPOCAMPUS)
    assert (usual.patch, usual.batch, usual.network.features[0], usual.network.stem_stride) == (
        (40, 56, 40), 2, 16, (1, 1, 1),
    )  # fmt: skip
