"""Pseudo-labels: sure, agreed upon, allowed by the label, one leaf at a voxel."""

from collections import Counter

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.mix.pseudo_labels import (
    KEPT,
    MOST_CONFIDENCE,
    AdaptiveThreshold,
    agreed,
    conditioned,
    draw_turn,
    least_confidence,
    one_hot,
    released_pseudo_labels,
)
from Testing.lib.methods import tiny


def maps(*voxels):
    """(1, L, V) from one list of probabilities per voxel."""
    return torch.tensor(voxels).T.unsqueeze(0)


def test_a_leaf_is_agreed_upon_where_both_views_are_sure_of_it_and_the_label_allows_it():
    first = maps([0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1], [0.9, 0.05, 0.05])
    second = maps([0.6, 0.3, 0.1], [0.1, 0.9, 0.0], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05])
    allowed = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.bool).T.unsqueeze(0)
    leaf, confidence = agreed(first, second, allowed)
    assert leaf.tolist() == [[0, 1, 1, 0]]
    # The smaller of both; 0 where they differ; 0 where the label says otherwise.
    assert confidence[0].tolist() == pytest.approx([0.6, 0.8, 0.0, 0.0])
    assert agreed(first, None, allowed)[1][0].tolist() == pytest.approx([0.7, 0.8, 0.5, 0.0])


def test_a_voxel_gets_one_pseudo_label_at_the_papers_last_threshold():
    # Two leaves of 0.45 are both above 0.4; half of the voxels are such.
    p = maps([0.45, 0.1, 0.45], [0.45, 0.45, 0.1], [0.05, 0.9, 0.05], [0.34, 0.33, 0.33])
    allowed = torch.ones_like(p, dtype=torch.bool)
    leaf, confidence = agreed(p, p, allowed)

    def is_one_hot(labels):
        assert set(labels.sum(1).flatten().tolist()) <= {0.0, 1.0}

    ours = one_hot(leaf, confidence > 0.4, 3)
    is_one_hot(ours)
    assert ours.sum(1)[0].tolist() == [1, 1, 1, 0]
    released = released_pseudo_labels(p, p, allowed, 0.4)
    with pytest.raises(AssertionError):
        is_one_hot(released)
    assert released.sum(1)[0].tolist() == [2, 2, 1, 0]


def test_a_leaf_of_another_superclass_is_refused():
    # Superclasses: background; leaves 1 and 2; leaf 3. The label says "1 or 2", the network is sure of leaf 3.
    p = maps([0.0, 0.05, 0.05, 0.9])
    allowed = torch.tensor([0, 1, 1, 0], dtype=torch.bool).view(1, 4, 1)

    def refuses(confidence):
        assert (confidence == 0).all()

    leaf, confidence = agreed(p, p, allowed)
    refuses(confidence)
    # The released code for several superclasses asks only whether both are foreground.
    is_foreground = (torch.arange(4) > 0).view(1, 4, 1)
    with pytest.raises(AssertionError):
        refuses(released_pseudo_labels(p, p, is_foreground, 0.4).gather(1, leaf.unsqueeze(1)))


def test_given_the_label_probabilities_are_those_of_the_allowed_leaves():
    p = maps([0.5, 0.3, 0.2, 0.0], [0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0])
    allowed = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]], dtype=torch.bool).T.unsqueeze(0)
    found = conditioned(p, allowed)
    assert found[0, :, 0].tolist() == pytest.approx([0, 0.6, 0.4, 0])
    assert found[0, :, 1].tolist() == pytest.approx([0.25] * 4)
    # A network that excludes what the label says is sure of nothing.
    assert found[0, :, 2].max() == 0


@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (4, 4, 4), (3, 5, 5), (5, 3, 5), (3, 4, 5)])
@pytest.mark.parametrize("always_flips", [False, True])
def test_a_turn_keeps_the_shape_and_is_undone_exactly(shape, always_flips):
    torch.manual_seed(0)
    array = torch.randn(2, 3, *shape)
    for _ in range(40):
        view = draw_turn(shape, (1.0,) * len(shape), always_flips=always_flips)
        assert view.apply(array).shape == array.shape
        assert torch.equal(view.invert(view.apply(array)), array)
        # The same for labels, whose leading axes are fewer.
        assert torch.equal(view.invert(view.apply(array[:, 0])), array[:, 0])


def reaches_every_axis(draw):
    """Turns and flips go along any axis, and sometimes nothing is flipped."""
    torch.manual_seed(0)
    drawn = [draw((6, 6, 6), (1.0,) * 3) for _ in range(200)]
    assert {view.plane for view in drawn if view.quarter_turns} == {(0, 1), (0, 2), (1, 2)}
    flips = Counter(view.flips for view in drawn)
    assert len(flips) == 8
    assert min(flips.values()) > 5


def test_turns_are_about_any_axis_and_flips_are_random():
    reaches_every_axis(draw_turn)
    with pytest.raises(AssertionError):
        reaches_every_axis(lambda shape, spacing_mm: draw_turn(shape, spacing_mm, always_flips=True))
    torch.manual_seed(0)
    released = [draw_turn((6, 6, 6), (1.0,) * 3, always_flips=True) for _ in range(50)]
    assert {view.plane for view in released} == {(0, 1)}
    assert {view.flips for view in released} == {(True, False, False), (False, True, False)}


