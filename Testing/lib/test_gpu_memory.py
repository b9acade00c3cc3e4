"""Trainings that may have but a part of a GPU's memory: they end well, and what a step takes is what was estimated."""

import pytest
import torch

from SemiSegLib import worker
from SemiSegLib.config import from_json, read_json
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import graphs_at_once
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.planning.memory import GIB, estimate_memory_gib
from SemiSegLib.planning.plan import Plan
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from Testing.lib.run_farm import a_cohort

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
TRAINING = TrainingSettings(steps=4, precision="fp32", device="cuda", augmentation="none")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    # A whole scan at full resolution is more than these parts hold.
    return a_cohort(tmp_path_factory.mktemp("data") / "cohort", size=(160, 160, 160))


@pytest.fixture
def part():
    """Give this process so many GiB of the GPU."""
    total = torch.cuda.get_device_properties(0).total_memory / GIB

    def give(gib):
        if gib > total:
            pytest.skip(f"the GPU has {total:.1f} GiB")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(gib / total)

    yield give
    torch.cuda.set_per_process_memory_fraction(1.0)


def train(folder, data, method, plan):
    """Train and return the plan that it ended with, and what it told of memory."""
    run = RunFolder.create(folder, RunRequest(dataset=str(data), method=method, plan=plan, training=TRAINING))
    worker.run(run)
    assert run.status().state == "finished"
    told = [event["text"] for event in run.events()[0] if "memory ran out" in event.get("text", "")]
    return from_json(Plan, read_json(run.plan_path), where="plan"), told


@pytest.mark.parametrize("gib", [4, 6, 8])
@pytest.mark.parametrize("method", ["marginal", "dual_task_mutual_learning"])
def test_a_plan_for_a_part_of_a_gpu_is_trained_in_it(part, data, tmp_path, method, gib):
    part(gib)
    plan, told = train(tmp_path, data, method, PlanSettings(memory_gib=0.75 * gib))
    assert told == []
    graphs = graphs_at_once(card_of(method), resolve_options(card_of(method), None, {}))
    # At most 20 % more than what is told before the start.
    assert torch.cuda.max_memory_allocated() / GIB < 1.2 * estimate_memory_gib(plan, classes=4, graphs=graphs)


def test_a_plan_that_is_too_large_is_made_smaller_and_trained(part, data, tmp_path):
    part(4)
    asked = PlanSettings(dimensions=3, patch=(64, 64, 64), features=(32, 64, 128, 256), batch=16)
    plan, told = train(tmp_path, data, "marginal", asked)
    assert plan.batch < 16
    assert 1 <= len(told) <= 3
