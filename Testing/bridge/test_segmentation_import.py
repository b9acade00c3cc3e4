"""From result files to the scene: a new node in the right place, and nothing else changed."""

import numpy as np
import pytest
import slicer
import vtk

from SemiSegLib.cases.volume import read_labels
from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.geometry import Grid, volumeGrid
from SemiSegModule.bridge.images import caseGrid
from SemiSegModule.bridge.scene_case import SceneCase, segmentTag
from SemiSegModule.bridge.segmentation_import import loadSegmentation
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes

KINDS = ("right-handed", "left-handed", "permuted", "stretched", "sheared")


def a_moved_scan(kind, generator):
    """A volume of some orientation below a transform, and its masks."""
    orders = {"permuted": (2, 0, 1)}
    flips = {"left-handed": (1, 1, -1), "permuted": (-1, 1, 1)}
    where = scenes.matrix(generator, order=orders.get(kind, (0, 1, 2)), flips=flips.get(kind, (1, 1, 1)))
    volume = scenes.a_volume(generator, where)
    motion = scenes.a_motion(generator)
    if kind == "stretched":
        motion[:3, :3] = motion[:3, :3] @ np.diag([1.5, 0.7, 1.0])
    if kind == "sheared":
        motion[:3, :3] = motion[:3, :3] @ (np.eye(3) + 0.2 * np.eye(3, k=1))
    return volume, scenes.moved(volume, values=motion), scenes.blobs(generator)


def a_result(folder, volume, masks, *, geometry=None):
    """A result file for the volume as the bridge writes it, and the grid that was written."""
    from SemiSegModule.bridge.geometry import toGeometry

    grid, _frame = caseGrid({"image": volume})
    labels = np.zeros(masks["head"].shape, np.uint8)
    for value, mask in enumerate(masks.values(), start=1):
        labels[mask] = value
    path = folder / "result.seg.nrrd"
    scenes.write_segmentation_file(path, labels, geometry or toGeometry(grid), dict(enumerate(masks, start=1)))
    return path, grid


def corners_moved_mm(segment, volume):
    """How far the segment's grid lies from the volume's, in the volume's own coordinates."""
    matrix = vtk.vtkMatrix4x4()
    segment.GetRepresentation("Binary labelmap").GetImageToWorldMatrix(matrix)
    extent = np.array([[i, j, k, 1] for i in (0, 11) for j in (0, 9) for k in (0, 7)])
    return np.abs((scenes.from_vtk(matrix) - volumeGrid(volume).matrix) @ extent.T).max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_lies_on_the_voxels_of_its_volume_even_if_it_was_moved_meanwhile(scene, tmp_path, kind):
    generator = np.random.default_rng(KINDS.index(kind))
    volume, transform, masks = a_moved_scan(kind, generator)
    path, grid = a_result(tmp_path, volume, masks)
    transform.SetMatrixTransformToParent(scenes.to_vtk(scenes.a_motion(generator)))
    node = loadSegmentation(path, volume, writtenGrid=grid)
    assert node.GetTransformNodeID() == transform.GetID()
    for name, mask in masks.items():
        assert corners_moved_mm(node.GetSegmentation().GetSegment(name), volume) < 0.01
        assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) > 0, mask)


@pytest.mark.parametrize(("kind", "trips"), [("permuted", 100), ("left-handed", 5), ("stretched", 5), ("sheared", 5)])
def test_round_trips_move_no_voxel(scene, tmp_path, kind, trips):
    generator = np.random.default_rng(10 + KINDS.index(kind))
    volume, _, masks = a_moved_scan(kind, generator)
    path, grid = a_result(tmp_path, volume, masks)
    node = loadSegmentation(path, volume, writtenGrid=grid)
    for _ in range(trips):
        names = {name: name for name in masks}
        case = SceneCase(
            id="scan", volumes={"image": volume}, segmentation=node, meanings=names, lookedFor=tuple(masks)
        )
        study = exportStudy(tmp_path, [case], scenes.SCHEME, name="study")
        assert not study.findings
        annotation = study.dataset.cases[0].annotation
        labels = read_labels(tmp_path / annotation.file)
        values = {meaning[0]: value for value, meaning in annotation.values.items()}
        for name, mask in masks.items():
            assert np.array_equal(labels.voxels == values[name], mask)
        written = {value: name for name, value in values.items() if name in masks}
        scenes.write_segmentation_file(path, labels.voxels, labels.geometry, written)
        scene.RemoveNode(node)
        node = loadSegmentation(path, volume, writtenGrid=study.grids["scan"])
    assert corners_moved_mm(node.GetSegmentation().GetSegment("head"), volume) < 1e-6


