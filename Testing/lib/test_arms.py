"""A line of a comparison is one word, and a mistake in it is found before anything is trained."""

import pytest

from SemiSegLib.arms import read_arm
from SemiSegLib.errors import ConfigError


def test_a_word_says_method_preset_and_options():
    arm = read_arm("modified_unet:paper+dice_weight=0.25+projection=false+combine=superclass_first", fine=6)
    assert (arm.method, arm.preset, arm.fine) == ("modified_unet", "paper", 6)
    assert arm.options == {"dice_weight": 0.25, "projection": False, "combine": "superclass_first"}
    plain = read_arm("marginal", fine=None)
    assert (plain.preset, plain.options, plain.fine) == (None, {}, None)


def test_different_arms_have_different_names_that_are_folders():
    words = ("marginal", "marginal:ours", "marginal+dice_weight=0.5", "marginal+dice_weight=0.25")
    names = [read_arm(word, fine=fine).name for word in words for fine in (0, 3, 6, None)]
    assert len(set(names)) == len(names)
    assert all(not set(name) & set('/\\:*?"<>| +=') for name in names)
    assert read_arm("marginal", fine=0).name == "marginal_0", "no fine case is not every fine case"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("marginl", "did you mean 'marginal'"),
        ("marginal:our", "did you mean 'ours'"),
        ("marginal+dice_wieght=1", "did you mean 'dice_weight'"),
        ("marginal+dice_weight=-1", "dice_weight is -1"),
        ("marginal+dice_weight", "sets nothing"),
    ],
)
def test_a_mistake_is_named(text, said):
    with pytest.raises(ConfigError, match=said):
        read_arm(text, fine=1)
