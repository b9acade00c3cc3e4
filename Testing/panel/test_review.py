"""Review by mouse: results by rank, doubt in the views, comparison, correction, acceptance, training on."""

import numpy as np
import pytest
import slicer

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.runs.status import RunStatus
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE, ranked
from SemiSegModule.bridge.scene_case import LEFT_OUT
from SemiSegModule.bridge.uncertainty import overlaid
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.bridge.results import write_results
from Testing.host.interaction import click, click_cell, process_events, type_text, wait_until
from Testing.host.rendering.window import slice_picture
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_small_study, column

STATES = {"head": "latent", "tail": "ambiguous"}
COMPLETED = 2


@pytest.fixture
def ready(panel, started, tmp_path):
    """The panel with a study, a folder, a model to apply, and no worker that runs."""
    volumes = a_small_study()
    panel.panel.parameters.studyFolder = str(tmp_path / "study")
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "organ model.safetensors")))
    return panel, volumes


def apply_to_all(panel, started, **results):
    """Press Apply to all and let the worker be done; return the job."""
    click(panel.ui.applyAllButton)
    job = started[-1]
    write_results(job, **results)
    job.write_status(RunStatus(state="finished", fraction=1.0, message="done"))
    panel.panel.apply.watcher.look()
    process_events()
    return job


def reviewed(panel):
    return panel.panel.review.current.name


def row_of(panel, name):
    return next(row for row in panel.panel.parameters.rows() if row.volumes["image"].GetName() == name)


def slice_center(name="Red"):
    matrix = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
    return np.array([matrix.GetElement(row, 3) for row in range(3)])


def visible():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    made = [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]
    return [node.GetName() for node in made if node.GetDisplayNode().GetVisibility()]


def test_results_are_listed_by_rank_and_the_first_is_shown_where_the_model_is_least_sure(ready, started):
    panel, volumes = ready
    apply_to_all(panel, started, scores={0: 0.2, 1: 0.4, 2: 0.9, 3: 0.1}, places={2: (4, 5, 2)})
    assert column(panel.ui.reviewTable, 0) == ["Cid", "Bob", "Ann", "Dan"]
    assert column(panel.ui.reviewTable, 1) == ["90 %", "40 %", "20 %", "10 %"]
    assert column(panel.ui.reviewTable, 2)[0] == "reason 2: a; b, c"
    assert reviewed(panel) == "Cid"
    assert panel.ui.reviewTable.currentRow() == 0
    assert visible() == ["Cid organ model"]
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == volumes["Cid"].GetID()
    place = (worldGrid(volumes["Cid"]).matrix @ (4, 5, 2, 1))[:3]
    assert slice_center() == pytest.approx(place, abs=0.05)
    assert panel.panel.parameters.reviewed is panel.panel.review.current.node


def test_next_case_and_a_click_in_the_list_go_to_other_cases(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={0: 0.2, 1: 0.4, 2: 0.9, 3: 0.1})
    click(panel.ui.nextCaseButton)
    assert reviewed(panel) == "Bob"
    assert visible() == ["Bob organ model"]
    click_cell(panel.ui.reviewTable, 3)
    assert reviewed(panel) == "Dan"
    click(panel.ui.nextCaseButton)
    assert reviewed(panel) == "Cid"


def test_structures_are_shown_with_their_status_and_what_is_known_of_them(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, states={**STATES, "vessel": "absent"})
    table = panel.ui.resultSegmentsTable
    assert table.segmentationNode() is panel.panel.review.current.node
    assert table.statusColumnVisible
    names = [table.segmentationNode().GetSegmentation().GetSegment(i).GetName() for i in table.displayedSegmentIDs()]
    assert names == ["head", "tail"]
    assert panel.ui.resultLabel.text.endswith("Found: head; Doubtful (flagged): tail; Not there: vessel")


def test_uncertainty_is_laid_over_the_views_and_taken_away(ready, started, screenshot):
    panel, volumes = ready
    apply_to_all(panel, started, scores={0: 0.9})
    assert overlaid() is None
    click(panel.ui.uncertaintyButton)
    assert overlaid() is panel.panel.review.current.uncertainty
    assert panel.ui.uncertaintyButton.checked
    picture = slice_picture("Red", (300, 300), offset_share=None)
    colorful = np.ptp(picture.astype(int), axis=2) > 60
    assert colorful.any()
    click(panel.ui.nextCaseButton)
    assert overlaid() is panel.panel.review.current.uncertainty
    click(panel.ui.uncertaintyButton)
    assert overlaid() is None
    assert not panel.ui.uncertaintyButton.checked
    assert len(panel.panel.view.rows) == len(volumes)


