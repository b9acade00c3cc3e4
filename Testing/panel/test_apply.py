"""Apply a model: scans go to a job, results come back as new segmentations, failures leave the scene alone."""

import shutil

import numpy as np
import pytest
import slicer

from SemiSegLib.cases.volume import read_volume
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.host.interaction import click, process_events, tick_cell, type_text
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_run, a_small_study, alive, cancel_writing, reopen_scene, watch_writing

SHIFTED = np.eye(4)
SHIFTED[:3, 3] = 5, -7, 11


@pytest.fixture
def started(monkeypatch):
    """Jobs whose worker was asked for; nothing runs."""
    asked = []

    def start(job):
        asked.append(job)
        job.write_status(alive(RunStatus(state="preparing", message="reading the model")))

    monkeypatch.setattr(jobs, "startWorker", start)
    return asked


@pytest.fixture
def ready(panel, tmp_path):
    """The panel with a study, a folder, and a model to apply."""
    volumes = a_small_study()
    panel.panel.parameters.studyFolder = str(tmp_path / "study")
    model = a_model_file(tmp_path / "organ model.safetensors")
    process_events()
    type_text(panel.ui.modelEdit, str(model))
    process_events()
    return panel, volumes


def look(panel):
    panel.panel.apply.watcher.look()
    process_events()


def finish(job, masks_of=None, **status):
    """Write what a worker writes: one result per scan, then the final state."""
    for number, case in enumerate(job.job.cases):
        geometry = read_volume(job.image_paths(case)["image"]).geometry
        labels = np.zeros(geometry.shape, np.uint8)
        labels[2:4, 3:5, 2 + number : 5 + number] = 1
        job.result_path(case).parent.mkdir(exist_ok=True)
        scenes.write_segmentation_file(job.result_path(case), labels, geometry, {1: "head", 2: "tail"})
    job.write_status(RunStatus(**{"state": "finished", "fraction": 1.0, "message": "done", **status}))


def results():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]


def test_apply_needs_a_model_and_a_volume(panel, tmp_path):
    a_small_study()
    assert panel.ui.applyButton.toolTip == "Choose a model file, or train one above."
    model = a_model_file(tmp_path / "model.safetensors")
    type_text(panel.ui.modelEdit, str(model))
    process_events()
    assert panel.ui.applyButton.toolTip == "Tick at least one volume."
    tick_cell(panel.ui.applyVolumesList, 0)
    process_events()
    assert panel.ui.applyButton.enabled


def test_the_model_of_the_shown_run_is_taken_if_no_file_is_chosen(panel, tmp_path):
    run = a_run(tmp_path)
    panel.panel.parameters.studyFolder = str(tmp_path)
    panel.panel.parameters.runFolder = str(run.path)
    process_events()
    assert panel.panel.model.path is None
    a_model_file(run.model_path)
    panel.panel.refresh()
    assert panel.panel.model.path == run.model_path


def test_results_of_a_runs_model_are_named_after_its_method(panel, started, tmp_path):
    a_small_study()
    run = a_run(tmp_path, method="supervised")
    a_model_file(run.model_path)
    panel.panel.parameters.studyFolder = str(tmp_path)
    panel.panel.parameters.runFolder = str(run.path)
    process_events()
    tick_cell(panel.ui.applyVolumesList, 3)
    click(panel.ui.applyButton)
    finish(started[0])
    look(panel)
    assert [node.GetName() for node in results()] == ["Dan supervised"]


def test_a_volume_that_was_ticked_and_is_listed_no_more_is_not_segmented(ready, started):
    panel, volumes = ready
    tick_cell(panel.ui.applyVolumesList, 3)
    volumes["Dan"].SetHideFromEditors(True)
    panel.panel.refresh()
    assert panel.ui.applyButton.toolTip == "Tick at least one volume."
    volumes["Dan"].SetHideFromEditors(False)
    panel.panel.refresh()
    tick_cell(panel.ui.applyVolumesList, 0)
    assert panel.panel.parameters.applyVolumes == [volumes["Ann"], volumes["Dan"]]
    volumes["Dan"].SetHideFromEditors(True)
    panel.panel.refresh()
    click(panel.ui.applyButton)
    assert [case.id for case in started[0].job.cases] == ["1 Ann"]


def test_what_is_ticked_below_the_volumes_is_asked_of_the_job(ready, started):
    panel, _volumes = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    finish(started[0])
    look(panel)
    assert (started[0].job.uncertainty, started[0].job.largest_component) == (True, False)
    click(panel.ui.uncertaintyCheckBox)
    click(panel.ui.largestPieceCheckBox)
    parameters = panel.panel.parameters
    assert (parameters.wantsUncertainty, parameters.wantsLargestPiece) == (False, True)
    click(panel.ui.applyButton)
    assert (started[1].job.uncertainty, started[1].job.largest_component) == (False, True)


