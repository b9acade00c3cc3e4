"""Heads that a controller makes: equal to plain convolutions one by one, and each for its own structure and image."""

import copy

import pytest
import torch
from torch.nn import functional

from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.dodnet_unet import Standardized
from SemiSegLib.networks.dynamic import DynamicHead, EqualizedLinear, TaskHead, apply_heads, group_norm, weight_count
from SemiSegLib.networks.embedding import EMBEDDINGS, RoiEmbedding
from SemiSegLib.planning.plan import NetworkPlan

TABLE = RoiTable.of(
    LabelScheme(
        name="test",
        structures=(
            Structure(name="tumor", parent="liver"),
            Structure(name="liver"),
            Structure(name="parenchyma", parent="liver"),
            Structure(name="spleen"),
        ),
    )
)


def embedding(kind="hierarchy", **more):
    torch.manual_seed(0)
    return RoiEmbedding(kind, TABLE, given=torch.randn(4, 24) if kind in ("text", "file") else None, **more)


def one_by_one(features, numbers, logits):
    """The heads as convolutions, a loop over rows and heads; weights of all layers first, then shifts (DoDNet)."""
    convolve = functional.conv2d if features.ndim == 4 else functional.conv3d
    ones = (1,) * (features.ndim - 2)
    rows = []
    for image, heads in zip(features, numbers, strict=True):
        found = []
        for head in heads:
            w1, w2, w3, b1, b2, b3 = head.split([64, 64, 8 * logits, 8, 8, logits])
            hidden = convolve(image[None], w1.view(8, 8, *ones), b1).relu()
            hidden = convolve(hidden, w2.view(8, 8, *ones), b2).relu()
            found.append(convolve(hidden, w3.view(logits, 8, *ones), b3)[0])
        rows.append(torch.cat(found))
    return torch.stack(rows)


def test_heads_have_as_many_numbers_as_published():
    assert weight_count(1) == 153
    assert weight_count(2) == 162


@pytest.mark.parametrize("logits", [1, 2, 3])
@pytest.mark.parametrize("size", [(5, 3), (3, 2, 4)])
def test_all_heads_at_once_are_convolutions_one_by_one(logits, size):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, 8, *size, generator=draw, dtype=torch.float64)
    numbers = torch.randn(2, 5, weight_count(logits), generator=draw, dtype=torch.float64)
    found = apply_heads(features, numbers, logits)
    assert found.shape == (2, 5 * logits, *size)
    assert torch.allclose(found, one_by_one(features, numbers, logits))
    last = features.contiguous(memory_format=torch.channels_last if len(size) == 2 else torch.channels_last_3d)
    # Some processors add the same products in another order.
    torch.testing.assert_close(apply_heads(last, numbers, logits), found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_a_logit_depends_on_its_own_row_and_its_own_structure_alone(kind):
    head = DynamicHead(6, 10, 2, embedding=embedding(kind)).double()
    features, bottleneck = (torch.randn(3, n, 4, 5, dtype=torch.float64) for n in (6, 10))
    found = head(features, bottleneck)
    assert found.shape == (3, 4, 4, 5)
    changed = bottleneck.clone()
    changed[1] = 3 * changed[1].flip(0)
    other = head(features, changed)
    assert torch.allclose(other[[0, 2]], found[[0, 2]])
    assert not torch.allclose(other[1], found[1])
    rows = head.embedding().detach().clone()
    rows[2] += 1.0
    head.embedding.forward = lambda: rows
    other = head(features, bottleneck)
    assert torch.allclose(other[:, [0, 1, 3]], found[:, [0, 1, 3]])
    assert not torch.allclose(other[:, 2], found[:, 2])


def test_the_controller_sees_image_and_structure_side_by_side():
    head = DynamicHead(6, 10, 3, embedding=embedding()).double()
    bottleneck = torch.randn(2, 10, 2, 1, 3, dtype=torch.float64)
    pooled = head.norm(bottleneck).relu().mean((2, 3, 4))
    seen = torch.cat([head.context(pooled)[1], head.embedding.weight[2]])
    assert torch.allclose(head.numbers(bottleneck)[1, 2], head.controller(seen))


def test_a_child_begins_near_its_parent():
    rows = embedding("hierarchy")().detach()
    distance = torch.cdist(rows, rows)
    tumor, liver, parenchyma, spleen = range(4)
    for child in (tumor, parenchyma):
        assert distance[child, liver] < 0.5 * distance[child, spleen]
    assert rows.std(1).tolist() == pytest.approx([1.0] * 4, abs=0.15)
    apart = torch.cdist(embedding("learned")(), embedding("learned")())
    assert apart[tumor, liver] > 0.8 * apart[tumor, spleen]


def test_rows_from_outside_are_state_and_are_not_trained():
    made = embedding("text")
    assert made.state_dict()["fixed"].shape == (4, 24)
    assert {name for name, _ in made.named_parameters()} == {"project.weight", "project.bias"}
    other = RoiEmbedding("text", TABLE, given=torch.zeros(4, 24))
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(), made())