def test_the_button_brings_the_views_back_to_the_place_of_doubt_also_after_the_scan_was_moved(ready, started):
    panel, volumes = ready
    apply_to_all(panel, started, scores={0: 0.9}, places={0: (7, 3, 5)})
    scenes.moved(volumes["Ann"], values=scenes.a_motion(np.random.default_rng(5)))
    click(panel.ui.doubtButton)
    assert slice_center("Yellow") == pytest.approx((worldGrid(volumes["Ann"]).matrix @ (7, 3, 5, 1))[:3], abs=0.05)


def test_the_result_before_is_compared_in_two_linked_views_and_the_layout_comes_back(ready, started, tmp_path):
    panel, _ = ready
    apply_to_all(panel, started, scores={0: 0.9})
    assert not panel.ui.compareButton.enabled
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "better.safetensors")))
    apply_to_all(panel, started, scores={0: 0.9}, shift=1)
    layout = slicer.app.layoutManager()
    before = layout.layout
    orientation = layout.sliceWidget("Yellow").sliceOrientation
    click(panel.ui.compareButton)
    assert layout.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView
    assert sorted(visible()) == ["Ann better", "Ann organ model"]
    shown = {name: slicer.util.getNode(name).GetDisplayNode().GetViewNodeIDs() for name in visible()}
    assert shown == {"Ann better": ("vtkMRMLSliceNodeRed",), "Ann organ model": ("vtkMRMLSliceNodeYellow",)}
    assert layout.sliceWidget("Yellow").sliceOrientation == layout.sliceWidget("Red").sliceOrientation
    assert layout.sliceWidget("Red").mrmlSliceCompositeNode().GetLinkedControl()
    assert "Left view: Ann better. Right view: Ann organ model." in panel.ui.resultLabel.text
    click(panel.ui.compareButton)
    assert (layout.layout, layout.sliceWidget("Yellow").sliceOrientation) == (before, orientation)
    assert not layout.sliceWidget("Red").mrmlSliceCompositeNode().GetLinkedControl()
    assert slicer.util.getNode("Ann better").GetDisplayNode().GetViewNodeIDs() == ()
    assert visible() == ["Ann better"]


def test_a_correction_is_a_copy_in_the_segment_editor_and_the_result_is_kept(ready, started):
    panel, volumes = ready
    apply_to_all(panel, started, scores={3: 0.9})
    result = panel.panel.review.current
    click(panel.ui.correctButton)
    corrected = slicer.util.getNode("Dan corrected")
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode() is corrected
    assert editor.GetSourceVolumeNode() is volumes["Dan"]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(corrected, "head", volumes["Dan"])
    mask[:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, corrected, "head", volumes["Dan"])
    assert slicer.util.arrayFromSegmentBinaryLabelmap(result.node, "head", volumes["Dan"]).any()
    assert visible() == ["Dan corrected"]
    process_events()
    # A second press goes on with the same copy; it is no result of its own.
    click(panel.ui.correctButton)
    assert len(slicer.util.getNodes("Dan corrected*")) == 1
    assert len(column(panel.ui.reviewTable, 0)) == len(volumes)
    assert row_of(panel, "Dan").segmentation is None


def test_an_accepted_result_becomes_the_labels_of_its_case_and_is_exported(ready, started, tmp_path):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9})
    click(panel.ui.acceptButton)
    row = row_of(panel, "Dan")
    assert row.segmentation is panel.panel.review.current.node
    assert (row.state, row.side, row.isChosen, row.lookedFor) == ("done", "train", True, ["head", "tail", "vessel"])
    segments = row.segmentation.GetSegmentation()
    statuses = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus
    assert {statuses(segments.GetSegment(i)) for i in segments.GetSegmentIDs()} == {COMPLETED}
    assert column(panel.ui.reviewTable, 3)[0] == "accepted"
    export = StudyLogic().exportStudy(tmp_path / "out", panel.panel.view.chosen, panel.panel.view.scheme)
    case = next(case for case in load_dataset(export.path).cases if case.id == "Dan")
    assert case.regime(panel.panel.view.scheme).value == "full"
    assert case.split.value == "train"


def test_accepting_never_moves_the_side_of_a_case_and_leaves_the_old_labels_in_the_scene(ready, started):
    panel, _ = ready
    rows = panel.panel.parameters.rows()
    next(row for row in rows if row.volumes["image"].GetName() == "Bob").side = "validation"
    panel.panel.parameters.setRows(rows)
    drawn = row_of(panel, "Bob").segmentation
    before = scenes.digest(drawn)
    apply_to_all(panel, started, scores={1: 0.9})
    click(panel.ui.acceptButton)
    assert row_of(panel, "Bob").side == "validation"
    assert row_of(panel, "Bob").segmentation is panel.panel.review.current.node
    assert scenes.digest(drawn) == before
    assert f"'{drawn.GetName()}' stays in the scene" in panel.ui.resultLabel.text


