"""Errors say what, where and what to do; registries know each name once."""

import pytest

from SemiSegLib import errors
from SemiSegLib.errors import ConfigError, SemiSegError, did_you_mean, explain
from SemiSegLib.registry import Registry


def test_an_error_says_what_where_and_what_to_do():
    assert explain("it broke", where="here", remedy="mend it").splitlines() == [
        "it broke",
        "  where:  here",
        "  remedy: mend it",
    ]


def test_every_error_of_the_project_is_caught_as_one():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(classes) > 5
    for error in classes:
        assert issubclass(error, SemiSegError)
        assert error.__doc__
        assert str(error("text")) == "text"


def test_a_near_name_is_offered_and_all_are_listed():
    assert did_you_mean("vnt", ["vnet", "unetr"]) == "did you mean 'vnet'? known names are: vnet, unetr"


def test_a_far_name_is_not_offered():
    assert did_you_mean("transformer", ["vnet", "unetr"]) == "known names are: vnet, unetr"
    assert did_you_mean("x", []) == "known names are: none"


def test_names_may_come_from_anything_that_can_be_walked_once():
    assert "did you mean 'ab'" in did_you_mean("aab", (name for name in ("ab", "zz")))


@pytest.fixture
def backbones():
    registry = Registry("backbone")

    @registry.register("vnet")
    def vnet():
        return "v"

    registry.register("unetr")("u")
    return registry


def test_a_registered_thing_is_found_by_its_name_and_unchanged(backbones):
    assert backbones["vnet"]() == "v"
    assert backbones["unetr"] == "u"
    assert list(backbones) == ["vnet", "unetr"]
    assert "vnet" in backbones
    assert "resnet" not in backbones


def test_an_unknown_name_is_answered_with_the_nearest(backbones):
    with pytest.raises(ConfigError, match=r"there is no backbone 'v_net'[^$]*did you mean 'vnet'"):
        backbones["v_net"]


def test_a_name_is_given_once(backbones):
    with pytest.raises(ConfigError, match="the backbone name 'vnet' is taken"):
        backbones.register("vnet")("another")
    assert backbones["vnet"]() == "v"


def test_two_registries_share_nothing(backbones):
    assert list(Registry("backbone")) == []
