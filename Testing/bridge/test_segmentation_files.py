"""Segmentation files that Slicer's own writer made, as the library reads them without Slicer."""

from pathlib import Path

import numpy as np
import pytest
import slicer

from SemiSegLib.cases import itk_files
from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import read_annotation
from SemiSegLib.cases.volume import read_volume
from SemiSegLib.labels.annotation import Annotation
from SemiSegModule.bridge.segmentation_file import readSegmentationFile
from Testing.bridge.scenes import ALL_TURNS, SCHEME, SHAPE, a_segmentation, a_volume, blobs, matrix


def save(node, storage_class, path, *, crop=False):
    storage = slicer.mrmlScene.AddNewNodeByClass(storage_class)
    storage.SetFileName(str(path))
    if crop:
        storage.SetCropToMinimumExtent(True)
    assert storage.WriteData(node)


def read(folder: Path, file: str):
    case = Case(id="a", patient="a", images={"MR": "scan.nrrd"}, annotation=Annotation(file=file))
    dataset = Dataset(name="x", scheme=SCHEME, channels=("MR",), cases=(case,), root=folder, modality={"MR": "MR"})
    reading = read_annotation(dataset, case, read_volume(folder / "scan.nrrd").geometry)
    return reading.table.array[reading.codes], reading


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("turn", [0, 13, 30, 47])
def test_layers_and_cropping_by_slicer_change_nothing(scene, tmp_path, crop, turn):
    generator = np.random.default_rng(turn)
    order, flips = ALL_TURNS[turn]
    volume = a_volume(generator, matrix(generator, order=order, flips=flips))
    masks = blobs(generator)
    # The parent covers both of its parts, so Slicer needs a second layer.
    masks["organ"] = masks["head"] | masks["tail"]
    masks["organ"][1, 4, 4] = True
    node = a_segmentation(volume, masks)
    save(volume, "vtkMRMLVolumeArchetypeStorageNode", tmp_path / "scan.nrrd")
    save(node, "vtkMRMLSegmentationStorageNode", tmp_path / "drawn.seg.nrrd", crop=crop)
    possible, reading = read(tmp_path, "drawn.seg.nrrd")
    expected = np.zeros((*SHAPE, 4), bool)
    expected[..., 1] = masks["organ"] & ~masks["tail"]
    expected[..., 2] = masks["organ"] & ~masks["head"]
    expected[..., 3] = masks["vessel"]
    expected[..., 0] = ~expected.any(-1)
    assert np.array_equal(possible, expected)
    assert not reading.shifts
    assert not reading.cropped_voxels


def test_slicers_term_for_what_nobody_coded_is_no_terminology(scene, tmp_path):
    generator = np.random.default_rng(0)
    volume = a_volume(generator, matrix(generator))
    save(volume, "vtkMRMLVolumeArchetypeStorageNode", tmp_path / "scan.nrrd")
    node = a_segmentation(volume, blobs(generator))
    save(node, "vtkMRMLSegmentationStorageNode", tmp_path / "drawn.seg.nrrd")
    assert b"Tissue" in (tmp_path / "drawn.seg.nrrd").read_bytes()[:4000]
    _, reading = read(tmp_path, "drawn.seg.nrrd")
    assert set(reading.named_voxels) == {("head",), ("tail",), ("vessel",)}


def test_a_file_is_opened_once_for_voxels_names_colors_and_tags(scene, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    volume = a_volume(generator, matrix(generator))
    node = a_segmentation(volume, blobs(generator))
    segment = node.GetSegmentation().GetSegment("id head")
    segment.SetColor(0.25, 0.5, 0.75)
    segment.SetTag("SemiSeg.Superclass", "organ")
    save(node, "vtkMRMLSegmentationStorageNode", tmp_path / "drawn.seg.nrrd")
    opened, original = [], itk_files.read_with_itk

    def watched(path):
        opened.append(path)
        return original(path)

    def header(path, *_format):
        raise AssertionError(f"{path} was opened again for its header")

    monkeypatch.setattr("SemiSegLib.cases.volume.read_with_itk", watched)
    monkeypatch.setattr(itk_files.sitk, "ImageFileReader", header)
    file = readSegmentationFile(tmp_path / "drawn.seg.nrrd")
    assert opened == [tmp_path / "drawn.seg.nrrd"]
    assert [segment.id for segment in file.segments] == ["id head", "id tail", "id vessel"]
    assert file.segments[0].color == pytest.approx((0.25, 0.5, 0.75), abs=1e-3)
    assert file.segments[0].tags["SemiSeg.Superclass"] == "organ"