def test_results_come_back_beside_their_volumes_even_if_these_were_moved(ready, started):
    panel, volumes = ready
    tick_cell(panel.ui.applyVolumesList, 2)
    tick_cell(panel.ui.applyVolumesList, 3)
    process_events()
    click(panel.ui.applyButton)
    (job,) = started
    assert [case.id for case in job.job.cases] == ["1 Cid", "2 Dan"]
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyStopButton.enabled
    scenes.moved(volumes["Dan"], values=SHIFTED)
    job.write_status(alive(RunStatus(state="training", fraction=0.5, message="segmenting '2 Dan', 2 of 2")))
    look(panel)
    assert panel.ui.applyProgressBar.value == 50
    assert panel.ui.applyStatusLabel.text == "segmenting '2 Dan', 2 of 2"
    finish(job)
    look(panel)
    cid, dan = results()
    assert (cid.GetName(), dan.GetName()) == ("Cid organ model", "Dan organ model")
    assert dan.GetTransformNodeID() == volumes["Dan"].GetTransformNodeID()
    found = slicer.util.arrayFromSegmentBinaryLabelmap(dan, "head", volumes["Dan"])
    expected = np.zeros(scenes.SHAPE, bool)
    expected[2:4, 3:5, 3:6] = True
    assert np.array_equal(found > 0, expected)
    assert panel.ui.applyStatusLabel.text == "Results: Cid organ model, Dan organ model"
    assert panel.ui.applyButton.enabled


def test_results_are_not_taken_for_labels_and_touch_no_segmentation(ready, started):
    panel, _ = ready
    drawn = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    before = [scenes.digest(node) for node in drawn]
    for row in range(4):
        tick_cell(panel.ui.applyVolumesList, row)
    click(panel.ui.applyButton)
    finish(started[0])
    look(panel)
    assert len(results()) == 4
    assert [scenes.digest(node) for node in drawn] == before
    assert [row.segmentation in drawn for row in panel.panel.view.rows] == [True, True, True, False]
    assert panel.panel.view.rows[3].segmentation is None


def test_a_failed_job_is_told_once_and_loads_nothing(host, ready, started):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    count = slicer.mrmlScene.GetNumberOfNodes()
    started[0].write_status(RunStatus(state="failed", message="it has 1 channel, the model 2", remedy="pass both"))
    look(panel)
    look(panel)
    (message,) = host.dialogs.shown("error")
    assert message == "The model could not be applied.\n\nit has 1 channel, the model 2\npass both"
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert results() == []
    assert panel.ui.applyButton.enabled


def test_a_stopped_job_shows_what_it_has(ready, started):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    tick_cell(panel.ui.applyVolumesList, 1)
    click(panel.ui.applyButton)
    (job,) = started
    click(panel.ui.applyStopButton)
    assert job.stop_requested()
    finish(job, state="stopped", fraction=0.5)
    job.result_path(job.job.cases[1]).unlink()
    look(panel)
    assert [node.GetName() for node in results()] == ["Ann organ model"]


def test_a_volume_that_is_gone_or_changed_is_named_and_the_others_are_shown(host, ready, started):
    panel, volumes = ready
    for row in range(3):
        tick_cell(panel.ui.applyVolumesList, row)
    click(panel.ui.applyButton)
    slicer.mrmlScene.RemoveNode(volumes["Ann"])
    slicer.util.updateVolumeFromArray(volumes["Bob"], np.zeros((3, 4, 5), np.int16))
    finish(started[0])
    look(panel)
    assert [node.GetName() for node in results()] == ["Cid organ model"]
    (message,) = host.dialogs.shown("error")
    assert "the volume 'Ann' is no longer in the scene" in message
    assert "there is a scan of the name 'Bob', but it is another one, or its voxels were changed" in message


def test_scans_that_failed_are_told_once_and_the_others_are_shown(host, ready, started, tmp_path):
    panel, _ = ready
    for row in range(3):
        tick_cell(panel.ui.applyVolumesList, row)
    click(panel.ui.applyButton)
    (job,) = started
    finish(job, message="2 of 3 scans segmented, 1 failed")
    job.result_path(job.job.cases[1]).unlink()
    job.write_failures({"2 Bob": "the image is damaged"})
    look(panel)
    assert [node.GetName() for node in results()] == ["Ann organ model", "Cid organ model"]
    (message,) = host.dialogs.shown("error")
    assert message == "Not every result could be shown.\n\n'2 Bob': the image is damaged"
    assert StudyLogic().jobToShow(tmp_path / "study") is None


