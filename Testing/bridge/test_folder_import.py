"""Which files of a folder belong together."""

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.folder_import import chooseFrames, findScans, readFound


def write(path, voxels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8) if voxels is None else voxels)
    sitk.WriteImage(image, path)


def found(*paths):
    scans, loose = findScans(list(paths))
    return {scan.id: (scan.labels and scan.labels.name, scan.patient) for scan in scans}, loose


def test_labels_are_found_by_name_beside_the_scan_or_in_their_folder(tmp_path):
    for name in ("images/a.nii.gz", "labels/a.nii.gz", "images/b.mha", "labels/b-label.nrrd", "images/c.nii"):
        write(tmp_path / name)
    assert found(tmp_path) == ({"a": ("a.nii.gz", ""), "b": ("b-label.nrrd", ""), "c": (None, "")}, ())


def test_the_only_labels_beside_the_only_scan_belong_to_it_whatever_their_names(tmp_path):
    for name in ("Ann/T1.nii.gz", "Ann/tumor mask.nii.gz", "Bob/T1.nii.gz"):
        write(tmp_path / name)
    assert found(tmp_path) == ({"Ann T1": ("tumor mask.nii.gz", "Ann"), "Bob T1": (None, "Bob")}, ())


def test_two_scans_in_one_folder_never_take_each_others_labels(tmp_path):
    for name in ("a.nrrd", "b.nrrd", "b_seg.nrrd", "lost_seg.nrrd"):
        write(tmp_path / name)
    assert found(tmp_path) == ({"a": (None, ""), "b": ("b_seg.nrrd", "")}, ("lost_seg.nrrd",))


def test_a_bids_name_says_the_patient(tmp_path):
    write(tmp_path / "sub-07/ses-1/anat/sub-07_ses-1_T1w.nii.gz")
    assert found(tmp_path)[0] == {"sub-07_ses-1_T1w": (None, "sub-07")}


def test_hidden_files_and_other_kinds_are_left_alone(tmp_path):
    for name in (".hidden/a.nrrd", "._b.nrrd"):
        write(tmp_path / "x.nrrd")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "readme.txt").write_text("")
    assert found(tmp_path)[0] == {"x": (None, "")}


def test_labels_of_a_4d_file_are_left_out_and_frames_counted_from_one(tmp_path):
    frames = [sitk.GetImageFromArray(np.full((3, 4, 5), number, np.int16)) for number in range(3)]
    sitk.WriteImage(sitk.JoinSeries(frames), tmp_path / "heart.nrrd")
    write(tmp_path / "heart_seg.nrrd")
    scans, _loose = findScans([tmp_path])
    assert [scan.frames for scan in scans] == [3]
    with pytest.raises(CaseError, match="4-D"):
        readFound(scans[0])
    chosen = chooseFrames(scans, "2-3")
    assert [(scan.id, scan.labels, scan.patient) for scan in chosen] == [
        ("heart 2", None, "heart"),
        ("heart 3", None, "heart"),
    ]
    assert [int(readFound(scan).volumes["image"].voxels.max()) for scan in chosen] == [1, 2]
    assert chooseFrames(scans, "") == ()
    for wrong in ("0", "4", "3-2", "two"):
        with pytest.raises(CaseError, match="none of the 3 images"):
            chooseFrames(scans, wrong)


def test_a_label_image_becomes_one_segment_a_value(tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3] = 3
    labels[2, 2] = 7
    write(tmp_path / "a.nrrd")
    write(tmp_path / "a_seg.nrrd", labels)
    (scan,), _loose = findScans([tmp_path])
    drawn = readFound(scan).drawn
    assert [(segment.name, segment.value) for segment in drawn.segments] == [("label 3", 3), ("label 7", 7)]
    assert np.array_equal(drawn.layers[0][0], labels)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(CaseError, match="no scan was found"):
        findScans([tmp_path])


def test_a_file_called_segmentation_labels_the_scan_beside_it(tmp_path):
    for number, name in enumerate(("segmentation", "seg", "label", "mask")):
        write(tmp_path / f"case_{number}/imaging.nii.gz")
        write(tmp_path / f"case_{number}/{name}.nii.gz")
    scans, loose = found(tmp_path)
    assert loose == ()
    assert [labels for labels, _patient in scans.values()] == [
        f"{name}.nii.gz" for name in ("segmentation", "seg", "label", "mask")
    ]
    assert [patient for _labels, patient in scans.values()] == [f"case_{number}" for number in range(4)]


def test_a_scan_takes_the_labels_beside_it_and_never_those_of_another_folder(tmp_path):
    for name in ("one/scan.nrrd", "one/scan_seg.nrrd", "two/scan.nrrd", "two/scan_seg.nrrd", "without/scan.nrrd"):
        write(tmp_path / name)
    scans, loose = findScans([tmp_path])
    assert loose == ()
    taken = [scan.labels and scan.labels.relative_to(tmp_path).as_posix() for scan in scans]
    assert taken == ["one/scan_seg.nrrd", "two/scan_seg.nrrd", None]


@pytest.mark.parametrize("above", ["", "images/", "training/"])
def test_all_scans_below_the_folder_of_a_patient_are_of_that_patient(tmp_path, above):
    names = ("P01/pre/scan.nrrd", "P01/post/scan.nrrd", "P02/scan.nrrd")
    for name in names:
        write(tmp_path / above / name)
    scans, _loose = findScans([tmp_path])
    patients = {scan.image.relative_to(tmp_path / above).as_posix(): scan.patient for scan in scans}
    assert patients == dict(zip(names, ("P01", "P01", "P02"), strict=True))
    (alone,), _loose = findScans([tmp_path / above / names[0]])
    assert alone.patient == ""
