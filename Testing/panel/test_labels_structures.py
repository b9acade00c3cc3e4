"""The tree of structures in the panel: edited by mouse and keyboard, taken back, brought in and saved."""

from pathlib import Path

import numpy as np
import slicer
from PySide6 import QtTest, QtWidgets
from PySide6.QtCore import Qt

from SemiSegLib.labels.color_table import read_color_table
from SemiSegLib.labels.edits import add_structure
from SemiSegLib.labels.schemes import read_scheme, write_scheme
from SemiSegModule.bridge.color_tables import colorTables
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.uncertainty import COLORS_NAME, UncertaintyMap, addUncertainty
from SemiSegModule.study_scheme import applyEdit
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, press, process_events
from Testing.panel.studies import a_drawn_scan, a_small_study, column
from Testing.panel.trees import alone, click_item, tree_items, tree_of


def open_structures(panel):
    panel.ui.structuresSection.collapsed = False
    process_events()
    return panel.ui.structuresTree


def a_study(panel):
    a_small_study()
    return open_structures(panel)


def type_name(tree, name):
    """Type into the cell that is being edited."""
    (editor,) = tree.findChildren(QtWidgets.QLineEdit)
    editor.selectAll()
    QtTest.QTest.keyClicks(editor, name)
    QtTest.QTest.keyClick(editor, Qt.Key.Key_Return)
    process_events()


def labels(panel):
    return [regime.value for regime in panel.panel.view.regimes.values()]


def test_the_tree_is_made_by_hand_from_segments_without_one(panel, screenshot):
    generator = np.random.default_rng(6)
    _, fine = a_drawn_scan(generator, "Ann", ("head", "tail"))
    _, coarse = a_drawn_scan(generator, "Bob", ("organ",))
    for node in (fine, coarse):
        for index in range(node.GetSegmentation().GetNumberOfSegments()):
            node.GetSegmentation().GetNthSegment(index).RemoveTag("SemiSeg.Superclass")
    process_events()
    panel.enter()
    tree = open_structures(panel)
    assert tree_of(tree) == {"head": "", "tail": "", "organ": ""}
    for part in ("head", "tail"):
        click_item(tree, part)
        choose(panel.ui.parentComboBox, "organ")
    assert tree_of(tree) == {"organ": "", "head": "organ", "tail": "organ"}
    assert panel.panel.parameters.schemeSource == "edited"
    assert labels(panel) == ["full", "coarse"]
    with alone(panel, panel.ui.structuresSection) as section:
        screenshot("structures", section)


def test_a_structure_cannot_be_moved_into_its_own_parts(panel):
    tree = a_study(panel)
    click_item(tree, "organ")
    offered = [panel.ui.parentComboBox.itemText(i) for i in range(panel.ui.parentComboBox.count)]
    assert offered == ["(nothing)", "vessel"]


def test_structures_and_parts_are_added_and_bad_names_refused_with_a_sentence(host, panel):
    tree = a_study(panel)
    host.dialogs.enter_text("cyst")
    click(panel.ui.addStructureButton)
    assert tree_of(tree)["cyst"] == ""
    host.dialogs.enter_text("wall")
    click(panel.ui.addPartButton)
    assert tree_of(tree)["wall"] == "cyst"
    host.dialogs.enter_text("HEAD")
    click(panel.ui.addStructureButton)
    assert host.dialogs.shown("error") == ["There is a structure 'head' already: choose another name."]
    click(panel.ui.addStructureButton)
    assert set(tree_of(tree)) == {"organ", "head", "tail", "vessel", "cyst", "wall"}


def test_the_first_structure_is_typed_where_nothing_is_drawn(host, panel):
    scenes.a_volume(np.random.default_rng(7), name="Ann")
    process_events()
    tree = open_structures(panel)
    host.dialogs.enter_text("liver")
    click(panel.ui.addStructureButton)
    host.dialogs.enter_text("tumor")
    click(panel.ui.addPartButton)
    assert tree_of(tree) == {"liver": "", "tumor": "liver"}
    assert panel.panel.parameters.schemeSource == "edited"
    click(panel.ui.undoStructureButton)
    assert tree_of(tree) == {"liver": ""}


def test_a_scheme_file_that_cannot_be_read_is_not_replaced_by_a_typed_structure(panel, tmp_path):
    panel.panel.parameters.schemeSource = str(tmp_path / "gone.json")
    process_events()
    open_structures(panel)
    assert not panel.ui.addStructureButton.enabled


