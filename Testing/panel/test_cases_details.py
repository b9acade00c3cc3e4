"""What a person says about cases below the table: segmentation, patient, state, side; checks and their fixes."""

import numpy as np
import pytest
import slicer
from PySide6.QtCore import Qt

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.split import Split
from SemiSegLib.config import to_json, write_json
from SemiSegLib.labels.edits import rename_structure
from SemiSegLib.labels.schemes import write_scheme
from SemiSegModule.bridge.pairing import patientOf
from SemiSegModule.parameters import CaseRow
from SemiSegModule.study_scheme import applyEdit, undoEdit
from Testing.bridge import scenes
from Testing.host.interaction import (
    choose,
    click,
    click_cell,
    double_click_cell,
    press,
    process_events,
    type_text,
    wait_until,
)
from Testing.panel.studies import a_drawn_scan, a_run, a_small_study, column, reopen_scene, show_whole

CASE, SEGMENTATION, LABELS, STATE, SIDE, CHECK, PATIENT = range(7)


def at_its_height(panel):
    """The panel as high as its sections want to be: in Slicer it scrolls."""
    for _ in range(2):
        panel.parent.resize(520, panel.parent.sizeHint.height())
        process_events()
    return panel.parent


def checked(panel):
    """Wait until every case has been looked at."""
    wait_until(lambda: "..." not in column(panel.ui.casesTable, CHECK), what="the cases are checked")


def select(panel, *rows):
    table = panel.ui.casesTable
    click_cell(table, rows[0], LABELS)
    table.clearSelection()
    for row in rows:
        table.selectionModel().select(
            table.model().index(row, 0),
            table.selectionModel().SelectionFlag.Select | table.selectionModel().SelectionFlag.Rows,
        )
    process_events()


def test_every_scan_has_a_picture_made_one_at_a_time(panel, screenshot):
    a_small_study()
    table = panel.ui.casesTable
    wait_until(lambda: all(not table.item(row, CASE).icon().isNull() for row in range(4)), what="pictures")
    before = table.item(0, CASE).icon().cacheKey()
    panel.panel.refresh()
    assert table.item(0, CASE).icon().cacheKey() == before
    volume = slicer.util.getNode("Ann")
    slicer.util.updateVolumeFromArray(volume, np.zeros(scenes.SHAPE, np.int16))
    panel.panel.refresh()
    wait_until(lambda: table.item(0, CASE).icon().cacheKey() != before, what="a new picture")


def test_states_are_proposed_by_the_segments_and_changed_by_a_person(panel):
    a_small_study()
    table = panel.ui.casesTable
    assert column(table, STATE) == ["done", "done", "done", "untouched"]
    segment = slicer.util.getNode("Bob drawn").GetSegmentation().GetSegment("id head")
    slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(
        segment, slicer.vtkSlicerSegmentationsModuleLogic.InProgress
    )
    process_events()
    assert column(table, STATE)[1] == "partial"
    click_cell(table, 1, LABELS)
    choose(panel.ui.caseStateComboBox, "done")
    assert column(table, STATE)[1] == "done"


def test_what_was_said_of_cases_survives_the_scene(panel, tmp_path):
    a_small_study()
    table = panel.ui.casesTable
    click_cell(table, 3, LABELS)
    choose(panel.ui.caseStateComboBox, "partial")
    type_text(panel.ui.casePatientEdit, "P 7")
    click_cell(table, 0, LABELS)
    choose(panel.ui.caseSideComboBox, "validation")
    reopen_scene(tmp_path / "scene.mrb")
    assert column(table, STATE) == ["done", "done", "done", "partial"]
    assert column(table, SIDE) == ["validate", "auto", "auto", "auto"]
    assert column(table, PATIENT)[3] == "P 7"
    assert not table.isColumnHidden(PATIENT)


def test_several_cases_are_changed_at_once(panel):
    a_small_study()
    select(panel, 0, 2, 3)
    assert panel.ui.caseTitleLabel.text == "<b>3 cases are selected</b>"
    assert not panel.ui.caseSegmentationSelector.enabled
    choose(panel.ui.caseStateComboBox, "partial")
    assert column(panel.ui.casesTable, STATE) == ["partial", "done", "partial", "partial"]


def test_names_of_cases_have_room_beside_their_patients(panel):
    a_small_study()
    show_whole(panel)
    click_cell(panel.ui.casesTable, 3, 0)
    type_text(panel.ui.casePatientEdit, "P 7")
    press(panel.ui.casePatientEdit, Qt.Key.Key_Return)
    table = panel.ui.casesTable
    assert not table.isColumnHidden(PATIENT)
    # Box, picture and a dozen letters.
    assert table.columnWidth(CASE) > 60 + 12 * table.fontMetrics().averageCharWidth()


