"""The estimate of a step's memory, and what of a method goes into it."""

import math

import pytest

from SemiSegLib import preparation
from SemiSegLib.cases.sites import write_sites
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.planning.memory import BYTES_PER_STRUCTURE, estimate_memory_gib
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


def test_methods_that_answer_each_structure_say_so():
    assert {card.name for card in CARDS if card.answers == "structures"} == ONE_BY_ONE
    assert {card.answers for card in CARDS} == {"leaves", "structures"}


@pytest.mark.parametrize(("method", "expected"), [("marginal", 0), ("dynamic_head", 5)])
def test_a_run_is_planned_with_the_structures_its_method_answers(method, expected, tmp_path, monkeypatch):
    data = write_sites(tmp_path / "data", each=1, test=0, size=(6, 9, 8))
    asked = []
    real = preparation.make_plan

    def make_plan(*given, structures, **more):
        asked.append(structures)
        return real(*given, structures=structures, **more)

    monkeypatch.setattr(preparation, "make_plan", make_plan)
    plan = PlanSettings(patch=(8, 8, 8), batch=2, features=(4, 8))
    request = RunRequest(dataset=str(data.root), method=method, plan=plan)
    Preparation(RunFolder.create(tmp_path / "runs", request), None, "cpu").run()
    assert asked == [expected]
