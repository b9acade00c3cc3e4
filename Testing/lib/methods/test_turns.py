"""Views that are turned show true turns of the anatomy, never a sheared one."""

from dataclasses import replace

import pytest
import torch

from SemiSegLib.batches import views
from SemiSegLib.batches.views import View
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

LATE = Progress(900, 0.9)
OPTIONS = {
    "efficient_subclass": {"mix": "pseudo", "agreement": "turns"},
    "transformation_consistent": {"turns": True, "scale": 0.0, "noise": 0.0},
}
# Planes that turn by quarters, of those that the method turns: any, or the last two axes.
PLANES = {
    "efficient_subclass": {2: [(-2, -1)], 3: [(-3, -2), (-3, -1), (-2, -1)]},
    "transformation_consistent": {2: [(-2, -1)], 3: [(-2, -1)]},
}
every_method = pytest.mark.parametrize("name", OPTIONS)


def quarter_turned(name, dimensions, spacing_mm):
    """The planes in which a teacher was shown a row turned by an odd number of quarters, over some steps."""
    study = tiny.study(dimensions)
    study = replace(study, plan=replace(study.plan, spacing_mm=spacing_mm))
    torch.manual_seed(0)
    built = build_method(name, study, OPTIONS[name]).train()
    made = tiny.batch(dimensions, rows={Regime.FULL: 1, Regime.COARSE: 2})[0]
    seen, found = [], set()
    built.teacher.network.register_forward_pre_hook(lambda network, given: seen.append(given[0].detach()))
    flips = [tuple(bool(code >> axis & 1) for axis in range(dimensions)) for code in range(2**dimensions)]
    ways = [View(flip, turns, plane) for plane in PLANES[name][dimensions] for turns in range(4) for flip in flips]
    for _ in range(30):
        seen.clear()
        list(built.losses(made, LATE))
        # HierarchicalMix shows the rows as they are, too, before their views.
        for row, shown in zip(made.image[1:], seen[0][-2:], strict=True):
            fitting = [view for view in ways if torch.equal(view.apply(row), shown)]
            assert fitting
            found |= {view.plane for view in fitting if view.quarter_turns % 2}
    return found


def check_that_only_square_planes_turn_by_quarters(name):
    for dimensions, spacing_mm, square in (
        (2, (5.0, 0.7, 0.7), {(-2, -1)}),
        (2, (0.7, 0.7, 1.4), set()),
        (3, (5.0, 0.7, 0.7), {(-2, -1)}),
        (3, (5.0, 0.7, 1.4), set()),
        (3, (1.4, 0.7, 1.4), {(-3, -1)}),
    ):
        expected = square & set(PLANES[name][dimensions])
        assert quarter_turned(name, dimensions, spacing_mm) == expected, spacing_mm


@every_method
def test_only_planes_of_square_voxels_turn_by_quarters(name):
    check_that_only_square_planes_turn_by_quarters(name)


@every_method
def test_a_rule_that_counts_voxels_alone_is_noticed(name, monkeypatch):
    # The released code's: a cubic patch of thick slices is turned into a sheared one.
    monkeypatch.setattr(views, "is_square", lambda spacing_mm, plane: True)
    with pytest.raises(AssertionError):
        check_that_only_square_planes_turn_by_quarters(name)