def test_all_scans_of_a_patient_stand_on_one_side(panel):
    a_small_study()
    select(panel, 0, 1)
    type_text(panel.ui.casePatientEdit, "twin")
    click_cell(panel.ui.casesTable, 0, LABELS)
    choose(panel.ui.caseSideComboBox, "validation")
    assert column(panel.ui.casesTable, SIDE) == ["validate", "validate", "auto", "auto"]


def test_a_case_that_has_just_come_takes_no_side_of_those_that_are_shown(panel):
    volumes = a_small_study()
    cases, parameters = panel.panel.cases, panel.panel.parameters
    parameters.setRows(
        [
            *parameters.rows(),
            CaseRow(
                volumes={"image": slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, volumes["Ann"], "Eve")}
            ),
        ]
    )
    cases.problems.setSide([0], "test")
    assert [row.side for row in parameters.rows()] == ["test", None, None, None, None]


def test_a_patient_on_two_sides_blocks_training_until_one_click_puts_it_right(panel):
    a_small_study()
    for row, side in ((0, "training"), (1, "validation")):
        click_cell(panel.ui.casesTable, row, LABELS)
        choose(panel.ui.caseSideComboBox, side)
    select(panel, 0, 1)
    type_text(panel.ui.casePatientEdit, "twin")
    assert not panel.ui.trainButton.enabled
    assert "two sides of the split" in panel.ui.trainButton.toolTip
    click_cell(panel.ui.casesTable, 1, LABELS)
    assert panel.ui.fixCaseButton.text == "All to validation"
    click(panel.ui.fixCaseButton)
    assert column(panel.ui.casesTable, SIDE)[:2] == ["validate", "validate"]
    assert panel.panel.view.sideConflicts == {}


def test_a_side_that_a_run_has_used_never_changes(study):
    run = a_run(study.panel.parameters.studyPath)
    write_json(run.split_path, to_json(Split(patients={"Ann": Side.VALIDATION, "Bob": Side.TRAIN})))
    study.panel.training.runs.look()
    process_events()
    table = study.ui.casesTable
    assert column(table, SIDE) == ["validate", "train", "auto", "auto"]
    click_cell(table, 0, LABELS)
    assert not study.ui.caseSideComboBox.enabled
    # Nobody has said whose scan it is: it may be another one of that name.
    assert "if it is another patient" in table.item(0, SIDE).toolTip()
    assert [case.side for case in study.panel.view.cases] == ["validation", "train", None, None]
    click_cell(table, 3, LABELS)
    type_text(study.ui.casePatientEdit, "Ann")
    assert column(table, SIDE)[3] == "validate"
    assert "never changes" in table.item(3, SIDE).toolTip()
    click_cell(table, 1, LABELS)
    type_text(study.ui.casePatientEdit, "P 9")
    assert column(table, SIDE)[1] == "auto"
    assert study.ui.caseSideComboBox.enabled


def test_a_side_that_was_used_stays_under_any_later_name(study, started, monkeypatch):
    monkeypatch.setattr(study.panel, "ensurePackages", lambda then, **_more: True)
    click(study.ui.trainButton)
    (run,) = started
    write_json(run.split_path, to_json(Split(patients={"Ann": Side.VALIDATION, "Bob": Side.TRAIN})))
    slicer.util.getNode("Ann").SetName("Eve")
    click_cell(study.ui.casesTable, 1, LABELS)
    type_text(study.ui.casePatientEdit, "P 7")
    click_cell(study.ui.casesTable, 3, LABELS)
    type_text(study.ui.casePatientEdit, "P 7")
    study.panel.training.runs.look()
    study.panel.refresh()
    assert column(study.ui.casesTable, CASE) == ["Eve", "Bob", "Cid", "Dan"]
    assert column(study.ui.casesTable, SIDE) == ["validate", "train", "auto", "train"]
    assert [case.side for case in study.panel.view.cases] == ["validation", "train", None, "train"]
    type_text(study.ui.casePatientEdit, "Ann")
    click_cell(study.ui.casesTable, 1, LABELS)
    type_text(study.ui.casePatientEdit, "Ann")
    assert set(study.panel.view.sideConflicts) == {1, 3}


