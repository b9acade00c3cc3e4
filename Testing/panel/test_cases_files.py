"""Files that need a word before they become cases: channels by number, labels of 4-D files, DICOM."""

import time

import numpy as np
import SimpleITK as sitk

from SemiSegModule.panel import case_drop
from Testing.host.interaction import click, click_cell, drop_files, process_events, type_text, wait_until
from Testing.panel.studies import a_small_study, column

CASE, SEGMENTATION, LABELS = 0, 1, 2


def put(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.full((5, 8, 11), value, np.int16)), path)


def put_frames(path, count):
    frames = [sitk.GetImageFromArray(np.full((5, 8, 11), number + 1, np.uint8)) for number in range(count)]
    sitk.WriteImage(sitk.JoinSeries(frames), path)


def put_dicom(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(20))


def drop(panel, *paths):
    taken = drop_files(panel.ui.casesTable.viewport(), paths)
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="everything is loaded")
    process_events()
    return taken


def channel_names(panel):
    return [{role: node.GetName() for role, node in case.volumes.items()} for case in panel.panel.view.cases]


def test_numbered_files_become_the_channels_that_the_study_has(host, panel, tmp_path):
    for name in ("Ann_0000", "Ann_0001", "Bob_0000", "Bob_0001"):
        put(tmp_path / f"imagesTr/{name}.nii.gz")
    put(tmp_path / "labelsTr/Ann.nii.gz", 1)
    panel.ui.structuresSection.collapsed = False
    process_events()
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    drop(panel, tmp_path)
    assert channel_names(panel) == [
        {"T1": "Ann T1", "FLAIR": "Ann FLAIR"},
        {"T1": "Bob T1", "FLAIR": "Bob FLAIR"},
    ]
    assert column(panel.ui.casesTable, SEGMENTATION) == ["Ann labels", "(none)"]
    assert host.dialogs.shown("confirm") == host.dialogs.shown("error") == []


def test_a_study_of_one_channel_is_asked_and_gets_the_others(host, panel, tmp_path):
    for name in ("Ann_0000", "Ann_0001", "Ann_0002", "Bob_0000", "Bob_0002"):
        put(tmp_path / f"{name}.nii.gz")
    drop(panel, tmp_path)
    (question,) = host.dialogs.shown("confirm")
    assert "_0000 to _0002" in question
    assert "image, channel 1, channel 2" in question
    assert panel.panel.parameters.channels == ["image", "channel 1", "channel 2"]
    assert channel_names(panel) == [
        {"image": "Ann image", "channel 1": "Ann channel 1", "channel 2": "Ann channel 2"},
        {"image": "Bob image", "channel 2": "Bob channel 2"},
    ]
    click_cell(panel.ui.casesTable, 1, LABELS)
    assert "The volume of channel channel 1 is missing" in panel.ui.caseCheckLabel.text


def test_numbered_files_that_are_no_channels_stay_cases(host, panel, tmp_path):
    for name in ("scan_0000", "scan_0001"):
        put(tmp_path / f"{name}.nii.gz")
    host.dialogs.answer(False)
    drop(panel, tmp_path)
    assert column(panel.ui.casesTable, CASE) == ["scan_0000", "scan_0001"]
    assert panel.panel.parameters.channels == ["image"]


def test_a_channel_without_the_first_is_told_and_the_cases_of_before_ask_for_theirs(host, panel, tmp_path):
    a_small_study()
    for name in ("Eve_0000", "Eve_0001", "Flo_0001"):
        put(tmp_path / f"{name}.nii.gz")
    drop(panel, tmp_path)
    assert "Flo_0001.nii.gz: the image of the first channel (_0000) is not beside it" in host.dialogs.shown("error")[0]
    assert column(panel.ui.casesTable, CASE) == ["Ann", "Bob", "Cid", "Dan", "Eve image"]
    click_cell(panel.ui.casesTable, 3, LABELS)
    assert "The volume of channel channel 1 is missing" in panel.ui.caseCheckLabel.text


def test_labels_of_a_4d_file_are_split_with_it(host, panel, tmp_path):
    put_frames(tmp_path / "heart.nii.gz", 4)
    put_frames(tmp_path / "heart_seg.nii.gz", 4)
    host.dialogs.enter_text("2, 4")
    drop(panel, tmp_path)
    assert "Its labels come along" in host.dialogs.shown("text")[0]
    assert column(panel.ui.casesTable, SEGMENTATION) == ["heart 2 labels", "heart 4 labels"]
    assert [row.segmentation.GetSegmentation().GetNthSegmentID(0) for row in panel.panel.view.rows] == [
        "label 2",
        "label 4",
    ]


def test_labels_of_one_image_are_asked_for_their_image(host, panel, tmp_path):
    put_frames(tmp_path / "heart.nii.gz", 4)
    put(tmp_path / "heart_seg.nii.gz", 1)
    # A wrong answer asks both again.
    host.dialogs.enter_text("1, 3", "2", "1, 3", "3")
    drop(panel, tmp_path)
    assert "image 2 was not chosen" in host.dialogs.shown("error")[0]
    assert "heart_seg.nii.gz has labels of one image" in host.dialogs.shown("text")[1]
    assert column(panel.ui.casesTable, SEGMENTATION) == ["(none)", "heart 3 labels"]


def test_labels_that_fit_no_image_of_a_4d_file_are_told(host, panel, tmp_path):
    put_frames(tmp_path / "heart.nii.gz", 4)
    put_frames(tmp_path / "heart_seg.nii.gz", 3)
    host.dialogs.enter_text("all")
    drop(panel, tmp_path)
    assert column(panel.ui.casesTable, SEGMENTATION) == ["(none)"] * 4
    (message,) = host.dialogs.shown("error")
    assert "it holds labels of 3 images, heart.nii.gz holds 4 images" in message


def test_dicom_is_left_to_slicer_which_keeps_the_patient(panel, tmp_path):
    put_dicom(tmp_path / "P1/series/IM0001")
    assert not drop(panel, tmp_path)
    assert not drop(panel, tmp_path / "P1/series/IM0001")
    # Whoever has scans beside it wants those.
    put(tmp_path / "P2/scan.nrrd")
    assert drop(panel, tmp_path)
    assert column(panel.ui.casesTable, CASE) == ["scan"]


def test_a_folder_of_dicom_that_was_chosen_says_how_to_load_it(host, panel, tmp_path):
    put_dicom(tmp_path / "P1/series/IM0001")
    host.dialogs.choose_path(str(tmp_path))
    click(panel.ui.addFolderButton)
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="it was looked at")
    (message,) = host.dialogs.shown("error")
    assert "these are DICOM files" in message
    assert "DICOM module" in message


def test_a_slow_folder_is_not_waited_for_in_a_drag(panel, moment, monkeypatch, tmp_path):
    moment()
    put(tmp_path / "scan.nrrd")
    monkeypatch.setattr(case_drop, "isDicom", lambda *_what: time.sleep(1.0) or True)
    begin = time.monotonic()
    assert drop_files(panel.ui.casesTable.viewport(), [tmp_path])
    assert time.monotonic() - begin < 0.9
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="everything is loaded")
    assert column(panel.ui.casesTable, CASE) == ["scan"]
