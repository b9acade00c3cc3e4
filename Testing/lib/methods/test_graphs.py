"""How much a step of each method holds for the backward pass, against what its card says."""

import weakref

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.catalogue import graphs_at_once
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

# Wide enough that the networks hold more than the losses and the networks that judge them.
WIDE = {"features": (32, 32)}
LATE = Progress(900, 0.9)


class Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor


class Activations:
    """Counts the bytes that graphs keep, each piece of memory once, and the most of them at a time."""

    def __init__(self, parameters):
        self.weights = {parameter.data_ptr() for parameter in parameters}
        self.holders, self.now, self.most = {}, 0, 0

    def keep(self, tensor):
        kept, memory = Kept(tensor), tensor.untyped_storage()
        place, size = memory.data_ptr(), memory.nbytes()
        if place not in self.weights:
            if place not in self.holders:
                self.now += size
                self.most = max(self.most, self.now)
            self.holders[place] = self.holders.get(place, 0) + 1
            weakref.finalize(kept, self.drop, place, size)
        return kept

    def drop(self, place, size):
        self.holders[place] -= 1
        if not self.holders[place]:
            del self.holders[place]
            self.now -= size


def most_kept(name, options, **more):
    built = tiny.method(name, options=options, **WIDE).train()
    made, _ = tiny.batch_for(name, **more)
    kept = Activations(built.parameters())
    with torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda given: given.tensor):
        for terms in built.losses(made, LATE):
            terms.total().backward()
    return kept.most


@pytest.fixture(scope="module")
def one_network():
    """What the plain method keeps of as many rows as every method is given."""
    return most_kept("supervised", {}, rows={Regime.FULL: sum(tiny.ROWS.values())})


def choices(card):
    """The defaults of a method, and each choice that its card has a number of networks for, and their other choices."""
    own = [option for option in card.options if option.name in card.graphs]
    return [{}, *({option.name: choice} for option in own for choice in option.choices)]


@pytest.mark.parametrize(
    ("name", "options"), [(card.name, chosen) for card in CARDS for chosen in choices(card)], ids=str
)
def test_a_step_holds_as_many_networks_at_once_as_the_card_says(one_network, name, options):
    card = card_of(name)
    counted = graphs_at_once(card, resolve_options(card, None, options))
    # Less where rows without labels are not computed; networks that judge, maps of structures and copies of weights,
    # which count for much beside so few voxels, come on top.
    assert counted - 0.7 < most_kept(name, options) / one_network < counted + 0.9


def test_methods_that_hold_two_networks_at_once_say_with_which_options():
    assert {card.name for card in CARDS if card.graphs} == {"cross_pseudo_supervision", "dual_task_mutual_learning"}
    for card in CARDS:
        for option, counts in card.graphs.items():
            (found,) = [own for own in card.options if own.name == option]
            assert set(counts) <= set(found.choices)
