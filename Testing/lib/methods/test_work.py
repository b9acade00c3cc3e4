"""How much work a step of each method is, against what its card says."""

import math
from itertools import product

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.catalogue import FORWARD, work_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.method import Progress
from SemiSegLib.networks.backbone import Backbone
from Testing.lib.methods import tiny

CROSS, DOUBT, MUTUAL = "cross_pseudo_supervision", "uncertainty_aware_mean_teacher", "dual_task_mutual_learning"
SUBCLASS = "efficient_subclass"
LATE = Progress(900, 0.9)
# Two views of the rows that take lessons are more than a whole batch, one is not.
ROWS = {Regime.FULL: 1, Regime.COARSE: 3, Regime.PARTIAL: 1, Regime.NONE: 1}
MIXES = ("full", "mixup", "pseudo")
CHOICES = [
    *((card.name, None, {}) for card in CARDS),
    *(
        (CROSS, None, {"backward": way, "views": views})
        for way, views in product(("sequential", "joint"), ("same", "strong"))
    ),
    *((DOUBT, None, {"passes": passes, "target": target}) for passes, target in ((1, "mean"), (8, "pass"))),
    ("double_uncertainty", None, {"passes": 2}),
    *((MUTUAL, None, {"networks": alone}) for alone in ("segmentation", "distance")),
    *(
        (SUBCLASS, None, {"mix": mix, "passes": passes, "agreement": agreement})
        for mix, passes, agreement in product(MIXES, ("one", "two"), ("turns", "none"))
    ),
    *((SUBCLASS, "code", {"mix": mix}) for mix in MIXES),
    (SUBCLASS, None, {"mix": "full", "mix_weight": 0.0}),
]


def computed(name, preset, options):
    """Passes of the networks in a late step; those over some of the rows count as one over all."""
    built = tiny.method(name, 2, preset=preset, options=options).train()
    made, _ = tiny.batch_for(name, 2, rows=ROWS)
    passes = []

    def count(module, given, outputs):
        rows = math.ceil(len(given[0]) / len(made))
        passes.append(rows * (1 if torch.is_grad_enabled() else FORWARD))

    for part in built.modules():
        if isinstance(part, Backbone):
            part.register_forward_hook(count)
    for terms in built.losses(made, LATE):
        terms.total().backward()
    return sum(passes)


@pytest.mark.parametrize(("name", "preset", "options"), CHOICES, ids=str)
def test_a_step_is_as_much_work_as_the_card_says(name, preset, options):
    card = card_of(name)
    told = work_of(card, resolve_options(card, preset, options))
    assert computed(name, preset, options) == pytest.approx(told)


def test_two_networks_side_by_side_are_two_networks_work():
    card = card_of(CROSS)
    work = {way: work_of(card, resolve_options(card, None, {"backward": way})) for way in ("joint", "stacked")}
    assert work["joint"] == work["stacked"] == 2
