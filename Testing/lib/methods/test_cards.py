"""Cards, files, options and registered names say the same; options and presets are checked where they are born."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

import SemiSegLib.methods
from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.cards.dual import UNMEASURED
from SemiSegLib.methods.catalogue import BALANCES, PAPER_AUTHORS, batch_shares
from SemiSegLib.methods.factory import METHODS, build_method, resolve_options
from SemiSegLib.methods.method import Method
from SemiSegLib.runs.request import PlanSettings, TrainingSettings
from Testing.lib.methods import tiny

FOLDER = Path(SemiSegLib.methods.__file__).parent
FAMILIES = {"supervised", "subclass", "teacher", "cross supervision", "partial labels", "dual task", "adversarial"}
every_card = pytest.mark.parametrize("card", CARDS, ids=[card.name for card in CARDS])


def test_every_method_has_one_card_and_every_card_a_method():
    assert sorted(card.name for card in CARDS) == sorted(METHODS)


def test_every_file_with_a_method_registers_one():
    registered = {METHODS[name].__module__ for name in METHODS}
    for path in FOLDER.rglob("*.py"):
        parts = path.relative_to(FOLDER.parents[1]).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        defines = any(issubclass(v, Method) and v is not Method for v in own)
        assert defines == (module.__name__ in registered), path.name


@every_card
def test_a_card_and_the_options_of_its_method_agree(card):
    options = METHODS[card.name].Options
    fields = {f.name: f for f in dataclasses.fields(options)}
    assert [option.name for option in card.options] == list(fields)
    assert {option.name: option.default for option in card.options} == to_json(options())
    for option in card.options:
        assert option.name in (options.__doc__ or "") or any(option.name in (b.__doc__ or "") for b in options.__mro__)
        assert option.text.endswith(".")


@every_card
def test_the_ranges_of_a_card_are_those_of_the_options(card):
    options = METHODS[card.name].Options
    for option in card.options:
        for word in option.choices:
            from_json(options, {option.name: word}, where="test")
        if option.choices:
            with pytest.raises(ConfigError, match=option.name):
                from_json(options, {option.name: "no such word"}, where="test")
        if option.low is not None and option.high is not None:
            for inside in (option.low, option.high):
                from_json(options, {option.name: type(option.default)(inside)}, where="test")
            for outside in (option.low - 1, option.high + 1):
                with pytest.raises(ConfigError, match=option.name):
                    from_json(options, {option.name: type(option.default)(outside)}, where="test")


@every_card
def test_every_preset_can_be_built_and_trained_as_it_says(card):
    assert "ours" in card.presets
    assert set(card.training) | set(card.plan) <= set(card.presets)
    for preset in card.presets:
        assert isinstance(tiny.method(card.name, preset=preset), METHODS[card.name])
        settings = {"seconds": None, **card.training.get(preset, {})}
        from_json(TrainingSettings, to_json(settings), where=f"{card.name}: {preset}")
        from_json(PlanSettings, to_json(card.plan.get(preset, {})), where=f"{card.name}: {preset}")


@every_card
def test_a_card_speaks_of_regimes_that_exist(card):
    regimes = [regime.value for regime in Regime]
    assert card.needs
    assert set(card.needs) <= set(card.uses) <= set(regimes)
    assert set(card.composition) == set(card.uses)
    assert all(share > 0 for share in card.composition.values())
    assert card.family in FAMILIES
    assert card.summary.endswith(".")
    assert card.title
    assert card.paper


@every_card
def test_a_card_of_distances_says_which_labels_teach_none(card):
    assert ("signed_distance" in card.maps) == card.summary.endswith(UNMEASURED)


def test_options_come_from_default_preset_and_request_in_this_order():
    card = card_of("modified_unet")
    assert resolve_options(card, None, {})["dice_weight"] == 1.0
    assert resolve_options(card, "paper", {})["dice_weight"] == 0.5
    found = resolve_options(card, "paper", {"dice_weight": 2, "combine": "superclass_first"})
    assert found["dice_weight"] == 2
    assert found["combine"] == "superclass_first"
    assert found["cross_entropy_weight"] == 0.5
    assert set(found) == {option.name for option in card.options}


def test_a_wrong_name_or_value_is_answered_with_the_nearest():
    card = card_of("marginal")
    with pytest.raises(ConfigError, match="did you mean 'marginal'"):
        card_of("marginl")
    with pytest.raises(ConfigError, match="did you mean 'supervised'"):
        build_method("supervsed", tiny.study(), {})
    with pytest.raises(ConfigError, match="did you mean 'ours'"):
        resolve_options(card, "our", {})
    with pytest.raises(ConfigError, match="did you mean 'dice_weight'"):
        resolve_options(card, None, {"dice_wieght": 1.0})
    with pytest.raises(ConfigError, match="dice_weight is -1"):
        resolve_options(card, None, {"dice_weight": -1.0})
    with pytest.raises(ConfigError, match="give a number"):
        resolve_options(card, None, {"dice_weight": "1"})
    with pytest.raises(ConfigError, match="did you mean 'present'"):
        resolve_options(card, None, {"dice": "presnt"})
    with pytest.raises(ConfigError, match="expected bool"):
        build_method("modified_unet", tiny.study(), {"projection": 1})


def test_rows_of_a_batch_are_divided_as_the_option_says():
    card, counts = card_of("marginal"), {"full": 4, "coarse": 100, "none": 7}
    shares = {balance: batch_shares(card, {"balance": balance}, counts) for balance in BALANCES}
    assert set(shares["fixed"]) == {"full", "coarse"}
    assert shares["fixed"]["coarse"] == shares["fixed"]["full"]
    assert shares["cube_root"]["coarse"] ** 3 == pytest.approx(25 * shares["cube_root"]["full"] ** 3)
    assert shares["root"]["coarse"] == pytest.approx(5 * shares["root"]["full"])
    assert shares["cases"]["coarse"] == pytest.approx(25 * shares["cases"]["full"])


def test_full_rows_have_the_share_that_the_option_says():
    card = card_of("marginal")
    for full in (0.25, 0.5, 0.9):
        found = batch_shares(card, {"balance": "fixed", "full_share": full}, {"full": 4, "coarse": 100})
        assert found["full"] / sum(found.values()) == pytest.approx(full)
        rooted = batch_shares(card, {"balance": "root", "full_share": full}, {"full": 4, "coarse": 100})
        assert rooted["coarse"] / rooted["full"] == pytest.approx(5 * found["coarse"] / found["full"])
    several = batch_shares(card, {"full_share": 0.25}, {"full": 4, "coarse": 9, "partial": 2})
    assert several["coarse"] == several["partial"] == pytest.approx(3 * several["full"])
    assert set(batch_shares(card, {"full_share": 0.25}, {"full": 4})) == {"full"}


def test_what_people_read_names_the_authors_of_a_paper_and_not_its_number():
    texts = [text for card in CARDS for text in (card.summary, card.paper, *(option.text for option in card.options))]
    assert not [text for text in texts if re.search(r"paper 00\d", text)]
    numbers = {word for card in CARDS for preset in card.presets for word in preset.split("_") if word.isdigit()}
    assert numbers <= PAPER_AUTHORS.keys()
