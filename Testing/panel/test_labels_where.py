"""Where a case was annotated and what overlaps are, as a person says it, and what the export makes of it."""

import numpy as np
import slicer

from SemiSegLib.cases.volume import read_labels
from SemiSegModule.bridge.geometry import fromGeometry
from SemiSegModule.bridge.overlaps import EITHER
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, process_events, type_text, wait_until
from Testing.panel.studies import a_small_study, column, reopen_scene
from Testing.panel.trees import alone


def select(panel, row):
    click_cell(panel.ui.casesTable, row, 0)


def region(panel, row=0):
    return panel.panel.view.cases[row].region


def exported_names(panel, folder):
    """Names that the written label image gives to each voxel of the first case."""
    view = panel.panel.view
    study = panel.logic.study.exportStudy(folder, [view.cases[0]], view.scheme)
    annotation = study.dataset.cases[0].annotation
    labels = read_labels(folder / annotation.file)
    return np.vectorize(lambda value: "+".join(annotation.values[int(value)]))(labels.voxels)


def test_some_slices_are_named_and_the_rest_of_the_scan_is_unknown(host, panel, tmp_path, screenshot):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "some slices")
    assert panel.panel.view.rowProblems[0] == "name the slices that were annotated"
    type_text(panel.ui.slicesEdit, "3-2")
    assert "names no slices" in host.dialogs.shown("error")[0]
    type_text(panel.ui.slicesEdit, "1, 3-7")
    assert "slice 7 is not in the scan" in host.dialogs.shown("error")[-1]
    assert panel.panel.view.rowProblems[0] == "name the slices that were annotated"
    type_text(panel.ui.slicesEdit, "1, 3-4")
    assert region(panel).ranges == ((1, 1), (3, 4))
    assert 0 not in panel.panel.view.rowProblems
    assert panel.panel.view.regimes[0].value == "partial"
    with alone(panel, panel.ui.labelsSection) as section:
        screenshot("labels_slices", section)
    found = exported_names(panel, tmp_path)
    for k in range(scenes.SHAPE[0]):
        assert (found[k] == "*").all() == (k not in (1, 3, 4))


def test_slices_lie_along_any_axis_and_may_be_those_of_a_segment(panel, tmp_path):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the slices that hold a segment")
    axes = [panel.ui.axisComboBox.itemText(axis) for axis in range(3)]
    assert [text.split("(")[1] for text in axes] == ["I, 0 to 10)", "J, 0 to 8)", "K, 0 to 6)"]
    choose(panel.ui.axisComboBox, axes[0])
    choose(panel.ui.regionSegmentComboBox, "head")
    assert (region(panel).axis, region(panel).segment) == (0, "id head")
    found = exported_names(panel, tmp_path)
    inside = (found == "head").any(axis=(0, 1))
    assert 0 < inside.sum() < 11
    assert np.array_equal((found == "*").all(axis=(0, 1)), ~inside)


def test_the_axis_that_is_chosen_can_be_chosen_again_and_its_slices_stay(panel):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "1, 3-4")
    choose(panel.ui.axisComboBox, panel.ui.axisComboBox.itemText(2))
    assert (region(panel).axis, region(panel).ranges) == (2, ((1, 1), (3, 4)))
    choose(panel.ui.axisComboBox, panel.ui.axisComboBox.itemText(0))
    assert (region(panel).axis, region(panel).ranges) == (0, ())


def test_a_box_is_made_in_the_middle_of_the_scan_and_asked_for_when_it_is_removed(panel, tmp_path, screenshot):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the inside of a box")
    assert panel.panel.view.rowProblems[0] == "choose the box that was annotated"
    choose(panel.ui.regionBoxComboBox, "Create new...")
    box = region(panel).box
    assert box is not None
    assert min(box.GetSize()) > 0
    assert 0 not in panel.panel.view.rowProblems
    with alone(panel, panel.ui.labelsSection) as section:
        screenshot("labels_box", section)
    found = exported_names(panel, tmp_path)
    assert 0 < (found == "*").mean() < 1
    slicer.mrmlScene.RemoveNode(box)
    process_events()
    assert panel.panel.view.rowProblems[0] == "choose the box that was annotated"
    choose(panel.ui.regionComboBox, "the whole scan")
    assert region(panel) is None
    assert 0 not in panel.panel.view.rowProblems


def test_a_box_that_cannot_be_placed_is_told_and_none_is_left(panel, host):
    volumes = a_small_study()
    bent = scenes.a_transform(None, name="warp", cls="vtkMRMLGridTransformNode")
    volumes["Ann"].SetAndObserveTransformNodeID(bent.GetID())
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the inside of a box")
    choose(panel.ui.regionBoxComboBox, "Create new...")
    (message,) = host.dialogs.shown("error")
    assert message.startswith("The box cannot be placed.")
    assert "'warp', which is not linear" in message
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") == []
    assert region(panel).box is None
    assert StudyLogic().placeBox(panel.panel.view.cases[1]) is not None


def test_a_scene_is_closed_with_the_box_that_is_shown(panel, host):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the inside of a box")
    choose(panel.ui.regionBoxComboBox, "Create new...")
    slicer.mrmlScene.Clear(0)
    process_events()
    assert panel.panel.labels.case is None
    assert not host.problems()


