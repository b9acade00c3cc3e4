"""Checks in the background: surfaces one by one, overlaps of surfaces to decide, and errors that nobody foresaw."""

import numpy as np
import pytest
import qt
import slicer
import vtk

from SemiSegModule.bridge import layers
from SemiSegModule.bridge.case_check import snapshot
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.panel import case_checks
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, process_events, type_text, wait_until
from Testing.panel.studies import a_drawn_scan, a_small_study, column

CHECK = 5
SHAPE = (13, 21, 17)


@pytest.fixture
def surfaces(panel):
    """A scan with three spheres as closed surfaces, of which the first two share voxels."""
    volume = scenes.a_volume(np.random.default_rng(3), name="Ann", shape=SHAPE)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Ann drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    for name, center in (("liver", (6, 8, 6)), ("stone", (9, 8, 6)), ("spleen", (8, 17, 6))):
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(*center)
        sphere.SetRadius(3)
        sphere.Update()
        node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), name, [1, 0, 0], f"id {name}")
    process_events()
    return volume, node


def all_checked(panel):
    wait_until(lambda: not panel.panel.cases.checks.isBusy and not panel.panel.isOutdated, what="the cases are checked")


def test_surfaces_are_converted_one_by_one_and_not_again_for_what_is_said(panel, surfaces, monkeypatch):
    all_checked(panel)
    turns, original = [0], layers._converted
    made = []
    monkeypatch.setattr(layers, "_converted", lambda n, i, g: made.append((i, turns[0])) or original(n, i, g))
    turn = case_checks.CaseChecks._turn

    def counted(checks):
        turns[0] += 1
        turn(checks)

    checks = case_checks.CaseChecks(panel.panel.logic, lambda: None)
    checks._timer.disconnect("timeout()")
    checks._timer.connect("timeout()", lambda: counted(checks))
    (case,), scheme = panel.panel.view.cases, panel.panel.view.scheme
    checks.result(case, scheme)
    wait_until(lambda: not checks.isBusy, what="the case is checked")
    assert [segment for segment, _turn in made] == ["id liver", "id stone", "id spleen"]
    assert len({number for _segment, number in made}) == 3
    assert [(o.pair, o.voxels > 0) for o in checks.result(case, scheme).overlaps] == [(("liver", "stone"), True)]
    ticked = case.__class__(**{**vars(case), "lookedFor": ("liver",)})
    checks.result(ticked, scheme)
    wait_until(lambda: not checks.isBusy, what="the case is checked again")
    assert len(made) == 3
    checks.close()


@pytest.fixture
def converted(monkeypatch):
    """IDs of the segments that are turned into voxels from now on."""
    made, original = [], layers._converted
    monkeypatch.setattr(layers, "_converted", lambda n, i, g: made.append(i) or original(n, i, g))
    return made


def test_surfaces_that_were_checked_are_written_without_being_converted_again(
    panel, surfaces, started, tmp_path, converted
):
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "study"))
    all_checked(panel)
    converted.clear()
    click(panel.ui.trainButton)
    assert len(started) == 1
    all_checked(panel)
    assert converted == []


def test_no_check_begins_while_a_study_is_written(panel, surfaces, converted):
    all_checked(panel)
    checks, (case,), scheme = panel.panel.cases.checks, panel.panel.view.cases, panel.panel.view.scheme
    checks.close()
    converted.clear()
    with panel.panel.busy():
        assert checks.result(case, scheme) is None
        checks._turn()
        assert converted == []
    all_checked(panel)
    assert len(converted) == 3


def test_a_scene_closed_while_surfaces_are_converted_to_be_written_ends_it_and_leaves_no_file(
    host, panel, surfaces, started, tmp_path, monkeypatch
):
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "study"))
    all_checked(panel)
    panel.panel.cases.checks.surfaces.clear()
    original, seen = layers._converted, []

    def convert(node, segment, grid):
        qt.QTimer.singleShot(0, slicer.mrmlScene.Clear)
        seen.append(panel.ui.statusLabel.text)
        return original(node, segment, grid)

    monkeypatch.setattr(layers, "_converted", convert)
    click(panel.ui.trainButton)
    assert seen == ["Writing Ann, surface 'liver' (1 of 1)..."]
    assert "is no longer in the scene" in host.dialogs.shown("error")[0]
    assert started == []
    assert not (tmp_path / "study").exists()


