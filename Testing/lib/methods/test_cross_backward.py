"""Two networks trained one after the other, both at once or side by side: the same gradients, in different memory."""

from contextlib import nullcontext

import pytest
import torch

from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cross import cross_pseudo_supervision
from SemiSegLib.methods.cross.stacked import stacked_outputs
from SemiSegLib.networks.layers import is_channels_last
from Testing.lib.methods import tiny
from Testing.lib.methods.cross import LATE, START, double, largest_difference, learn, method

EXACT = [
    ({}, {}),
    ({"norm": "batch"}, {"rows": "all"}),
    ({"dropout": 0.3}, {}),
    ({"norm": "batch", "dropout": 0.3}, {"supervision": "two_heads"}),
    ({"norm": "group"}, {"preset": "paper_000", "projection": False}),
    ({"norm": "batch"}, {"views": "strong"}),
    ({}, {"confidence": "plain"}),
    ({}, {"confidence": "above_chance"}),
]


def check_that_both_ways_learn_the_same(network, options, made, progress):
    results = {}
    for backward in ("joint", "sequential"):
        built = method(network=network, backward=backward, **options).double()
        results[backward] = (*learn(built, double(made), progress), built.state_dict())
    assert largest_difference(results["sequential"][0], results["joint"][0]) == 0
    assert results["sequential"][1] == results["joint"][1]
    # Running statistics moved once in either way.
    for name, value in results["joint"][2].items():
        assert torch.equal(results["sequential"][2][name], value), name


@pytest.mark.parametrize(("network", "options"), EXACT)
@pytest.mark.parametrize("progress", [START, LATE], ids=["waiting", "late"])
def test_one_network_after_the_other_has_the_gradient_of_both_together(network, options, progress):
    check_that_both_ways_learn_the_same(network, options, tiny.batch()[0], progress)


def test_the_gradients_are_the_same_too_where_no_row_has_a_pseudo_label():
    made = tiny.batch(rows={Regime.FULL: 2})[0]
    check_that_both_ways_learn_the_same({"dropout": 0.3}, {}, made, LATE)


def test_in_single_precision_the_gradients_agree_too():
    made = tiny.batch()[0]
    found = [learn(method(backward=backward), made)[0] for backward in ("joint", "sequential", "stacked")]
    assert largest_difference(found[1], found[0]) < 1e-6
    assert largest_difference(found[2], found[0]) < 1e-5


@pytest.mark.parametrize("broken", ["the pass gathers statistics", "other random numbers"])
def test_a_careless_pass_without_a_graph_is_caught(broken, monkeypatch):
    # Trap: the released code of paper 000 makes pseudo-labels by a training pass that updates running statistics.
    made = double(tiny.batch()[0])
    network = {"norm": "batch"} if broken == "the pass gathers statistics" else {"dropout": 0.3}
    name = "keeping_buffers" if broken == "the pass gathers statistics" else "_repeated"
    monkeypatch.setattr(cross_pseudo_supervision, name, lambda *ignored: nullcontext())
    built = [method(network=network, backward=backward).double() for backward in ("joint", "sequential")]
    gradients = [learn(one, made)[0] for one in built]
    states = [one.state_dict() for one in built]
    differs = largest_difference(*gradients) > 0 or any(not torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert differs


@pytest.mark.parametrize("options", [{}, {"supervision": "two_heads"}, {"views": "strong"}])
@pytest.mark.parametrize("network", [{}, {"norm": "batch"}, {"deep_supervision": 1, "stem_stride": (2, 2, 2)}])
def test_stacked_networks_have_the_gradient_and_the_state_of_two_single_ones(network, options):
    made = double(tiny.batch()[0])
    found = {}
    for backward in ("joint", "stacked"):
        built = method(network=network, backward=backward, **options).double()
        found[backward] = (*learn(built, made), built.state_dict())
    assert largest_difference(found["stacked"][0], found["joint"][0]) < 1e-12
    assert found["stacked"][1] == pytest.approx(found["joint"][1], abs=1e-12)
    assert list(found["stacked"][2]) == list(found["joint"][2])
    for name, value in found["joint"][2].items():
        assert torch.allclose(found["stacked"][2][name].double(), value.double(), atol=1e-12), name


@pytest.mark.parametrize("dimensions", [2, 3])
def test_stacked_networks_take_any_size_and_memory_format(dimensions):
    built = method(dimensions, backward="stacked", network={"dropout": 0.2})
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    for parameter in built.parameters():
        if parameter.ndim == dimensions + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    image = torch.randn(3, 2, *(9, 7, 5)[:dimensions]).contiguous(memory_format=layout)
    assert is_channels_last(image)
    outputs = stacked_outputs([built.first, built.second], [image, image])
    assert [o["subclass"].shape for o in outputs] == [(3, 4, *image.shape[2:])] * 2
    built.eval()
    with torch.no_grad():
        outputs = stacked_outputs([built.first, built.second], [image, image])
        for own, learner in zip(outputs, (built.first, built.second), strict=True):
            assert torch.allclose(own["subclass"], learner(image)["subclass"], atol=1e-5)


def test_stacked_dropout_is_another_in_each_network():
    built = method(backward="stacked", network={"dropout": 0.5})
    built.second.load_state_dict(built.first.state_dict())
    image = torch.randn(1, 2, 8, 8, 8)
    first, second = stacked_outputs([built.first, built.second], [image, image])
    assert not torch.equal(first["subclass"], second["subclass"])


def test_networks_that_cannot_be_stacked_are_named():
    with pytest.raises(ConfigError, match="different shape"):
        method(backward="stacked", second_backbone="basic_unet")
    with pytest.raises(ConfigError, match="group norm"):
        method(backward="stacked", network={"norm": "group"})


def test_one_graph_is_held_at_a_time():
    # The first network's activations are gone when the second network begins.
    built, made = method(), tiny.batch()[0]
    alive, most = set(), []

    def pack(tensor):
        token = _Token(alive)
        most.append(len(alive))
        return token, tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda pair: pair[1]):
        for backward in ("joint", "sequential"):
            built = method(backward=backward)
            most.clear()
            for terms in built.losses(made, LATE):
                terms.total().backward()
            assert not alive
            if backward == "joint":
                both = max(most)
    assert max(most) < 0.6 * both


class _Token:
    """Counts itself among the living."""

    def __init__(self, alive):
        self.alive = alive
        alive.add(id(self))

    def __del__(self):
        self.alive.discard(id(self))
