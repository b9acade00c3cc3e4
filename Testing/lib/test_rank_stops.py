"""What ends one process of a training on several ends them all: a stop, and a failure before the training."""

import json
import sys

import pytest

from SemiSegLib.runs.request import PresenceSettings
from Testing.lib.rank_pair import RankPair
from Testing.lib.run_farm import a_cohort, a_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="copies of processes are POSIX")

SMALL = PresenceSettings(width=0.125, share=0.5, minimum_voxels=4)

CODE = """
import os
# The first optimizer imports it, which takes longer than a tiny training.
import torch._dynamo
from SemiSegLib import worker
from SemiSegLib.errors import TrainingError
from SemiSegLib.preparation import Preparation
from SemiSegLib.training.distributed import join_ranks
from SemiSegLib.training.trainer import Trainer

def train(path):
    return worker.main([path])

def train_and_stop(path):
    # As the reporter does, of which rank 0 alone has one.
    real = Trainer._advance
    def advance(self, batches, progress):
        if self.ranks.is_first and self.step == 1:
            self.stop()
        return real(self, batches, progress)
    Trainer._advance = advance
    return worker.main([path])

def train_and_stop_in_rank_1(path):
    real = Preparation._plan
    def plan(self, *arguments):
        if os.environ["RANK"] == "1":
            self.folder.request_stop()
        self._tell("planning")
        return real(self, *arguments)
    Preparation._plan = plan
    return worker.main([path])

class Stopped(Exception):
    pass

def end(ranks, *errors):
    # Return what ends this process when its block raises the error of its number.
    try:
        with ranks.together(Stopped):
            if errors[ranks.rank] is not None:
                raise errors[ranks.rank]
    except Exception as error:
        return type(error)
    return None

def end_blocks(_):
    with join_ranks() as ranks:
        assert ranks.agree([ranks.rank + 3.0, 0.5]) == [3.0, 0.5]
        assert end(ranks, None, None) is None
        for errors in ((Stopped(), None), (None, Stopped()), (Stopped(), Stopped())):
            assert end(ranks, *errors) is Stopped
        for errors in ((OSError(), None), (None, OSError())):
            assert end(ranks, *errors) is (OSError if errors[ranks.rank] else TrainingError)
        assert end(ranks, OSError(), Stopped()) is (Stopped if ranks.rank else OSError)
    return 0
"""


@pytest.fixture(scope="module")
def pair():
    pair = RankPair(CODE)
    yield pair
    pair.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("data") / "cohort")


def test_a_block_ends_alike_in_all_processes(pair, tmp_path):
    first, second, said = pair.call("end_blocks", "", tmp_path)
    assert (first, second) == (0, 0), said


def test_a_stop_before_the_training_ends_every_process_as_stopped(pair, tmp_path, data):
    run = a_run(tmp_path, data)
    run.request_stop()
    first, second, said = pair.call("train", run.path, tmp_path)
    assert (first, second) == (0, 0), said
    assert run.status().state == "stopped"


def test_a_stop_that_another_process_hears_of_first_ends_every_process(pair, tmp_path, data):
    run = a_run(tmp_path, data)
    first, second, said = pair.call("train_and_stop_in_rank_1", run.path, tmp_path)
    assert (first, second) == (0, 0), said
    assert run.status().state == "stopped"
    assert not run.stop_requested()


def test_a_stop_in_the_presence_stage_ends_every_process_and_the_run_can_be_resumed(pair, tmp_path, data):
    run = a_run(tmp_path, data, method="presence", presence=SMALL, training={"steps": 4})
    first, second, said = pair.call("train_and_stop", run.path, tmp_path)
    assert (first, second) == (0, 0), said
    assert run.status().state == "stopped"
    assert not run.presence_path.exists()
    first, second, said = pair.call("train", run.path, tmp_path)
    assert (first, second) == (0, 0), said
    assert run.status().state == "finished"
    assert run.presence_path.exists()


def test_cases_that_are_damaged_end_every_process_and_the_others_say_that_another_failed(pair, tmp_path):
    data = a_cohort(tmp_path / "data")
    described = json.loads((data / "dataset.json").read_text())
    image = data / next(iter(described["cases"][0]["images"].values()))
    image.write_bytes(b"damaged")
    run = a_run(tmp_path / "runs", data)
    first, second, said = pair.call("train", run.path, tmp_path)
    assert (first, second) == (1, 1), said
    assert "rank 1: another process of this training failed" in said
    assert run.status().state == "failed"
