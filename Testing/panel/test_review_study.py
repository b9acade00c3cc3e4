"""What a decision on a result makes of its case: labels in, labels out, scans that are none, names of the study."""

import numpy as np
import pytest
import slicer

from SemiSegLib.config import to_json
from SemiSegLib.errors import CaseError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.scene_case import LEFT_OUT
from SemiSegModule.logic import StudyLogic
from SemiSegModule.parameters import SCHEME_EDITED, CaseRow
from SemiSegModule.study_scheme import applyEdit, undoEdit
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, process_events, tick_cell, type_text
from Testing.panel.models import a_model_file
from Testing.panel.reviews import apply_to_all, reviewed, row_of
from Testing.panel.studies import a_small_study, column
from Testing.panel.trees import tick_item


@pytest.fixture
def two_channels(panel, started, tmp_path):
    """A study whose first channel is not the first of the model: each case has a T2 and a T1."""
    volumes = a_small_study()
    parameters = panel.panel.parameters
    rows = []
    for name, node in volumes.items():
        other = scenes.a_volume(np.random.default_rng(7), worldGrid(node).matrix, name=f"{name} T1")
        rows.append(CaseRow(volumes={"T2": node, "T1": other}))
    parameters.channels = ["T2", "T1"]
    parameters.setRows(rows)
    parameters.studyFolder = str(tmp_path / "study")
    process_events()
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "model.safetensors", channels=("T1", "T2"))))
    return panel


def edit_scheme(panel, *structures):
    panel.panel.parameters.editedScheme = to_json(LabelScheme(name="ours", structures=structures))
    panel.panel.parameters.schemeSource = SCHEME_EDITED


def test_rejecting_takes_back_what_was_accepted_and_a_person_s_own_labels_come_again(ready, started):
    panel, _ = ready
    drawn = row_of(panel, "Bob").segmentation
    apply_to_all(panel, started, scores={1: 0.9}, states=dict.fromkeys(("head", "tail", "vessel"), "ambiguous"))
    click(panel.ui.correctButton)
    click(panel.ui.acceptButton)
    assert row_of(panel, "Bob").segmentation is slicer.util.getNode("Bob corrected")
    click(panel.ui.rejectButton)
    row = row_of(panel, "Bob")
    assert row.segmentation is drawn
    assert (row.meanings, row.lookedFor, row.overlapRules, row.state) == ({}, None, [], "")
    assert f"the case has '{drawn.GetName()}' again" in panel.ui.resultLabel.text
    assert column(panel.ui.reviewTable, 3)[0] == "rejected"
    # Nothing is left of what was accepted before.
    click_cell(panel.ui.resultSegmentsTable.tableWidget(), 1, 3)
    click(panel.ui.acceptSelectedButton)
    assert row_of(panel, "Bob").lookedFor == ["tail"]


def say_much_of(panel, row):
    """Say of the labels of a case what can be said."""
    click_cell(panel.ui.casesTable, row, 2)
    choose(panel.ui.meaningsTable.cellWidget(1, 1), "head")
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "0-4")
    tick_item(panel.ui.lookedForTree, "vessel")
    choose(panel.ui.caseStateComboBox, "partial")
    tick_cell(panel.ui.casesTable, row)


def test_what_was_said_of_the_labels_of_before_comes_back_with_them(ready, started):
    panel, _ = ready
    say_much_of(panel, 1)
    before = row_of(panel, "Bob")
    assert before.meanings == {"id tail": "head", "id vessel": LEFT_OUT}
    assert (before.state, before.isChosen) == ("partial", False)
    apply_to_all(panel, started, scores={1: 0.9})
    # Accepted twice, and corrected between: it is the first time that counts.
    click(panel.ui.acceptButton)
    click(panel.ui.correctButton)
    click(panel.ui.acceptButton)
    row = row_of(panel, "Bob")
    assert (row.region, row.isChosen, row.side) == (None, True, "train")
    click(panel.ui.rejectButton)
    assert row_of(panel, "Bob") == before
    assert panel.panel.view.cases[1].region.ranges == ((0, 4),)


def test_labels_come_back_with_what_was_said_of_them_when_the_accepted_ones_are_deleted(ready, started):
    panel, _ = ready
    say_much_of(panel, 1)
    before = row_of(panel, "Bob")
    apply_to_all(panel, started, scores={1: 0.9})
    click(panel.ui.acceptButton)
    slicer.mrmlScene.RemoveNode(row_of(panel, "Bob").segmentation)
    process_events()
    assert row_of(panel, "Bob") == before