def test_a_name_that_is_being_typed_ends_with_its_scene(host, panel):
    tree = a_study(panel)
    click_item(tree, "tail")
    press(tree, Qt.Key.Key_F2)
    (editor,) = tree.findChildren(QtWidgets.QLineEdit)
    QtTest.QTest.keyClicks(editor, "cauda")
    slicer.mrmlScene.Clear(0)
    process_events()
    assert not host.problems()


def test_a_name_is_changed_by_f2_and_what_was_said_of_cases_follows(host, panel):
    tree = a_study(panel)
    click_cell(panel.ui.casesTable, 0, 0)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "tail")
    click_item(tree, "tail")
    press(tree, Qt.Key.Key_F2)
    type_name(tree, "cauda")
    assert tree_of(tree) == {"organ": "", "head": "organ", "cauda": "organ", "vessel": ""}
    assert column(panel.ui.meaningsTable, 1) == ["cauda", "cauda", "vessel"]
    assert labels(panel)[1:] == ["full", "coarse", "none"]
    press(tree, Qt.Key.Key_F2)
    type_name(tree, "head")
    assert host.dialogs.shown("error") == ["There is a structure 'head' already: choose another name."]
    assert "cauda" in tree_items(tree)
    click(panel.ui.undoStructureButton)
    assert tree_of(tree) == {"organ": "", "head": "organ", "tail": "organ", "vessel": ""}
    assert column(panel.ui.meaningsTable, 1) == ["tail", "tail", "vessel"]
    assert panel.panel.parameters.schemeSource == "scene"
    assert panel.panel.parameters.schemeSteps == []
    assert not panel.ui.undoStructureButton.enabled


def test_a_whole_with_one_part_is_told_with_its_rest_to_add_and_its_cases_are_marked(host, panel, screenshot):
    """The liver of one case and the tumor of another: a part of it, but not all of it."""
    generator = np.random.default_rng(3)
    for name, kinds in (("Ann", ("liver", "tumor")), ("Bob", ("liver",))):
        masks = scenes.blobs(generator)
        drawn = {kind: masks[blob] for kind, blob in (("liver", "head"), ("tumor", "tail")) if kind in kinds}
        scenes.a_segmentation(scenes.a_volume(generator, name=name), drawn, name=f"{name} drawn")
    process_events()
    panel.enter()
    tree = open_structures(panel)
    assert not panel.ui.addRestButton.visible
    click_item(tree, "tumor")
    choose(panel.ui.parentComboBox, "liver")
    words = "'liver' has one part alone, 'tumor': all that is drawn as 'liver' counts as 'tumor'"
    assert words in panel.ui.structuresLabel.text
    for number in (0, 1):
        (problem,) = panel.panel.cases.problems.of(panel.panel.view, number, None)
        assert (problem.severity, problem.what) == ("warning", words)
    panel.ui.structuresSection.collapsed = True
    problem.fix()
    assert not panel.ui.structuresSection.collapsed
    with alone(panel, panel.ui.structuresSection) as section:
        screenshot("structures_one_part", section)
    click(panel.ui.addRestButton)
    assert tree_of(tree) == {"liver": "", "tumor": "liver", "rest of liver": "liver"}
    assert not panel.ui.addRestButton.visible
    assert panel.panel.cases.problems.of(panel.panel.view, 0, None) == ()
    assert labels(panel)[1] == "coarse"


def test_a_whole_with_one_part_that_nobody_drew_marks_no_case(panel):
    """As data sets have it: the whole is drawn and is all that there is."""
    generator = np.random.default_rng(3)
    masks = scenes.blobs(generator)
    scenes.a_segmentation(scenes.a_volume(generator, name="Ann"), {"organ": masks["head"]}, name="Ann drawn")
    process_events()
    panel.enter()
    open_structures(panel)
    parameters = panel.panel.parameters
    applyEdit(parameters, add_structure(panel.panel.view.scheme, "head", parent="organ"))
    process_events()
    assert panel.ui.addRestButton.visible
    assert panel.panel.cases.problems.of(panel.panel.view, 0, None) == ()


def test_structures_are_removed_by_key_and_button_and_brought_back_by_undo(panel):
    tree = a_study(panel)
    click_item(tree, "organ")
    press(tree, Qt.Key.Key_Delete)
    assert tree_of(tree) == {"head": "", "tail": "", "vessel": ""}
    click(panel.ui.undoStructureButton)
    assert tree_of(tree)["head"] == "organ"
    click_item(tree, "vessel")
    click(panel.ui.removeStructureButton)
    assert "vessel" not in tree_of(tree)
    assert panel.panel.view.rowProblems[0] == "say what 1 of its segments are"


