"""Networks of distances: what their lower resolutions weigh, and which head predicts."""

from dataclasses import replace

import pytest
import torch

from SemiSegLib.batches.distance import SIGNED_DISTANCE
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.distance import distance_error, squash_distance
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import maps_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.method import Progress
from SemiSegLib.networks.heads import LinearHead
from Testing.lib.methods import tiny

CONSISTENCY, MUTUAL = "dual_task_consistency", "dual_task_mutual_learning"
END = Progress(1000, 1.0)
THREE_STAGES = {"features": (6, 8, 8), "strides": ((2, 2),) * 2, "kernels": ((3, 3),) * 3, "deep_supervision": 1}


def test_a_lower_resolution_of_distances_weighs_half():
    built = tiny.method(MUTUAL, 2, options={"distance_loss": "distance"}, **THREE_STAGES)
    made = tiny.batch_for(MUTUAL, 2, rows={Regime.FULL: 2})[0]
    outputs = built.distance(made.image)
    fine, coarse = outputs["distance"], outputs.deep[0]
    assert coarse.abs().max() <= 1
    radius = built.options.radius_voxels * built.task.voxel_mm
    target = squash_distance(made.maps[SIGNED_DISTANCE], radius)
    everywhere = torch.ones_like(target, dtype=torch.bool)
    own = distance_error(fine, target, everywhere)
    lower = distance_error(coarse, target[..., ::2, ::2], everywhere[..., ::2, ::2])
    assert coarse.shape[2:] == (4, 4)
    found = list(built.losses(made, END))[1].values["distance"]
    assert found.item() == pytest.approx(((own + 0.5 * lower) / 1.5).item(), rel=1e-5)
    assert own.item() != pytest.approx(lower.item(), rel=1e-3)


@pytest.mark.parametrize("name", [CONSISTENCY, MUTUAL, "shape_aware_adversarial"])
def test_heads_of_leaves_are_quick_and_heads_of_distances_plain_at_every_resolution(name):
    # A distance is multiplied by its steepness, 30, before it is a logit.
    built = tiny.method(name, 2, quick_heads=True, **THREE_STAGES)
    rates = {key: part.rate for key, part in built.named_modules() if isinstance(part, LinearHead)}
    of_distances = {key for key in rates if "distance" in key}
    assert of_distances
    assert {rates[key] for key in of_distances} == {1.0}
    assert all(rates[key] > 1 for key in rates.keys() - of_distances)
    assert any("deep_heads" in key for key in (of_distances if name == MUTUAL else rates.keys() - of_distances))


@pytest.mark.parametrize("prediction", ["segmentation", "distance", "mean"])
def test_one_network_predicts_with_either_head_or_with_both(prediction):
    built = tiny.method(CONSISTENCY, 2, options={"prediction": prediction}).eval()
    image = torch.randn(1, 2, 9, 7)
    with torch.no_grad():
        outputs = built.learner(image)
        segmented = outputs["subclass"].softmax(1)
        # k = 2 per voxel of a distance in radii of 15 voxels.
        foreground = (-30.0 * outputs["distance"][:, :3]).exp()
        measured = torch.cat([torch.ones_like(foreground[:, :1]), foreground], 1)
        measured = measured / measured.sum(1, keepdim=True)
        expected = {"segmentation": segmented, "distance": measured, "mean": (segmented + measured) / 2}[prediction]
        assert torch.allclose(built.predict(image), expected, atol=1e-5)
    assert not torch.allclose(segmented, measured, atol=0.01)


WITHOUT_MAPS = [{name: value} for name, values in card_of(MUTUAL).without_maps.items() for value in values]


@pytest.mark.parametrize("chosen", WITHOUT_MAPS, ids=str)
def test_what_never_looks_at_distances_learns_the_same_without_them(chosen):
    built, made = tiny.method(MUTUAL, 2, options=chosen, **THREE_STAGES), tiny.batch_for(MUTUAL, 2)[0]
    with_maps, without = (
        [{name: value.item() for name, value in terms.values.items()} for terms in built.losses(part, END)]
        for part in (made, replace(made, maps={}))
    )
    assert with_maps == without


def test_maps_are_asked_for_by_those_options_alone_that_look_at_them():
    card = card_of(MUTUAL)
    asked = {preset: maps_of(card, resolve_options(card, preset, {})) for preset in card.presets}
    assert asked == {"ours": (SIGNED_DISTANCE,), "paper": (), "code": ()}
    bare = replace(tiny.batch_for(MUTUAL, 2)[0], maps={})
    for chosen in ({"networks": "distance"}, {"distance_loss": "distance"}, {"transform": "published"}):
        assert maps_of(card, resolve_options(card, None, chosen)) == (SIGNED_DISTANCE,)
        with pytest.raises(KeyError, match=SIGNED_DISTANCE):
            list(tiny.method(MUTUAL, 2, options=chosen).losses(bare, END))
