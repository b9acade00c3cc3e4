"""Stop and use the best: at whatever moment a run is stopped, it leaves the model of its best validation, soon."""

import random
import sys
import time

import pytest
import torch

from SemiSegLib import session
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.training.checkpoints import load_best, load_latest
from SemiSegLib.training.trainer import Trainer
from SemiSegLib.training.validation import Validation
from SemiSegLib.worker import run as work
from Testing.lib.run_farm import Farm, a_cohort, a_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="copies of processes are POSIX")

# A stop may take 60 s; these runs are tiny.
MOST_SECONDS = 10.0
ENDLESS = {"steps": 1_000_000, "validate_every": 3, "checkpoint_seconds": 60.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("Müller 中") / "cohort", validation=2)


@pytest.fixture(scope="module")
def farm():
    farm = Farm()
    yield farm
    farm.close()


def require_best_model(run):
    """Check that the model is the best of the validations, or the last state if there was none."""
    status = run.status()
    assert status.state == "stopped"
    assert not run.stop_requested()
    model = load_model(run.model_path)
    is_validated = status.best_step is not None
    saved = load_best(run.checkpoints) if is_validated else load_latest(run.checkpoints)
    assert model.provenance["model_step"] == saved.step == (status.best_step if is_validated else status.step)
    weights = model.method.state_dict()
    assert all(torch.equal(saved.tensors[f"method.{name}"], value) for name, value in weights.items())
    assert not (run.report / "report.md").exists(), "a report takes time that a person who stops does not want to wait"


def stop_at_random_moments(farm, parent, data, *, times, seed):
    generator = random.Random(seed)
    for _ in range(times):
        run = a_run(parent, data, training=ENDLESS)
        farm.process.stdin.write(f"{run.path} 0.0\n")
        farm.process.stdin.flush()
        farm.process.stdout.readline()
        while run.status().state != "training":
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 1.5))
        begin = time.monotonic()
        run.request_stop()
        assert int(farm.process.stdout.readline()) == 0
        assert time.monotonic() - begin < MOST_SECONDS
        require_best_model(run)


def test_a_run_that_is_stopped_at_some_moment_leaves_its_best_model(farm, tmp_path, data):
    stop_at_random_moments(farm, tmp_path, data, times=3, seed=0)


@pytest.mark.slow
def test_twenty_stops_at_random_moments_leave_the_best_model(farm, tmp_path, data):
    stop_at_random_moments(farm, tmp_path, data, times=20, seed=1)


def stop_when(monkeypatch, moment):
    """Ask a run to stop in its first step, in its first validation, or in a later one."""
    if moment == "first step":
        real = Trainer._advance

        def advance(trainer, batches, progress):
            trainer.stop()
            return real(trainer, batches, progress)

        monkeypatch.setattr(Trainer, "_advance", advance)
        return
    number = {"first validation": 1, "third validation": 3}[moment]
    calls = []

    class Stopping(Validation):
        def __call__(self, method):
            calls.append(self)
            if len(calls) == number:
                self.should_stop = lambda: True
            return super().__call__(method)

    monkeypatch.setattr(session, "Validation", Stopping)


@pytest.mark.parametrize("moment", ["first step", "first validation", "third validation"])
def test_a_stop_before_and_in_validations_leaves_what_is_best_by_then(tmp_path, data, monkeypatch, moment):
    run = a_run(tmp_path, data, training=ENDLESS)
    stop_when(monkeypatch, moment)
    work(run)
    require_best_model(run)
    assert (run.status().best_step is not None) == (moment == "third validation")
    assert run.status().step == {"first step": 1, "first validation": 3, "third validation": 9}[moment]
