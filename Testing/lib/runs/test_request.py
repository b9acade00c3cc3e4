"""What is written of a request: nothing of settings that came later and were not given."""

import math

import pytest

from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import ConfigError
from SemiSegLib.runs.request import PlanSettings, PresenceSettings, RunRequest, TrainingSettings

# As written by the first version; kept scores are compared with it word for word.
FIRST_PLAN_SETTINGS = {
    "dimensions",
    "spacing_mm",
    "patch",
    "batch",
    "backbone",
    "features",
    "norm",
    "deep_supervision",
    "memory_gib",
}


def a_request(**plan):
    return RunRequest(dataset="data", method="marginal", plan=PlanSettings(**plan))


def test_a_request_without_dropout_is_written_as_before_there_was_any():
    assert set(to_json(a_request())["plan"]) == FIRST_PLAN_SETTINGS
    assert set(to_json(a_request(norm="batch"))["plan"]) == FIRST_PLAN_SETTINGS


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_dropout_is_written_and_read_where_it_was_given(dropout):
    data = to_json(a_request(dropout=dropout))
    assert data["plan"]["dropout"] == dropout
    assert from_json(RunRequest, data, where="test") == a_request(dropout=dropout)
    assert from_json(RunRequest, to_json(a_request()), where="test") == a_request()


def test_dropout_is_a_probability():
    with pytest.raises(ConfigError, match=r"dropout is 1\.5"):
        a_request(dropout=1.5)


def test_training_settings_that_came_later_are_written_and_read_where_they_were_given():
    usual = to_json(TrainingSettings())
    assert not usual.keys() & {"nesterov", "target_share"}
    assert from_json(TrainingSettings, usual, where="test") == TrainingSettings(nesterov=True, target_share=1 / 3)
    plain = TrainingSettings(nesterov=False, target_share=0.0, augmentation="crop_turned")
    assert from_json(TrainingSettings, to_json(plain), where="test") == plain
    with pytest.raises(ConfigError, match=r"target_share is 1\.5"):
        TrainingSettings(target_share=1.5)


@pytest.mark.parametrize("name", ["steps", "seconds", "validate_every", "threads"])
def test_nothing_is_not_the_same_as_none(name):
    """A run of no steps divided by 0, one of no seconds saved an untrained model as a finished one."""
    budget = {"steps": None} if name == "seconds" else {}
    for value in (0, -1, math.nan):
        with pytest.raises(ConfigError, match=f"{name} is {value}") as told:
            TrainingSettings(**budget | {name: value})
        assert "choose a value from 1 to inf" in str(told.value)
    assert getattr(TrainingSettings(**budget | {name: 1}), name) == 1


def test_the_time_between_checkpoints_and_the_stride_of_a_presence_network_have_ranges():
    with pytest.raises(ConfigError, match="checkpoint_seconds is -1"):
        TrainingSettings(checkpoint_seconds=-1.0)
    with pytest.raises(ConfigError, match="stem_stride is 0"):
        PresenceSettings(stem_stride=0)
    assert PresenceSettings(stem_stride=None).stem_stride is None
