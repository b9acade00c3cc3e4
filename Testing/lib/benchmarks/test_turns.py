"""What the benchmarks say is what they measured: times of steps, turns, factors, tables, memory."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import turns
from costs import _shown
from reporting import ROOT, Result, child_environment, in_words, markdown, show
from turns import Marks, Player, Seconds, Turns
from worker_memory import peak_mib


class Clock:
    def __init__(self, *seconds):
        self.seconds = iter(seconds)

    def perf_counter(self):
        return next(self.seconds)


def test_a_step_lasts_from_one_question_for_a_batch_to_the_next(monkeypatch):
    # Asked at 0, given at 1; asked at 4, given at 6; ended at 7: steps of 4 and 3 s that waited 1 and 2 s.
    monkeypatch.setattr(turns, "time", Clock(0, 1, 4, 6, 7))
    marks = Marks()
    watched = marks.watch(number for number in (10, 20, 30))
    assert [next(watched), next(watched)] == [10, 20]
    watched.close()
    assert marks.times() == {"seconds": [4, 3], "waited": [1, 2]}


def test_closing_a_watched_loop_closes_where_its_batches_come_from():
    closed = []

    def batches():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    watched = Marks().watch(batches())
    next(watched)
    watched.close()
    assert closed == [True]


class Recording:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def run(self, loop, steps):
        self.log.append((self.name, loop, steps))
        return {"seconds": [9.0] + [1.0] * (steps - 1), "waited": [9.0] + [0.5] * (steps - 1)}


def test_loops_take_turns_and_the_first_steps_of_a_turn_do_not_count():
    log = []
    a, b = Recording("a", log), Recording("b", log)
    found = Turns(rounds=2, steps=3, warmup=1).take({"one": (a, "x"), "two": (b, "y")})
    assert log == [("a", "x", 4), ("b", "y", 4)] * 2
    assert found["one"].all == [1.0] * 6
    assert found["two"].waiting == 0.5


def test_a_factor_is_that_of_the_medians_with_the_least_and_largest_of_the_rounds():
    ours = Seconds(rounds=[[1.0, 1.0, 9.0], [2.0, 2.0, 2.0]])
    other = Seconds(rounds=[[3.0, 3.0, 3.0], [4.0, 4.0, 4.0]])
    # Medians of all: ours of 1 1 2 2 2 9 is 2, the other's of 3 3 3 4 4 4 is 3.5. Of the rounds: 3 / 1 and 4 / 2.
    assert ours.factor(other) == (1.75, 2.0, 3.0)


def test_the_slowest_tenth_of_the_steps_is_left_out_of_the_mean():
    assert Seconds(rounds=[[1.0] * 9 + [100.0]]).mean == 1.0
    assert Seconds(rounds=[[1.0, 3.0]]).mean == 2.0


def test_a_child_that_dies_is_told_of(monkeypatch, tmp_path):
    (tmp_path / "dies.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(turns, "HERE", tmp_path)
    with pytest.raises(SystemExit, match=r"dies\.py ended with code 1"):
        Player("dies.py", tmp_path / "task.json")


def test_what_is_shown_as_json_is_the_result_again(capsys):
    result = Result("Title", {"cores": 2}, ["", "s"], [["ours", 0.12345], ["other", float("nan")]], {"ours": 0.12345})
    show(result, as_json=True)
    again = Result(**json.loads(capsys.readouterr().out))
    assert again.rows == [["ours", 0.12345], ["other", None]]
    assert markdown(again).endswith("| ours | 0.123 |\n| other |  |\n")


@pytest.mark.parametrize(
    ("cell", "text"), [(0.01234, "0.0123"), (12.3456, "12.35"), (1234.5, "1234"), (3, "3"), ("x", "x"), (None, "")]
)
def test_a_cell_has_three_digits_or_its_words(cell, text):
    assert in_words(cell) == text


def test_of_an_absolute_path_only_the_name_is_shown(tmp_path):
    assert _shown(tmp_path / "study") == "study"
    assert _shown(tmp_path.relative_to(tmp_path.parent) / "study") == f"{tmp_path.name}/study"


def test_the_peak_of_a_process_is_its_own_and_ends_with_it():
    before = peak_mib(os.getpid())
    block = np.ones(64 * 2**17)
    assert peak_mib(os.getpid()) >= before
    assert peak_mib(os.getpid()) > block.nbytes / 2**20
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert peak_mib(ended.pid) is None


def test_a_child_finds_the_library_and_keeps_what_the_caller_has_set(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["elsewhere", str(ROOT)]))
    found = child_environment({"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"})
    assert found["PYTHONPATH"] == os.pathsep.join([str(ROOT), "elsewhere"])
    assert (found["GOMP_SPINCOUNT"], found["KMP_BLOCKTIME"]) == ("7", "1")
