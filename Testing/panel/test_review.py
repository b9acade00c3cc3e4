"""Review by mouse: results by rank, doubt and uncertainty in the views, comparison, results that come later."""

import numpy as np
import pytest
import slicer

from SemiSegLib.runs.status import RunStatus
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.result import ranked
from SemiSegModule.bridge.uncertainty import overlaid
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.bridge.results import write_results
from Testing.host.interaction import click, click_cell, process_events, type_text, wait_until
from Testing.host.rendering.window import slice_picture
from Testing.panel.models import a_model_file
from Testing.panel.reviews import apply_to_all, reviewed, row_of, slice_center, visible
from Testing.panel.studies import column

STATES = {"head": "latent", "tail": "ambiguous"}


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


def test_the_second_channel_of_a_case_lies_over_it_and_over_no_other(ready, started):
    panel, volumes = ready
    apply_to_all(panel, started, scores={0: 0.9, 1: 0.4, 2: 0.2, 3: 0.1})
    click(panel.ui.nextCaseButton)
    parameters = panel.panel.parameters
    rows = [row for row in parameters.rows() if row.volumes["image"] is not volumes["Dan"]]
    parameters.channels = ["image", "T2"]
    rows[0].volumes["T2"] = volumes["Dan"]
    parameters.setRows(rows)
    process_events()
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    for name, over in (("Ann", volumes["Dan"].GetID()), ("Bob", None)):
        click_cell(panel.ui.reviewTable, column(panel.ui.reviewTable, 0).index(name))
        assert composite.GetBackgroundVolumeID() == volumes[name].GetID()
        assert composite.GetForegroundVolumeID() == over


def test_structures_are_shown_with_their_status_and_what_is_known_of_them(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, states={**STATES, "vessel": "absent"})
    table = panel.ui.resultSegmentsTable
    assert table.segmentationNode() is panel.panel.review.current.node
    assert table.statusColumnVisible
    names = [table.segmentationNode().GetSegmentation().GetSegment(i).GetName() for i in table.displayedSegmentIDs()]
    assert names == ["head", "tail"]
    assert [table.tableWidget().item(row, 4).text() for row in range(2)] == ["In progress", "Flagged"]
    assert panel.ui.resultLabel.text.endswith("Found: head; Doubtful (flagged): tail; Not there: vessel")


def test_uncertainty_is_laid_over_the_views_and_taken_away(ready, started, screenshot):
    panel, volumes = ready
    apply_to_all(panel, started, scores={0: 0.9})
    assert overlaid() is None
    click(panel.ui.uncertaintyButton)
    assert overlaid() is panel.panel.review.current.uncertainty
    assert panel.ui.uncertaintyButton.checked
    # Outlines let the map be seen below the structures.
    assert not panel.panel.review.current.node.GetDisplayNode().GetVisibility2DFill()
    picture = slice_picture("Red", (300, 300), offset_share=None)
    colorful = np.ptp(picture.astype(int), axis=2) > 60
    assert colorful.any()
    click(panel.ui.nextCaseButton)
    assert overlaid() is panel.panel.review.current.uncertainty
    click(panel.ui.uncertaintyButton)
    assert overlaid() is None
    assert panel.panel.review.current.node.GetDisplayNode().GetVisibility2DFill()
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
    scans = {
        name: (slicer.util.arrayFromVolume(volume).copy(), worldGrid(volume).matrix) for name, volume in volumes.items()
    }
    panel.panel.rememberStudyFolder(str(tmp_path / "study"))
    panel.panel.setParameterNode(None)
    write_results(job)
    job.write_status(RunStatus(state="finished", fraction=1.0, message="done"))
    # The scene that begins with the next start of Slicer.
    slicer.mrmlScene.Clear()
    process_events()
    assert panel.ui.applyStatusLabel.text.startswith("Results are ready; they are shown when these scans")
    # The next patient's scans have the same names and sizes.
    generator = np.random.default_rng(9)
    others = [scenes.a_volume(generator, scenes.matrix(generator), name=name) for name in scans]
    wait_until(lambda: "Ann (another scan of this name is here)" in panel.ui.applyStatusLabel.text, what="the reason")
    assert ranked() == []
    for other in others:
        slicer.mrmlScene.RemoveNode(other)
    for name, (voxels, matrix) in scans.items():
        slicer.util.addVolumeFromArray(voxels, ijkToRAS=matrix, name=name)
    wait_until(lambda: len(ranked()) == len(scans), what="the results")
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
