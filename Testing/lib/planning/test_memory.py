"""The estimate of a step's memory, and what of a method goes into it."""

import math

import pytest
import torch

from SemiSegLib import preparation
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.sites import write_sites
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.planning.memory import BYTES_PER_STRUCTURE, OVERHEAD_GIB, estimate_memory_gib, is_out_of_memory
from SemiSegLib.preparation import Preparation
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest
from Testing.lib.planning.test_planner import planned

ONE_BY_ONE = {"dynamic_head", "dodnet", "roi_mean_teacher", "latent_classes"}


@pytest.mark.parametrize("backbone", ["plan_unet", "swin_unetr"])
def test_each_structure_adds_its_maps_to_every_row(backbone):
    plan = planned((64, 64, 64), (1.0, 1.0, 1.0), settings=PlanSettings(backbone=backbone))
    plain, some, more = (estimate_memory_gib(plan, classes=3, structures=k) for k in (0, 10, 20))
    maps = 10 * BYTES_PER_STRUCTURE * plan.batch * math.prod(plan.patch) / 2**30
    assert some - plain == pytest.approx(maps)
    assert more - some == pytest.approx(maps)


@pytest.mark.parametrize("backbone", ["plan_unet", "swin_unetr"])
def test_each_network_whose_graph_is_held_adds_as_much(backbone):
    plan = planned((64, 64, 64), (1.0, 1.0, 1.0), settings=PlanSettings(backbone=backbone))
    one, two, three = (estimate_memory_gib(plan, classes=3, structures=4, graphs=n) - OVERHEAD_GIB for n in (1, 2, 3))
    assert (two, three) == pytest.approx((2 * one, 3 * one))


def test_a_real_lack_of_cpu_memory_is_recognized_and_other_errors_are_not():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GiB, max allowed: 9.07 GiB)"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_methods_that_answer_each_structure_say_so():
    assert {card.name for card in CARDS if card.answers == "structures"} == ONE_BY_ONE
    assert {card.answers for card in CARDS} == {"leaves", "structures"}


@pytest.fixture
def asked(monkeypatch):
    """Structures and graphs that plans were made for."""
    found = []
    real = preparation.make_plan

    def make_plan(*given, structures, graphs, **more):
        found.append((structures, graphs))
        return real(*given, structures=structures, graphs=graphs, **more)

    monkeypatch.setattr(preparation, "make_plan", make_plan)
    return found


def prepare(folder, data, method, **options):
    plan = PlanSettings(patch=(8, 8, 8), batch=2, features=(4, 8))
    request = RunRequest(dataset=str(data.root), method=method, options=options, plan=plan)
    Preparation(RunFolder.create(folder / "runs", request), None, "cpu").run()


@pytest.mark.parametrize(("method", "expected"), [("marginal", 0), ("dynamic_head", 5)])
def test_a_run_is_planned_with_the_structures_its_method_answers(method, expected, tmp_path, asked):
    prepare(tmp_path, write_sites(tmp_path / "data", each=1, test=0, size=(6, 9, 8)), method)
    assert asked == [(expected, 1)]


def test_a_run_is_planned_with_the_networks_whose_graphs_are_held_at_once(tmp_path, asked):
    counts = {"fine": 2, "coarse": 0, "partial": 0, "none": 1, "validation": 0}
    data = write_cohort(tmp_path / "data", **counts, size=(8, 12, 10))
    prepare(tmp_path, data, "dual_task_mutual_learning")
    prepare(tmp_path, data, "dual_task_mutual_learning", networks="segmentation")
    prepare(tmp_path, data, "cross_pseudo_supervision")
    prepare(tmp_path, data, "cross_pseudo_supervision", backward="joint")
    assert asked == [(0, 2), (0, 1), (0, 1), (0, 2)]
