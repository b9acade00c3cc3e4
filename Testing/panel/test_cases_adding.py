"""Cases from folders, datasets, dropped files and sequences, loaded while Slicer goes on."""

import time
from dataclasses import replace

import numpy as np
import qt
import SimpleITK as sitk
import slicer
import vtk

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.schemes import write_scheme
from SemiSegModule.bridge import case_import
from Testing.bridge import scenes
from Testing.host.interaction import click, click_cell, drop_files, process_events, wait_until
from Testing.panel.studies import a_small_study, column

CASE, SEGMENTATION, LABELS, STATE, SIDE, CHECK, PATIENT = range(7)


def an_image(voxels):
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.9, 3.0))
    image.SetOrigin((-12.0, 5.0, 40.0))
    return image


def a_folder(root):
    """Two scans with labels in a folder of their own, one without, and labels of nobody."""
    generator = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for name in ("P1", "P2", "P3"):
        sitk.WriteImage(
            an_image(generator.integers(0, 99, (5, 8, 11)).astype(np.int16)), root / f"images/{name}.nii.gz"
        )
    for name in ("P1", "P2", "P9"):
        labels = np.zeros((5, 8, 11), np.uint8)
        labels[1:3, 2:5, 3:7] = 2
        sitk.WriteImage(an_image(labels), root / f"labels/{name}_seg.nii.gz")
    return root


def loaded(panel):
    wait_until(lambda: not panel.panel.cases.loading.isBusy, what="everything is loaded")
    process_events()


def test_a_folder_is_added_with_its_labels_and_what_was_left_is_told(host, panel, tmp_path):
    host.dialogs.choose_path(str(a_folder(tmp_path)))
    click(panel.ui.addFolderButton)
    assert panel.ui.importFrame.visible
    loaded(panel)
    assert not panel.ui.importFrame.visible
    table = panel.ui.casesTable
    assert column(table, CASE) == ["P1", "P2", "P3"]
    assert column(table, SEGMENTATION) == ["P1 labels", "P2 labels", "(none)"]
    assert column(table, STATE) == ["done", "done", "untouched"]
    (message,) = host.dialogs.shown("error")
    assert "P9_seg.nii.gz" in message
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(
        slicer.util.getNode("P1 labels"), "label 2", slicer.util.getNode("P1")
    )
    stored = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "labels/P1_seg.nii.gz"))
    assert np.array_equal(drawn > 0, stored == 2)


def test_a_dataset_is_added_with_meanings_sides_and_patients(host, panel, tmp_path):
    dataset = write_cohort(tmp_path, fine=2, coarse=1, partial=1, none=1, validation=1, size=(10, 16, 14))
    host.dialogs.choose_path(str(tmp_path / "dataset.json"))
    click(panel.ui.addDatasetButton)
    loaded(panel)
    table = panel.ui.casesTable
    assert column(table, CASE) == [case.id for case in dataset.cases]
    assert panel.panel.parameters.channels == list(dataset.channels)
    regimes = [case.regime(dataset.scheme).value for case in dataset.cases]
    words = {"full": "fine", "coarse": "coarse", "partial": "partial", "none": "none"}
    assert column(table, LABELS) == [words[regime] for regime in regimes]
    assert [case.side for case in panel.panel.view.cases] == [
        case.split.value if case.split else None for case in dataset.cases
    ]


def a_described_case(root, labels, **more):
    """A dataset of one case with a label image of head (1), vessel (2) and what may be either (3)."""
    sitk.WriteImage(an_image(np.zeros(labels.shape, np.int16)), root / "scan.nii.gz")
    sitk.WriteImage(an_image(labels.astype(np.uint8)), root / "labels.nii.gz")
    values = {0: ("background",), 1: ("head",), 2: ("vessel",), 3: ("head", "vessel")}
    annotation = Annotation(file="labels.nii.gz", values=values)
    case = Case(id="Ann", patient="Ann", images=dict.fromkeys(more.get("channels", ["image"]), "scan.nii.gz"))
    dataset = Dataset(
        name="study",
        scheme=scenes.SCHEME,
        channels=tuple(case.images),
        cases=(replace(case, annotation=annotation),),
        root=root,
        modality=dict.fromkeys(case.images, "MR"),
    )
    save_dataset(dataset, root / "dataset.json")
    write_scheme(scenes.SCHEME, root / "scheme.json")


def test_an_annotated_case_in_which_nothing_was_found_is_no_unlabeled_one(panel, tmp_path):
    a_described_case(tmp_path, np.zeros((5, 8, 11)))
    panel.panel.cases.openScheme(str(tmp_path / "scheme.json"))
    drop_files(panel.ui.casesTable.viewport(), [tmp_path / "dataset.json"])
    loaded(panel)
    panel.panel.cases.openScheme(str(tmp_path / "scheme.json"))
    process_events()
    assert column(panel.ui.casesTable, LABELS) == ["fine"]
    assert panel.panel.view.cases[0].lookedFor == ("organ", "vessel")


