"""Datasets of our own and of other programs are read as they are, and ours strictly."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.cases.checks import check_dataset
from SemiSegLib.cases.dataset import Side, frame_of
from SemiSegLib.cases.formats import load_dataset, save_dataset
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.labels.label_set import Regime
from Testing.lib.cases.tiny import MEANING, image, labels, oblique, put_case, put_dataset, put_segmentation


def put_json(folder, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def put_images(folder, names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        write_volume(image(seed + number), folder / name)


def put_labels(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        write_volume(labels(number), folder / name)


# Our own format


def test_our_dataset_comes_back_as_it_was_saved(tmp_path):
    entries = [put_case(tmp_path, "a", 1), put_case(tmp_path, "b", 2, annotated=False)]
    entries[0] |= {"split": "train", "patient": "person"}
    entries[0]["annotation"]["extent"] = {"slices": [1, 2], "box": [[0, 0, 0], [3, 4, 4]]}
    dataset = load_dataset(put_dataset(tmp_path, entries, dimensions=3))
    save_dataset(dataset, tmp_path / "again.json")
    assert load_dataset(tmp_path / "again.json") == dataset
    assert dataset.root == tmp_path
    assert [case.regime(dataset.scheme) for case in dataset.cases] == [Regime.PARTIAL, Regime.NONE]
    assert json.loads((tmp_path / "again.json").read_text())["semiseg"] == 1


def test_a_folder_with_its_files_can_be_moved(tmp_path):
    put_dataset(tmp_path / "here", [put_case(tmp_path / "here", "a", 1)])
    (tmp_path / "here").rename(tmp_path / "there")
    dataset = load_dataset(tmp_path / "there")
    assert np.array_equal(read_images(dataset, dataset.cases[0])[0].voxels, image(1).voxels)


def test_a_ready_scheme_can_be_named(tmp_path):
    dataset = load_dataset(put_dataset(tmp_path, [], scheme="hippocampus"))
    assert dataset.scheme.superclass_names[0] == "background"
    assert len(dataset.scheme.leaves) == 3


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"chanels": []}, ConfigError, "did you mean 'channels'"),
        ({"root": "/elsewhere"}, CaseError, "'root' is not a key"),
        ({"semiseg": 2}, CaseError, "format 2"),
        ({"channels": []}, CaseError, "the channels are"),
        ({"channels": ["T1", "T1"]}, CaseError, "the channels are"),
        ({"modality": {"T2": "MR"}}, CaseError, "'modality' is given for"),
        ({"modality": {"T1": "PET"}}, ConfigError, "known names are: CT, MR"),
        ({"dimensions": 4}, CaseError, "'dimensions' is 4"),
        ({"cases": [{"id": "a", "patient": "a", "image": {}}]}, ConfigError, "did you mean 'images'"),
        ({"cases": [{"id": "a", "images": {}}]}, ConfigError, "lacks patient"),
        ({"cases": [{"id": "a", "patient": "a", "images": {}, "split": "tests"}]}, ConfigError, "did you mean 'test'"),
    ],
)
def test_our_format_is_read_strictly(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        load_dataset(put_dataset(tmp_path, [], **changes))


def test_a_missing_or_broken_file_is_explained(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text('{"name": "x",}')
    with pytest.raises(ConfigError, match="not valid JSON"):
        load_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(CaseError, match="not an object"):
        load_dataset(tmp_path)


def test_a_dataset_is_saved_in_its_own_folder_and_never_over_a_foreign_file(tmp_path):
    foreign = put_json(tmp_path / "foreign", {"labels": {"a": 1}})
    (foreign / "images").mkdir()
    dataset = load_dataset(foreign)
    with pytest.raises(CaseError, match="belongs to another program"):
        save_dataset(dataset, foreign)
    with pytest.raises(CaseError, match="relative to its folder"):
        save_dataset(dataset, tmp_path / "dataset.json")
    save_dataset(dataset, foreign / "semiseg.json")
    assert load_dataset(foreign / "semiseg.json") == dataset
    save_dataset(dataset, foreign / "semiseg.json")


@pytest.mark.parametrize(
    "reference", ["../scan.nii", "a/../../scan.nii", "/scan.nii", "C:\\scan.nii", "..\\scan.nii", "", "\\\\server\\x"]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, reference):
    with pytest.raises(CaseError, match=r"leads out of|is empty"):
        load_dataset(put_dataset(tmp_path, [])).path(reference)


def test_a_frame_is_asked_for_behind_a_hash(tmp_path):
    dataset = load_dataset(put_dataset(tmp_path, []))
    assert dataset.path("images/./a/../scan#1.nii.gz#2") == tmp_path / "images" / "scan#1.nii.gz"
    assert frame_of("scan#1.nii.gz#2") == 2
    assert frame_of("scan#1.nii.gz") is None


# Segments by name


def test_segments_are_listed_when_a_dataset_is_loaded_so_that_the_regime_is_known(tmp_path):
    layers = np.zeros((1, *oblique().shape), np.uint8)
    layers[0, 1], layers[0, 2] = 1, 2
    segments = [{"name": "Vessel", "value": 2}, {"name": "ORGAN", "value": 1}]
    put_segmentation(tmp_path / "labels" / "a.seg.nrrd", layers, segments, oblique())
    entry = put_case(tmp_path, "a", 1)
    entry["annotation"] = {"file": "labels/a.seg.nrrd"}
    case = load_dataset(put_dataset(tmp_path, [entry])).cases[0]
    assert case.annotation.segments == {"Vessel": ("vessel",), "ORGAN": ("organ",)}
    assert case.regime(load_dataset(tmp_path).scheme) is Regime.COARSE


# Plain folders


def test_a_plain_folder_is_read_and_what_is_not_understood_is_left_alone(tmp_path):
    put_images(tmp_path / "images", [f"patient{p:03d}_frame{f:02d}.nii.gz" for p in (1, 2, 3) for f in (1, 2)])
    put_labels(tmp_path / "labels", ["patient001_frame01.nii.gz", "patient002_frame01.nii.gz"])
    (tmp_path / "images" / "._patient001_frame01.nii.gz").write_bytes(b"")
    data = {
        "name": "cine",
        "licence": "research",
        "labels": {"background": 0, "head": 1, "tail": 2, "vessel": 3},
        "hierarchy": {"organ": ["head", "tail"]},
        "split": {"train": ["patient001_frame01", "patient001_frame02"], "val": ["patient002_frame01"], "other": [3]},
        "spacing_note": {"anything": [1, 2]},
        "numCases": 6,
    }
    dataset = load_dataset(put_json(tmp_path, data))
    assert dataset.name == "cine"
    assert [case.id for case in dataset.cases][:2] == ["patient001_frame01", "patient001_frame02"]
    assert {case.patient for case in dataset.cases} == {"patient001", "patient002", "patient003"}
    assert len(dataset.side(Side.TRAIN)) == 2
    assert len(dataset.side(Side.VALIDATION)) == 1
    assert {r.value: len(c) for r, c in dataset.by_regime().items()} == {
        "full": 2,
        "coarse": 0,
        "partial": 0,
        "none": 4,
    }
    assert dataset.scheme.superclass_names == ("background", "organ", "vessel")
    codes, table = read_codes(dataset, dataset.cases[0], oblique())
    assert np.array_equal(table.array[codes].argmax(-1), labels(0).voxels)


def test_a_published_order_and_a_list_of_cases_are_kept(tmp_path):
    put_images(tmp_path / "images", ["A.nrrd", "B.nrrd", "C.nrrd"])
    put_labels(tmp_path / "labels", ["A.nrrd", "B.nrrd", "C.nrrd"])
    data = {"labels": {"left atrium": 1}, "split_order": ["C", "A", "B"], "cases": ["A", "B", "C", "D"]}
    dataset = load_dataset(put_json(tmp_path, data | {"labelled_16": ["C"]}))
    assert [case.id for case in dataset.cases] == ["C", "A", "B", "D"]
    assert ("D", "missing_channel") in {(f.case, f.code) for f in check_dataset(dataset)}


def test_the_number_in_the_name_of_a_whole_dataset_is_no_patient(tmp_path):
    names = ["hippocampus_001", "la_003", "sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "case7_slice12", "scan_frame3"]
    put_images(tmp_path / "images", [f"{name}.nii.gz" for name in names])
    dataset = load_dataset(put_json(tmp_path, {"labels": {"a": 1}, "patients": {"la_003": "Q"}}))
    patients = {case.id: case.patient for case in dataset.cases}
    assert [patients[name] for name in names] == ["hippocampus_001", "Q", "sub-01", "sub-01", "case7", "scan_frame3"]


def test_a_case_on_two_sides_of_a_plain_split_is_refused(tmp_path):
    put_images(tmp_path / "images", ["a.nii.gz"])
    with pytest.raises(CaseError, match="'a' is on two sides"):
        load_dataset(put_json(tmp_path, {"labels": {"x": 1}, "split": {"train": ["a"], "test": ["a.nii.gz"]}}))


def test_a_plain_folder_may_hold_slicers_segmentations(tmp_path):
    put_images(tmp_path / "images", ["a.nrrd"])
    layers = (labels(1).voxels == 1).astype(np.uint8)[None]
    put_segmentation(tmp_path / "labels" / "a.seg.nrrd", layers, [{"name": "head", "value": 1}], oblique())
    dataset = load_dataset(put_json(tmp_path, {"labels": {"head": 5, "tail": 6}}))
    codes, table = read_codes(dataset, dataset.cases[0], oblique())
    assert np.array_equal(table.array[codes].argmax(-1), labels(1).voxels == 1)


def a_folder_with_one_segment(folder):
    """Write a plain folder of liver and kidney in whose only segmentation the liver alone is a segment."""
    put_images(folder / "images", ["a.nrrd"])
    drawn = (labels(1).voxels == 1).astype(np.uint8)[None]
    put_segmentation(folder / "labels" / "a.seg.nrrd", drawn, [{"name": "liver", "value": 1}], oblique())
    return load_dataset(put_json(folder, {"labels": {"liver": 1, "kidney": 2}})), drawn[0] == 1


def test_a_structure_without_a_segment_may_be_elsewhere_in_the_file_of_another_program(tmp_path):
    dataset, is_liver = a_folder_with_one_segment(tmp_path)
    (case,) = dataset.cases
    assert case.regime(dataset.scheme) is Regime.PARTIAL
    codes, table = read_codes(dataset, case, oblique())
    names = np.array([dataset.scheme.describe(leaves) for leaves in table.sets])[codes]
    assert set(names[is_liver]) == {"liver"}
    assert set(names[~is_liver]) == {"background or kidney"}
    assert not [finding for finding in check_dataset(dataset) if finding.code == "missing_segment"]
    # It stays so when it is saved as ours.
    save_dataset(dataset, tmp_path / "semiseg.json")
    assert load_dataset(tmp_path / "semiseg.json") == dataset


@pytest.mark.parametrize(
    ("said", "elsewhere"),
    [
        ({}, ("background", "vessel")),
        ({"elsewhere": ["background"]}, ("background",)),
        ({"segments": {"organ": ["organ"], "Vas": ["vessel"]}}, ("background",)),
    ],
    ids=["nothing said", "elsewhere said", "segments listed"],
)
def test_what_our_dataset_says_of_segments_wins(tmp_path, said, elsewhere):
    drawn = (labels(1).voxels == 1).astype(np.uint8)[None]
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "organ", "value": 1}], oblique())
    entry = put_case(tmp_path, "a", 1)
    entry["annotation"] = {"file": "a.seg.nrrd", **said}
    dataset = load_dataset(put_dataset(tmp_path, [entry]))
    assert dataset.cases[0].annotation.elsewhere == elsewhere


def test_a_folder_of_pictures_is_a_study_in_two_dimensions(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    drawn = np.random.default_rng(0).integers(0, 2, (6, 9)).astype(np.uint8)
    for case_id in ("x", "y"):
        sitk.WriteImage(sitk.GetImageFromArray(drawn * 90), str(tmp_path / "images" / f"{case_id}.png"))
        sitk.WriteImage(sitk.GetImageFromArray(drawn), str(tmp_path / "labels" / f"{case_id}.png"))
    dataset = load_dataset(put_json(tmp_path, {"labels": {"cell": 1}, "file_ending": ".png"}))
    assert dataset.dimensions == 2
    volume = read_images(dataset, dataset.cases[0])[0]
    codes, table = read_codes(dataset, dataset.cases[0], volume.geometry)
    assert np.array_equal(table.array[codes].argmax(-1), drawn[None])


# The Decathlon and nnU-Net


def test_the_decathlon_is_read_with_its_modality_and_its_channels_as_frames(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    frames = [image(seed).voxels for seed in range(2)]
    joined = sitk.JoinSeries([Volume(frame, oblique()).to_sitk() for frame in frames])
    for name in ("BRATS_001", "BRATS_002"):
        sitk.WriteImage(joined, str(tmp_path / "imagesTr" / f"{name}.nii.gz"))
    put_labels(tmp_path / "labelsTr", ["BRATS_001.nii.gz", "BRATS_002.nii.gz"])
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("BRATS_001", "BRATS_002")]
    data = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": 2,
        "training": pairs,
        "test": ["./imagesTs/BRATS_003.nii.gz"],
    }
    dataset = load_dataset(put_json(tmp_path, data))
    assert dataset.channels == ("FLAIR", "T1w")
    assert [case.split for case in dataset.cases] == [None, None, Side.TEST]
    assert dataset.cases[2].annotation is None
    found = read_images(dataset, dataset.cases[0])
    assert all(np.array_equal(volume.voxels, frame) for volume, frame in zip(found, frames, strict=True))
    codes, table = read_codes(dataset, dataset.cases[1], found[0].geometry)
    assert np.array_equal(table.array[codes].argmax(-1), labels(1).voxels)


def test_ct_is_known_by_its_name(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    data = {"labels": {"0": "background", "1": "liver"}, "training": []}
    assert load_dataset(put_json(tmp_path, data | {"modality": {"0": "CT"}})).modality == {"CT": "CT"}
    assert load_dataset(put_json(tmp_path, data | {"modality": {"0": "MRI"}})).modality == {"MRI": "MR"}
    channels = {"channel_names": {"0": "ct", "1": "noNorm", "2": "noNorm"}, "file_ending": ".nii.gz"}
    dataset = load_dataset(put_json(tmp_path, {"labels": {"liver": 1}} | channels))
    assert dataset.channels == ("ct", "noNorm", "noNorm 2")
    assert dataset.modality == {"ct": "CT", "noNorm": "MR", "noNorm 2": "MR"}


def test_nnunet_v1_lists_names_without_the_number_of_the_channel(tmp_path):
    folder = tmp_path / "Task501_Study"
    put_images(folder / "imagesTr", ["a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz"])
    put_labels(folder / "labelsTr", ["a.nii.gz", "b.nii.gz"])
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("a", "b")]
    modality = {"0": "T1", "1": "T2"}
    data = {"name": "", "modality": modality, "labels": {"0": "background", "1": "x"}, "training": pairs, "test": []}
    dataset = load_dataset(put_json(folder, data))
    assert dataset.name == "Task501_Study"
    assert dataset.cases[0].images == {"T1": "imagesTr/a_0000.nii.gz", "T2": "imagesTr/a_0001.nii.gz"}
    missing = [f for f in check_dataset(dataset) if f.code == "missing_channel"]
    assert [(f.case, "'T2'" in f.what) for f in missing] == [("b", True)]


def test_nnunet_v2_is_read_with_regions_and_the_ignore_label(tmp_path):
    folder = tmp_path / "Dataset002_Study"
    put_images(folder / "imagesTr", ["a_0000.nrrd", "a_0001.nrrd", "b_0000.nrrd", "b_0001.nrrd"])
    put_images(folder / "imagesTs", ["t_0000.nrrd", "t_0001.nrrd"], seed=9)
    put_labels(folder / "labelsTr", ["a.nrrd"])
    data = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
        "numTraining": 2,
        "file_ending": ".nrrd",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    dataset = load_dataset(put_json(folder, data))
    assert [(case.id, case.split) for case in dataset.cases] == [("a", None), ("b", None), ("t", Side.TEST)]
    assert dataset.cases[1].annotation is None
    codes, table = read_codes(dataset, dataset.cases[0], oblique())
    stored = labels(0).voxels
    names = [[dataset.scheme.leaf_names[i] for i in sorted(s)] for s in table.sets]
    of_value = {value: names[int(codes[stored == value][0])] for value in range(4)}
    assert of_value == {
        0: ["background"],
        1: ["rest of whole"],
        2: ["core"],
        3: ["background", "rest of whole", "core"],
    }
    assert {f.code for f in check_dataset(dataset)} == set()


def test_nnunet_v2_may_state_its_files(tmp_path):
    put_images(tmp_path / "imagesTr", ["scan.nrrd"])
    entry = {"images": ["imagesTr/scan.nrrd"], "label": "./labelsTr/drawn.nrrd"}
    data = {"channel_names": {"0": "T1"}, "labels": {"x": 1}, "file_ending": ".nrrd", "dataset": {"first": entry}}
    case = load_dataset(put_json(tmp_path, data)).cases[0]
    assert (case.id, case.images, case.annotation.file) == (
        "first",
        {"T1": "imagesTr/scan.nrrd"},
        "labelsTr/drawn.nrrd",
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "x"}, "no key 'labels'"),
        ({"labels": {"a": 1}}, "the format is not known"),
        ({"labels": {"a": 1}, "training": [{"label": "x"}]}, "names no image"),
        ({"labels": {"a": 1}, "training": [], "modality": {"first": "CT"}}, "number them"),
    ],
)
def test_a_file_of_no_known_format_says_what_is_missing(tmp_path, data, words):
    with pytest.raises(CaseError, match=words):
        load_dataset(put_json(tmp_path, data))


def test_values_of_every_kind_reach_the_annotation(tmp_path):
    dataset = load_dataset(put_dataset(tmp_path, [put_case(tmp_path, "a", 1)]))
    assert dataset.cases[0].annotation.values == {int(key): tuple(names) for key, names in MEANING.items()}
