"""What the labels of the selected case mean, as a person sees and changes it: segments and what was looked for."""

import numpy as np
import slicer
from PySide6.QtCore import Qt

from SemiSegLib.labels.schemes import write_scheme
from SemiSegModule.bridge.scene_case import LEFT_OUT
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, press, process_events, type_text
from Testing.panel.studies import a_drawn_scan, a_small_study, column, reopen_scene
from Testing.panel.trees import alone, click_item, tick_item, ticks


def select(panel, row):
    click_cell(panel.ui.casesTable, row, 0)


def looked_for(panel, row):
    return set(panel.panel.view.cases[row].lookedFor)


def rename(node, before, after):
    node.GetSegmentation().GetSegment(f"id {before}").SetName(after)


def test_a_whole_is_ticked_with_all_its_parts_and_half_ticked_with_some(panel, screenshot):
    a_small_study()
    select(panel, 0)
    tree = panel.ui.lookedForTree
    assert ticks(tree) == {"organ": "yes", "head": "yes", "tail": "yes", "vessel": "yes"}
    tick_item(tree, "head")
    assert looked_for(panel, 0) == {"tail", "vessel"}
    assert ticks(tree) == {"organ": "some", "head": "no", "tail": "yes", "vessel": "yes"}
    with alone(panel, panel.ui.labelsSection) as section:
        screenshot("labels_looked_for", section)
    tick_item(tree, "organ")
    assert ticks(tree)["organ"] == "yes"
    assert looked_for(panel, 0) == {"organ", "tail", "vessel"}
    tick_item(tree, "organ")
    assert looked_for(panel, 0) == {"vessel"}
    assert ticks(tree) == {"organ": "no", "head": "no", "tail": "no", "vessel": "yes"}


def test_a_whole_drawn_without_parts_is_ticked_and_its_parts_are_not(panel):
    a_small_study()
    select(panel, 2)
    assert ticks(panel.ui.lookedForTree) == {"organ": "yes", "head": "no", "tail": "no", "vessel": "yes"}


def test_structures_are_ticked_by_the_space_bar(panel):
    a_small_study()
    select(panel, 0)
    click_item(panel.ui.lookedForTree, "vessel")
    press(panel.ui.lookedForTree, Qt.Key.Key_Space)
    assert looked_for(panel, 0) == {"head", "tail"}


def test_all_and_only_what_is_drawn_are_one_click_each(panel):
    generator = np.random.default_rng(1)
    a_drawn_scan(generator, "Ann", ("head", "tail"))
    a_drawn_scan(generator, "Bob", ("organ", "vessel"))
    process_events()
    select(panel, 0)
    assert looked_for(panel, 0) == {"head", "tail"}
    click(panel.ui.lookedForAllButton)
    assert set(ticks(panel.ui.lookedForTree).values()) == {"yes"}
    click(panel.ui.lookedForDrawnButton)
    assert looked_for(panel, 0) == {"head", "tail"}
    select(panel, 1)
    tick_item(panel.ui.lookedForTree, "vessel")
    click(panel.ui.lookedForAllButton)
    # The coarse outline of the organ says nothing of its parts.
    assert ticks(panel.ui.lookedForTree) == {"organ": "yes", "head": "no", "tail": "no", "vessel": "yes"}


def test_the_ticks_go_to_all_cases_with_the_same_structures_and_to_no_other(panel):
    a_small_study()
    select(panel, 0)
    before = looked_for(panel, 2)
    tick_item(panel.ui.lookedForTree, "vessel")
    click(panel.ui.lookedForSameButton)
    assert looked_for(panel, 0) == looked_for(panel, 1) == {"head", "tail"}
    assert looked_for(panel, 2) == before
    assert panel.panel.view.cases[3].lookedFor == ()


def test_a_meaning_is_said_of_the_case_that_is_shown_also_when_another_has_just_left_the_scene(panel):
    gone, _segmentation = a_drawn_scan(np.random.default_rng(1), "Ann", ("head", "tail"))
    a_drawn_scan(np.random.default_rng(2), "Bob", ("organ", "vessel"))
    a_drawn_scan(np.random.default_rng(3), "Cem", ("organ", "vessel"))
    process_events()
    select(panel, 1)
    # As a script does: no control returns to Slicer, so the panel still shows three cases.
    slicer.mrmlScene.RemoveNode(gone)
    panel.panel.labels.changeMeanings({"id vessel": LEFT_OUT})
    process_events()
    assert [case.id for case in panel.panel.view.cases] == ["Bob", "Cem"]
    assert [case.meanings["id vessel"] for case in panel.panel.view.cases] == [LEFT_OUT, "vessel"]


