"""Which leaf a voxel is: the most probable, or the one that the likeliest structures lead to."""

import pytest
import torch

from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.decision import Decision

# Leaves: background, rim, cavity, muscle, spleen, right. Groups lie in one another, and not in the order of the leaves.
DEEP = LabelScheme(
    name="deep",
    structures=(
        Structure(name="heart"),
        Structure(name="left", parent="heart"),
        Structure(name="rim", parent="lung"),
        Structure(name="cavity", parent="left"),
        Structure(name="muscle", parent="left"),
        Structure(name="spleen"),
        Structure(name="lung"),
        Structure(name="right", parent="Heart"),
    ),
)


def decided(values, rule="superclass_first", scheme=DEEP):
    probability = torch.tensor(values)[:, None, None].expand(-1, 2, 3)
    found = Decision(scheme, rule)(probability)
    assert (found.dtype, found.shape) == (torch.uint8, (2, 3))
    assert (found == found[0, 0]).all()
    streamed = Decision(scheme, rule).one_by_one(probability.__getitem__)
    assert torch.equal(streamed, found)
    return scheme.leaf_names[int(found[0, 0])]


@pytest.mark.parametrize(
    ("values", "leaf", "first"),
    [
        # background 0.36, left ventricle 0.42: the most probable leaf would be background.
        ((0.36, 0.0, 0.21, 0.21, 0.01, 0.21), "background", "cavity"),
        # heart, and in it the left side, although the right one is the most probable leaf.
        ((0.1, 0.0, 0.2, 0.25, 0.15, 0.3), "right", "muscle"),
        ((0.3, 0.0, 0.1, 0.1, 0.29, 0.21), "background", "right"),
        ((0.1, 0.0, 0.1, 0.1, 0.5, 0.2), "spleen", "spleen"),
        ((0.2, 0.6, 0.05, 0.05, 0.05, 0.05), "rim", "rim"),
    ],
)
def test_each_level_takes_the_likeliest_structure(values, leaf, first):
    assert decided(values, "leaf") == leaf
    assert decided(values) == first


def test_a_leaf_above_one_half_is_found_by_either_rule():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(6, 1000, generator=generator) ** 6
    values /= values.sum(0)
    sure = values.amax(0) > 0.5
    assert 0.2 < sure.float().mean() < 0.95
    found = [Decision(DEEP, rule)(values)[sure] for rule in ("leaf", "superclass_first")]
    assert torch.equal(*found)
    assert torch.equal(found[0].long(), values.argmax(0)[sure])


def test_without_subclasses_the_most_probable_leaf_is_taken():
    flat = LabelScheme(name="flat", structures=tuple(Structure(name=name) for name in ("liver", "spleen")))
    values = torch.rand(3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    found = Decision(flat, "superclass_first")(values)
    assert torch.equal(found.long(), values.argmax(0))
    assert torch.equal(Decision(flat, "superclass_first").one_by_one(values.__getitem__), found)


@pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])
def test_a_method_is_read_as_its_options_say_and_papers_take_the_leaf(card):
    published = [preset for preset in card.presets if preset != "ours"]
    assert all(resolve_options(card, preset, {})["decision"] == "leaf" for preset in published)
    assert resolve_options(card, "ours", {})["decision"] == "superclass_first"


def test_a_method_keeps_the_decision_it_was_built_with():
    plan = Plan(
        dimensions=2,
        channels=(ChannelPlan(role="image"),),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(16, 16),
        batch=2,
        network=NetworkPlan(stem_stride=(1, 1), features=(4, 6, 8), strides=((2, 2),) * 2, kernels=((3, 3),) * 3),
    )
    study = Study(scheme=DEEP, plan=plan)
    for rule in ("leaf", "superclass_first"):
        method = build_method("marginal", study, {"decision": rule})
        assert Decision.of(method, DEEP).tree == Decision(DEEP, rule).tree