def test_merged_structures_keep_their_segments(panel):
    tree = a_study(panel)
    click_item(tree, "tail")
    choose(panel.ui.mergeComboBox, "head")
    assert tree_of(tree) == {"organ": "", "head": "organ", "vessel": ""}
    click_cell(panel.ui.casesTable, 0, 0)
    assert column(panel.ui.meaningsTable, 1) == ["head", "head", "vessel"]


def test_a_color_is_chosen_and_the_user_nodes_keep_theirs(host, panel):
    tree = a_study(panel)
    node = slicer.util.getNode("Ann drawn")
    before = scenes.digest(node)
    click_item(tree, "vessel")
    host.dialogs.choose_color("#102030")
    click(panel.ui.structureColorButton)
    color = panel.panel.view.scheme.find("vessel").color
    assert [round(255 * part) for part in color] == [16, 32, 48]
    assert scenes.digest(node) == before


def test_a_term_is_selected_in_slicers_own_selector_and_taken_away(host, panel, screenshot):
    tree = a_study(panel)
    click_item(tree, "vessel")
    assert panel.ui.terminologyButton.text == "choose a standard term..."

    def select(dialog):
        (navigator,) = [child for child in dialog.children() if hasattr(child, "_types")]
        navigator._categories.setCurrentRow(0)
        navigator._types.setCurrentRow(0)
        return QtWidgets.QDialog.DialogCode.Accepted

    host.dialogs.handle(select)
    click(panel.ui.terminologyButton)
    term = panel.panel.view.scheme.find("vessel").terminology
    assert term.type.meaning in panel.ui.terminologyButton.text
    assert tree_items(tree)["vessel"].text(1) == term.type.meaning
    seen = []

    def cancel(dialog):
        (navigator,) = [child for child in dialog.children() if hasattr(child, "_types")]
        seen.append(navigator._types.currentItem().text())
        return QtWidgets.QDialog.DialogCode.Rejected

    host.dialogs.handle(cancel)
    click(panel.ui.terminologyButton)
    assert seen == [term.type.meaning]
    assert panel.panel.view.scheme.find("vessel").terminology == term
    click(panel.ui.clearTerminologyButton)
    assert panel.panel.view.scheme.find("vessel").terminology is None


def a_color_table(name, structure):
    """A table with one structure, as Slicer loads it from a file: not hidden, as tables are by default."""
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    colors.SetTypeToUser()
    colors.SetHideFromEditors(False)
    colors.SetNumberOfColors(2)
    colors.SetColor(0, "background", 0, 0, 0, 0)
    colors.SetColor(1, structure, 1.0, 0.5, 0.0, 1.0)
    return colors


def test_of_several_color_tables_one_is_chosen_and_canceling_chooses_none(host, panel):
    tree = a_study(panel)
    for name, structure in (("mine", "lesion"), ("yours", "stone")):
        a_color_table(name, structure)
    process_events()
    before = tree_of(tree)
    click(panel.ui.addColorTableButton)
    assert host.dialogs.shown("text") == ["Color table:"]
    assert tree_of(tree) == before
    host.dialogs.enter_text("yours")
    click(panel.ui.addColorTableButton)
    assert tree_of(tree) == {**before, "stone": ""}
    a_color_table("mine", "cyst")
    process_events()
    host.dialogs.enter_text("mine (2)")
    click(panel.ui.addColorTableButton)
    assert tree_of(tree) == {**before, "stone": "", "cyst": ""}


def test_the_colors_of_uncertainty_are_no_table_of_structures(panel):
    volume = a_small_study()["Ann"]
    grid = worldGrid(volume)
    percent = np.zeros(scenes.SHAPE, np.uint8)
    node = addUncertainty(UncertaintyMap(percent, grid, Path("map.nii.gz"), 0), volume, "job", writtenGrid=grid)
    process_events()
    panel.panel.refresh()
    assert node.GetDisplayNode().GetColorNode().GetName() == COLORS_NAME
    assert not panel.ui.addColorTableButton.enabled
    a_color_table("mine", "lesion")
    panel.panel.refresh()
    assert panel.ui.addColorTableButton.enabled
    assert [table.GetName() for table in colorTables()] == ["mine"]


