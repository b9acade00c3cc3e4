"""What cases a method needs with a preset: labels that its options ignore are no reason to train."""

from types import SimpleNamespace

import pytest

from SemiSegLib.errors import RunError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.catalogue import needs_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.method import Progress
from SemiSegLib.preparation import _require_needed
from Testing.lib.methods import tiny

EVERY_PRESET = [(card.name, preset) for card in CARDS for preset in card.presets]
# Terms that no label is needed for.
SELF_TAUGHT = ("pseudo", "consistency", "agreement", "features", "adversarial", "self_label", "containment", "latent")
LATE = Progress(900, 0.9)
# Late in the training narrowed labels stand in place of the labels.
WHILE_LABELS_TEACH = {("latent_classes", "ours"): Progress(400, 0.4)}


def refusal(name, options, counts):
    with pytest.raises(RunError) as raised:
        _require_needed(card_of(name), options, counts, SimpleNamespace(name="study"))
    return str(raised.value)


def taught(name, preset, regime):
    """The names of label terms that a batch of one regime makes other than 0."""
    built, made = tiny.method(name, 2, preset=preset).train(), tiny.batch_for(name, 2, rows={regime: 3})[0]
    yielded = built.losses(made, WHILE_LABELS_TEACH.get((name, preset), LATE))
    terms = [(key, value.item()) for part in yielded for key, value in part.values.items()]
    return {key for key, value in terms if value != 0 and not any(word in key for word in SELF_TAUGHT)}


@pytest.mark.parametrize(("name", "preset"), EVERY_PRESET, ids=":".join)
@pytest.mark.parametrize("regime", Regime, ids=lambda regime: regime.value)
def test_a_preset_is_refused_where_the_only_cases_teach_it_nothing(name, preset, regime):
    card, options = card_of(name), resolve_options(card_of(name), preset, {})
    if regime.value not in card.uses:
        return
    if regime.value in needs_of(card, options):
        _require_needed(card, options, {regime.value: 3}, SimpleNamespace(name="study"))
        assert taught(name, preset, regime)
    else:
        assert "label a case" in refusal(name, options, {regime.value: 3})


@pytest.mark.parametrize("preset", ["paper", "code", "paper_000"])
def test_a_preset_that_ignores_coarse_labels_needs_complete_ones(preset):
    card = card_of("mean_teacher")
    assert needs_of(card, card.presets[preset]) == ("full",)
    options = resolve_options(card, preset, {})
    message = refusal(card.name, options, {"coarse": 4, "none": 2})
    assert "with this preset or these options needs training cases that are full; there are: 4 coarse, 2" in message
    assert "choose the preset 'ours', or another method" in message
    _require_needed(card, options, {"coarse": 4, "full": 1}, SimpleNamespace(name="study"))


def test_an_option_that_is_typed_counts_as_much_as_a_preset_s():
    card = card_of("mean_teacher")
    assert needs_of(card, {}) == ("full", "coarse", "partial")
    assert needs_of(card, {"supervision": "two_heads"}) == ("full",)
    assert needs_of(card, resolve_options(card, "paper", {"supervision": "marginal"})) == card.needs


def test_a_study_without_any_label_is_not_sent_to_another_preset():
    card = card_of("mean_teacher")
    message = refusal(card.name, resolve_options(card, "paper", {}), {"none": 5})
    assert "preset" not in message
