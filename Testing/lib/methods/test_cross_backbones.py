"""Cross pseudo supervision in 3-D with the networks of paper 001, with and without unlabeled rows."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from SemiSegLib.config import from_json, to_json
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.networks.heads import QUICK_CHANNELS
from SemiSegLib.planning.plan import Plan
from SemiSegLib.planning.planner import shrink
from Testing.lib.methods import tiny
from Testing.lib.methods.cross import LATE, NAME, START, double, largest_difference, learn, method, yielded


@pytest.fixture(autouse=True)
def _small_transformer(monkeypatch):
    tiny.small_unetr(monkeypatch)


def network(backbone):
    return {"backbone": backbone, "features": (4, 8)}


BACKBONES = ["basic_unet", "unetr"]
PRESETS = {"basic_unet": "paper", "unetr": "paper_unetr"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_presets_name_the_networks_of_the_paper(backbone):
    plan = card_of(NAME).plan[PRESETS[backbone]]
    assert plan["backbone"] == backbone
    assert plan["dimensions"] == 3
    # "Each sample is randomly cropped."
    assert card_of(NAME).training[PRESETS[backbone]]["target_share"] == 0.0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_both_networks_learn_one_after_the_other_as_together_and_side_by_side(backbone):
    made = double(tiny.batch(rows={Regime.FULL: 1, Regime.NONE: 1})[0])
    found = {}
    for backward in ("joint", "sequential", "stacked"):
        built = method(preset=PRESETS[backbone], backward=backward, network=network(backbone)).double()
        found[backward], values = learn(built, made)
        assert values["first_pseudo_dice"] > 0
        assert 0 <= values["disagreement"] <= 1
    assert largest_difference(found["sequential"], found["joint"]) == 0
    assert largest_difference(found["stacked"], found["joint"]) < 1e-10
    for name in ("first", "second"):
        assert any(part.abs().sum() > 0 for key, part in found["joint"].items() if key.startswith(name))


def test_a_convolutional_network_and_a_transformer_teach_each_other():
    made = tiny.batch(rows={Regime.FULL: 1, Regime.NONE: 1})[0]
    found = []
    for backward in ("joint", "sequential"):
        built = method(backward=backward, second_backbone="unetr", network=network("plan_unet"))
        found.append(learn(built, made)[0])
    assert largest_difference(*found) < 1e-6
    image = torch.randn(1, 2, 9, 17, 5)
    with torch.no_grad():
        said = built.eval().predict(image)
    assert torch.allclose(said.sum(1), torch.ones(1, 9, 17, 5), atol=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "quick"),
    [
        ("plan_unet", "same", (True, True)),
        ("plan_unet", "plan_unet", (True, True)),
        ("plan_unet", "unetr", (True, False)),
        ("plan_unet", "basic_unet", (True, False)),
        ("unetr", "plan_unet", (False, True)),
        ("unetr", "same", (False, False)),
    ],
)
def test_heads_are_quick_on_the_planned_network_alone_whichever_of_the_two_it_is(first, second, quick):
    built = method(second_backbone=second, network={**network(first), "quick_heads": first == "plan_unet"})
    heads = [learner.network.heads["subclass"] for learner in (built.first, built.second)]
    assert [head.rate for head in heads] == [
        QUICK_CHANNELS / head.channels if is_quick else 1.0 for head, is_quick in zip(heads, quick, strict=True)
    ]


@pytest.mark.parametrize("plan_is_older", [False, True])
def test_the_same_network_twice_has_the_same_heads(plan_is_older):
    # Plans that were made before there were quick heads have plain ones.
    planned = {**network("plan_unet"), "quick_heads": not plan_is_older}
    for second in ("same", "plan_unet"):
        built = method(second_backbone=second, network=planned)
        assert built.first.network.heads["subclass"].rate == built.second.network.heads["subclass"].rate


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_ensemble_and_its_doubt_take_odd_sizes(backbone):
    built = method(preset=PRESETS[backbone], network=network(backbone)).eval()
    image = torch.randn(2, 2, 7, 19, 5)
    with torch.no_grad():
        said = built.predict(image)
        own = [network(image)["subclass"].softmax(1) for network in (built.first, built.second)]
        doubt = built.uncertainty(image)
    assert torch.allclose(said, (own[0] + own[1]) / 2, atol=1e-6)
    assert doubt.shape == (2, 7, 19, 5)
    assert 0 < float(doubt.max()) <= 1


def dice(logits, target):
    p, t = logits.softmax(1), functional.one_hot(target, 4).movedim(-1, 1)
    axes = (0, *range(2, p.ndim))
    shares = (2 * (p * t).sum(axes) + 1e-5) / (p.square().sum(axes) + t.sum(axes) + 1e-5)
    return (1 - shares.mean()).item()


def test_with_labeled_rows_alone_the_networks_teach_each_other_on_these():
    # Paper 001's "CPS, labeled only": no unlabeled row, L_cps is the mean over labeled ones.
    made, truth = tiny.batch(rows={Regime.FULL: 3})
    built = method(preset="paper")
    logits = [built.first(made.image)["subclass"], built.second(made.image)["subclass"]]
    values, weights = yielded(built, made)
    for index, name in enumerate(("first", "second")):
        assert values[f"{name}_dice"].item() == pytest.approx(dice(logits[index], truth), abs=1e-5)
        expected = dice(logits[index], logits[1 - index].argmax(1))
        assert values[f"{name}_pseudo_dice"].item() == pytest.approx(expected, abs=1e-5)
        assert weights[f"{name}_pseudo_dice"] == 0.5


def test_the_mean_over_each_kind_of_rows_does_not_depend_on_how_many_there_are():
    # One Dice over labeled and one over unlabeled rows; a single one over all rows would weigh them by their number.
    made = tiny.batch(rows={Regime.FULL: 1, Regime.NONE: 3})[0]
    # Nothing to see: one and the same leaf everywhere.
    made.image[1:] = 0
    built = method(preset="paper")
    logits, hard = built.first(made.image)["subclass"], built.second(made.image)["subclass"].argmax(1)
    found = yielded(built, made)[0]["first_pseudo_dice"].item()
    assert found == pytest.approx(dice(logits[:1], hard[:1]) + dice(logits[1:], hard[1:]), abs=1e-5)
    assert found != pytest.approx(2 * dice(logits, hard), abs=1e-2)


def test_while_waiting_a_batch_without_labels_teaches_nothing():
    built, made = method(preset="paper"), tiny.batch(rows={Regime.NONE: 2})[0]
    gradients, values = learn(built, made, START)
    assert all(part.abs().sum() == 0 for part in gradients.values())
    assert set(values) == set(learn(built, made, LATE)[1])


def test_the_same_image_goes_to_both_networks_of_the_paper():
    built, made, shown = method(preset="paper"), tiny.batch()[0], []
    for learner in (built.first, built.second):
        learner.register_forward_pre_hook(lambda module, given: shown.append(given[0]))
    yielded(built, replace(made, image=made.image))
    assert all(torch.equal(image, made.image) for image in shown)


@pytest.mark.parametrize(("first", "second"), [("unetr", "same"), ("plan_unet", "unetr")])
def test_weights_of_a_transformer_stay_valid_where_a_lack_of_memory_cuts_the_patch(first, second):
    study = tiny.study(**network(first))
    plan = smaller = replace(study.plan, patch=(48, 48, 48), batch=1)
    while max(smaller.patch) > 32:
        smaller = shrink(smaller)
    # Written and read as a later session does.
    smaller = from_json(Plan, json.loads(json.dumps(to_json(smaller))), where="plan.json")
    options = resolve_options(card_of(NAME), None, {"second_backbone": second})
    before, after = (build_method(NAME, replace(study, plan=made), options).eval() for made in (plan, smaller))
    after.load_state_dict(before.state_dict(), strict=True)
    image = torch.randn(1, 2, 9, 17, 5)
    with torch.no_grad():
        assert torch.equal(before.predict(image), after.predict(image))


def test_plans_of_before_are_read_and_written_as_they_were():
    told = to_json(tiny.study(**network("unetr")).plan)
    assert "made_for" not in told["network"]
    assert from_json(Plan, told, where="plan.json").network.made_for is None