def test_an_edited_surface_is_checked_again(panel, surfaces):
    _volume, node = surfaces
    (case,), scheme = panel.panel.view.cases, panel.panel.view.scheme
    checks = panel.panel.cases.checks
    all_checked(panel)
    (before,) = checks.result(case, scheme).overlaps
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(7, 8, 6)
    sphere.SetRadius(3)
    sphere.Update()
    surface = node.GetSegmentation().GetSegment("id stone").GetRepresentation("Closed surface")
    surface.DeepCopy(sphere.GetOutput())
    surface.Modified()
    assert checks.result(case, scheme) is None
    all_checked(panel)
    (after,) = checks.result(case, scheme).overlaps
    assert after.voxels > before.voxels


def test_overlaps_of_surfaces_are_listed_and_decided(panel, surfaces):
    click_cell(panel.ui.casesTable, 0, 0)
    wait_until(lambda: panel.ui.overlapsTable.visible, what="overlaps are listed")
    assert column(panel.ui.overlapsTable, 0) == ["liver, stone"]
    (overlap,) = panel.panel.cases.checks.result(panel.panel.view.cases[0], panel.panel.view.scheme).overlaps
    assert column(panel.ui.overlapsTable, 1) == [str(overlap.voxels)]
    choose(panel.ui.overlapsTable.cellWidget(0, 2), "stone")
    assert panel.panel.view.cases[0].overlapRules == {("liver", "stone"): "stone"}
    assert panel.ui.overlapsTable.visible
    all_checked(panel)
    (finding,) = [f for f in _check(panel).findings if f.code == "overlap"]
    assert finding.severity == "note"
    assert column(panel.ui.overlapsTable, 2) == ["stone"]


def _check(panel, row=0):
    return panel.panel.cases.checks.result(panel.panel.view.cases[row], panel.panel.view.scheme)


def test_a_check_that_ends_with_an_unforeseen_error_says_so_and_the_others_go_on(panel, monkeypatch, caplog):
    original = type(panel.panel.logic).checkCase

    def refuse(self, taken, scheme=None):
        if taken.id == "Ann":
            raise OverflowError("Python integer 256 out of bounds for uint8")
        return original(self, taken, scheme)

    monkeypatch.setattr(type(panel.panel.logic), "checkCase", refuse)
    a_small_study()
    all_checked(panel)
    (finding,) = _check(panel).findings
    assert (finding.severity, finding.case) == ("error", "Ann")
    assert "OverflowError: Python integer 256 out of bounds for uint8" in finding.what
    assert "..." not in column(panel.ui.casesTable, CHECK)
    assert _check(panel, 1).findings == ()
    assert "the check of case 'Ann' failed" in caplog.text


def test_a_case_with_more_regions_than_codes_is_an_error_of_its_check(panel, monkeypatch):
    from SemiSegModule.bridge import overlaps

    monkeypatch.setattr(overlaps, "MOST_SETS", 3)
    a_drawn_scan(np.random.default_rng(0), "Ann", ("head", "tail", "vessel"))
    process_events()
    all_checked(panel)
    (finding,) = _check(panel).findings
    assert finding.severity == "error"
    assert finding.what == "the segments form 4 regions of different meaning, a label image tells 3 apart"
    assert finding.where == "case 'Ann', segmentation 'Ann drawn'"
    taken = snapshot(panel.panel.view.cases[0], panel.panel.view.scheme)
    assert taken.grids["image"].shape == worldGrid(slicer.util.getNode("Ann")).shape


def test_a_method_that_this_version_does_not_know_is_told_before_anything_is_written(study, started):
    assert study.ui.trainButton.enabled
    study.panel.parameters.method = "of_another_version"
    process_events()
    assert not study.ui.trainButton.enabled
    text = "The chosen method is not in this version of SemiSeg. Choose another one."
    assert study.ui.trainButton.toolTip == text
    study.panel.training.train()
    assert started == []
    assert not study.panel.parameters.studyPath.exists()
    choose(study.ui.methodComboBox, study.ui.methodComboBox.itemText(0))
    assert study.ui.trainButton.enabled