def test_rows_that_are_missing_or_too_few_are_told():
    with pytest.raises(ConfigError, match="has no embeddings"):
        RoiEmbedding("file", TABLE)
    with pytest.raises(ConfigError, match="one row for each of tumor, liver, parenchyma, spleen"):
        RoiEmbedding("text", TABLE, given=torch.zeros(3, 24))


def test_some_structures_alone_get_their_rows():
    whole, part = embedding("hierarchy"), embedding("hierarchy", chosen=(2, 0))
    assert torch.equal(part(), whole()[[2, 0]])
    assert part.output_rows() == {"weight": ("parenchyma", "tumor")}
    assert embedding("one_hot", chosen=(2, 0)).width == 2


def test_an_equalized_layer_begins_as_a_plain_one_and_takes_smaller_steps():
    layers = []
    for is_equalized in (False, True):
        torch.manual_seed(0)
        layers.append(EqualizedLinear(400, 3, is_equalized=is_equalized))
    values = torch.ones(1, 400)
    before = [layer(values) for layer in layers]
    assert torch.allclose(*before, atol=1e-5)
    moved = []
    for layer, first in zip(layers, before, strict=True):
        optimizer = torch.optim.Adam([layer.weight], lr=0.01)
        layer(values).sum().backward()
        optimizer.step()
        moved.append((layer(values) - first).abs().mean().item())
    # 400 weights change by 0.01 each: together by 4; equalized by 4 / 20.
    assert moved == pytest.approx([4.0, 0.2], rel=1e-3)


def test_a_table_of_tasks_is_a_controller_of_one_hot_tasks():
    head = TaskHead(8, 12, 2, names=("a", "b", "c"), parts=2).double()
    features, bottleneck = torch.randn(2, 8, 3, 3).double(), torch.randn(2, 12, 2, 2).double()
    pooled = head.norm(bottleneck).relu().mean((2, 3))
    weight = torch.cat([head.controller.used, head.tasks.weight.T], dim=1)
    tasks = torch.tensor([[2, 0], [1, 1]])
    one_hot = functional.one_hot(tasks, 3).double()
    seen = torch.cat([pooled[:, None].expand(2, 2, 12), one_hot], dim=2)
    numbers = functional.linear(seen, weight, head.controller.bias)
    assert torch.allclose(head(features, bottleneck, tasks), one_by_one(head.reduce(features), numbers, 2))


def test_norms_have_sixteen_groups_of_at_least_two_channels():
    assert [group_norm(n).num_groups for n in (768, 256, 48, 32, 16, 8, 5, 1)] == [16, 16, 16, 16, 8, 4, 1, 1]


def dodnet(dimensions=3):
    torch.manual_seed(0)
    return build_backbone(
        NetworkPlan(backbone="dodnet_unet"), in_channels=1, dimensions=dimensions, patch=(16,) * dimensions
    )


def test_dodnets_network_has_its_published_size():
    backbone = dodnet()
    # 17.3 M with the head of seven tasks.
    head = TaskHead(32, 256, 3, names=tuple("abcdefg"), parts=2)
    count = sum(p.numel() for module in (backbone, head) for p in module.parameters())
    # Its controller is one layer of 256 + 7 inputs; its norms have a scale and a shift, as here.
    assert count == 17_329_528


def test_only_the_shape_of_standardized_weights_counts():
    layer = Standardized(3, 5, 2).double()
    image = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.layer.weight.mul_(7.0).add_(2.0)
    assert torch.allclose(other(image), layer(image))
    weight = layer.layer.weight.flatten(1)
    plain = (weight - weight.mean(1, keepdim=True)) / weight.std(1, keepdim=True)
    expected = functional.conv2d(image, plain.view(5, 3, 3, 3), padding=1)
    assert torch.allclose(layer(image), expected, atol=1e-6)