def test_a_patient_of_dicom_keeps_the_patient_id(panel):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    volumes = a_small_study()
    for number in ("MRN 1", "MRN 2"):
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Smith^John")
        hierarchy.SetItemAttribute(patient, constants.GetDICOMPatientIDAttributeName(), number)
        visit = hierarchy.CreateStudyItem(patient, "first visit")
        volume = volumes["Ann" if number == "MRN 1" else "Bob"]
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), visit)
    assert patientOf(volumes["Ann"]) == "MRN 1"
    panel.panel.refresh()
    assert column(panel.ui.casesTable, PATIENT) == ["MRN 1", "MRN 2", "", ""]
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert panel.ui.casePatientEdit.placeholderText == "MRN 1"


def test_a_case_is_removed_without_its_nodes_and_taken_back(panel):
    volumes = a_small_study()
    select(panel, 0, 2)
    press(panel.ui.casesTable, Qt.Key.Key_Delete)
    assert column(panel.ui.casesTable, CASE) == ["Bob", "Dan"]
    assert volumes["Ann"].GetScene() is not None
    assert slicer.util.getNode("Cid drawn") is not None
    process_events()
    panel.panel.refresh()
    assert column(panel.ui.casesTable, CASE) == ["Bob", "Dan"]
    click(panel.ui.addVolumesButton)
    assert sorted(column(panel.ui.casesTable, CASE)) == ["Ann", "Bob", "Cid", "Dan"]
    assert not panel.ui.addVolumesButton.visible


def test_what_was_said_of_a_removed_case_holds_when_it_is_taken_back(panel, tmp_path):
    a_small_study()
    click_cell(panel.ui.casesTable, 0, LABELS)
    panel.panel.labels.change(lookedFor=["head"])
    choose(panel.ui.caseSideComboBox, "validation")
    type_text(panel.ui.casePatientEdit, "P 4")
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "1-3")
    rows = panel.panel.parameters.rows()
    # A run has used it: it must not get to the other side.
    rows[0].usedAs = ["P 4"]
    panel.panel.parameters.setRows(rows)
    said = panel.panel.parameters.rows()[0]
    select(panel, 0)
    click(panel.ui.removeCasesButton)
    assert column(panel.ui.casesTable, CASE) == ["Bob", "Cid", "Dan"]
    # Other changes of the table keep it, and so does a scene.
    panel.ui.structuresSection.collapsed = False
    process_events()
    type_text(panel.ui.channelsEdit, "T1")
    reopen_scene(tmp_path / "scene.mrb")
    assert column(panel.ui.casesTable, CASE) == ["Bob", "Cid", "Dan"]
    click(panel.ui.addVolumesButton)
    names = column(panel.ui.casesTable, CASE)
    assert sorted(names) == ["Ann", "Bob", "Cid", "Dan"]
    row = panel.panel.parameters.rows()[names.index("Ann")]
    assert row.volumes == {"T1": slicer.util.getNode("Ann")}
    assert row.segmentation is slicer.util.getNode("Ann drawn")
    assert (row.lookedFor, row.side, row.patient, row.usedAs) == (["head"], "validation", "P 4", ["P 4"])
    assert row.region == said.region
    assert panel.panel.parameters.removedRows() == []