def test_names_colors_codes_and_tags_come_from_the_file(scene, tmp_path):
    volume, _, masks = a_moved_scan("right-handed", np.random.default_rng(1))
    path, grid = a_result(tmp_path, volume, masks)
    node = loadSegmentation(path, volume, writtenGrid=grid, name="scan by model 7")
    assert node.GetName() == "scan by model 7"
    segments = [node.GetSegmentation().GetNthSegment(i) for i in range(3)]
    assert [segment.GetName() for segment in segments] == list(masks)
    assert segments[1].GetColor() == pytest.approx((0.5, 0.25, 0.25))
    assert "64033007" in segmentTag(segments[0], segments[0].GetTerminologyEntryTagName())
    assert segmentTag(segments[0], "SemiSeg.Superclass") == "organ"
    assert segmentTag(segments[0], "Segmentation.Status") == "inprogress"


def test_the_node_knows_its_volume_and_stands_beside_it(scene, tmp_path):
    volume, _, masks = a_moved_scan("right-handed", np.random.default_rng(2))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patient")
    item = hierarchy.GetItemByDataNode(volume) or hierarchy.CreateItem(folder, volume)
    hierarchy.SetItemParent(item, folder)
    path, grid = a_result(tmp_path, volume, masks)
    node = loadSegmentation(path, volume, writtenGrid=grid)
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is volume
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder
    assert node.GetDisplayNode() is not None
    assert node.GetStorageNode() is None  # saving the scene must not write into the run folder


def test_nothing_else_of_the_scene_is_touched(scene, tmp_path):
    generator = np.random.default_rng(3)
    volume, _, masks = a_moved_scan("left-handed", generator)
    drawn = scenes.a_segmentation(volume, masks)
    path, grid = a_result(tmp_path, volume, masks)
    before = scenes.digest(drawn), slicer.util.arrayFromVolume(volume).tobytes(), volumeGrid(volume).matrix.tobytes()
    loadSegmentation(path, volume, writtenGrid=grid)
    loadSegmentation(path, volume, writtenGrid=grid)
    after = scenes.digest(drawn), slicer.util.arrayFromVolume(volume).tobytes(), volumeGrid(volume).matrix.tobytes()
    assert after == before


def test_a_file_saved_in_the_volumes_own_coordinates_is_shown_there(scene, tmp_path):
    from SemiSegModule.bridge.geometry import toGeometry

    volume, transform, masks = a_moved_scan("left-handed", np.random.default_rng(4))
    path, _ = a_result(tmp_path, volume, masks, geometry=toGeometry(volumeGrid(volume)))
    node = loadSegmentation(path, volume)
    assert node.GetTransformNodeID() == transform.GetID()
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, "tail", volume) > 0, masks["tail"])


@pytest.mark.parametrize(
    "damage", ["missing", "cut short", "header only", "no segmentation", "other size", "other place"]
)
def test_a_wrong_file_is_refused_and_leaves_the_scene_as_it_was(scene, tmp_path, damage):
    generator = np.random.default_rng(5)
    volume, _, masks = a_moved_scan("right-handed", generator)
    path, grid = a_result(tmp_path, volume, masks)
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "header only":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "no segmentation":
        path.write_text("this is a letter")
    elif damage == "other size":
        grid = Grid(grid.matrix, (7, 9, 12))
    else:
        shifted = grid.matrix.copy()
        shifted[:3, 3] += 0.3 * grid.matrix[:3, 0]
        grid = Grid(shifted, grid.shape)
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    with pytest.raises(CaseError, match="remedy:"):
        loadSegmentation(path, volume, writtenGrid=grid)
    assert {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())} == before