def test_what_a_killed_worker_has_left_is_shown_and_told_once(host, ready, started, tmp_path):
    panel, _ = ready
    for row in range(3):
        tick_cell(panel.ui.applyVolumesList, row)
    click(panel.ui.applyButton)
    (job,) = started
    finish(job)
    for case in job.job.cases[1:]:
        job.result_path(case).unlink()
    job.write_status(RunStatus(state="training", step=1, message="segmenting '2 Bob', 2 of 3"))
    look(panel)
    assert [node.GetName() for node in results()] == ["Ann organ model"]
    (message,) = host.dialogs.shown("error")
    assert "without a result: 2 Bob, 3 Cid" in message
    assert "apply the model again to the scans that have no result" in message
    # The next start of Slicer begins without it.
    assert StudyLogic().jobToShow(tmp_path / "study") is None
    assert panel.panel.parameters.applyFolder == ""
    assert panel.ui.applyButton.enabled


def test_a_job_that_was_going_on_when_the_scene_was_saved_is_taken_up_again(ready, started, tmp_path):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    reopen_scene(tmp_path / "scene.mrb")
    finish(started[0])
    look(panel)
    assert [node.GetName() for node in results()] == ["Ann organ model"]


def test_a_job_that_ended_while_its_scene_was_closed_brings_its_results_when_it_is_opened(
    host, ready, started, tmp_path
):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    process_events()
    assert panel.ui.applyStatusLabel.text == ""
    finish(started[0])
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()
    assert [node.GetName() for node in results()] == ["Ann organ model"]
    assert host.dialogs.shown("error") == []


def test_volumes_are_written_while_slicer_answers_and_nothing_else_can_begin(ready, started, monkeypatch):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    seen = watch_writing(monkeypatch, lambda: (panel.form.enabled, panel.ui.applyStatusLabel.text))
    click(panel.ui.applyButton)
    assert seen == [(False, "Writing Ann (1 of 1)...")]
    assert panel.form.enabled
    assert len(started) == 1


def test_writing_for_a_model_can_be_canceled(host, ready, started, monkeypatch):
    panel, _ = ready
    watch_writing(monkeypatch, cancel_writing)
    click(panel.ui.applyAllButton)
    assert (started, host.dialogs.shown("error")) == ([], [])
    assert panel.ui.applyStatusLabel.text == "Canceled; nothing was segmented."
    assert panel.ui.applyAllButton.enabled
    assert not panel.ui.applyStopButton.enabled


def test_a_job_that_cannot_be_stopped_is_told(host, ready, started):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    process_events()
    shutil.rmtree(started[0].path)
    click(panel.ui.applyStopButton)
    assert host.dialogs.shown("error")[0].startswith("The job could not be stopped.")


def test_a_damaged_result_is_explained(host, ready, started):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    (job,) = started
    finish(job)
    path = job.result_path(job.job.cases[0])
    path.write_bytes(path.read_bytes()[:-30])
    look(panel)
    assert "remedy:" in host.dialogs.shown("error")[0]
    assert results() == []


def test_a_job_that_is_damaged_while_slicer_is_closed_is_passed_by_when_its_study_is_opened(
    host, ready, started, tmp_path
):
    panel, _ = ready
    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    slicer.mrmlScene.Clear()
    process_events()
    (job,) = started
    finish(job)
    assert StudyLogic().jobToShow(tmp_path / "study").path == job.path
    job.request_path.write_text("{", encoding="utf-8")
    assert StudyLogic().jobToShow(tmp_path / "study") is None
    panel.panel.parameters.studyFolder = str(tmp_path / "study")
    process_events()
    assert host.dialogs.shown("error") == []
    assert panel.ui.applyStatusLabel.text == ""


def test_what_a_person_has_drawn_in_a_scan_is_not_told_as_found(ready, started):
    panel, _volumes = ready
    # A model whose names are written another way, and that knows nothing of vessels.
    scheme = LabelScheme(
        name="parts",
        structures=(
            Structure(name="Organ"),
            Structure(name="HEAD", parent="Organ"),
            Structure(name="tail", parent="Organ"),
        ),
    )
    a_model_file(panel.panel.model.path, scheme=scheme)
    panel.panel.refresh()
    process_events()
    click(panel.ui.applyAllButton)
    (job,) = started
    drawn = {case.id.split(" ", 1)[1]: case.drawn for case in job.job.cases}
    assert drawn == {"Ann": ("Organ", "HEAD", "tail"), "Bob": ("Organ", "HEAD", "tail"), "Cid": ("Organ",), "Dan": ()}