def test_a_removed_case_keeps_its_labels_and_follows_the_names_of_structures(panel):
    a_small_study()
    click_cell(panel.ui.casesTable, 0, LABELS)
    panel.panel.labels.change(lookedFor=["head"])
    select(panel, 0)
    click(panel.ui.removeCasesButton)
    # Another image, to which it would belong by its name, must not take its segmentation meanwhile.
    drawn = slicer.util.getNode("Ann drawn")
    drawn.RemoveNodeReferenceIDs(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
    scenes.a_volume(np.random.default_rng(4), name="Ann dr")
    process_events()
    assert "Ann dr" in column(panel.ui.casesTable, CASE)
    assert not any(row.segmentation is drawn for row in panel.panel.parameters.rows())
    scheme = panel.panel.view.scheme
    applyEdit(panel.panel.parameters, rename_structure(scheme, "head", "caput"))
    (removed,) = panel.panel.parameters.removedRows()
    assert removed.lookedFor == ["caput"]
    assert undoEdit(panel.panel.parameters)
    (removed,) = panel.panel.parameters.removedRows()
    assert (removed.lookedFor, removed.segmentation) == (["head"], drawn)


def test_a_done_case_that_is_used_without_labels_is_no_longer_done(panel):
    volumes = a_small_study()
    drawn = slicer.util.getNode("Ann drawn")
    moved = scenes.a_transform(np.array([[1, 0, 0, 5000.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    drawn.SetAndObserveTransformNodeID(moved.GetID())
    click_cell(panel.ui.casesTable, 0, LABELS)
    choose(panel.ui.caseStateComboBox, "done")
    checked(panel)
    assert panel.ui.fixCaseButton.text == "Use without labels"
    click(panel.ui.fixCaseButton)
    row = panel.panel.parameters.rows()[0]
    assert row.volumes["image"] is volumes["Ann"]
    assert (row.segmentation, row.isWithoutLabels, row.state) == (None, True, "")


def test_the_table_is_worked_with_by_keyboard(panel):
    a_small_study()
    table = panel.ui.casesTable
    click_cell(table, 0, CASE)
    press(table, Qt.Key.Key_Down)
    assert table.currentRow() == 1
    press(table, Qt.Key.Key_Space)
    assert [row.isChosen for row in panel.panel.view.rows] == [True, False, True, True]
    press(table, Qt.Key.Key_Return)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == slicer.util.getNode("Bob").GetID()


def test_a_double_click_shows_the_scan_and_its_segmentation_alone(panel):
    volumes = a_small_study()
    double_click_cell(panel.ui.casesTable, 2, SEGMENTATION)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == volumes["Cid"].GetID()
    shown = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if visible(node)]
    assert shown == ["Cid drawn"]


def visible(node):
    return bool(node.GetDisplayNode().GetVisibility())


def test_cases_without_trouble_are_checked_and_said_to_be_ok(panel, screenshot):
    a_small_study()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["ok", "ok", "ok", "ok"]
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert not panel.ui.caseCheckLabel.visible
    screenshot("cases", at_its_height(panel))


def test_an_empty_segment_is_named_and_counts_as_not_looked_for_after_one_click(panel, screenshot):
    volumes = a_small_study()
    node = slicer.util.getNode("Ann drawn")
    empty = np.zeros(scenes.SHAPE, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(empty, node, "id vessel", volumes["Ann"])
    panel.panel.refresh()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK)[0] == "look"
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert "Nothing is drawn in 'vessel'" in panel.ui.caseCheckLabel.text
    screenshot("cases_problem", at_its_height(panel))
    before = scenes.digest(node)
    click(panel.ui.fixCaseButton)
    checked(panel)
    assert scenes.digest(node) == before
    assert panel.panel.view.cases[0].lookedFor == ("head", "tail")
    assert column(panel.ui.casesTable, LABELS)[0] == "partial"
    assert column(panel.ui.casesTable, CHECK)[0] == "ok"


def test_a_moved_scan_or_box_is_checked_again(panel):
    volume, _drawn = a_drawn_scan(np.random.default_rng(0), "Ann", ("head", "tail", "vessel"))
    process_events()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["ok"]
    transform = scenes.moved(volume, values=np.eye(4))
    panel.panel.refresh()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["ok"]
    far = np.eye(4)
    far[:3, 3] = 500
    transform.SetMatrixTransformToParent(scenes.to_vtk(far))
    panel.panel.refresh()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["look"]
    transform.SetMatrixTransformToParent(scenes.to_vtk(np.eye(4)))
    click_cell(panel.ui.casesTable, 0, LABELS)
    choose(panel.ui.regionComboBox, "the inside of a box")
    choose(panel.ui.regionBoxComboBox, "Create new...")
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["ok"]
    box = panel.panel.view.cases[0].region.box
    box.SetAndObserveObjectToNodeMatrix(scenes.to_vtk(far))
    panel.panel.refresh()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["fix"]
    assert panel.ui.fixCaseButton.text == "Show in Labels"


def test_a_segmentation_on_another_grid_is_copied_onto_the_scan_and_left_as_it_was(panel):
    generator = np.random.default_rng(0)
    matrix = scenes.matrix(generator, spacing=(2.0, 2.0, 2.0))
    volume = scenes.a_volume(generator, matrix, name="Eve")
    fine = matrix @ np.diag([0.5, 0.5, 0.5, 1.0])
    reference = scenes.a_volume(generator, fine, name="finer", shape=tuple(2 * n for n in scenes.SHAPE))
    node = scenes.a_segmentation(reference, scenes.blobs(generator, tuple(2 * n for n in scenes.SHAPE)), name="Eve seg")
    slicer.mrmlScene.RemoveNode(reference)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    panel.panel.refresh()
    checked(panel)
    assert column(panel.ui.casesTable, CHECK) == ["note"]
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert panel.ui.fixCaseButton.text == "Make a copy on the scan's voxels"
    expected = {
        name: slicer.util.arrayFromSegmentBinaryLabelmap(node, f"id {name}", volume) for name in ("head", "vessel")
    }
    before = scenes.digest(node)
    click(panel.ui.fixCaseButton)
    checked(panel)
    assert scenes.digest(node) == before
    copy = panel.panel.view.rows[0].segmentation
    assert copy is not node
    assert copy.GetName() == "Eve seg on scan"
    for name, mask in expected.items():
        same = slicer.util.arrayFromSegmentBinaryLabelmap(copy, f"id {name}", volume) > 0
        assert (same == (mask > 0)).mean() > 0.97
    assert column(panel.ui.casesTable, CHECK) == ["ok"]


def test_labels_that_reach_beyond_the_scan_are_copied_onto_it_and_not_dropped(panel):
    generator = np.random.default_rng(0)
    matrix = scenes.matrix(generator, spacing=(2.0, 2.0, 2.0))
    volume = scenes.a_volume(generator, matrix, name="Eve")
    # Voxels of half the size, which begin some before the scan.
    fine = matrix @ np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] -= fine[:3, :3] @ np.array([3.0, 3.0, 3.0])
    shape = tuple(2 * n + 6 for n in scenes.SHAPE)
    reference = scenes.a_volume(generator, fine, name="finer", shape=shape)
    masks = scenes.blobs(generator, shape)
    masks["head"][0, 0, 0] = True
    node = scenes.a_segmentation(reference, masks, name="Eve seg")
    slicer.mrmlScene.RemoveNode(reference)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    panel.panel.refresh()
    checked(panel)
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert "outside the volume" in panel.ui.caseCheckLabel.text
    assert panel.ui.fixCaseButton.text == "Make a copy on the scan's voxels"
    click(panel.ui.fixCaseButton)
    checked(panel)
    assert panel.panel.view.rows[0].segmentation.GetName() == "Eve seg on scan"
    assert column(panel.ui.casesTable, CHECK) == ["ok"]


def test_siblings_that_share_voxels_are_shown_and_the_button_leads_to_labels(panel, tmp_path):
    path = tmp_path / "scheme.json"
    write_scheme(scenes.SCHEME, path)
    generator = np.random.default_rng(5)
    volume = scenes.a_volume(generator, name="Ann")
    masks = scenes.blobs(generator)
    masks["tail"] |= masks["head"]
    scenes.a_segmentation(volume, masks, name="Ann drawn")
    panel.panel.cases.openScheme(str(path))
    process_events()
    checked(panel)
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert "'head' and 'tail' share" in panel.ui.caseCheckLabel.text
    panel.ui.labelsSection.collapsed = True
    click(panel.ui.fixCaseButton)
    assert not panel.ui.labelsSection.collapsed


def test_a_segmentation_of_another_place_can_be_dropped_by_one_click(panel):
    generator = np.random.default_rng(6)
    far = np.eye(4)
    far[:3, 3] = 500
    a_drawn_scan(generator, "Ann", ("head", "tail"))
    elsewhere = scenes.a_volume(generator, far, name="elsewhere")
    node = scenes.a_segmentation(elsewhere, scenes.blobs(generator), name="Bob drawn")
    slicer.mrmlScene.RemoveNode(elsewhere)
    volume = scenes.a_volume(generator, scenes.matrix(generator), name="Bob")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    panel.panel.refresh()
    checked(panel)
    click_cell(panel.ui.casesTable, 1, LABELS)
    assert "outside the volume" in panel.ui.caseCheckLabel.text
    click(panel.ui.fixCaseButton)
    assert column(panel.ui.casesTable, SEGMENTATION)[1] == "(none)"
    assert node.GetScene() is not None


@pytest.mark.parametrize("count", [60])
def test_a_refresh_of_sixty_cases_touches_only_what_changed(panel, count):
    generator = np.random.default_rng(9)
    for number in range(count):
        a_drawn_scan(generator, f"case {number}", ("head", "tail", "vessel"))
    process_events()
    checked(panel)
    table = panel.ui.casesTable
    changed = []
    table.itemChanged.connect(lambda item: changed.append((item.row(), item.column())))
    panel.panel.refresh()
    assert changed == []
    click_cell(table, 7, LABELS)
    choose(panel.ui.caseStateComboBox, "partial")
    assert {row for row, _column in changed} == {7}
