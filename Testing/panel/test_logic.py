"""The same from Python: the calls that the console example names, without any widget."""

import re
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.bridge.dataset_import import loadCase
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT
from SemiSegModule.logic import StudyLogic
from SemiSegModule.self_test import checkRoundTrip
from Testing.bridge import scenes
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_run, a_small_study, alive


@pytest.fixture
def logic(module):
    from SemiSeg import SemiSegLogic

    return SemiSegLogic()


def test_the_module_logic_offers_every_call_of_the_study_logic(logic):
    calls = [name for name in dir(StudyLogic) if not name.startswith("_")]
    assert {"exportStudy", "recommend", "startTraining", "runStatus", "stop", "applyModel", "loadResults"} <= set(calls)
    for name in calls:
        assert getattr(logic, name).__doc__
        assert name in dir(logic)


def test_the_example_of_the_docstring_names_calls_that_exist(logic):
    example = textwrap.dedent(type(logic).__doc__.split("::", 1)[1])
    for name in re.findall(r"logic\.(\w+)\(", example):
        assert hasattr(StudyLogic, name)


def test_a_study_goes_from_the_scene_to_a_run(logic, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "startWorker", started.append)
    a_small_study()
    scheme = logic.readScheme()
    cases = logic.casesFromScene(scheme)
    study = logic.exportStudy(tmp_path, cases, scheme)
    recommended = logic.recommend(study.path)
    assert recommended == logic.recommend(study.dataset) == logic.recommend(cases, scheme)
    run = logic.startTraining(study.path, steps=20, device="cpu", seed=3, title="first")
    assert [r.path for r in started] == [run.path]
    assert (run.request.method, run.request.seed, run.request.title) == (recommended.method, 3, "first")
    assert (run.request.training.steps, run.request.training.seconds) == (20, None)
    assert run.request.dataset == str(study.path)
    assert [r.path for r in logic.findRuns(tmp_path)] == [run.path]
    assert logic.runStatus(run).state == "created"


def test_without_a_budget_a_training_takes_half_an_hour(logic, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "startWorker", lambda run: None)
    write_cohort(tmp_path, fine=1, coarse=1, partial=0, none=0, validation=0)
    assert logic.startTraining(tmp_path).request.training.seconds == 1800.0


def test_stop_asks_the_worker_and_returns(logic, tmp_path):
    run = a_run(tmp_path)
    run.write_status(alive(RunStatus(state="training")))
    logic.stop(run)
    assert run.stop_requested()


def test_schemes_come_from_the_scene_by_name_or_from_files(logic, tmp_path):
    a_small_study()
    assert set(logic.readScheme().leaf_names) == {"background", "head", "tail", "vessel"}
    case = logic.casesFromScene()[0]
    told = replace(case, meanings={**case.meanings, "id vessel": LEFT_OUT, "id tail": ANNOTATED_REGION})
    assert set(logic.readScheme(cases=[told]).leaf_names) == {"background", "head"}
    assert "hippocampus" in logic.readySchemes()
    assert logic.readScheme("hippocampus").leaf_names[0] == "background"
    with pytest.raises(ConfigError, match=r"did you mean 'hippocampus'"):
        logic.readScheme("hipocampus")


def test_a_scheme_file_out_of_reach_is_explained(logic, tmp_path, monkeypatch):
    (tmp_path / "scheme.json").write_text("{}")

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"cannot be read: Permission denied(.|\n)*scheme\.json"):
        logic.readScheme(tmp_path / "scheme.json")


def test_a_color_table_is_a_scheme(logic, tmp_path):
    from SemiSegLib.labels.color_table import write_color_table

    write_color_table(scenes.SCHEME, tmp_path / "colors.csv")
    assert logic.readScheme(tmp_path / "colors.csv").leaf_names == scenes.SCHEME.leaf_names


def test_applying_a_model_that_is_not_there_is_explained(logic, tmp_path):
    volumes = a_small_study()
    with pytest.raises(CaseError, match=r"there is no model(.|\n)*wait until the training has written one"):
        logic.applyModel(a_run(tmp_path), [volumes["Ann"]])


def test_a_job_of_a_run_is_found_in_its_study_and_one_of_a_file_is_beside_it(logic, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "startWorker", lambda job: None)
    volumes = a_small_study()
    run = a_run(tmp_path / "study")
    a_model_file(run.model_path)
    job = logic.applyModel(run, [volumes["Ann"]])
    assert [found.path for found in logic.findJobs(tmp_path / "study")] == [job.path]
    alone = logic.applyModel(a_model_file(tmp_path / "model.safetensors"), [volumes["Ann"]])
    assert alone.path.parent == tmp_path / "applied"


def test_a_failed_job_loads_nothing(logic, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "startWorker", lambda job: None)
    volumes = a_small_study()
    model = a_model_file(tmp_path / "model.safetensors")
    job = logic.applyModel(model, [volumes["Ann"], {"image": volumes["Bob"]}])
    job.write_status(RunStatus(state="failed", message="out of memory", remedy="use the CPU"))
    with pytest.raises(CaseError, match=r"out of memory(.|\n)*remedy: use the CPU"):
        logic.loadResults(job)


def test_a_result_file_can_be_loaded_by_itself(logic, tmp_path):
    from SemiSegModule.bridge.geometry import toGeometry, volumeGrid

    volume = scenes.a_volume(np.random.default_rng(0), scenes.matrix(np.random.default_rng(1)))
    labels = np.ones(scenes.SHAPE, np.uint8)
    scenes.write_segmentation_file(tmp_path / "r.seg.nrrd", labels, toGeometry(volumeGrid(volume)), {1: "head"})
    node = logic.loadResult(tmp_path / "r.seg.nrrd", volume, name="mine")
    assert node.GetName() == "mine"
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, "head", volume).all()


def test_the_modules_own_test_passes(logic, module):
    checkRoundTrip(logic)
    slicer.selfTests["SemiSeg"]()


def test_a_dataset_comes_into_the_scene_with_what_its_labels_mean(logic, tmp_path):
    dataset = write_cohort(tmp_path / "cohort", fine=1, coarse=1, partial=2, none=1, validation=0)
    cases = [loadCase(dataset, case) for case in dataset.cases]
    study = logic.exportStudy(tmp_path / "again", cases, dataset.scheme)
    for before, after in zip(dataset.cases, study.dataset.cases, strict=True):
        assert before.regime(dataset.scheme) is after.regime(dataset.scheme)
        if before.annotation is None:
            continue
        geometry = read_images(dataset, before)[0].geometry
        codes, table = read_codes(dataset, before, geometry)
        again, table_again = read_codes(study.dataset, after, geometry)
        assert np.array_equal(table.array[codes], table_again.array[again])
