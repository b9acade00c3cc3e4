"""Which files of a folder belong together."""

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.case_import import planImport
from SemiSegModule.bridge.folder_files import findFiles, numberedChannels
from SemiSegModule.bridge.folder_import import chooseFrames, readFound, scansOf


def write(path, voxels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8) if voxels is None else voxels)
    sitk.WriteImage(image, path)


def find(*paths, channels=()):
    return scansOf(findFiles(list(paths)), channels)


def found(*paths):
    scans, left = find(*paths)
    return {scan.id: (scan.labels and scan.labels.name, scan.patient) for scan in scans}, tuple(f.name for f in left)


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


def write_frames(path, count, first=0):
    """A 4-D file of which each image holds its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [sitk.GetImageFromArray(np.full((3, 4, 5), first + number, np.uint8)) for number in range(count)]
    sitk.WriteImage(sitk.JoinSeries(frames), path)


def test_images_of_a_4d_file_are_counted_from_one(tmp_path):
    write_frames(tmp_path / "heart.nrrd", 3)
    scans, _left = find(tmp_path)
    assert [scan.frames for scan in scans] == [3]
    with pytest.raises(CaseError, match="4-D"):
        readFound(scans[0])
    chosen = chooseFrames(scans, "2-3")
    assert [(scan.id, scan.patient) for scan in chosen] == [("heart 2", "heart"), ("heart 3", "heart")]
    assert [int(readFound(scan).volumes["image"].voxels.max()) for scan in chosen] == [1, 2]
    assert chooseFrames(scans, "") == ()
    for wrong in ("0", "4", "3-2", "two"):
        with pytest.raises(CaseError, match="none of the 3 images"):
            chooseFrames(scans, wrong)


def test_labels_of_as_many_images_are_split_with_the_scan(tmp_path):
    write_frames(tmp_path / "heart.nrrd", 3)
    write_frames(tmp_path / "heart_seg.nrrd", 3, first=5)
    plan = planImport([tmp_path]).withFrames("1, 3")
    assert plan.leftOut == ()
    drawn = [readFound(scan).drawn for scan in plan.scans]
    assert [[segment.value for segment in one.segments] for one in drawn] == [[5], [7]]


@pytest.mark.parametrize(
    ("text", "labelsOf", "labeled"),
    [("2", None, [2]), ("1-3", 3, [3]), ("1-3", None, [])],
    ids=["of the only one", "of the one that is named", "of nobody knows which"],
)
def test_labels_of_one_image_belong_to_it_or_are_left_out_with_a_word(tmp_path, text, labelsOf, labeled):
    write_frames(tmp_path / "heart.nii.gz", 3)
    write(tmp_path / "heart_seg.nii.gz")
    plan = planImport([tmp_path]).withFrames(text, labelsOf)
    assert [scan.frame + 1 for scan in plan.scans if scan.labels] == labeled
    assert len(plan.leftOut) == (not labeled)
    assert all("nobody has said to which image of heart.nii.gz" in why for why in plan.leftOut)


def test_labels_of_another_number_of_images_are_left_out_with_a_word(tmp_path):
    write_frames(tmp_path / "heart.nrrd", 3)
    write_frames(tmp_path / "heart_seg.nrrd", 2)
    plan = planImport([tmp_path]).withFrames("all")
    assert [scan.labels for scan in plan.scans] == [None, None, None]
    assert "heart_seg.nrrd: it holds labels of 2 images, heart.nrrd holds 3 images" in plan.leftOut[0]
    assert planImport([tmp_path]).withFrames("").leftOut == ()


def test_labels_are_of_an_image_that_was_chosen(tmp_path):
    write_frames(tmp_path / "heart.nrrd", 3)
    write(tmp_path / "heart_seg.nrrd")
    with pytest.raises(CaseError, match="image 3 was not chosen"):
        planImport([tmp_path]).withFrames("1, 2", 3)


def test_numbered_files_are_channels_of_one_scan_with_the_labels_of_its_name(tmp_path):
    for number, name in enumerate(("Ann_0000", "Ann_0001", "Bob_0000", "Bob_0001")):
        write(tmp_path / f"images/{name}.nii.gz", np.full((3, 4, 5), number, np.uint8))
    write(tmp_path / "labels/Ann.nii.gz")
    plan = planImport([tmp_path])
    assert plan.numbered == 2
    plan = plan.withChannels(["T1", "FLAIR"])
    assert [(scan.id, scan.labels and scan.labels.name) for scan in plan.scans] == [
        ("Ann", "Ann.nii.gz"),
        ("Bob", None),
    ]
    assert (plan.channels, plan.leftOut) == (("T1", "FLAIR"), ())
    read = readFound(plan.scans[1]).volumes
    assert {role: int(volume.voxels.max()) for role, volume in read.items()} == {"T1": 2, "FLAIR": 3}


def test_a_channel_that_is_missing_is_left_open_and_one_without_the_first_is_told(tmp_path):
    for name in ("Ann_0000", "Ann_0002", "Bob_0000", "Bob_0001", "Cid_0001"):
        write(tmp_path / f"{name}.nii.gz")
    write(tmp_path / "Dan.nii.gz")
    plan = planImport([tmp_path]).withChannels(["T1", "FLAIR", "T2"])
    assert {scan.id: tuple(scan.images) for scan in plan.scans} == {
        "Ann": ("T1", "T2"),
        "Bob": ("T1", "FLAIR"),
        "Dan": ("T1",),
    }
    assert plan.leftOut == ("Cid_0001.nii.gz: the image of the first channel (_0000) is not beside it",)


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (("p_0000", "p_0001"), 2),
        (("p_0000", "p_0001", "p_0000_seg"), 0),
        (("p_0001", "p_0002"), 0),
        (("p_0000", "p_0012"), 0),
        (("p_0000", "q_0000"), 0),
        (("p_0000", "q_0000", "p_seg"), 1),
        (("p_1", "p_2"), 0),
    ],
)
def test_numbers_are_those_of_channels_only_where_they_can_be(tmp_path, names, count):
    for name in names:
        write(tmp_path / f"{name}.nrrd")
    assert numberedChannels(findFiles([tmp_path])) == count


def test_the_number_of_the_only_channel_does_not_part_a_scan_from_its_labels(tmp_path):
    for name in ("imagesTr/Ann_0000.nii.gz", "labelsTr/Ann.nii.gz", "imagesTr/Bob_0000.nii.gz", "labelsTr/Bob.nii.gz"):
        write(tmp_path / name)
    plan = planImport([tmp_path])
    assert [(scan.id, scan.labels.name) for scan in plan.scans] == [("Ann", "Ann.nii.gz"), ("Bob", "Bob.nii.gz")]
    assert (plan.channels, plan.leftOut) == (("image",), ())


def test_a_label_image_becomes_one_segment_a_value(tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3] = 3
    labels[2, 2] = 7
    write(tmp_path / "a.nrrd")
    write(tmp_path / "a_seg.nrrd", labels)
    (scan,), _loose = find(tmp_path)
    drawn = readFound(scan).drawn
    assert [(segment.name, segment.value) for segment in drawn.segments] == [("label 3", 3), ("label 7", 7)]
    assert np.array_equal(drawn.layers[0][0], labels)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(CaseError, match="no scan was found"):
        find(tmp_path)


def test_a_folder_of_dicom_is_refused_by_its_name(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/IM0001").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(CaseError, match="these are DICOM files"):
        find(tmp_path)


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
    scans, loose = find(tmp_path)
    assert loose == ()
    taken = [scan.labels and scan.labels.relative_to(tmp_path).as_posix() for scan in scans]
    assert taken == ["one/scan_seg.nrrd", "two/scan_seg.nrrd", None]


@pytest.mark.parametrize("above", ["", "images/", "training/"])
def test_all_scans_below_the_folder_of_a_patient_are_of_that_patient(tmp_path, above):
    names = ("P01/pre/scan.nrrd", "P01/post/scan.nrrd", "P02/scan.nrrd")
    for name in names:
        write(tmp_path / above / name)
    scans, _loose = find(tmp_path)
    patients = {scan.image.relative_to(tmp_path / above).as_posix(): scan.patient for scan in scans}
    assert patients == dict(zip(names, ("P01", "P01", "P02"), strict=True))
    (alone,), _loose = find(tmp_path / above / names[0])
    assert alone.patient == ""