def test_a_correction_is_what_is_accepted(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9})
    click(panel.ui.correctButton)
    click(panel.ui.acceptButton)
    assert row_of(panel, "Dan").segmentation is slicer.util.getNode("Dan corrected")


def test_selected_structures_alone_are_accepted_and_of_the_others_nothing_is_said(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9})
    assert not panel.ui.acceptSelectedButton.enabled
    click_cell(panel.ui.resultSegmentsTable.tableWidget(), 1, 3)
    click(panel.ui.acceptSelectedButton)
    row = row_of(panel, "Dan")
    assert (row.state, row.lookedFor) == ("partial", ["tail"])
    assert row.meanings == {"head": LEFT_OUT, "vessel": LEFT_OUT}
    assert column(panel.ui.reviewTable, 3)[0] == "partly accepted"


def test_a_rejected_result_is_hidden_and_kept_and_comes_next_no_more(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={0: 0.8, 3: 0.9})
    node = panel.panel.review.current.node
    click(panel.ui.rejectButton)
    assert visible() == []
    assert node.GetScene() is slicer.mrmlScene
    assert not panel.ui.rejectButton.enabled
    click(panel.ui.nextCaseButton)
    assert reviewed(panel) == "Ann"
    for _case in range(3):
        click(panel.ui.acceptButton)
        if panel.ui.nextCaseButton.enabled:
            click(panel.ui.nextCaseButton)
    assert panel.ui.nextCaseButton.toolTip == "Every case is accepted or rejected."


def test_a_training_goes_on_from_the_model_with_what_was_accepted(host, ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9})
    assert panel.ui.trainOnButton.toolTip == "Accept at least one case first."
    click(panel.ui.acceptButton)
    click(panel.ui.trainOnButton)
    assert host.dialogs.shown("error") == []
    request = started[-1].request
    assert request.warm_start == str(panel.panel.model.path)
    assert request.method == "marginal"
    assert {case.id for case in load_dataset(request.dataset).cases} == {"Ann", "Bob", "Cid", "Dan"}


def test_a_review_goes_on_after_the_scene_was_saved_and_loaded(ready, started, tmp_path):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9, 0: 0.8})
    click(panel.ui.acceptButton)
    click(panel.ui.nextCaseButton)
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    process_events()
    assert not panel.ui.reviewFrame.visible
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()
    assert column(panel.ui.reviewTable, 0)[:2] == ["Dan", "Ann"]
    assert column(panel.ui.reviewTable, 3)[0] == "accepted"
    assert reviewed(panel) == "Ann"
    assert row_of(panel, "Dan").state == "done"


def test_results_of_a_job_that_ended_while_slicer_was_closed_come_when_their_scans_are_there(ready, started, tmp_path):
    panel, volumes = ready
    click(panel.ui.applyAllButton)
    job = started[-1]
    names = list(volumes)
    panel.panel.rememberStudyFolder(str(tmp_path / "study"))
    panel.panel.setParameterNode(None)
    write_results(job)
    job.write_status(RunStatus(state="finished", fraction=1.0, message="done"))
    # The scene that begins with the next start of Slicer.
    slicer.mrmlScene.Clear()
    process_events()
    assert panel.ui.applyStatusLabel.text.startswith("Results are ready; they are shown when these scans")
    generator = np.random.default_rng(0)
    for name in names:
        scenes.a_volume(generator, scenes.matrix(generator), name=name)
    wait_until(lambda: len(ranked()) == len(names), what="the results")
    process_events()
    assert "Results: " in panel.ui.applyStatusLabel.text
    # Once is enough.
    assert StudyLogic().jobToShow(tmp_path / "study") is None


def test_results_are_read_while_slicer_answers_and_progress_is_shown(ready, started, monkeypatch):
    panel, _ = ready
    seen = []
    original = panel.panel.apply._showLoading

    def look(done, count, name):
        original(done, count, name)
        seen.append((panel.ui.applyStatusLabel.text, panel.ui.applyButton.enabled))

    monkeypatch.setattr(panel.panel.apply, "_showLoading", look)
    apply_to_all(panel, started)
    assert [text for text, _enabled in seen] == [
        f"Loading the result of {name} ({number} of 4)..."
        for number, name in enumerate(("Ann", "Bob", "Cid", "Dan"), 1)
    ]
    assert panel.ui.applyProgressBar.value == 100


def test_slicer_switches_to_the_segment_editor_where_it_has_a_window(ready, started, monkeypatch):
    panel, _ = ready
    apply_to_all(panel, started)
    opened = []
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: panel.form)
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    click(panel.ui.correctButton)
    assert opened == ["SegmentEditor"]