def test_what_was_chosen_while_a_result_was_accepted_is_not_taken_back_with_it(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={1: 0.9})
    click(panel.ui.acceptButton)
    click_cell(panel.ui.casesTable, 1, 2)
    choose(panel.ui.caseSideComboBox, "validation")
    type_text(panel.ui.casePatientEdit, "P 2")
    tick_cell(panel.ui.casesTable, 1)
    click(panel.ui.rejectButton)
    row = row_of(panel, "Bob")
    assert (row.side, row.patient, row.isChosen) == ("validation", "P 2", False)


def test_labels_that_come_back_know_the_structures_by_their_names_of_today(ready, started):
    panel, _ = ready
    say_much_of(panel, 1)
    apply_to_all(panel, started, scores={1: 0.9})
    click(panel.ui.acceptButton)
    before = panel.panel.parameters.rows()
    applyEdit(panel.panel.parameters, StudyLogic().renameStructure(panel.panel.view.scheme, "head", "caput"))
    process_events()
    assert row_of(panel, "Bob").before.meanings["id tail"] == "caput"
    assert undoEdit(panel.panel.parameters)
    process_events()
    assert panel.panel.parameters.rows() == before
    applyEdit(panel.panel.parameters, StudyLogic().renameStructure(panel.panel.view.scheme, "head", "caput"))
    process_events()
    click(panel.ui.rejectButton)
    assert row_of(panel, "Bob").meanings["id tail"] == "caput"


def test_a_case_whose_only_labels_are_rejected_is_without_labels(ready, started):
    panel, _ = ready
    apply_to_all(panel, started, scores={3: 0.9})
    click(panel.ui.acceptButton)
    click(panel.ui.rejectButton)
    assert (row_of(panel, "Dan").segmentation, row_of(panel, "Dan").state) == (None, "")
    assert "the case is without labels" in panel.ui.resultLabel.text


def test_a_rejected_result_takes_nothing_from_a_case_that_has_other_labels(ready, started):
    panel, _ = ready
    before = row_of(panel, "Bob")
    apply_to_all(panel, started, scores={1: 0.9})
    click(panel.ui.rejectButton)
    assert row_of(panel, "Bob") == before
    assert "no longer learns" not in panel.ui.resultLabel.text


def test_an_accepted_result_of_a_scan_that_was_taken_out_makes_it_a_case_again(ready, started):
    panel, volumes = ready
    click_cell(panel.ui.casesTable, 3, 0)
    choose(panel.ui.caseSideComboBox, "validation")
    type_text(panel.ui.casePatientEdit, "P 7")
    click(panel.ui.removeCasesButton)
    assert len(panel.panel.parameters.rows()) == 3
    apply_to_all(panel, started, scores={3: 0.9})
    click(panel.ui.acceptButton)
    row = row_of(panel, "Dan")
    assert (row.segmentation, row.isChosen) == (panel.panel.review.current.node, True)
    assert (row.side, row.patient) == ("validation", "P 7")
    assert panel.panel.parameters.removedVolumes == []
    assert panel.panel.parameters.removedRows() == []
    assert len(panel.panel.view.cases) == len(volumes)
    assert "'Dan' is a case of the study now." in panel.ui.resultLabel.text


def test_a_model_with_the_channels_in_another_order_gives_labels_to_the_case_of_its_scan(two_channels, started):
    panel = two_channels
    apply_to_all(panel, started, scores={3: 0.9})
    assert reviewed(panel) == "Dan T1"
    click(panel.ui.acceptButton)
    row = panel.panel.parameters.rows()[3]
    assert row.volumes["T2"].GetName() == "Dan"
    assert row.segmentation is panel.panel.review.current.node
    click(panel.ui.rejectButton)
    assert panel.panel.parameters.rows()[3].segmentation is None


def test_nothing_is_decided_on_a_scan_that_alone_is_no_case_of_the_study(two_channels, started, host):
    panel = two_channels
    apply_to_all(panel, started, scores={3: 0.9})
    click_cell(panel.ui.casesTable, 3, 0)
    click(panel.ui.removeCasesButton)
    # As a scene of an earlier version, which does not remember what it was.
    panel.panel.parameters.setRows(panel.panel.parameters.rows(), removed=[])
    click(panel.ui.acceptButton)
    assert panel.panel.review.current.decision == ""
    assert len(panel.panel.parameters.rows()) == 3
    assert "has the channels T2, T1" in host.dialogs.shown("error")[0]


