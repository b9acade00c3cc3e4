"""Plans from fingerprints: grid, normalization, network, patch, batch, and what is cut when memory runs out."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from SemiSegLib.batches.prepare import normalize
from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import ConfigError, TrainingError
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.presets import preset_settings
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.planning import planner, processor
from SemiSegLib.planning.cost import step_core_seconds, unet_layers
from SemiSegLib.planning.fingerprint import ChannelFingerprint, Fingerprint
from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES, require_heeded
from SemiSegLib.planning.memory import estimate_memory_gib, free_memory_gib
from SemiSegLib.planning.plan import NetworkPlan, Plan
from SemiSegLib.planning.planner import make_plan, shrink
from SemiSegLib.runs.request import PlanSettings, TrainingSettings
from Testing.lib.batches.study import of_cases


def a_channel(modality="MR", zero_share=0.0) -> ChannelFingerprint:
    return ChannelFingerprint(
        role="T1",
        modality=modality,
        from_foreground=modality == "CT",
        mean=60.0,
        deviation=20.0,
        median=58.0,
        low=-100.0,
        high=240.0,
        zero_share=zero_share,
    )


def a_fingerprint(shape, spacing_mm, *, cases=20, channel=None, classes=3) -> Fingerprint:
    return Fingerprint(
        case_ids=tuple(f"c{i}" for i in range(cases)),
        shapes=(tuple(shape),) * cases,
        spacings_mm=(tuple(spacing_mm),) * cases,
        channels=(channel or a_channel(),),
        classes=classes,
    )


def planned(
    shape,
    spacing_mm,
    *,
    settings=None,
    device="cpu",
    memory_gib=8.0,
    dimensions=None,
    core_seconds=None,
    structures=0,
    graphs=1,
    **options,
):
    study = replace(of_cases(None, ()), dimensions=dimensions)
    return make_plan(
        a_fingerprint(shape, spacing_mm, **options),
        study,
        replace(settings or PlanSettings(), memory_gib=memory_gib),
        device=device,
        core_seconds=core_seconds,
        structures=structures,
        graphs=graphs,
    )


def divides(plan: Plan) -> bool:
    total = np.array(plan.network.stem_stride) * np.prod(np.array(plan.network.strides), axis=0)
    return not (np.array(plan.patch) % total).any()


def voxels_at_the_first_stage(plan: Plan) -> int:
    return math.prod(plan.patch) // math.prod(plan.network.stem_stride)


def test_a_plan_survives_its_json():
    plan = planned((36, 50, 35), (1.0, 1.0, 1.0))
    assert from_json(Plan, json.loads(json.dumps(to_json(plan))), where="test") == plan
    fingerprint = a_fingerprint((3, 4, 5), (1.0, 1.0, 2.0))
    assert from_json(Fingerprint, json.loads(json.dumps(to_json(fingerprint))), where="test") == fingerprint


def test_a_small_volume_is_seen_whole_on_a_cpu_and_costs_little():
    plan = planned((36, 50, 35), (1.0, 1.0, 1.0), cases=200)
    assert plan.dimensions == 3
    assert plan.axis_order == (0, 1, 2)
    assert all(36 <= n <= 64 for n in plan.patch)
    assert plan.median_shape == (36, 50, 35)
    assert 2 <= plan.batch <= 4
    assert plan.batch % 2 == 0
    assert divides(plan)
    assert step_core_seconds(plan, classes=3) <= planner.CPU_CORE_SECONDS


def test_a_short_time_on_a_cpu_gets_a_cheaper_step_and_a_long_one_the_usual():
    shape, spacing_mm = (36, 50, 35), (1.0, 1.0, 1.0)
    usual, short = planned(shape, spacing_mm), planned(shape, spacing_mm, core_seconds=150.0)
    assert step_core_seconds(short, classes=3) <= 75.0 * 2 / planner.FEWEST_STEPS
    assert step_core_seconds(short, classes=3) < step_core_seconds(usual, classes=3)
    assert planned(shape, spacing_mm, core_seconds=540.0) == usual
    single = planned(shape, spacing_mm, core_seconds=75.0)
    assert step_core_seconds(single, classes=3) <= 75.0 / planner.FEWEST_STEPS
    card = planned(shape, spacing_mm, device="cuda", memory_gib=6.0)
    assert planned(shape, spacing_mm, device="cuda", memory_gib=6.0, core_seconds=75.0) == card


@pytest.mark.parametrize("shape", [(40, 512, 512), (300, 300, 300), (9, 640, 640), (3, 3, 3), (1, 200, 200)])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
def test_every_plan_keeps_its_budget(shape, spacing_mm):
    cpu = planned(shape, spacing_mm, memory_gib=2.0)
    assert divides(cpu)
    assert estimate_memory_gib(cpu, classes=3) <= 2.0
    assert step_core_seconds(cpu, classes=3) <= planner.CPU_CORE_SECONDS
    card = planned(shape, spacing_mm, device="cuda", memory_gib=6.0)
    assert divides(card)
    assert estimate_memory_gib(card, classes=3) <= 6.0
    assert voxels_at_the_first_stage(card) >= voxels_at_the_first_stage(cpu)


def test_the_heads_of_the_plans_own_network_are_quick_and_those_of_papers_plain():
    assert planned((40, 56, 40), (1.0, 1.0, 1.0)).network.quick_heads
    for backbone in ("paper_unet", "vnet", "basic_unet"):
        assert not planned((40, 56, 40), (1.0, 1.0, 1.0), settings=PlanSettings(backbone=backbone)).network.quick_heads


def test_a_thick_axis_comes_first_and_few_thick_slices_are_planned_as_images():
    thick = planned((200, 40, 220), (0.8, 4.0, 0.8))
    assert thick.axis_order == (1, 0, 2)
    assert thick.dimensions == 3
    assert thick.spacing_mm == (4.0, 0.8, 0.8)
    assert thick.network.kernels[0] == (1, 3, 3)
    assert thick.network.stem_stride[0] == 1
    few = planned((256, 10, 216), (1.0, 10.0, 1.0))
    assert few.dimensions == 2
    assert few.axis_order == (1, 0, 2)
    assert few.spacing_mm == (0.0, 1.0, 1.0)
    assert len(few.patch) == 2
    assert few.batch >= 4


def test_the_study_or_a_person_can_ask_for_slices():
    assert planned((50, 60, 60), (1.0, 1.0, 1.0), dimensions=2).dimensions == 2
    asked = planned((50, 60, 60), (1.0, 1.0, 1.0), settings=PlanSettings(dimensions=2))
    assert asked.dimensions == 2
    assert asked.axis_order == (0, 1, 2)
    assert planned((10, 256, 256), (10.0, 1.0, 1.0), settings=PlanSettings(dimensions=3)).dimensions == 3


def test_the_thick_axis_keeps_most_of_the_slices_of_mixed_studies():
    shapes = ((100, 200, 200),) * 3 + ((20, 200, 200),) * 7
    spacings = ((1.0, 1.0, 1.0),) * 3 + ((5.0, 1.0, 1.0),) * 7
    mixed = replace(a_fingerprint((1, 1, 1), (1.0, 1.0, 1.0), cases=10), shapes=shapes, spacings_mm=spacings)
    plan = make_plan(mixed, of_cases(None, ()), PlanSettings(memory_gib=4.0))
    # The median is 5 mm, the 10th percentile 1 mm.
    assert plan.spacing_mm == (1.0, 1.0, 1.0)


def test_what_a_person_fixed_stays():
    settings = PlanSettings(
        patch=(13, 21, 30),
        batch=3,
        features=(8, 12, 16),
        norm="batch",
        deep_supervision=1,
        spacing_mm=(2.0, 1.5, 1.0),
        backbone="plan_unet",
    )
    plan = planned((60, 80, 80), (1.0, 1.0, 1.0), settings=settings, memory_gib=0.001)
    assert (plan.patch, plan.batch, plan.spacing_mm) == ((13, 21, 30), 3, (2.0, 1.5, 1.0))
    assert (plan.network.features, plan.network.norm, plan.network.deep_supervision) == ((8, 12, 16), "batch", 1)


def test_a_network_drops_out_what_a_person_asked_for_and_else_nothing():
    for asked, expected in ((None, 0.0), (0.0, 0.0), (0.3, 0.3)):
        plan = planned((60, 80, 80), (1.0, 1.0, 1.0), settings=PlanSettings(dropout=asked))
        assert plan.network.dropout == expected


def test_normalization_follows_the_modality_and_blanked_images():
    ct = planned((50, 50, 50), (1.0, 1.0, 1.0), channel=a_channel("CT")).channels[0]
    assert (ct.normalization, ct.low, ct.high, ct.mean, ct.deviation) == ("ct", -100.0, 240.0, 60.0, 20.0)
    assert planned((50, 50, 50), (1.0, 1.0, 1.0)).channels[0].normalization == "zscore"
    blanked = planned((50, 50, 50), (1.0, 1.0, 1.0), channel=a_channel(zero_share=0.6)).channels[0]
    assert blanked.normalization == "zscore_nonzero"


def test_a_person_can_fix_the_intensity_window_and_the_normalization():
    shape, spacing_mm = (50, 50, 50), (1.0, 1.0, 1.0)
    window = PlanSettings(window=(-175.0, 250.0))
    ct = planned(shape, spacing_mm, channel=a_channel("CT"), settings=window).channels[0]
    assert (ct.normalization, ct.low, ct.high) == ("ct", -175.0, 250.0)
    normalized = normalize(np.array([-1000.0, -175.0, 37.5, 250.0, 3000.0], dtype=np.float32), ct)
    assert normalized.tolist() == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    with pytest.raises(ConfigError, match="no channel is CT"):
        planned(shape, spacing_mm, settings=window)
    both = PlanSettings(window=(0.0, 800.0), normalization="ct")
    mr = planned(shape, spacing_mm, settings=both).channels[0]
    assert (mr.normalization, mr.low, mr.high) == ("ct", 0.0, 800.0)
    unit = planned(shape, spacing_mm, channel=a_channel("CT"), settings=PlanSettings(normalization="unit"))
    assert unit.channels[0].normalization == "unit"
    with pytest.raises(ConfigError, match="has no width"):
        PlanSettings(window=(250.0, -175.0))
    with pytest.raises(ConfigError, match="zscore_nonzero"):
        PlanSettings(normalization="z-score")


def test_structures_that_are_answered_one_by_one_are_counted():
    shape, spacing_mm = (200, 200, 200), (1.0, 1.0, 1.0)
    card = {"device": "cuda", "memory_gib": 4.0}
    plain, many = planned(shape, spacing_mm, **card), planned(shape, spacing_mm, structures=40, **card)
    assert many.batch * math.prod(many.patch) < plain.batch * math.prod(plain.patch)
    assert estimate_memory_gib(many, classes=3, structures=40) <= 4.0
    assert estimate_memory_gib(plain, classes=3, structures=40) > 4.0


def test_networks_whose_graphs_are_held_at_once_share_the_budget():
    shape, spacing_mm = (200, 200, 200), (1.0, 1.0, 1.0)
    card = {"device": "cuda", "memory_gib": 4.0}
    one, two = planned(shape, spacing_mm, **card), planned(shape, spacing_mm, graphs=2, **card)
    assert two.batch * math.prod(two.patch) < one.batch * math.prod(one.patch)
    assert 3.0 < estimate_memory_gib(two, classes=3, graphs=2) <= 4.0


def test_other_backbones_get_patches_they_divide():
    for name in ("vnet", "swin_unetr", "unetr", "paper_unet"):
        settings = PlanSettings(backbone=name)
        plan = planned((36, 50, 35), (1.0, 1.0, 1.0), settings=settings, device="cuda", memory_gib=20.0)
        assert plan.network.backbone == name
        assert all(n % (32 if name == "swin_unetr" else 16) == 0 for n in plan.patch)


@pytest.mark.parametrize(
    ("backbone", "fixed", "told"),
    [
        ("vnet", {"deep_supervision": 2}, "deep_supervision is 2, and the backbone 'vnet' always has 0"),
        ("vnet", {"norm": "instance"}, "norm is instance, and the backbone 'vnet' always has batch"),
        (
            "paper_unet",
            {"features": (8, 16)},
            r"features is \(8, 16\), and the backbone 'paper_unet' always has \(16, ",
        ),
        ("dodnet_unet", {"dropout": 0.3}, "always has 0.0"),
        ("basic_unet", {"features": (32, 64)}, r"always has \(32, 32, 64, 128, 256, 32\)"),
        ("unetr", {"deep_supervision": 1}, "always has 0"),
        ("swin_unetr", {"features": (32, 64)}, "features begins with 32, and the backbone 'swin_unetr' would take 24"),
    ],
)
def test_what_a_backbone_does_not_heed_is_refused_by_name(backbone, fixed, told):
    with pytest.raises(ConfigError, match=told) as error:
        planned((40, 56, 40), (1.0, 1.0, 1.0), settings=PlanSettings(backbone=backbone, **fixed))
    assert f"leave {next(iter(fixed))} out" in str(error.value)


@pytest.mark.parametrize("backbone", FIXED_BACKBONES)
def test_what_a_backbone_has_anyway_may_be_said_and_so_may_what_it_heeds(backbone):
    own = dict(FIXED_BACKBONES[backbone].own)
    heeded = {"features": (24, 48), "norm": "group", "dropout": 0.25}
    require_heeded(PlanSettings(backbone=backbone, **heeded | own))
    require_heeded(PlanSettings(backbone=backbone))
    require_heeded(PlanSettings(features=(7, 9), norm="batch", deep_supervision=1))


@pytest.mark.parametrize(
    ("method", "preset"), [(card.name, preset) for card in CARDS for preset in getattr(card, "plan", {})]
)
def test_every_preset_states_a_plan_that_its_backbone_heeds(method, preset):
    require_heeded(preset_settings(card_of(method), preset).under(TrainingSettings(), PlanSettings(), given=())[1])


def test_more_memory_never_gives_a_smaller_batch_or_patch():
    previous = 0
    for gib in (0.5, 1, 2, 4, 8):
        plan = planned((120, 120, 120), (1.0, 1.0, 1.0), device="cuda", memory_gib=gib)
        voxels = plan.batch * math.prod(plan.patch)
        assert voxels >= previous
        previous = voxels


def test_shrinking_takes_rows_then_voxels_and_ends_with_a_remedy():
    plan = replace(planned((36, 50, 35), (1.0, 1.0, 1.0)), batch=7)
    seen = [plan]

    def shrink_to_the_end():
        while True:
            seen.append(shrink(seen[-1], least_rows=2))

    with pytest.raises(TrainingError, match="too little memory even for a patch of"):
        shrink_to_the_end()
    assert [p.batch for p in seen[:3]] == [7, 3, 2]
    assert all(p.batch == 2 for p in seen[2:])
    sizes = [math.prod(p.patch) for p in seen[2:]]
    assert all(a > b for a, b in pairwise(sizes))
    assert all(divides(p) for p in seen)
    assert all(replace(p.network, made_for=None) == plan.network for p in seen)
    assert [p.network.made_for for p in seen] == [None if p.patch == plan.patch else plan.patch for p in seen]
    memory = [estimate_memory_gib(p) for p in seen]
    assert all(a > b for a, b in pairwise(memory))
    assert shrink(replace(plan, batch=2)).batch == 1


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_counted_weights_and_multiply_adds_are_those_of_the_network(residual, stem, dimensions):
    shape, spacing = ((24, 32, 40), (1.0, 1.0, 1.2)) if dimensions == 3 else ((7, 48, 64), (6.0, 1.0, 1.0))
    plan = planned(shape, spacing, dimensions=dimensions)
    network = replace(plan.network, residual=residual, stem_stride=(stem,) * dimensions)
    patch = tuple(n * stem for n in plan.patch)
    plan = replace(plan, network=network, batch=1, patch=patch)
    backbone = build_backbone(network, in_channels=1, dimensions=dimensions, patch=plan.patch)
    counted = {"multiply_adds": 0}

    def count(layer, inputs, output):
        taps = 1 if layer.transposed else math.prod(layer.kernel_size)
        counted["multiply_adds"] += output.numel() * layer.in_channels * taps

    weights = 0
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.modules.conv._ConvNd):
            layer.register_forward_hook(count)
            weights += layer.weight.numel()
    backbone(torch.zeros(1, 1, *plan.patch))
    layers = unet_layers(plan, classes=3)[:-1]
    assert sum(layer.weights for layer in layers) == weights
    assert sum(layer.multiply_adds for layer in layers) == counted["multiply_adds"]


def test_free_memory_of_this_machine_is_plausible():
    assert 0.05 < free_memory_gib("cpu") < 100_000


def test_narrow_maps_cost_time_that_multiply_adds_do_not_tell():
    flat = planned((9, 256, 216), (10.0, 1.0, 1.0))
    five = {"strides": ((2, 2),) * 4, "kernels": ((3, 3),) * 5, "residual": True}
    # Measured on one core: 0.75 and 0.42 s a step.
    narrow = NetworkPlan(features=(16, 32, 64, 128, 256), stem_stride=(2, 2), **five)
    deep = NetworkPlan(features=(32, 64, 128, 256, 512), stem_stride=(1, 1), **five)
    for plan, seconds in (
        (replace(flat, network=narrow, patch=(256, 224), batch=12), 0.75),
        (replace(flat, network=deep, patch=(64, 64), batch=8), 0.42),
    ):
        assert 2 / 3 < step_core_seconds(plan, classes=4) / seconds < 3 / 2


def test_a_training_uses_the_cores_it_may():
    assert processor.usable_cores(3) == 3
    assert processor.usable_cores(200) == processor.MOST_CORES
    assert 1 <= processor.usable_cores(None) <= processor.MOST_CORES
    assert planner.time_on_cores(TrainingSettings(steps=None, seconds=60.0, threads=2, precision="fp32")) == 120.0
    assert planner.time_on_cores(TrainingSettings(steps=10)) is None


@pytest.mark.parametrize(
    ("has_instructions", "asked", "gain"),
    [
        (True, {}, processor.BF16_SPEED),
        (True, {"precision": "bf16"}, processor.BF16_SPEED),
        (True, {"precision": "fp32"}, 1.0),
        (True, {"deterministic": True}, 1.0),
        (False, {}, 1.0),
    ],
)
def test_where_bf16_will_be_taken_a_budget_holds_dearer_steps(monkeypatch, has_instructions, asked, gain):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    training = TrainingSettings(steps=None, seconds=240.0, threads=1, **asked)
    assert processor.BF16_SPEED > 1.0
    assert planner.time_on_cores(training) == pytest.approx(240.0 * gain)


def test_of_a_torch_that_does_not_tell_the_instructions_fp32_is_expected(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not processor.announces_bf16()