def test_labels_that_no_segment_can_say_are_told(host, panel, tmp_path):
    labels = np.zeros((5, 8, 11))
    labels[1], labels[2, 3] = 1, 3
    a_described_case(tmp_path, labels)
    drop_files(panel.ui.casesTable.viewport(), [tmp_path / "dataset.json"])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["Ann"]
    (message,) = host.dialogs.shown("error")
    assert "11 that may be head or vessel" in message


def test_channels_of_a_later_dataset_are_found_by_name_and_half_known_ones_are_refused(host, panel, tmp_path):
    for number, channels in enumerate((("T1", "FLAIR"), ("FLAIR", "T1"), ("FLAIR", "T2"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        a_described_case(folder, np.ones((5, 8, 11)), channels=channels)
        drop_files(panel.ui.casesTable.viewport(), [folder / "dataset.json"])
        loaded(panel)
    assert panel.panel.parameters.channels == ["T1", "FLAIR"]
    for case in panel.panel.view.cases:
        assert [node.GetName() for node in case.volumes.values()] == ["Ann T1", "Ann FLAIR"]
    assert len(panel.panel.view.cases) == 2
    assert "FLAIR, T2" in host.dialogs.shown("error")[0]


def test_files_and_folders_are_dropped_on_the_table(panel, tmp_path):
    root = a_folder(tmp_path)
    assert drop_files(panel.ui.casesTable.viewport(), [root / "images/P3.nii.gz"])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["P3"]
    (root / "labels/P9_seg.nii.gz").unlink()
    (root / "images/P3.nii.gz").unlink()
    assert drop_files(panel.ui.casesTable.viewport(), [root])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["P3", "P1", "P2"]


def test_nothing_is_dropped_while_other_files_are_loaded(panel, tmp_path):
    root = a_folder(tmp_path)
    panel.panel.cases.loading.start([str(root / "images/P3.nii.gz")])
    assert panel.panel.cases.loading.isBusy
    assert not drop_files(panel.ui.casesTable.viewport(), [root / "images/P1.nii.gz"])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["P3"]
    assert drop_files(panel.ui.casesTable.viewport(), [root / "images/P1.nii.gz"])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["P3", "P1"]


def test_what_is_no_scan_is_left_to_slicer(panel, tmp_path):
    for name in ("scene.mrb", "notes.txt"):
        (tmp_path / name).write_text("")
        assert not drop_files(panel.ui.casesTable.viewport(), [tmp_path / name])
    assert not panel.panel.cases.loading.isBusy


def test_a_folder_without_scans_says_what_can_be_read(host, panel, tmp_path):
    (tmp_path / "notes.txt").write_text("no scan")
    assert drop_files(panel.ui.casesTable.viewport(), [tmp_path])
    loaded(panel)
    (message,) = host.dialogs.shown("error")
    assert "no scan was found" in message
    assert "DICOM module" in message


def test_a_damaged_file_is_named_and_the_others_are_loaded(host, panel, tmp_path):
    root = a_folder(tmp_path)
    (root / "labels/P9_seg.nii.gz").unlink()
    (root / "images/P2.nii.gz").write_bytes(b"not an image")
    drop_files(panel.ui.casesTable.viewport(), [root])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == ["P1", "P3"]
    (message,) = host.dialogs.shown("error")
    assert "P2.nii.gz" in message


def test_a_4d_file_is_split_by_choice_and_its_images_are_one_patient(host, panel, tmp_path):
    generator = np.random.default_rng(1)
    frames = [an_image(generator.integers(0, 99, (5, 8, 11)).astype(np.int16)) for _ in range(4)]
    sitk.WriteImage(sitk.JoinSeries(frames), tmp_path / "heart.nii.gz")
    host.dialogs.enter_text("2, 4")
    drop_files(panel.ui.casesTable.viewport(), [tmp_path / "heart.nii.gz"])
    loaded(panel)
    assert "holds 4 images" in host.dialogs.shown("text")[0]
    assert column(panel.ui.casesTable, CASE) == ["heart 2", "heart 4"]
    assert column(panel.ui.casesTable, PATIENT) == ["heart", "heart"]
    for name, frame in (("heart 2", 1), ("heart 4", 3)):
        voxels = slicer.util.arrayFromVolume(slicer.util.getNode(name))
        assert np.array_equal(voxels, sitk.GetArrayFromImage(frames[frame]))


def test_a_4d_file_without_an_answer_adds_nothing(host, panel, tmp_path):
    frames = [an_image(np.zeros((5, 8, 11), np.int16)) for _ in range(3)]
    sitk.WriteImage(sitk.JoinSeries(frames), tmp_path / "heart.nii.gz")
    drop_files(panel.ui.casesTable.viewport(), [tmp_path / "heart.nii.gz"])
    loaded(panel)
    assert column(panel.ui.casesTable, CASE) == []
    assert len(host.dialogs.shown("text")) == 1


def test_loading_can_be_cancelled_and_what_is_there_stays(panel, tmp_path, monkeypatch):
    original = case_import.readFound

    def slow(scan):
        time.sleep(0.05)
        return original(scan)

    monkeypatch.setattr(case_import, "readFound", slow)
    root = a_folder(tmp_path)
    drop_files(panel.ui.casesTable.viewport(), [root])
    wait_until(lambda: panel.ui.casesTable.rowCount == 1, what="the first case is loaded")
    click(panel.ui.cancelImportButton)
    assert not panel.panel.cases.loading.isBusy
    assert not panel.ui.importFrame.visible
    for _ in range(20):
        process_events()
        time.sleep(0.01)
    assert column(panel.ui.casesTable, CASE) == ["P1"]


def test_closing_the_scene_ends_the_loading(panel, tmp_path):
    drop_files(panel.ui.casesTable.viewport(), [a_folder(tmp_path)])
    slicer.mrmlScene.Clear()
    process_events()
    assert not panel.panel.cases.loading.isBusy
    for _ in range(20):
        process_events()
        time.sleep(0.01)
    assert panel.ui.casesTable.rowCount == 0


def test_slicer_answers_while_large_scans_are_loaded(panel, tmp_path):
    generator = np.random.default_rng(2)
    for name in ("A", "B"):
        voxels = generator.integers(0, 3000, (60, 256, 256)).astype(np.int16)
        sitk.WriteImage(an_image(voxels), tmp_path / f"{name}.nrrd")
        labels = np.zeros(voxels.shape, np.uint8)
        labels[10:40, 50:200, 50:200] = 1
        sitk.WriteImage(an_image(labels), tmp_path / f"{name}_seg.nrrd")
    beats = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: beats.append(time.perf_counter()))
    timer.start(5)
    drop_files(panel.ui.casesTable.viewport(), [tmp_path])
    loaded(panel)
    wait_until(lambda: not panel.panel.cases.checks.isBusy, what="checked")
    timer.stop()
    assert column(panel.ui.casesTable, CASE) == ["A", "B"]
    assert max(np.diff(beats)) < 0.2


def a_sequence(name="perfusion", count=4):
    """A sequence of scans with its browser and proxy, as Slicer loads one."""
    generator = np.random.default_rng(3)
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{name} sequence")
    frames = []
    for number in range(count):
        node = slicer.vtkMRMLScalarVolumeNode()
        image = vtk.vtkImageData()
        image.SetDimensions(6, 5, 4)
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        node.SetAndObserveImageData(image)
        node.SetSpacing(1.0, 2.0, 3.0)
        voxels = generator.integers(0, 99, (4, 5, 6)).astype(np.int16)
        slicer.util.updateVolumeFromArray(node, voxels)
        sequence.SetDataNodeAtValue(node, str(number))
        frames.append(voxels)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    proxy.SetName(name)
    process_events()
    return proxy, frames


def test_a_sequence_is_no_case_until_images_of_it_are_chosen(host, panel, screenshot):
    a_small_study()
    proxy, frames = a_sequence()
    assert "perfusion" not in column(panel.ui.casesTable, CASE)
    assert panel.ui.framesLabel.text.startswith("perfusion holds 4 images")
    panel.parent.resize(520, panel.parent.sizeHint.height())
    process_events()
    screenshot("cases_sequence", panel.parent)
    before = scenes.digest(proxy)
    host.dialogs.enter_text("1, 3")
    click(panel.ui.splitFramesButton)
    assert column(panel.ui.casesTable, CASE)[-2:] == ["perfusion 1", "perfusion 3"]
    assert column(panel.ui.casesTable, PATIENT)[-2:] == ["perfusion", "perfusion"]
    assert not panel.ui.framesFrame.visible
    for name, number in (("perfusion 1", 0), ("perfusion 3", 2)):
        node = slicer.util.getNode(name)
        assert np.array_equal(slicer.util.arrayFromVolume(node), frames[number])
        assert node.GetSpacing() == (1.0, 2.0, 3.0)
    assert scenes.digest(proxy) == before


def test_a_wrong_choice_of_images_is_told_and_a_sequence_can_be_left_out(host, panel):
    a_sequence()
    host.dialogs.enter_text("7")
    click(panel.ui.splitFramesButton)
    assert "none of the 4 images" in host.dialogs.shown("error")[0]
    assert panel.ui.framesFrame.visible
    click(panel.ui.ignoreFramesButton)
    assert not panel.ui.framesFrame.visible
    assert panel.ui.casesTable.rowCount == 0


def test_a_dropped_case_is_selected_and_shown_below(panel, tmp_path):
    drop_files(panel.ui.casesTable.viewport(), [a_folder(tmp_path) / "images/P1.nii.gz"])
    loaded(panel)
    click_cell(panel.ui.casesTable, 0, LABELS)
    assert panel.ui.caseTitleLabel.text == "<b>P1</b>"
