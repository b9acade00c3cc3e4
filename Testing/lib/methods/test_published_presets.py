"""What was published stays as it is, whatever becomes of our own defaults."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from SemiSegLib.batches.sampling import Sampler, regime_shares
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.catalogue import batch_shares
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.presets import preset_settings

PUBLISHED = [(card.name, preset) for card in CARDS for preset in card.presets if preset != "ours"]
# Options that change nothing in a preset that says so, and those that change nothing of what is learned.
TWO_HEADS = ("superclass_weight", "combine", "projection")
IDLE = {
    "supervision": {"full": TWO_HEADS, "marginal": TWO_HEADS},
    "ramp": {
        "constant": ("ramp_share", "ramp_levels"),
        "step": ("ramp_share", "ramp_levels"),
        "logistic": ("ramp_share",),
    },
    "predict_with": {"student": ("teacher_decay",)},
    "transform": {"published": ("radius_voxels",)},
}
NEVER_LEARNED = {"backward", "uncertainty"}


def left_to_defaults(card, stated):
    """The options that a preset does not state and that change what it does."""
    idle = {name for key, words in IDLE.items() for name in words.get(stated.get(key), ())}
    return {option.name for option in card.options} - set(stated) - idle - NEVER_LEARNED


@pytest.mark.parametrize(("name", "preset"), PUBLISHED)
def test_a_published_preset_states_every_option_and_no_other(name, preset):
    card = card_of(name)
    assert left_to_defaults(card, card.presets[preset]) == set()
    assert set(card.presets[preset]) <= {option.name for option in card.options}


def test_another_default_of_ours_changes_no_published_preset():
    card = card_of("cross_pseudo_supervision")
    others = {"wait": 0.9, "pseudo_weight": 7.0, "prediction": "second", "balance": "cases", "views": "strong"}
    options = tuple(replace(option, default=others.get(option.name, option.default)) for option in card.options)
    changed = replace(card, options=options)
    for preset in card.presets:
        before, after = (resolve_options(one, preset, {}) for one in (card, changed))
        assert (before == after) == (preset != "ours")


def test_a_number_that_is_left_to_a_default_is_noticed():
    card = card_of("cross_pseudo_supervision")
    careless = {name: value for name, value in card.presets["paper"].items() if name not in ("wait", "pseudo_weight")}
    assert left_to_defaults(card, careless) == {"wait", "pseudo_weight"}


NUMBERS = {
    ("cross_pseudo_supervision", "paper"): {"wait": 0.015, "pseudo_weight": 0.5, "prediction": "ensemble"},
    ("cross_pseudo_supervision", "paper_000"): {"wait": 0.0, "pseudo_weight": 0.1, "ramp_share": 0.75},
    ("efficient_subclass", "paper"): {
        "alpha_low": 0.5,
        "alpha_high": 1.0,
        "threshold_start": 1.0,
        "threshold_end": 0.4,
    },
    ("latent_classes", "paper"): {"low": 0.1, "high": 0.8, "temperature": 0.1, "decay": 0.999, "unseen": "sharpen"},
    ("mean_teacher", "paper"): {"decay": 0.99, "noise": 0.1, "consistency_weight": 0.1},
    ("uncertainty_aware_mean_teacher", "code"): {"passes": 8, "threshold_start": 0.75, "decay": 0.99},
    ("dual_task_consistency", "paper"): {"consistency_weight": 1.0, "distance_weight": 0.3, "ramp_share": 1.0},
    ("dual_task_mutual_learning", "paper"): {"consistency_weight": 0.1, "ramp_share": 1.0, "mask_dice_weight": 1.0},
    ("dual_task_mutual_learning", "code"): {"consistency_weight": 1.0, "counted_twice": True},
    ("shape_aware_adversarial", "paper"): {"adversarial_weight": 0.01, "distance_weight": 0.3},
    ("attention_adversarial", "code"): {"adversarial_weight": 0.05, "self_label_weight": 0.5, "self_label_wait": 0.0},
}


@pytest.mark.parametrize(("name", "preset"), NUMBERS)
def test_the_numbers_of_the_papers(name, preset):
    found = resolve_options(card_of(name), preset, {})
    assert {option: found[option] for option in NUMBERS[name, preset]} == NUMBERS[name, preset]


@pytest.mark.parametrize(
    ("preset", "method", "of"),
    [
        ("paper_001", "cross_pseudo_supervision", "paper"),
        ("paper_001_unetr", "cross_pseudo_supervision", "paper_unetr"),
        ("paper_003", "dual_task_mutual_learning", "paper"),
    ],
)
def test_a_bound_has_the_labels_loss_training_and_plan_of_what_it_bounds(preset, method, of):
    bound, other = card_of("supervised"), card_of(method)
    assert preset_settings(bound, preset) == preset_settings(other, of)
    shared = resolve_options(other, of, {})
    found = resolve_options(bound, preset, {})
    assert found == {name: shared[name] for name in found}
    assert shared["supervision"] == "full"


def test_paper_000_trains_everything_alike_and_its_code_a_comparison_by_another_schedule():
    """The paper: a linearly decreasing learning rate that starts at 0.01 and ends with 0."""
    found = {}
    for card in CARDS:
        for preset in card.presets:
            own = preset_settings(card, preset)
            if own.plan.get("backbone") == "paper_unet":
                assert (own.training["steps"], own.training["learning_rate"]) == (40_000, 0.01)
                found[card.name, preset] = own.training["schedule"]
    assert len(found) > 8
    assert {key for key, schedule in found.items() if schedule == "poly"} == {
        ("uncertainty_aware_mean_teacher", "code_000")
    }
    assert set(found.values()) == {"linear", "poly"}


@pytest.mark.parametrize(
    ("name", "preset", "expected"),
    [
        ("efficient_subclass", "paper", 12),
        ("negative_learning", "paper", 12),
        ("uncertainty_aware_mean_teacher", "paper_000", 12),
        ("cross_pseudo_supervision", "paper_000", 12),
        # Its labeled_bs is 4, whatever the paper says.
        ("efficient_subclass", "code", 4),
        ("negative_learning", "code", 4),
        ("uncertainty_aware_mean_teacher", "code_000", 4),
    ],
)
def test_a_batch_of_paper_000_has_half_of_its_rows_fine_and_that_of_its_code_four(name, preset, expected):
    card, counts = card_of(name), {"full": 6, "coarse": 134}
    options = resolve_options(card, preset, {})
    shares = regime_shares(batch_shares(card, options, counts), [Regime.FULL, Regime.COARSE])
    cases = {"fine": Regime.FULL, "coarse": Regime.COARSE}
    summaries = {case: SimpleNamespace(regime=regime, classes=()) for case, regime in cases.items()}
    size = preset_settings(card, preset).plan["batch"]
    sampler = Sampler(summaries, shares, size, seed=0, target_share=0.0)
    for step in range(20):
        assert sampler.rows(step)[Regime.FULL] == slice(0, expected)


def test_dodnet_is_trained_as_published():
    training = preset_settings(card_of("dodnet"), "paper").training
    assert training["mirror"] is True
    assert training["target_share"] == 0.8
    assert (training["steps"], training["momentum"]) == (250_000, 0.99)
