"""Cases of several channels: names of channels, images that become one, and what was said of them before."""

import numpy as np
import SimpleITK as sitk
import slicer

from Testing.bridge import scenes
from Testing.host.interaction import (
    choose,
    click,
    click_cell,
    drop_files,
    process_events,
    type_text,
    wait_until,
)
from Testing.panel.studies import a_drawn_scan, a_small_study, column

VOLUME, SEGMENTATION, LABELS = 0, 1, 2


def open_structures(panel):
    panel.ui.structuresSection.collapsed = False
    process_events()


def two_channels(panel):
    """The small study with a further channel that Ann alone has; returns the volumes by name."""
    volumes = a_small_study()
    volumes["Ann FLAIR"] = scenes.a_volume(np.random.default_rng(7), name="Ann FLAIR")
    process_events()
    open_structures(panel)
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    click_cell(panel.ui.casesTable, 0, LABELS)
    click(panel.ui.fixCaseButton)
    return volumes


def test_channels_are_turned_round_by_their_names(host, panel):
    volumes = two_channels(panel)
    choose(panel.ui.regionComboBox, "some slices")
    type_text(panel.ui.slicesEdit, "1-3")
    choose(panel.ui.caseStateComboBox, "partial")
    type_text(panel.ui.channelsEdit, "FLAIR, T1")
    assert "3 cases have no image of channel FLAIR" in host.dialogs.shown("error")[0]
    assert panel.ui.channelsEdit.text == "T1, FLAIR"
    panel.panel.parameters.setRows(panel.panel.parameters.rows()[:1])
    panel.panel.parameters.removedVolumes = [volumes[name] for name in ("Bob", "Cid", "Dan")]
    type_text(panel.ui.channelsEdit, "FLAIR, T1")
    assert column(panel.ui.casesTable, VOLUME) == ["Ann FLAIR"]
    (case,) = panel.panel.view.cases
    assert case.volumes == {"FLAIR": volumes["Ann FLAIR"], "T1": volumes["Ann"]}
    assert case.segmentation is slicer.util.getNode("Ann drawn")
    assert case.state == "partial"
    # Its slices were counted in another scan.
    assert panel.panel.view.rowProblems[0] == "name the slices that were annotated"
    type_text(panel.ui.channelsEdit, "FLAIR")
    assert panel.panel.view.cases[0].volumes == {"FLAIR": volumes["Ann FLAIR"]}
    assert column(panel.ui.casesTable, VOLUME) == ["Ann FLAIR"]
    assert volumes["Ann"] in panel.panel.parameters.removedVolumes
    type_text(panel.ui.channelsEdit, "T2 FLAIR")
    assert panel.panel.view.cases[0].volumes == {"T2 FLAIR": volumes["Ann FLAIR"]}


def test_channels_that_are_being_typed_outlive_a_refresh_and_end_with_their_scene(host, panel):
    a_small_study()
    open_structures(panel)
    edit = panel.ui.channelsEdit
    edit.setFocus()
    edit.text = "T1, FL"
    panel.panel.refresh()
    assert edit.text == "T1, FL"
    slicer.mrmlScene.Clear(0)
    edit.editingFinished.emit()
    process_events()
    assert not host.problems()


def test_what_was_said_of_a_scan_goes_with_it_when_it_becomes_a_channel(panel):
    volumes = a_small_study()
    generator = np.random.default_rng(7)
    flair, drawn = a_drawn_scan(generator, "Dan FLAIR", ("head", "vessel"))
    process_events()
    row = column(panel.ui.casesTable, VOLUME).index("Dan FLAIR")
    click_cell(panel.ui.casesTable, row, LABELS)
    panel.panel.labels.change(lookedFor=["head"])
    choose(panel.ui.caseSideComboBox, "validation")
    type_text(panel.ui.casePatientEdit, "P 4")
    open_structures(panel)
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    row = column(panel.ui.casesTable, VOLUME).index("Dan")
    click_cell(panel.ui.casesTable, row, LABELS)
    click(panel.ui.fixCaseButton)
    case = panel.panel.view.cases[row]
    assert case.volumes == {"T1": volumes["Dan"], "FLAIR": flair}
    assert case.segmentation is drawn
    assert (case.lookedFor, case.side, case.patient) == (("head",), "validation", "P 4")


def test_a_segmentation_of_a_further_channel_labels_its_case(panel):
    volumes = two_channels(panel)
    dan = scenes.a_volume(np.random.default_rng(8), name="Dan FLAIR")
    process_events()
    click_cell(panel.ui.casesTable, 3, LABELS)
    choose(panel.panel.cases.details.channelSelector("FLAIR"), "Dan FLAIR")
    drawn = scenes.a_segmentation(dan, scenes.blobs(np.random.default_rng(9)), name="drawn")
    process_events()
    assert panel.panel.view.cases[3].volumes["T1"] is volumes["Dan"]
    assert panel.panel.view.cases[3].segmentation is drawn


def test_a_scan_is_never_two_channels_of_its_own_case(panel):
    a_small_study()
    open_structures(panel)
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    click_cell(panel.ui.casesTable, 0, LABELS)
    choose(panel.panel.cases.details.channelSelector("FLAIR"), "Ann")
    assert column(panel.ui.casesTable, VOLUME) == ["Ann", "Bob", "Cid", "Dan"]
    assert column(panel.ui.casesTable, SEGMENTATION)[0] == "Ann drawn"
    assert "FLAIR" not in panel.panel.view.cases[0].volumes


def test_a_folder_leaves_the_channels_as_they_were_typed_and_each_case_asks_for_the_others(panel, tmp_path):
    for name in ("Ann T1", "Ann FLAIR", "Bob T1"):
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 8, 11), np.int16)), tmp_path / f"{name}.nii.gz")
    open_structures(panel)
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    drop_files(panel.ui.casesTable.viewport(), [tmp_path])
    assert not panel.ui.channelsEdit.enabled
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="everything is loaded")
    process_events()
    assert panel.ui.channelsEdit.enabled
    assert panel.panel.parameters.channels == ["T1", "FLAIR"]
    assert column(panel.ui.casesTable, VOLUME) == ["Ann FLAIR", "Ann T1", "Bob T1"]
    click_cell(panel.ui.casesTable, 2, LABELS)
    assert "The volume of channel FLAIR is missing" in panel.ui.caseCheckLabel.text
    assert not panel.ui.fixCaseButton.visible
    click_cell(panel.ui.casesTable, 1, LABELS)
    assert panel.ui.fixCaseButton.text == "Use Ann FLAIR"
    click(panel.ui.fixCaseButton)
    assert column(panel.ui.casesTable, VOLUME) == ["Ann T1", "Bob T1"]
    assert panel.panel.view.cases[0].volumes["FLAIR"].GetName() == "Ann FLAIR"