def test_structures_come_from_a_file_a_color_table_and_new_segments(host, panel, tmp_path):
    volumes = a_small_study()
    tree = open_structures(panel)
    write_scheme(scenes.SCHEME, tmp_path / "scheme.json")
    host.dialogs.choose_path(str(tmp_path / "scheme.json"))
    click(panel.ui.addSchemeFileButton)
    assert panel.panel.parameters.schemeSource == "scene"
    a_color_table("mine", "lesion")
    process_events()
    click(panel.ui.addColorTableButton)
    assert "lesion" in tree_of(tree)
    masks = {"stone": np.ones(scenes.SHAPE, bool)}
    scenes.a_segmentation(volumes["Dan"], masks, name="Dan drawn")
    process_events()
    assert "stone" not in tree_of(tree)
    click(panel.ui.addSegmentsButton)
    assert "stone" in tree_of(tree)


def test_the_structures_are_saved_as_files_and_as_a_color_table_of_the_scene(host, panel, tmp_path):
    tree = a_study(panel)
    host.dialogs.choose_path(str(tmp_path / "mine"), str(tmp_path / "mine.csv"))
    click(panel.ui.saveSchemeButton)
    click(panel.ui.saveSchemeButton)
    assert read_scheme(tmp_path / "mine.json") == panel.panel.view.scheme
    assert read_color_table(tmp_path / "mine.csv")[0].find("head").parent == "organ"
    click(panel.ui.makeColorTableButton)
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode") if n.GetAttribute("SemiSeg.Parents")]
    made = panel.logic.study.addColorTable(None, node).scheme
    assert {s.name: s.parent for s in made.structures} == {s.name: s.parent for s in panel.panel.view.scheme.structures}
    assert set(tree_of(tree)) == {"organ", "head", "tail", "vessel"}


def test_structures_are_saved_in_the_form_that_is_chosen_and_over_no_file_unasked(host, panel, tmp_path):
    a_study(panel)
    other = tmp_path / "liver.json"
    other.write_text("mine")
    host.dialogs.choose_file(tmp_path / "liver", "Color table (*.csv)")
    click(panel.ui.saveSchemeButton)
    assert read_color_table(tmp_path / "liver.csv")[0].find("head").parent == "organ"
    assert host.dialogs.shown("confirm") == []
    for isYes in (False, True):
        assert other.read_text() == "mine"
        host.dialogs.choose_file(tmp_path / "liver", "Label scheme (*.json)")
        host.dialogs.answer(isYes)
        click(panel.ui.saveSchemeButton)
    assert read_scheme(other) == panel.panel.view.scheme
    assert host.dialogs.shown("confirm") == ["liver.json exists already. Replace it?"] * 2
    # The dialog itself asks of the name that is chosen in it, and a canceled one writes nothing.
    host.dialogs.choose_path(str(other), "")
    click(panel.ui.saveSchemeButton)
    click(panel.ui.saveSchemeButton)
    assert len(host.dialogs.shown("confirm")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["liver.csv", "liver.json"]


def test_an_edited_scheme_is_saved_with_the_scene(panel, tmp_path):
    tree = a_study(panel)
    click_item(tree, "vessel")
    press(tree, Qt.Key.Key_F2)
    type_name(tree, "artery")
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    process_events()
    assert tree_of(tree) == {}
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()
    assert tree_of(tree) == {"organ": "", "head": "organ", "tail": "organ", "artery": ""}
    assert [step["after"] for step in panel.panel.parameters.schemeSteps] == ["artery"]
    click(panel.ui.undoStructureButton)
    assert "vessel" in tree_of(tree)


def test_a_ready_scheme_that_has_all_segments_is_named_until_it_is_chosen(panel):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    for name, kinds in (("Ann", {"Anterior": "head", "Posterior": "tail"}), ("Bob", {"Hippocampus": "head"})):
        volume = scenes.a_volume(generator, name=name)
        drawn = {kind: masks[blob] for kind, blob in kinds.items()}
        scenes.a_segmentation(volume, drawn, name=f"{name} drawn")
    process_events()
    assert column(panel.ui.casesTable, 2) == ["partial", "partial"]
    assert "The ready structures 'hippocampus'" in panel.ui.casesSummaryLabel.text
    choose(panel.ui.schemeComboBox, "hippocampus")
    assert column(panel.ui.casesTable, 2) == ["fine", "coarse"]
    assert panel.ui.casesSummaryLabel.text == "2 cases: 1 fine, 1 coarse"
