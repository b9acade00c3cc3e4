"""Results as files: our reader, the reader of data sets and Slicer itself see the same segments on the same grid."""

import gzip
import json
import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from SemiSegLib.cases.segments import match_segments, read_segmentation_image
from SemiSegLib.cases.volume import Geometry, Volume, read_labels
from SemiSegLib.errors import CaseError, ConfigError, ShapeError
from SemiSegLib.labels.color_table import read_color_table
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology
from SemiSegLib.labels.terminology import from_slicer_string, to_slicer_string
from SemiSegLib.prediction.predictor import Prediction
from SemiSegLib.prediction.segmentation_file import (
    private_terminology,
    read_segmentation,
    segmentation_header,
    write_label_image,
    write_segmentation,
)
from Testing.host.system_libraries import ENVIRONMENT, missing

KIDNEY = Terminology(
    category=Code(scheme="SCT", value="123037004", meaning="Anatomical Structure"),
    type=Code(scheme="SCT", value="64033007", meaning="Kidney"),
    type_modifier=Code(scheme="SCT", value="7771000", meaning="Left"),
)
SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ"),
        Structure(name="lobe", parent="organ"),
        Structure(name='top "é" \\n, 1', parent="lobe", color=(1 / 3, 0.2, 0.9)),
        Structure(name="bottom", parent="lobe", color=(0.0, 1.0, 0.5)),
        Structure(name="left kidney", terminology=KIDNEY),
        Structure(name="上", color=(0.1, 0.2, 0.3)),
    ),
)
NAMES = SCHEME.leaf_names[1:]


def a_prediction(shape=(5, 7, 9)):
    """Return a prediction on an oblique, anisotropic grid; "bottom" was not found, the last leaf touches a corner."""
    leaves = np.zeros(shape, dtype=np.uint8)
    leaves[1:3, 2:5, 3] = 1
    leaves[3, 1, 1:7] = 3
    leaves[-1, -1, -2:] = 4
    one, other = 0.3, -0.2
    turn = np.array([[np.cos(one), -np.sin(one), 0], [np.sin(one), np.cos(one), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(other), -np.sin(other)], [0, np.sin(other), np.cos(other)]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 0, 1]] * (3.0, 0.7, 1 / 3)
    affine[:3, 3] = (1 / 3, -50.0, 1e-7)
    return Prediction(Volume(leaves, Geometry(shape, affine)), None, SCHEME)


def test_the_file_gives_back_masks_tags_and_the_grid_to_the_last_digit(tmp_path):
    prediction, path = a_prediction(), tmp_path / "result é.seg.nrrd"
    write_segmentation(prediction, path, provenance={"run": "run|1", "job": "j2", "seed": 3}, status="flagged")
    found = read_segmentation(path)
    assert tuple(found) == NAMES
    for value, (name, segment) in enumerate(found.items(), start=1):
        np.testing.assert_array_equal(segment.mask, prediction.leaves.voxels == value)
        tags = dict(segment.tags)
        assert from_slicer_string(tags.pop("TerminologyEntry"))
        whole = "organ" if value <= 2 else name
        assert tags == {
            "Segmentation.Status": "flagged",
            "SemiSeg.Superclass": whole,
            "SemiSeg.Run": "run 1",
            "SemiSeg.Job": "j2",
        }
    image = read_segmentation_image(path)
    assert image.geometry.shape == prediction.leaves.geometry.shape
    np.testing.assert_allclose(image.geometry.affine, prediction.leaves.geometry.affine, rtol=0, atol=1e-14)


def test_the_reader_of_data_sets_knows_every_segment_again(tmp_path):
    path = tmp_path / "result.seg.nrrd"
    write_segmentation(a_prediction(), path)
    matched = match_segments(read_segmentation_image(path).segments, SCHEME, path)
    assert matched == {name: (name,) for name in NAMES}


def test_a_result_is_in_progress_until_a_person_has_seen_it_and_tags_can_be_left_out(tmp_path):
    path = tmp_path / "result.seg.nrrd"
    write_segmentation(a_prediction(), path, superclass_tags=False)
    tags = read_segmentation(path)["bottom"].tags
    assert set(tags) == {"TerminologyEntry", "Segmentation.Status"}
    assert tags["Segmentation.Status"] == "inprogress"
    with pytest.raises(ConfigError, match="did you mean 'completed'"):
        write_segmentation(a_prediction(), path, status="complete")


