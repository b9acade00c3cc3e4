"""The network that tells which structures an image holds, and how its classes answer for those of a study."""

import pytest
import torch
from torch import nn

from SemiSegLib.errors import ConfigError
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceNetwork, PresenceShape


def shape(**changes):
    usual = {"classes": ("left", "right", "liver"), "channels": 2, "dimensions": 3, "width": 0.125}
    return PresenceShape(**{**usual, **changes})


CLASSES_OF = {"kidney": ("left", "right"), "tumor": ("left", "right"), "liver": ("liver",)}


def a_model(**changes):
    torch.manual_seed(0)
    return PresenceModel(PresenceDescription(shape=shape(**changes), classes_of=CLASSES_OF))


def with_logits(model, *logits):
    """Let the network say the same of every image."""
    model.network.body.fc.weight.zero_()
    model.network.body.fc.bias.copy_(torch.tensor(logits))
    return model


@pytest.mark.parametrize("size", [(7, 16, 13), (1, 1, 1), (3, 40, 9)])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_images_of_any_size_get_one_probability_for_each_structure(size, norm):
    found = a_model(norm=norm)(torch.randn(3, 2, *size))
    assert found.shape == (3, 3)
    assert found.dtype == torch.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_slices_are_images_too():
    assert a_model(dimensions=2)(torch.randn(2, 2, 17, 11)).shape == (2, 3)


def test_the_likeliest_of_its_classes_decides_for_a_structure_and_the_organ_for_its_tumor():
    model = with_logits(a_model(), -2.0, 1.0, 0.5)
    kidney, tumor, liver = model(torch.randn(1, 2, 5, 6, 7))[0].tolist()
    assert kidney == tumor == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())
    assert liver == pytest.approx(torch.sigmoid(torch.tensor(0.5)).item())


def test_each_class_is_divided_by_its_own_temperature_before_the_likeliest_is_taken():
    model = with_logits(a_model(), 3.0, 2.0, 4.0)
    model.temperature.copy_(torch.tensor([6.0, 1.0, 2.0]))
    kidney, _, liver = model(torch.randn(1, 2, 5, 6, 7))[0].tolist()
    assert kidney == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())
    assert liver == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_nothing_of_it_moves_when_the_method_around_it_is_trained(norm):
    model = a_model(norm=norm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    holder = nn.ModuleDict({"presence": model, "other": nn.Conv3d(2, 1, 1)})
    holder.train()
    assert holder["other"].training
    image = torch.randn(2, 2, 8, 8, 8, requires_grad=True)
    assert not model(image).requires_grad
    assert not [p for p in model.parameters() if p.requires_grad]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_half_precision_around_it_gives_full_precision_probabilities():
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert a_model()(torch.randn(1, 2, 5, 5, 5)).dtype == torch.float32
    model = with_logits(a_model(), 60.0, -60.0, 0.0)
    assert model(torch.randn(1, 2, 5, 5, 5)).tolist() == [[1.0, 1.0, 0.5]]


def test_group_normalization_is_in_every_block_and_not_in_the_first_alone():
    kinds = {type(m) for m in PresenceNetwork(shape()).modules()}
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm3d not in kinds
    assert nn.BatchNorm3d in {type(m) for m in PresenceNetwork(shape(norm="batch")).modules()}


def test_a_row_is_judged_by_itself_while_it_is_trained():
    network = PresenceNetwork(shape()).train()
    image = torch.randn(2, 2, 9, 8, 7)
    alone = torch.cat([network(image[:1]), network(image[1:])])
    torch.testing.assert_close(network(image), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"classes": ()}, {"classes": ("a", "a")}, {"dimensions": 4}, {"width": 1e9}, {"norm": "os.system"}]
)
def test_a_shape_that_cannot_be_built_is_refused(changes):
    with pytest.raises(ConfigError, match="remedy"):
        shape(**changes)
    with pytest.raises(ConfigError, match="did you mean 'left'"):
        PresenceDescription(shape=shape(), classes_of={"kidney": ("lft",)})


def test_no_strided_pointwise_convolution_is_left_to_onednn():
    # Its weight gradient writes beyond its memory, see networks/layers.py.
    for dimensions in (2, 3):
        network = PresenceNetwork(PresenceShape(classes=("a",), dimensions=dimensions, channels=1, width=0.125))
        strided = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)) and max(m.stride) > 1]
        pointwise = [m for m in strided if max(m.kernel_size) == 1]
        assert pointwise
        assert all(type(m).__name__ == f"PointwiseConv{dimensions}d" for m in pointwise)