def test_a_removed_case_of_several_channels_comes_back_whole_with_its_accepted_result(two_channels, started):
    panel = two_channels
    apply_to_all(panel, started, scores={3: 0.9})
    volumes = panel.panel.parameters.rows()[3].volumes
    assert len(volumes) == 2
    click_cell(panel.ui.casesTable, 3, 0)
    click(panel.ui.removeCasesButton)
    click(panel.ui.acceptButton)
    row = panel.panel.parameters.rows()[3]
    assert (row.volumes, row.segmentation) == (volumes, panel.panel.review.current.node)
    assert panel.panel.parameters.removedVolumes == []


def test_a_removed_case_does_not_come_back_with_an_image_that_is_another_cases_now(two_channels, started, host):
    panel = two_channels
    apply_to_all(panel, started, scores={3: 0.9})
    parameters = panel.panel.parameters
    image = parameters.rows()[3].volumes["T2"]
    click_cell(panel.ui.casesTable, 3, 0)
    click(panel.ui.removeCasesButton)
    rows = parameters.rows()
    rows[1].volumes["T1"] = image
    parameters.setRows(rows)
    click(panel.ui.acceptButton)
    assert panel.panel.review.current.decision == ""
    assert "has the channels T2, T1" in host.dialogs.shown("error")[0]
    users = [row for row in parameters.rows() if any(node is image for node in row.volumes.values())]
    assert len(users) == 1


def test_what_was_looked_for_is_told_by_the_names_of_the_study(ready, started):
    panel, _ = ready
    parts = Structure(name="Head", parent="organ"), Structure(name="cauda", parent="organ", aliases=("tail",))
    edit_scheme(panel, Structure(name="organ"), *parts)
    apply_to_all(panel, started, scores={3: 0.9})
    click(panel.ui.acceptButton)
    case = next(case for case in panel.panel.view.cases if case.id == "Dan")
    assert set(case.lookedFor) == {"Head", "cauda"}
    assert row_of(panel, "Dan").lookedFor == ["Head", "cauda", "vessel"]
    assert "The study has no structure vessel. Add it in Structures" in panel.ui.resultLabel.text


def test_a_structure_that_stands_for_several_was_looked_for_if_all_of_them_are_accepted(ready, started):
    panel, _ = ready
    edit_scheme(panel, Structure(name="organ", aliases=("head", "tail")), Structure(name="vessel"))
    apply_to_all(panel, started, scores={3: 0.9})
    for number, expected in enumerate(([], ["organ"])):
        click_cell(panel.ui.resultSegmentsTable.tableWidget(), number, 3)
        click(panel.ui.acceptSelectedButton)
        assert row_of(panel, "Dan").lookedFor == expected


def test_the_console_call_gives_a_case_what_the_button_gives_it(ready, started, tmp_path):
    panel, _ = ready
    apply_to_all(panel, started, scores={1: 0.9}, states={"vessel": "ambiguous"})
    logic, view = StudyLogic(), panel.panel.view
    result = panel.panel.review.current
    cases = logic.acceptIntoCases(view.chosen, result, view.scheme, ["head", "tail"])
    accepted = next(case for case in cases if case.volumes["image"] is result.volume)
    before = next(case for case in view.chosen if case.volumes["image"] is result.volume)
    assert (accepted.patient, accepted.side) == (before.patient, before.side)
    assert [case for case in cases if case is not accepted] == [case for case in view.chosen if case is not before]
    for line in (0, 1):
        click_cell(panel.ui.resultSegmentsTable.tableWidget(), line, 3)
        click(panel.ui.acceptSelectedButton)
    row = row_of(panel, result.name)
    assert accepted.segmentation is row.segmentation
    assert list(accepted.lookedFor) == row.lookedFor == ["head", "tail"]
    assert accepted.state == row.state == "partial"
    assert {i for i, name in accepted.meanings.items() if name == LEFT_OUT} == set(row.meanings)
    with pytest.raises(CaseError, match="none of the cases has this volume"):
        logic.acceptIntoCases([case for case in cases if case is not accepted], result, view.scheme)
