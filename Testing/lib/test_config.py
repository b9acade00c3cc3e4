"""Strict configuration: JSON to frozen dataclasses and back, and what is refused with which words."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from SemiSegLib import config
from SemiSegLib.config import check_choice, check_range, from_json, read_json, to_json, write_atomically, write_json
from SemiSegLib.errors import ConfigError


class Side(str, Enum):
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    rate: float = 0.5
    steps: int | None = 10
    on: bool = False
    side: Side = Side.LEFT
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    table: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    folder: Path = Path("here")
    number_or_word: int | str = 0
    hidden: int = field(init=False, default=7)

    def __post_init__(self):
        check_range("rate", self.rate, low=0.0, high=1.0)


def read(data):
    return from_json(Outer, data, where="run.json")


def test_every_kind_of_value_survives_the_way_through_a_file(tmp_path):
    value = Outer(
        name="größe",
        rate=0.1 + 0.2,
        steps=None,
        on=True,
        side=Side.RIGHT,
        inner=Inner(size=(3, 4), note="n"),
        items=(Inner(), Inner(note="x")),
        table={3: ("a", "b"), -1: ()},
        folder=Path("some") / "where",
        number_or_word="word",
    )
    write_json(tmp_path / "run.json", value)
    assert from_json(Outer, read_json(tmp_path / "run.json"), where="run.json") == value


def test_what_is_left_out_has_its_default():
    assert read({"name": "x"}) == Outer(name="x")


def test_a_whole_number_is_a_fine_real_number():
    rate = read({"name": "x", "rate": 1}).rate
    assert isinstance(rate, float)
    assert rate == 1.0


def test_sets_are_written_in_order():
    assert to_json({"a": frozenset({3, 1, 2})}) == {"a": [1, 2, 3]}


REFUSED = {
    "a misspelled key": ({"name": "x", "rte": 1}, "'rte' is not a setting of Outer[^$]*did you mean 'rate'"),
    "a misspelled key inside": (
        {"name": "x", "inner": {"nose": "n"}},
        r"'nose' is not a setting of Inner[^$]*run.json.inner[^$]*did you mean 'note'",
    ),
    "a key that only the program sets": ({"name": "x", "hidden": 1}, "'hidden' is not a setting"),
    "a missing key": ({}, "Outer lacks name"),
    "a string for a number": ({"name": "x", "rate": "0.1"}, "expected float, found str '0.1'[^$]*run.json.rate"),
    "a truth value for a number": ({"name": "x", "steps": True}, "expected int, found bool True"),
    "a truth value for a real number": ({"name": "x", "rate": False}, "expected float, found bool False"),
    "a number for a truth value": ({"name": "x", "on": 1}, "expected bool, found int 1"),
    "a fraction for a whole number": ({"name": "x", "steps": 1.5}, "expected int, found float 1.5"),
    "nothing for a number": ({"name": "x", "rate": None}, "expected float, found null"),
    "a word that is no choice": ({"name": "x", "side": "lft"}, "did you mean 'left'"),
    "a list that is too short": ({"name": "x", "inner": {"size": [1]}}, "expected a list of 2 values"),
    "a wrong item": ({"name": "x", "inner": {"size": [1, "2"]}}, r"run.json.inner.size\[1\]"),
    "a wrong item of a list": ({"name": "x", "items": [{}, {"note": 3}]}, r"run.json.items\[1\].note"),
    "an object for a list": ({"name": "x", "items": {}}, "expected a list"),
    "a list for an object": ({"name": "x", "inner": []}, r"expected an object \(Inner\)"),
    "a list for a table": ({"name": "x", "table": []}, "expected an object"),
    "a word as key of a table of numbers": ({"name": "x", "table": {"one": []}}, "expected a whole number as key"),
    "neither of two kinds": ({"name": "x", "number_or_word": 1.5}, "expected int or str"),
    "a value out of range": ({"name": "x", "rate": 1.5}, "rate is 1.5[^$]*from 0 to 1"),
    "a value that is no number": ({"name": "x", "rate": float("nan")}, "rate is nan"),
    "no object at all": ([], r"expected an object \(Outer\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_reading_refuses(case):
    data, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        read(data)


def test_a_long_wrong_value_is_cut_in_the_message():
    with pytest.raises(ConfigError) as caught:
        read({"name": "x", "rate": "9" * 10_000})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("value", "low", "high"), [(-1, 0, 1), (1.01, 0, 1), (float("nan"), 0, 1), (5, 6, 7)])
def test_a_range_is_checked(value, low, high):
    check_range("x", low, low=low, high=high)
    check_range("x", high, low=low, high=high)
    with pytest.raises(ConfigError, match="choose a value from"):
        check_range("x", value, low=low, high=high)


def test_a_choice_is_checked():
    check_choice("device", "cpu", ("cpu", "cuda"))
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        check_choice("device", "cudo", ("cpu", "cuda"))


def test_a_broken_file_is_named_with_line_and_column(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"a": 1,\n "b": }')
    with pytest.raises(ConfigError, match=r"line 2 column 7[^$]*run.json"):
        read_json(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="not valid JSON"):
        read_json(path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(config.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_bytes_are_written_as_they_are(tmp_path):
    write_atomically(tmp_path / "x.bin", b"\r\n\x00")
    assert (tmp_path / "x.bin").read_bytes() == b"\r\n\x00"


@dataclass(frozen=True, kw_only=True)
class Grown:
    name: str = "old"
    count: int = field(default=3, metadata={config.YOUNGER: True})
    table: Mapping[str, str] = field(default_factory=dict, metadata={config.YOUNGER: True})


def test_a_field_added_later_stands_in_a_file_only_where_it_was_set():
    assert to_json(Grown()) == {"name": "old"}
    assert to_json(Grown(count=4, table={"a": "b"})) == {"name": "old", "count": 4, "table": {"a": "b"}}
    assert from_json(Grown, {"name": "old"}, where="run.json") == Grown()
