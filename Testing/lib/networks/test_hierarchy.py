"""The joint head of leaves and superclasses, and backbones that leave their last block without a norm."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.networks.backbone import BACKBONES
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.hierarchy import PRIORS, HierarchyHead, module_name
from SemiSegLib.networks.layers import NEGATIVE_SLOPE, initialize
from SemiSegLib.networks.network import SegmentationNetwork
from SemiSegLib.planning.plan import NetworkPlan

# Leaves of one superclass are not neighbors: background, left 1, right 1, vessel, left 2, right 2, left 3.
INTERLEAVED = LabelScheme(
    name="interleaved",
    structures=(
        Structure(name="right"),
        Structure(name="left"),
        Structure(name="left 1", parent="left"),
        Structure(name="right 1", parent="right"),
        Structure(name="vessel"),
        Structure(name="left 2", parent="left"),
        Structure(name="right 2", parent="right"),
        Structure(name="left 3", parent="left"),
    ),
)
HEART = LabelScheme(
    name="heart",
    structures=(
        Structure(name="heart"),
        *(Structure(name=name, parent="heart") for name in ("right", "muscle", "left")),
    ),
)
WIDTH = 5


def head(scheme=INTERLEAVED, dimensions=2, **options):
    torch.manual_seed(0)
    return HierarchyHead(WIDTH, scheme, dimensions, **{"separate": True, "prior": "logits", **options})


def plan(dimensions=3, *, stem=1, **more):
    return NetworkPlan(
        **{
            "features": (4, 6, 8),
            "strides": ((2,) * dimensions,) * 2,
            "kernels": ((3,) * dimensions,) * 3,
            "stem_stride": (stem,) * dimensions,
            **more,
        }
    )


def backbone(network, dimensions=3, *, raw_map=True):
    torch.manual_seed(0)
    return build_backbone(network, in_channels=1, dimensions=dimensions, patch=(16,) * dimensions, raw_map=raw_map)


def norms(module):
    return sum("Norm" in type(part).__name__ for part in module.modules())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(("separate", "prior"), list(itertools.product([False, True], PRIORS)))
def test_every_switch_gives_a_logit_per_leaf_and_per_superclass(separate, prior, dimensions):
    built = head(dimensions=dimensions, separate=separate, prior=prior)
    found = built(torch.randn(2, WIDTH, *(3, 7, 5)[:dimensions]))
    assert found["superclass"].shape == (2, 4, *(3, 7, 5)[:dimensions])
    assert found["subclass"].shape == (2, 7, *(3, 7, 5)[:dimensions])
    (found["superclass"].square().sum() + found["subclass"].square().sum()).backward()
    assert all(p.grad.abs().sum() > 0 for p in built.parameters())


def test_separate_normalization_is_the_papers_formula():
    # One foreground superclass of three leaves, as in the paper, written with plain PyTorch from the same weights.
    built = head(HEART)
    features = torch.randn(2, WIDTH, 6, 4)
    state = dict(built.state_dict())

    def branch(name):
        own = {k.removeprefix(f"branches.of_{name}."): v for k, v in state.items() if f"of_{name}." in k}
        mean, variance = features.mean((0, 2, 3), keepdim=True), features.var((0, 2, 3), unbiased=False, keepdim=True)
        norm = (features - mean) / (variance + 1e-5).sqrt()
        norm = norm * own["projection.layers.0.weight"].view(1, -1, 1, 1)
        norm = (norm + own["projection.layers.0.bias"].view(1, -1, 1, 1)).relu()
        g = functional.conv2d(norm, own["projection.layers.2.weight"], own["projection.layers.2.bias"], padding=1)
        return g.relu(), own

    g, own = branch("heart")
    s = functional.conv2d(g, own["superclass.convolution.weight"], own["superclass.convolution.bias"])
    leaves = functional.conv2d(torch.cat([g, s], 1), own["leaves.convolution.weight"], own["leaves.convolution.bias"])
    g, own = branch("background")
    background = functional.conv2d(g, own["superclass.convolution.weight"], own["superclass.convolution.bias"])
    found = built(features)
    assert torch.allclose(found["superclass"], torch.cat([background, s], 1), atol=1e-5)
    assert torch.allclose(found["subclass"], torch.cat([background, leaves], 1), atol=1e-5)


def test_a_superclass_of_one_leaf_is_its_leaf():
    found = head()(torch.randn(2, WIDTH, 6, 4))
    for name in ("background", "vessel"):
        superclass, leaf = INTERLEAVED.superclass_names.index(name), INTERLEAVED.leaf_names.index(name)
        assert torch.equal(found["superclass"][:, superclass], found["subclass"][:, leaf])


def test_leaves_find_their_superclass_by_the_tree_not_by_their_number():
    built = head(prior="none")
    features = torch.randn(1, WIDTH, 6, 4)
    before = built(features)["subclass"]
    with torch.no_grad():
        built.branches["of_left"].leaves.convolution.bias += 1.0
    moved = (built(features)["subclass"] - before).abs().amax((0, 2, 3)) > 0.5
    assert [name for name, has in zip(INTERLEAVED.leaf_names, moved, strict=True) if has] == [
        "left 1",
        "left 2",
        "left 3",
    ]


def test_what_one_branch_normalizes_is_not_what_another_does():
    built = head(prior="none")
    features = torch.randn(1, WIDTH, 6, 4)
    before = built(features)
    with torch.no_grad():
        built.branches["of_right"].projection.layers[0].bias += 1.0
    after = built(features)
    is_right = torch.tensor([name.startswith("right") for name in INTERLEAVED.leaf_names])
    changed = (after["subclass"] != before["subclass"]).flatten(2).any(2)[0]
    assert torch.equal(changed, is_right)


@pytest.mark.parametrize("separate", [False, True])
def test_prior_concatenation_shows_logits_and_trains_them_only_if_asked(separate):
    gradients = {}
    for prior in PRIORS:
        built = head(separate=separate, prior=prior, norm="instance")
        features = torch.randn(2, WIDTH, 6, 4)
        leaves = INTERLEAVED.superclass_of_leaf.index(INTERLEAVED.superclass_names.index("left"))
        built(features)["subclass"][:, leaves].sum().backward()
        layer = built.branches["of_left"].superclass if separate else built.superclass
        gradients[prior] = layer.convolution.weight.grad
    assert gradients["logits"].abs().sum() > 0
    for prior in ("none", "detached"):
        assert gradients[prior] is None or gradients[prior].abs().sum() == 0


def test_a_prior_of_logits_is_seen_at_its_own_scale():
    # Probabilities would not notice that every superclass logit grew by 3; logits do (the code's reading of the paper).
    built = head(separate=False, prior="detached")
    features = torch.randn(1, WIDTH, 6, 4)
    before = built(features)["subclass"]
    with torch.no_grad():
        built.superclass.convolution.bias += 3.0
    assert not torch.allclose(built(features)["subclass"], before, atol=1e-3)


def test_without_a_projection_both_outputs_see_the_map_itself():
    built = head(separate=False, prior="none", projection=False)
    assert norms(built) == 0
    features = torch.randn(1, WIDTH, 6, 4)
    expected = functional.conv2d(features, built.subclass.convolution.weight, built.subclass.convolution.bias)
    assert torch.allclose(built(features)["subclass"], expected, atol=1e-6)


@pytest.mark.parametrize("separate", [False, True])
def test_output_rows_are_named_after_their_classes(separate):
    built = head(separate=separate)
    bone = backbone(plan(), raw_map=separate)
    whole = SegmentationNetwork(bone, {"hierarchy": built}, leaves=7)
    state, rows = whole.state_dict(), whole.output_rows({"subclass": INTERLEAVED.leaf_names}, prefix="")
    for layer, names in rows.items():
        assert len(state[layer]) == len(names)
    named = {name for names in rows.values() for name in names}
    # With branches a leaf that is its superclass is written once, as the superclass.
    assert named == {*INTERLEAVED.leaf_names, *INTERLEAVED.superclass_names}
    if separate:
        assert rows["heads.hierarchy.branches.of_left.leaves.convolution.weight"] == ("left 1", "left 2", "left 3")


def test_names_become_parts_of_a_state_dict_without_clashes():
    names = ("left ventricle", "a.b", "a_b", "keys", "Äpfel", "1")
    assert len({module_name(name) for name in names}) == len(names)
    nn.ModuleDict({module_name(name): nn.Identity() for name in names})
    assert module_name("Left-Ventricle") == module_name("left ventricle")


def check_that_only_the_last_block_is_without_a_norm(whole, raw, fewer=1):
    assert norms(whole) - norms(raw) == fewer
    image = torch.randn(2, 1, 16, 16, 16)
    usual, found = whole.eval()(image), raw.eval()(image)
    # What comes before the last block is as it was, down to the names of its weights.
    assert torch.equal(usual.bottleneck, found.bottleneck)
    assert set(raw.state_dict()) <= set(whole.state_dict())
    # The rectifier would leave next to nothing below zero.
    assert (found.map < -1e-2).float().mean() > 0.2


def test_only_the_last_block_is_left_without_a_norm():
    for network, fewer in ((plan(), 1), (plan(residual=False), 1), (plan(stem=2), 0), (plan(backbone="paper_unet"), 1)):
        check_that_only_the_last_block_is_without_a_norm(backbone(network, raw_map=False), backbone(network), fewer)


def test_a_network_stripped_of_the_norm_of_every_block_is_noticed():
    # The released code takes norm and rectifier off the second convolution of all nine blocks.
    network = plan(backbone="paper_unet")
    whole, stripped = backbone(network, raw_map=False), backbone(network)
    blocks = [(part, number) for part in (stripped.encoder, stripped.decoder) for number in range(len(part))]
    for part, number in blocks[:-1]:
        part[number] = part[number][:-2]
    assert norms(whole) - norms(stripped) == len(blocks) == 9
    with pytest.raises(AssertionError):
        check_that_only_the_last_block_is_without_a_norm(whole, stripped)
    # Nor does a count that allows it pass: what comes before the last block has changed.
    with pytest.raises(AssertionError):
        check_that_only_the_last_block_is_without_a_norm(whole, stripped, fewer=9)


def test_deep_supervision_does_not_use_the_raw_map():
    for stem in (1, 2):
        network = plan(stem=stem, deep_supervision=1)
        image = torch.randn(2, 1, 16, 16, 16)
        deep = [backbone(network, raw_map=raw).eval()(image).deep[0] for raw in (False, True)]
        assert torch.equal(*deep)


def test_a_backbone_without_a_raw_map_says_which_have_one():
    able = [name for name in BACKBONES if BACKBONES[name].offers_raw_map]
    assert able == ["paper_unet", "plan_unet"]
    with pytest.raises(ConfigError, match="choose one of paper_unet, plan_unet"):
        backbone(plan(backbone="vnet"))
    with pytest.raises(ConfigError, match="single stage"):
        backbone(plan(features=(4,), strides=(), kernels=((3, 3, 3),)))
    assert backbone(plan(backbone="vnet"), raw_map=False)


def test_initialization_reaches_every_convolution():
    def is_drawn(network):
        for part in network.modules():
            if isinstance(part, nn.Conv3d) and part.weight.numel() > 500:
                fan = part.weight[0].numel()
                expected = (2 / (1 + NEGATIVE_SLOPE**2) / fan) ** 0.5
                assert part.weight.std().item() == pytest.approx(expected, rel=0.15)
                assert part.bias is None or part.bias.abs().max() == 0

    is_drawn(backbone(plan(features=(8, 12, 16))))

    def released(module):
        # Goes by class names that no class has, so PyTorch's own initialization stays.
        if type(module).__name__ in ("ConvNd", "BatchNormNd"):
            initialize(module)

    plain = nn.Sequential(nn.Conv3d(8, 12, 3), nn.Conv3d(12, 16, 3)).apply(released)
    with pytest.raises(AssertionError):
        is_drawn(plain)
    is_drawn(plain.apply(initialize))