def test_structures_keep_their_codes_and_those_without_get_private_ones_of_legal_length():
    header = segmentation_header(a_prediction().leaves, SCHEME, [{}] * len(SCHEME.leaves))
    assert f"TerminologyEntry:{to_slicer_string(KIDNEY)}|" in header
    assert "Tissue" not in header
    for name in ("head", "a very long name of a structure", "上", "a|b~c^d"):
        code = private_terminology(Structure(name=name)).type
        assert code.scheme == "99SEMISEG"
        assert 0 < len(code.value) <= 16
        assert code.value.isascii()
    assert private_terminology(Structure(name="上")).type.meaning == "上"


def test_segment_ids_are_plain_and_differ_where_names_look_alike():
    scheme = LabelScheme(name="t", structures=(Structure(name="a b"), Structure(name="a+b"), Structure(name="c")))
    leaves = Volume(np.zeros((2, 3, 4), dtype=np.uint8), Geometry((2, 3, 4), np.eye(4)))
    header = segmentation_header(leaves, scheme, [{}] * 4)
    assert [line.split(":=")[1] for line in header.splitlines() if "_ID:=" in line] == ["a_b_1", "a_b_2", "c"]


def test_the_same_result_gives_the_same_bytes_and_leaves_no_other_file(tmp_path):
    first, second = tmp_path / "a.seg.nrrd", tmp_path / "b.seg.nrrd"
    write_segmentation(a_prediction(), first)
    write_segmentation(a_prediction(), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]
    header, voxels = first.read_bytes().split(b"\n\n", 1)
    assert header.startswith(b"NRRD0004\n")
    assert gzip.decompress(voxels) == a_prediction().leaves.voxels.tobytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(a_prediction(), path)
    before = path.read_bytes()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("SemiSegLib.prediction.segmentation_file.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_segmentation(a_prediction((6, 7, 9)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_leaves_that_are_not_bytes_are_refused():
    leaves = a_prediction().leaves
    with pytest.raises(ShapeError, match="int32, expected uint8"):
        segmentation_header(Volume(leaves.voxels.astype(np.int32), leaves.geometry), SCHEME, [{}] * 5)


def test_a_file_that_is_no_segmentation_is_refused(tmp_path):
    with pytest.raises(CaseError, match="does not exist"):
        read_segmentation(tmp_path / "none.seg.nrrd")
    (tmp_path / "text.seg.nrrd").write_text("NRRD0004\nhello\n\n")
    with pytest.raises(CaseError):
        read_segmentation(tmp_path / "text.seg.nrrd")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_label_image_has_leaf_indices_on_the_same_grid_and_a_color_table_on_request(ending, tmp_path):
    scheme = LabelScheme(name="plain", structures=(Structure(name="a", color=(0.2, 0.4, 0.6)), *SCHEME.structures[5:7]))
    base = a_prediction()
    prediction = Prediction(Volume(base.leaves.voxels % 4, base.leaves.geometry), None, scheme)
    path = tmp_path / f"scan.01{ending}"
    write_label_image(prediction, path)
    assert list(tmp_path.iterdir()) == [path]
    found = read_labels(path)
    assert found.voxels.dtype == np.uint8
    np.testing.assert_array_equal(found.voxels, prediction.leaves.voxels)
    assert found.geometry.displacement_mm(prediction.leaves.geometry) < 1e-4
    write_label_image(prediction, path, color_table=True)
    read, values = read_color_table(tmp_path / "scan.01_colors.csv")
    assert values == dict(enumerate(scheme.leaf_names))
    assert read.find("a").color == (0.2, 0.4, 0.6)


def test_another_reader_of_nifti_sees_the_voxels_at_the_same_place(tmp_path):
    prediction = a_prediction()
    write_label_image(prediction, tmp_path / "scan.nii.gz")
    image = nibabel.load(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, prediction.leaves.voxels)
    to_ras = np.diag([-1, -1, 1, 1]) @ prediction.leaves.geometry.affine[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(image.affine, to_ras, atol=1e-4)


# Slicer never shares a process with the library's torch, so the file is loaded by a process of its own.
LOAD_IN_SLICER = """
import json, sys
import numpy, slicer, vtk
from vtk.util.numpy_support import vtk_to_numpy
scene = slicer.vtkMRMLScene()
application = slicer.vtkSlicerApplicationLogic()
application.SetMRMLScene(scene)
logic = slicer.vtkSlicerSegmentationsModuleLogic()
logic.SetMRMLScene(scene)
logic.SetMRMLApplicationLogic(application)
application.SetModuleLogic("Segmentations", logic)
segmentation = logic.LoadSegmentationFromFile(sys.argv[1]).GetSegmentation()
report = {"reference": segmentation.GetConversionParameter("Reference image geometry"), "segments": []}
for number in range(segmentation.GetNumberOfSegments()):
    segment = segmentation.GetNthSegment(number)
    image = segment.GetRepresentation("Binary labelmap")
    matrix, extent = vtk.vtkMatrix4x4(), image.GetExtent()
    image.GetImageToWorldMatrix(matrix)
    voxels = []
    if image.GetPointData().GetScalars():
        size = [extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1]
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size)
        offset = numpy.array([extent[4], extent[2], extent[0]])
        voxels = (numpy.argwhere(values == segment.GetLabelValue()) + offset).tolist()
    tags = {}
    for name in ("TerminologyEntry", "Segmentation.Status", "SemiSeg.Superclass", "SemiSeg.Run"):
        text = vtk.reference("")
        if segment.GetTag(name, text):
            tags[name] = str(text)
    report["segments"].append({
        "id": segmentation.GetNthSegmentID(number), "name": segment.GetName(), "color": segment.GetColor(),
        "voxels": voxels, "tags": tags, "matrix": [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)],
    })
print("REPORT" + json.dumps(report))
"""


def loaded_by_slicer(path):
    done = subprocess.run(
        [sys.executable, "-c", LOAD_IN_SLICER, str(path)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return json.loads(done.stdout.split("REPORT")[1])


@pytest.mark.panel
@pytest.mark.parametrize("is_empty", [False, True], ids=["found", "nothing found"])
def test_slicer_loads_names_colors_codes_tags_and_voxels_and_the_scans_own_geometry(is_empty, tmp_path):
    reason = missing()
    if reason:
        pytest.skip(reason)
    prediction, path = a_prediction(), tmp_path / "result.seg.nrrd"
    if is_empty:
        prediction = Prediction(Volume(prediction.leaves.voxels * 0, prediction.leaves.geometry), None, SCHEME)
    write_segmentation(prediction, path, provenance={"run": "run 7"})
    report = loaded_by_slicer(path)
    to_ras = np.diag([-1, -1, 1, 1]) @ prediction.leaves.geometry.affine[:, [2, 1, 0, 3]]
    assert [segment["name"] for segment in report["segments"]] == list(NAMES)
    for value, segment in enumerate(report["segments"], start=1):
        leaf = SCHEME.leaves[value]
        assert segment["color"] == pytest.approx(leaf.color, abs=1e-5)
        np.testing.assert_allclose(segment["matrix"], to_ras, atol=1e-12)
        expected = np.argwhere(prediction.leaves.voxels == value).tolist()
        assert segment["voxels"] == expected
        assert segment["tags"]["Segmentation.Status"] == "inprogress"
        assert segment["tags"]["SemiSeg.Run"] == "run 7"
        assert segment["tags"]["SemiSeg.Superclass"] == SCHEME.ancestors(leaf.name)[-1].name
        entry = from_slicer_string(segment["tags"]["TerminologyEntry"])
        assert entry == (leaf.terminology or private_terminology(leaf))
    *matrix, low_i, high_i, low_j, high_j, low_k, high_k, _end = report["reference"].split(";")
    np.testing.assert_array_equal(np.array(matrix, dtype=float).reshape(4, 4), to_ras)
    assert [low_i, high_i, low_j, high_j, low_k, high_k] == ["0", "8", "0", "6", "0", "4"]
