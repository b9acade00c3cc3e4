"""Of each patient one of several siblings is drawn: no label says what is not their group."""

from dataclasses import replace

import pytest
import torch

from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.rois import implied_groups
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.latent.roi_learner import RoiOutputs
from Testing.lib.methods import tiny

NAMES = ("RV", "MYO", "LV")
HEART = LabelScheme(
    name="heart", structures=(Structure(name="heart"), *(Structure(name=name, parent="heart") for name in NAMES))
)
GROUP = 0
STEPS = 120
DRAWN = [frozenset({leaf}) for leaf in (1, 2, 3)]
SIBLINGS = LabelSetTable.of(4, [*DRAWN, *(frozenset(range(4)) - own for own in DRAWN)])
METHODS = [card.name for card in CARDS if card.answers == "structures"]


@pytest.fixture(autouse=True)
def large_patches(monkeypatch):
    """Let a patch hold every structure: a network with norms sees contrasts only."""
    monkeypatch.setattr(tiny, "SIZE", 16)


def a_batch(seed=0):
    """Six rows, in two each of which RV, MYO or LV was drawn; and the true leaves."""
    made, truth = tiny.batch(2, rows={Regime.FULL: 6}, scheme=HEART, seed=seed)
    codes = torch.empty_like(truth)
    for row, leaves in enumerate(truth):
        own = DRAWN[row % 3]
        inside, outside = SIBLINGS.code(own), SIBLINGS.code(frozenset(range(4)) - own)
        codes[row] = torch.where(leaves == min(own), inside, outside)
    rows = {regime: slice(0, 6) if regime is Regime.PARTIAL else slice(6, 6) for regime in Regime}
    rows[Regime.FULL] = rows[Regime.COARSE] = slice(0, 0)
    return replace(made, codes=codes, label_sets=torch.from_numpy(SIBLINGS.array.copy()), rows=rows), truth


def a_study(implied):
    # Every image holds every structure.
    return replace(
        tiny.study(2, scheme=HEART, quick_heads=True), presence=tiny.Presence(HEART, told=(0.95,)), implied=implied
    )


def check_that_background_is_learned(name, implied, **options):
    torch.manual_seed(1)
    built = build_method(name, a_study(implied), resolve_options(card_of(name), None, options)).train()
    optimizer_of = tiny.optimizers(built)
    for number in range(STEPS):
        tiny.step(built, a_batch(seed=number)[0], optimizer_of, number, STEPS)
    made, truth = a_batch(seed=STEPS)
    with torch.no_grad():
        found = built.eval().predict(made.image).argmax(1)
    assert (found[truth == 0] == 0).float().mean() > 0.9, "background is taken for a structure"
    assert (found == truth).float().mean() > 0.8


@pytest.mark.parametrize("name", METHODS)
def test_background_is_learned_from_siblings_alone(name):
    more = {"decay": 0.9} if "decay" in {option.name for option in card_of(name).options} else {}
    check_that_background_is_learned(name, implied_groups(HEART, SIBLINGS.sets), **more)


def test_an_answer_of_their_group_is_noticed():
    with pytest.raises(AssertionError, match="background is taken for a structure"):
        check_that_background_is_learned("dynamic_head", ())


@pytest.mark.parametrize("exclusion", [True, False])
def test_the_group_gets_no_loss_no_teacher_and_no_decision(exclusion):
    built = build_method("latent_classes", a_study(("heart",)), {"exclusion": exclusion})
    maps = built.learner.maps(a_batch()[0])
    assert not maps.known[:, GROUP].any()
    assert not maps.open[:, GROUP].any()
    assert maps.known[:, 1:].any()
    assert not built.learner.has_containment
    sets = built.sets(torch.zeros(6, 2, 16, 16), maps.annotated)
    assert not any(part[:, GROUP].any() for part in (sets.positive, sets.negative, sets.ambiguous))


def test_its_own_answer_changes_neither_prediction_nor_doubt():
    learner = build_method("dynamic_head", a_study(("heart",)), {}).learner
    logits, shift = torch.randn(2, 4, 8, 8), 9.0 * (torch.arange(4) == GROUP).view(1, 4, 1, 1)
    one, other = RoiOutputs(logits), RoiOutputs(logits + shift)
    assert torch.equal(learner.probability(one), learner.probability(other))
    assert torch.equal(learner.doubt(one), learner.doubt(other))


def test_dodnet_has_a_task_for_each_sibling_and_their_group_is_the_likeliest_of_them():
    built = build_method("dodnet", a_study(("heart",)), {"tasks": "one"})
    assert built.head.names == NAMES
    logits = built.roi_logits(torch.randn(1, 2, 8, 8))
    assert torch.equal(logits[:, GROUP], logits[:, 1:].amax(1))


def test_a_softmax_learns_from_siblings_too():
    check_that_background_is_learned("dynamic_head", ("heart",), output="softmax")


@pytest.mark.parametrize("name", ["modified_unet", "efficient_subclass"])
def test_an_output_of_superclasses_is_refused(name):
    with pytest.raises(ConfigError, match=r"what is not heart(.|\n)*choose marginal or latent_classes"):
        build_method(name, a_study(("heart",)), {})
    assert build_method("marginal", a_study(("heart",)), {})