def test_a_segment_can_say_where_and_is_no_structure_afterwards(panel):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the inside of a segment")
    assert panel.ui.regionSegmentComboBox.currentText == "choose..."
    choose(panel.ui.regionSegmentComboBox, "vessel")
    assert column(panel.ui.meaningsTable, 1) == ["head", "tail", "(region that was annotated)"]
    assert panel.ui.regionComboBox.currentText == "the inside of a segment"
    choose(panel.ui.regionComboBox, "the whole scan")
    assert column(panel.ui.meaningsTable, 1) == ["head", "tail", "(left out)"]


def test_where_a_case_was_annotated_is_saved_with_the_scene(panel, tmp_path):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "the inside of a box")
    choose(panel.ui.regionBoxComboBox, "Create new...")
    select(panel, 1)
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "2")
    size = region(panel).box.GetSize()
    reopen_scene(tmp_path / "scene.mrb")
    assert region(panel).box.GetSize() == size
    assert region(panel, 1).ranges == ((2, 2),)


def annotated(panel, folder):
    """Where the middle of the annotated voxels of the written label image is, and how many there are."""
    view = panel.panel.view
    study = panel.logic.study.exportStudy(folder, [view.cases[0]], view.scheme)
    annotation = study.dataset.cases[0].annotation
    labels = read_labels(folder / annotation.file)
    open_ = [value for value, names in annotation.values.items() if names == ("*",)]
    indices = np.argwhere(~np.isin(labels.voxels, open_))
    matrix = fromGeometry(labels.geometry).matrix
    return [*(matrix @ [*indices.mean(axis=0)[::-1], 1])[:3], len(indices)]


def test_a_left_handed_scan_is_annotated_in_the_same_slices_when_its_scene_is_opened_again(panel, tmp_path):
    generator = np.random.default_rng(6)
    volume = scenes.a_volume(generator, scenes.matrix(generator, flips=(1, 1, -1)), name="Ann")
    scenes.a_segmentation(volume, scenes.blobs(generator), name="Ann drawn")
    process_events()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "0-1, 3")
    before = annotated(panel, tmp_path / "before")
    reopen_scene(tmp_path / "scene.mrb")
    select(panel, 0)
    assert panel.ui.slicesEdit.text == "3, 5-6"
    assert np.allclose(annotated(panel, tmp_path / "after"), before, atol=1e-3)
    # What is typed now is counted as the scan is now.
    type_text(panel.ui.slicesEdit, "5-6")
    assert region(panel).ranges == ((5, 6),)


def an_overlapping_study(panel):
    generator = np.random.default_rng(4)
    volume = scenes.a_volume(generator, name="Ann")
    masks = scenes.blobs(generator)
    masks["vessel"] |= masks["head"]
    node = scenes.a_segmentation(volume, masks, name="Ann drawn")
    process_events()
    select(panel, 0)
    return masks, node


def overlaps_shown(panel):
    wait_until(lambda: panel.ui.overlapsTable.visible, what="overlaps are listed")
    return column(panel.ui.overlapsTable, 0), column(panel.ui.overlapsTable, 1), column(panel.ui.overlapsTable, 2)


def test_overlapping_siblings_are_listed_and_a_rule_is_asked_and_kept(panel, tmp_path, screenshot):
    masks, node = an_overlapping_study(panel)
    before = scenes.digest(node)
    count = str(int(masks["head"].sum()))
    assert overlaps_shown(panel) == (["head, vessel"], [count], ["choose..."])
    assert "until then they are ignored" in panel.ui.overlapsLabel.text
    with alone(panel, panel.ui.labelsSection) as section:
        screenshot("labels_overlaps", section)
    shared = masks["head"]
    assert (exported_names(panel, tmp_path / "ignored")[shared] == "*").all()
    choose(panel.ui.overlapsTable.cellWidget(0, 2), "head")
    assert "was decided" in panel.ui.overlapsLabel.text
    assert (exported_names(panel, tmp_path / "head")[shared] == "head").all()
    choose(panel.ui.overlapsTable.cellWidget(0, 2), "one of the two")
    assert panel.panel.view.cases[0].overlapRules == {("head", "vessel"): EITHER}
    assert set(np.unique(exported_names(panel, tmp_path / "either")[shared])) == {"head+vessel"}
    assert scenes.digest(node) == before


def test_a_list_of_rules_stays_open_when_the_check_of_another_case_ends(panel):
    an_overlapping_study(panel)
    overlaps_shown(panel)
    combo = panel.ui.overlapsTable.cellWidget(0, 2)
    click(combo)
    assert combo.view().isVisible()
    scenes.a_volume(np.random.default_rng(5), name="Bob")
    process_events()
    wait_until(lambda: not panel.panel.cases.checks.isBusy and not panel.panel.isOutdated)
    assert panel.ui.casesTable.rowCount == 2
    assert panel.ui.overlapsTable.cellWidget(0, 2) is combo
    assert combo.view().isVisible()
    combo.hidePopup()


def test_overlaps_go_when_the_segment_is_left_out_and_come_back(panel):
    an_overlapping_study(panel)
    overlaps_shown(panel)
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    wait_until(lambda: not panel.panel.cases.checks.isBusy and not panel.panel.isOutdated)
    assert not panel.ui.overlapsTable.visible
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "vessel")
    assert overlaps_shown(panel)[0] == ["head, vessel"]


def test_cases_without_overlaps_show_none_and_closing_while_counting_is_no_trouble(panel):
    an_overlapping_study(panel)
    slicer.mrmlScene.Clear()
    process_events()
    a_small_study()
    select(panel, 0)
    wait_until(lambda: not panel.panel.cases.checks.isBusy and not panel.panel.isOutdated)
    assert not panel.ui.overlapsTable.visible
