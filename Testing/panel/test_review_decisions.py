"""Review by mouse: correct, accept or reject a result, and train on with what was accepted."""

import pytest
import slicer

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.scene_case import LEFT_OUT
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.host.interaction import click, click_cell, process_events
from Testing.panel.reviews import apply_to_all, reviewed, row_of, visible
from Testing.panel.studies import column

COMPLETED = 2


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


def test_labels_of_other_scans_do_not_lie_over_a_result_and_those_of_its_own_stay(ready, started):
    panel, _ = ready
    drawn = {name: row_of(panel, name).segmentation for name in ("Ann", "Bob", "Cid")}
    assert all(node.GetDisplayNode().GetVisibility() for node in drawn.values())
    apply_to_all(panel, started, scores={1: 0.9})
    assert reviewed(panel) == "Bob"
    assert [name for name, node in drawn.items() if node.GetDisplayNode().GetVisibility()] == ["Bob"]


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


def test_what_is_not_seen_and_not_surely_absent_is_left_open_unless_a_person_says_so(ready, started):
    panel, _ = ready
    # Of the vessel nothing is drawn.
    apply_to_all(panel, started, scores={3: 0.9}, states={"head": "latent", "tail": "ambiguous", "vessel": "ambiguous"})
    click(panel.ui.acceptButton)
    row = row_of(panel, "Dan")
    assert (row.state, row.lookedFor) == ("partial", ["head", "tail"])
    assert list(row.meanings.values()) == [LEFT_OUT]
    assert column(panel.ui.reviewTable, 3)[0] == "partly accepted"
    assert "Nothing is shown of vessel" in panel.ui.resultLabel.text
    # What is said then adds to it.
    assert "Accepted: head, tail. Accept selected adds to it; Reject takes it back." in panel.ui.resultLabel.text
    click_cell(panel.ui.resultSegmentsTable.tableWidget(), 2, 3)
    assert panel.ui.acceptSelectedButton.toolTip.startswith("Add the selected structures")
    click(panel.ui.acceptSelectedButton)
    row = row_of(panel, "Dan")
    assert (row.state, row.lookedFor, row.meanings) == ("done", ["head", "tail", "vessel"], {})
    assert column(panel.ui.reviewTable, 3)[0] == "accepted"
    assert "Accepted: " not in panel.ui.resultLabel.text


def test_what_was_accepted_piece_by_piece_stays_with_a_correction_and_a_saved_scene(ready, started, tmp_path):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9}, states=dict.fromkeys(("head", "tail", "vessel"), "ambiguous"))
    table = panel.ui.resultSegmentsTable.tableWidget()
    click_cell(table, 2, 3)
    click(panel.ui.acceptSelectedButton)
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()
    click(panel.ui.correctButton)
    click_cell(table, 0, 3)
    click(panel.ui.acceptSelectedButton)
    row = row_of(panel, "Dan")
    assert row.segmentation is slicer.util.getNode("Dan corrected")
    assert (row.lookedFor, row.meanings) == (["head", "vessel"], {"tail": LEFT_OUT})
    # All of it: nothing is seen of the vessel, but a person has said that it is not there.
    click(panel.ui.acceptButton)
    assert row_of(panel, "Dan").lookedFor == ["head", "tail", "vessel"]


def test_a_result_that_shows_nothing_cannot_be_accepted_as_a_whole(ready, started, host):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9}, states=dict.fromkeys(("head", "tail", "vessel"), "ambiguous"))
    result = panel.panel.review.current
    for name in ("head", "tail"):
        volume = result.volume
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(result.node, name, volume)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask * 0, result.node, name, volume)
    with pytest.raises(CaseError, match="not sure that nothing is there"):
        StudyLogic().acceptResult(result)
    assert result.decision == ""
    assert StudyLogic().acceptResult(result, ["tail"]).lookedFor == ("tail",)


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


def test_slicer_switches_to_the_segment_editor_where_it_has_a_window(ready, started, monkeypatch):
    panel, _ = ready
    apply_to_all(panel, started)
    opened = []
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: panel.form)
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    click(panel.ui.correctButton)
    assert opened == ["SegmentEditor"]