def test_a_meaning_of_a_case_that_has_just_left_the_scene_is_said_of_no_other(panel):
    a_drawn_scan(np.random.default_rng(1), "Ann", ("organ", "vessel"))
    gone, _segmentation = a_drawn_scan(np.random.default_rng(2), "Bob", ("organ", "vessel"))
    process_events()
    select(panel, 1)
    slicer.mrmlScene.RemoveNode(gone)
    panel.panel.labels.changeMeanings({"id vessel": LEFT_OUT})
    process_events()
    assert [(case.id, case.meanings["id vessel"]) for case in panel.panel.view.cases] == [("Ann", "vessel")]


def a_doubtful_study(panel, tmp_path):
    path = tmp_path / "scheme.json"
    write_scheme(scenes.SCHEME, path)
    generator = np.random.default_rng(2)
    for name, spelling in (("Ann", "Vesssel"), ("Bob", "Vesssel"), ("Cid", "blob")):
        _, node = a_drawn_scan(generator, name, ("head", "tail", "vessel"))
        rename(node, "vessel", spelling)
        rename(node, "tail", f"tail of {name}")
    panel.panel.parameters.schemeSource = str(path)
    process_events()


def test_doubtful_segments_are_proposed_with_their_reason_and_accepted_in_one_click(panel, tmp_path, screenshot):
    a_doubtful_study(panel, tmp_path)
    select(panel, 0)
    words = panel.ui.suggestionsLabel.text
    assert "Vesssel → vessel (the names are alike)" in words
    assert "tail of Ann → tail (its name contains it)" in words
    with alone(panel, panel.ui.labelsSection) as section:
        screenshot("labels_proposals", section)
    click(panel.ui.acceptSuggestionsButton)
    assert column(panel.ui.meaningsTable, 1) == ["head", "tail", "vessel"]
    assert not panel.ui.suggestionsFrame.visible
    assert 0 not in panel.panel.view.rowProblems
    select(panel, 1)
    assert "Vesssel → vessel (as in another case)" in panel.ui.suggestionsLabel.text


def test_proposals_are_accepted_in_all_cases_and_what_is_like_nothing_stays_open(panel, tmp_path):
    a_doubtful_study(panel, tmp_path)
    select(panel, 0)
    click(panel.ui.acceptEverywhereButton)
    assert [case.meanings["id tail"] for case in panel.panel.view.cases] == ["tail"] * 3
    assert [case.meanings["id vessel"] for case in panel.panel.view.cases] == ["vessel", "vessel", ""]
    assert panel.panel.view.rowProblems == {2: "say what 1 of its segments are"}


def test_what_one_file_means_by_a_number_is_proposed_for_files_with_the_same_numbers_alone(panel):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    for name, count in (("Ann", 2), ("Bob", 2), ("Cid", 1), ("Dan", 1)):
        volume = scenes.a_volume(generator, name=name)
        drawn = {f"label {number}": masks[kind] for number, kind in enumerate(("head", "tail")[:count], 1)}
        scenes.a_segmentation(volume, drawn, name=f"{name} labels")
    process_events()
    assert "'label 1' is only a number" in panel.ui.casesSummaryLabel.text
    choose(panel.ui.schemeComboBox, "hippocampus")
    assert panel.ui.casesSummaryLabel.text == "4 cases: 4 unclear"
    select(panel, 0)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "anterior")
    choose(panel.ui.meaningsTable.cellWidget(1, 1), "posterior")
    assert panel.ui.casesSummaryLabel.text == "4 cases: 1 fine, 3 unclear"
    assert panel.ui.methodReasonLabel.text == "Not clear yet for 3 of the ticked cases: see Check above."
    select(panel, 2)
    assert not panel.ui.suggestionsFrame.visible
    select(panel, 1)
    assert "label 1 → anterior (as in another case)" in panel.ui.suggestionsLabel.text
    click(panel.ui.acceptEverywhereButton)
    assert column(panel.ui.casesTable, 2) == ["fine", "fine", "unclear", "unclear"]
    select(panel, 2)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "hippocampus")
    select(panel, 3)
    click(panel.ui.acceptEverywhereButton)
    assert panel.ui.casesSummaryLabel.text == "4 cases: 2 fine, 2 coarse"
    assert panel.ui.methodReasonLabel.text.startswith("2 cases have every structure drawn")


def test_nothing_is_proposed_of_a_name_on_which_other_cases_disagree(panel):
    generator = np.random.default_rng(0)
    masks = scenes.blobs(generator)
    for name in ("Ann", "Bob", "Cid"):
        volume = scenes.a_volume(generator, name=name)
        scenes.a_segmentation(volume, {"mine": masks["head"]}, name=f"{name} labels")
    process_events()
    choose(panel.ui.schemeComboBox, "hippocampus")
    for row, meaning in ((0, "anterior"), (1, "posterior")):
        select(panel, row)
        choose(panel.ui.meaningsTable.cellWidget(0, 1), meaning)
    select(panel, 2)
    assert not panel.ui.suggestionsFrame.visible


