"""An accepted result takes the side of the split on which its patient stands; a patient never gets onto two sides."""

import pytest
import slicer

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.split import Split, patient_sides
from SemiSegLib.config import to_json, write_json
from SemiSegModule.logic import StudyLogic
from Testing.host.interaction import choose, click, click_cell, process_events, tick_cell, type_text
from Testing.panel.reviews import apply_to_all, row_of
from Testing.panel.studies import a_run, column, reopen_scene

CASE, SIDE = 0, 4
# Numbers of the rows of the small study.
ANN, BOB, _CID, DAN = range(4)


def say(panel, row, *, patient=None, side=None):
    """Say below the table whose scan a case is, and what it is used for."""
    click_cell(panel.ui.casesTable, row, 2)
    # A side is chosen for all scans of a patient: it comes before the patient is known.
    if side is not None:
        choose(panel.ui.caseSideComboBox, side)
    if patient is not None:
        type_text(panel.ui.casePatientEdit, patient)


def accept_dan(panel, started):
    apply_to_all(panel, started, scores={DAN: 0.9})
    click(panel.ui.acceptButton)
    process_events()


@pytest.mark.parametrize(("choice", "side"), [("validation", "validation"), ("test (never seen)", "test")])
def test_an_accepted_scan_joins_its_patient_and_the_panel_says_so(ready, started, tmp_path, choice, side):
    panel, _ = ready
    say(panel, BOB, patient="P 7", side=choice)
    say(panel, DAN, patient="P 7")
    accept_dan(panel, started)
    assert (row_of(panel, "Dan").side, row_of(panel, "Dan").isChosen) == (side, True)
    assert panel.panel.view.sideConflicts == {}
    assert f"'Dan' is for {choice}, where its patient stands already" in panel.ui.resultLabel.text
    view = panel.panel.view
    dataset = load_dataset(StudyLogic().exportStudy(tmp_path / "out", view.chosen, view.scheme).path)
    assert patient_sides(dataset) == {"P 7": Side(side)}
    assert [case.id for case in dataset.cases if case.patient == "P 7"] == ["Bob", "Dan"]


def test_a_scan_that_is_no_case_yet_joins_its_patient_of_the_subject_hierarchy(ready, started):
    panel, volumes = ready
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Smith^John")
    for name in ("Bob", "Dan"):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volumes[name]), patient)
    say(panel, BOB, side="validation")
    click_cell(panel.ui.casesTable, DAN, CASE)
    click(panel.ui.removeCasesButton)
    # As a scene of an earlier version, which does not remember what it was.
    panel.panel.parameters.setRows(panel.panel.parameters.rows(), removed=[])
    accept_dan(panel, started)
    assert "'Dan' is a case of the study now." in panel.ui.resultLabel.text
    assert row_of(panel, "Dan").side == "validation"
    assert panel.panel.view.sideConflicts == {}


def test_the_patient_s_side_counts_where_its_scan_is_not_ticked_and_a_ticked_one_comes_first(ready, started):
    panel, _ = ready
    for row, side in ((ANN, "validation"), (BOB, "training")):
        say(panel, row, patient="P 7", side=side)
    say(panel, DAN, patient="P 7")
    tick_cell(panel.ui.casesTable, BOB)
    accept_dan(panel, started)
    assert row_of(panel, "Dan").side == "validation"
    click(panel.ui.rejectButton)
    tick_cell(panel.ui.casesTable, BOB)
    tick_cell(panel.ui.casesTable, ANN)
    click(panel.ui.acceptButton)
    assert row_of(panel, "Dan").side == "train"


def test_what_a_run_has_used_comes_before_what_is_chosen_now(ready, started):
    panel, _ = ready
    run = a_run(panel.panel.parameters.studyPath)
    write_json(run.split_path, to_json(Split(patients={"P 7": Side.VALIDATION})))
    panel.panel.training.runs.look()
    say(panel, DAN, patient="P 7")
    accept_dan(panel, started)
    # It is kept with the case: the folder of the runs may be out of reach one day.
    assert row_of(panel, "Dan").side == "validation"
    assert column(panel.ui.casesTable, SIDE)[DAN] == "validate"


def test_the_side_of_a_case_of_the_study_stays_though_its_patient_is_on_another(ready, started):
    panel, _ = ready
    say(panel, BOB, patient="P 7", side="validation")
    say(panel, DAN, patient="P 7", side="training")
    accept_dan(panel, started)
    assert row_of(panel, "Dan").side == "train"
    # That it cannot be so is said where it was said of any case.
    assert set(panel.panel.view.sideConflicts) == {BOB, DAN}
    assert "where its patient stands" not in panel.ui.resultLabel.text


def test_a_removed_case_comes_back_where_its_patient_stands_by_now(ready, started):
    panel, _ = ready
    say(panel, DAN, patient="P 7", side="training")
    click(panel.ui.removeCasesButton)
    say(panel, BOB, patient="P 7", side="validation")
    accept_dan(panel, started)
    assert (row_of(panel, "Dan").side, row_of(panel, "Dan").patient) == ("validation", "P 7")
    assert panel.panel.view.sideConflicts == {}
    # It is still a case, and of the same patient, when its labels are taken back.
    click(panel.ui.rejectButton)
    assert row_of(panel, "Dan").side == "validation"


def test_a_scan_whose_patient_stands_nowhere_is_for_training_and_nothing_is_said_of_it(ready, started):
    panel, _ = ready
    say(panel, BOB, patient="P 7")
    say(panel, DAN, patient="P 7")
    accept_dan(panel, started)
    assert (row_of(panel, "Dan").side, row_of(panel, "Bob").side) == ("train", None)
    assert "where its patient stands" not in panel.ui.resultLabel.text


@pytest.mark.parametrize("isReopened", [False, True])
def test_a_side_that_acceptance_gave_is_taken_back_with_it_and_a_chosen_one_is_not(
    ready, started, tmp_path, isReopened
):
    panel, _ = ready
    say(panel, BOB, patient="P 7", side="validation")
    say(panel, DAN, patient="P 7")
    before = row_of(panel, "Dan")
    accept_dan(panel, started)
    if isReopened:
        reopen_scene(tmp_path / "scene.mrb")
        before.volumes = row_of(panel, "Dan").volumes
    click(panel.ui.rejectButton)
    assert row_of(panel, "Dan") == before
    click(panel.ui.acceptButton)
    say(panel, DAN, side="test (never seen)")
    click(panel.ui.rejectButton)
    assert row_of(panel, "Dan").side == "test"