def test_thick_slices_turn_by_quarters_in_their_own_plane_alone():
    torch.manual_seed(0)
    drawn = [draw_turn((6, 6, 6), (5.0, 1.0, 1.0)) for _ in range(200)]
    assert {view.quarter_turns for view in drawn if view.plane == (1, 2)} == {0, 1, 2, 3}
    assert {view.quarter_turns for view in drawn if view.plane != (1, 2)} == {0, 2}


def test_an_adaptive_threshold_is_the_mean_confidence_of_each_leaf():
    threshold = AdaptiveThreshold(3)
    leaf = torch.tensor([[0, 0, 1, 1]])
    confidence, counted = torch.tensor([[0.4, 0.6, 0.9, 0.1]]), torch.tensor([[True, True, True, False]])
    assert threshold(leaf, confidence, counted).tolist() == pytest.approx([0.5, 0.9, 0.0])
    threshold.follow()
    # Second step: leaf 0 with mean 0.7 -> (0.5 + 0.7) / 2; leaf 1 not seen; leaf 2 for the first time.
    leaf, confidence = torch.tensor([[0, 2, 2, 2]]), torch.tensor([[0.7, 0.3, 0.3, 0.6]])
    found = threshold(leaf, confidence, torch.ones(1, 4, dtype=torch.bool))
    assert found.tolist() == pytest.approx([0.6, 0.9, 0.4])


def test_a_step_that_is_not_taken_leaves_no_trace_in_the_threshold():
    threshold = AdaptiveThreshold(2)
    kept = {name: value.clone() for name, value in threshold.state_dict().items()}
    leaf, counted = torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool)
    first = threshold(leaf, torch.full((1, 4), 0.8), counted)
    assert all(torch.equal(kept[name], value) for name, value in threshold.state_dict().items())
    assert torch.equal(threshold(leaf, torch.full((1, 4), 0.8), counted), first)
    threshold.follow()
    after = threshold.state_dict()
    assert set(after) == {"mean", "seen"}
    threshold.follow()
    assert all(torch.equal(after[name], value) for name, value in threshold.state_dict().items())


def test_the_batches_of_a_step_count_together_in_a_threshold():
    whole, parts = AdaptiveThreshold(3), AdaptiveThreshold(3)
    torch.manual_seed(0)
    for number in range(3):
        leaf, confidence, counted = torch.randint(0, 3, (4, 50)), torch.rand(4, 50), torch.rand(4, 50) < 0.7
        # Leaf 0 is in the first batch of the first step alone: the second must not make it unseen again.
        leaf[2:] = torch.where((leaf[2:] == 0) & (number == 0), 1, leaf[2:])
        expected = whole(leaf, confidence, counted)
        for rows in (slice(0, 2), slice(2, 4)):
            found = parts(leaf[rows], confidence[rows], counted[rows])
        assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        whole.follow()
        parts.follow()
        assert parts.mean.tolist() == pytest.approx(whole.mean.tolist(), rel=1e-5)
        assert parts.seen.tolist() == [number + 1] * 3


def test_a_threshold_forgets_and_never_asks_for_certainty():
    threshold = AdaptiveThreshold(1)
    leaf, counted = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    for _ in range(200):
        found = threshold(leaf, torch.full((1, 1), 1.0), counted)
        threshold.follow()
    assert found.item() == pytest.approx(MOST_CONFIDENCE)
    threshold(leaf, torch.full((1, 1), 0.5), counted)
    threshold.follow()
    assert threshold.mean.item() == pytest.approx(KEPT * 1.0 + (1 - KEPT) * 0.5)


def test_an_adapted_threshold_is_at_least_half_of_the_way_from_chance():
    assert least_confidence(torch.tensor([1, 2, 3, 4])).tolist() == pytest.approx([0.0, 0.75, 2 / 3, 0.625])


def pseudo_labeled(threshold, head, **more):
    """The share of voxels of unknown siblings that get a pseudo-label, if the network gives them head and 1 - head."""
    options = {"mix": "pseudo", "threshold": threshold, "threshold_start": 0.4, "threshold_end": 0.4, **more}
    built = tiny.method("efficient_subclass", 2, options=options)
    made = tiny.batch(2, rows={Regime.COARSE: 1}, leaves=[tiny.HEAD, tiny.TAIL])[0]
    said = torch.zeros(1, 4, *made.codes.shape[1:])
    # Half of the voxels a little above the mean, half below, as a network that does not know them gives.
    said[:, tiny.HEAD] = head - 0.02
    said[:, tiny.HEAD, ::2] = head + 0.02
    said[:, tiny.TAIL] = 1 - said[:, tiny.HEAD]
    return built.mix.pseudo_labels(lambda image: said, made, Progress(900, 0.9)).sum(1).mean().item()


def test_what_is_near_chance_is_no_pseudo_label_of_an_adapted_threshold():
    assert pseudo_labeled("adaptive", 0.55) == 0
    assert pseudo_labeled("adaptive", 0.85) == 0.5
    # The published threshold has no such floor.
    assert pseudo_labeled("linear", 0.55) == 1
    assert pseudo_labeled("linear", 0.55, condition_on_label=False) == 1


def test_a_leaf_that_the_label_leaves_alone_needs_no_confidence():
    built = tiny.method("efficient_subclass", 2, options={"mix": "pseudo"})
    made = tiny.batch(2, rows={Regime.COARSE: 1}, leaves=[tiny.BACKGROUND, tiny.VESSEL])[0]
    even = torch.full((1, 4, *made.codes.shape[1:]), 0.25)
    assert built.mix.pseudo_labels(lambda image: even, made, Progress(900, 0.9)).sum(1).mean().item() == 1