def test_codes_that_contradict_a_name_are_asked_and_proposed(panel, tmp_path):
    from SemiSegLib.labels.terminology import to_slicer_string

    path = tmp_path / "scheme.json"
    write_scheme(scenes.SCHEME, path)
    _, node = a_drawn_scan(np.random.default_rng(3), "Ann", ("head", "tail"))
    segment = node.GetSegmentation().GetSegment("id tail")
    segment.SetTag(segment.GetTerminologyEntryTagName(), to_slicer_string(scenes.SCHEME.find("vessel").terminology))
    panel.panel.parameters.schemeSource = str(path)
    process_events()
    select(panel, 0)
    assert column(panel.ui.meaningsTable, 1) == ["head", "choose..."]
    assert "tail → vessel (by its standard term, not by its name)" in panel.ui.suggestionsLabel.text


def test_nothing_that_is_said_of_labels_touches_the_segmentation(panel, tmp_path):
    a_doubtful_study(panel, tmp_path)
    nodes = [slicer.util.getNode(f"{name} drawn") for name in ("Ann", "Bob", "Cid")]
    before = [scenes.digest(node) for node in nodes]
    select(panel, 0)
    click(panel.ui.acceptEverywhereButton)
    click(panel.ui.lookedForAllButton)
    click(panel.ui.lookedForSameButton)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "(left out)")
    assert [scenes.digest(node) for node in nodes] == before


def test_what_was_said_of_labels_goes_with_them_when_others_take_their_place(panel):
    volumes = a_small_study()
    select(panel, 0)
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    click(panel.ui.lookedForAllButton)
    choose(panel.ui.caseStateComboBox, "done")
    choose(panel.ui.regionComboBox, "the slices that hold a segment")
    choose(panel.ui.regionSegmentComboBox, "head")
    assert 0 not in panel.panel.view.rowProblems
    # The IDs of its segments are the same.
    other = scenes.a_segmentation(volumes["Ann"], scenes.blobs(np.random.default_rng(5)), name="Ann again")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Ann drawn"))
    process_events()
    row = panel.panel.parameters.rows()[0]
    assert row.segmentation is other
    assert (row.meanings, row.lookedFor, row.overlapRules, row.state) == ({}, None, [], "")
    assert panel.panel.view.rowProblems[0] == "name the slices that were annotated"


def test_the_slices_that_were_named_stay_when_other_labels_take_the_place_of_a_case_s_own(panel):
    volumes = a_small_study()
    select(panel, 0)
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "1-3")
    scenes.a_segmentation(volumes["Ann"], scenes.blobs(np.random.default_rng(5)), name="Ann again")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Ann drawn"))
    process_events()
    assert panel.panel.view.cases[0].segmentation.GetName() == "Ann again"
    assert panel.panel.view.cases[0].region.ranges == ((1, 3),)


def test_what_was_said_of_a_deleted_segment_is_not_said_of_a_new_one_with_its_id(panel):
    a_small_study()
    segmentation = slicer.util.getNode("Ann drawn").GetSegmentation()
    select(panel, 0)
    choose(panel.ui.meaningsTable.cellWidget(0, 1), "organ")
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    segmentation.RemoveSegment("id vessel")
    process_events()
    assert panel.panel.parameters.rows()[0].meanings == {"id head": "organ"}
    segmentation.AddEmptySegment("id vessel", "vessel")
    process_events()
    assert column(panel.ui.meaningsTable, 1) == ["organ", "tail", "vessel"]


def test_what_was_said_of_segments_survives_the_scene_and_a_segmentation_that_was_not_read(panel, tmp_path):
    a_small_study()
    select(panel, 0)
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    reopen_scene(tmp_path / "scene.mrb")
    assert panel.panel.parameters.rows()[0].meanings == {"id vessel": LEFT_OUT}
    # As it is if its file is missing.
    slicer.util.getNode("Ann drawn").GetSegmentation().RemoveAllSegments()
    process_events()
    assert panel.panel.parameters.rows()[0].meanings == {"id vessel": LEFT_OUT}


def test_the_segmentation_that_is_chosen_can_be_chosen_again_and_nothing_is_forgotten(panel):
    volumes = a_small_study()
    scenes.a_segmentation(volumes["Ann"], scenes.blobs(np.random.default_rng(5)), name="Ann again")
    process_events()
    select(panel, 0)
    choose(panel.ui.meaningsTable.cellWidget(2, 1), "(left out)")
    tick_item(panel.ui.lookedForTree, "head")
    before = panel.panel.parameters.rows()[0]
    choose(panel.ui.caseSegmentationSelector, "Ann drawn")
    assert panel.panel.parameters.rows()[0] == before
    choose(panel.ui.caseSegmentationSelector, "Ann again")
    row = panel.panel.parameters.rows()[0]
    assert (row.segmentation.GetName(), row.meanings, row.lookedFor) == ("Ann again", {}, None)
