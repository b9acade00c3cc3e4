"""A dataset of another program in the scene: every channel, also where one 4-D file holds them all."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.dataset_import import loadCase
from SemiSegModule.bridge.geometry import displacementVoxels, fromGeometry, volumeGrid
from SemiSegModule.bridge.study_export import exportStudy

ROLES = ("FLAIR", "T1w", "t1gd")
SHAPE = (5, 8, 11)
ANGLE = 0.3
# Oblique, and with another spacing along every axis.
DIRECTION = (np.cos(ANGLE), -np.sin(ANGLE), 0, np.sin(ANGLE), np.cos(ANGLE), 0, 0, 0, 1)
SPACING_MM = (0.7, 0.9, 3.0)


def an_image(voxels):
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((-12.0, 5.0, 40.0))
    image.SetDirection(DIRECTION)
    return image


@pytest.fixture
def decathlon(tmp_path):
    """A folder as the Medical Segmentation Decathlon's brain tumors: 4-D images, 3-D labels, a scan without."""
    root = tmp_path / "Task01"
    generator = np.random.default_rng(0)
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for folder, name in (("imagesTr", "BRATS_001"), ("imagesTs", "BRATS_002")):
        frames = [an_image(generator.integers(-50, 900, SHAPE).astype(np.int16)) for _role in ROLES]
        sitk.WriteImage(sitk.JoinSeries(frames), str(root / folder / f"{name}.nii.gz"))
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 2:5, 3:7] = 1
    labels[2, 3, 4:6] = 2
    sitk.WriteImage(an_image(labels), str(root / "labelsTr/BRATS_001.nii.gz"))
    description = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {str(number): role for number, role in enumerate(ROLES)},
        "labels": {"0": "background", "1": "edema", "2": "tumor"},
        "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
        "test": ["./imagesTs/BRATS_002.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root


def nodes_of(*classes):
    return [node for cls in classes for node in slicer.util.getNodesByClass(cls)]


def test_every_frame_of_a_4d_file_becomes_the_volume_of_its_channel(scene, decathlon):
    dataset = load_dataset(decathlon)
    labeled, unlabeled = (loadCase(dataset, case) for case in dataset.cases)
    assert tuple(labeled.volumes) == tuple(unlabeled.volumes) == ROLES
    assert [node.GetName() for node in labeled.volumes.values()] == [f"BRATS_001 {role}" for role in ROLES]
    for case, loaded in zip(dataset.cases, (labeled, unlabeled), strict=True):
        stored = sitk.ReadImage(str(dataset.path(case.images[ROLES[0]])))
        for number, node in enumerate(loaded.volumes.values()):
            frame = stored[:, :, :, number]
            assert np.array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(frame))
            expected = fromGeometry(Geometry.from_sitk(frame))
            assert volumeGrid(node).shape == expected.shape
            assert displacementVoxels(volumeGrid(node), expected) < 1e-4
    assert (labeled.side, unlabeled.side) == (None, Side.TEST.value)


def test_labels_of_a_case_with_several_channels_lie_on_its_volumes(scene, decathlon):
    dataset = load_dataset(decathlon)
    labeled, unlabeled = (loadCase(dataset, case) for case in dataset.cases)
    assert unlabeled.segmentation is None
    assert set(labeled.meanings.values()) == {"edema", "tumor"}
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(decathlon / "labelsTr/BRATS_001.nii.gz")))
    for value, name in ((1, "edema"), (2, "tumor")):
        segment_id = labeled.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        for volume in labeled.volumes.values():
            drawn = slicer.util.arrayFromSegmentBinaryLabelmap(labeled.segmentation, segment_id, volume)
            assert np.array_equal(drawn > 0, stored == value)


def test_a_4d_dataset_goes_through_the_scene_and_back_unchanged(scene, decathlon, tmp_path):
    dataset = load_dataset(decathlon)
    cases = [loadCase(dataset, case) for case in dataset.cases]
    again = exportStudy(tmp_path / "study", cases, dataset.scheme, name="again").dataset
    assert again.channels == ROLES
    for before, after in zip(dataset.cases, again.cases, strict=True):
        images, were = read_images(again, after), read_images(dataset, before)
        for image, was in zip(images, were, strict=True):
            assert np.array_equal(image.voxels, was.voxels)
            assert image.geometry.displacement_mm(was.geometry) < 0.01
        codes, table = read_codes(again, after, images[0].geometry)
        old_codes, old_table = read_codes(dataset, before, were[0].geometry)
        assert np.array_equal(table.array[codes], old_table.array[old_codes])


def test_a_damaged_label_file_leaves_the_scene_as_it_was(scene, decathlon):
    (decathlon / "labelsTr/BRATS_001.nii.gz").write_bytes(b"not an image")
    dataset = load_dataset(decathlon)
    with pytest.raises(CaseError, match=r"BRATS_001\.nii\.gz"):
        loadCase(dataset, dataset.cases[0])
    assert nodes_of("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode") == []


def test_a_channel_that_the_file_does_not_hold_is_named(scene, decathlon):
    file = decathlon / "dataset.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "modality": {**description["modality"], "3": "T2w"}}))
    dataset = load_dataset(decathlon)
    with pytest.raises(CaseError, match="frame 3 was asked for, the image has 3"):
        loadCase(dataset, dataset.cases[0])
    assert nodes_of("vtkMRMLScalarVolumeNode") == []
