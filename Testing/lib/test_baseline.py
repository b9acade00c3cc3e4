"""The request of a baseline: the same training, on fully labeled cases only."""

from dataclasses import replace

import pytest

from SemiSegLib.baseline import baseline_request, can_have_baseline
from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import RunError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

REQUEST = RunRequest(
    dataset="study",
    method="mean_teacher",
    preset="paper",
    options={"noise": 0.2},
    plan=PlanSettings(patch=(8, 8, 8)),
    training=TrainingSettings(steps=None, seconds=60),
    seed=3,
    title="All scans",
)


def test_a_baseline_differs_in_its_cases_and_method_and_in_nothing_else(tmp_path):
    first = RunFolder.create(tmp_path, REQUEST)
    asked = baseline_request(first)
    assert (asked.method, asked.preset, asked.options, asked.use_regimes) == ("supervised", None, {}, ("full",))
    assert asked.after == asked.compare_with == str(first.path)
    assert asked.title == "All scans, fully labeled cases only"
    same = ("dataset", "plan", "training", "seed", "validation_share", "warm_start", "fine_cases", "other_labels")
    assert {name: getattr(asked, name) for name in same} == {name: getattr(first.request, name) for name in same}
    made = RunFolder.create(tmp_path, asked)
    assert made.request.id not in ("", first.request.id)
    assert RunFolder(made.path).request == made.request


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"method": "marginal"}, True),
        ({"method": "supervised"}, False),
        ({"use_regimes": ("full",)}, False),
        ({"method": "supervised", "use_regimes": ("full", "none")}, False),
        ({"use_regimes": ("full", "none")}, True),
        ({"compare_with": "elsewhere"}, False),
    ],
)
def test_only_a_run_that_learns_from_other_cases_too_has_a_baseline(tmp_path, changes, expected):
    request = replace(REQUEST, preset=None, options={}, **changes)
    assert can_have_baseline(request) is expected
    if not expected:
        with pytest.raises(RunError, match="nothing to compare"):
            baseline_request(RunFolder.create(tmp_path, request))


def test_requests_without_a_queue_are_written_as_before_there_was_one():
    assert not {"after", "compare_with"} & set(to_json(REQUEST))
    queued = replace(REQUEST, after="one", compare_with="two")
    assert from_json(RunRequest, to_json(queued), where="test") == queued


def test_a_run_that_was_moved_is_found_beside_the_one_that_names_it(tmp_path):
    first = RunFolder.create(tmp_path / "here", REQUEST, name="first")
    second = RunFolder.create(tmp_path / "here", replace(REQUEST, after=str(first.path)), name="second")
    assert second.sibling(second.request.after) == first.path
    (tmp_path / "here").rename(tmp_path / "there")
    moved = RunFolder(tmp_path / "there" / "second")
    assert moved.sibling(moved.request.after) == tmp_path / "there" / "first"
    assert moved.sibling(r"C:\studies\runs\first") == tmp_path / "there" / "first"
