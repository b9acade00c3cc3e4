"""From the scene to files: every voxel in its place, and no node touched."""

import numpy as np
import pytest
import slicer
import vtk

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import read_volume
from SemiSegLib.errors import CaseError
from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.geometry import toGeometry, worldGrid
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes
from Testing.bridge.exports import a_case, exported, names_of


@pytest.mark.parametrize(("order", "flips"), scenes.ALL_TURNS)
def test_voxels_stay_in_their_place_for_every_orientation_under_a_moved_parent(scene, tmp_path, order, flips):
    generator = np.random.default_rng(hash((order, flips)) % 2**32)
    volume = scenes.a_volume(generator, scenes.matrix(generator, order=order, flips=flips))
    masks = scenes.blobs(generator)
    segmentation = scenes.a_segmentation(volume, masks)
    scenes.moved(volume, segmentation, values=scenes.a_motion(generator))
    study, image, labels = exported(tmp_path, a_case(volume, segmentation))
    assert toGeometry(worldGrid(volume)).displacement_mm(image.geometry) < 0.01
    assert image.geometry.displacement_mm(labels.geometry) < 1e-6
    assert np.array_equal(image.voxels, slicer.util.arrayFromVolume(volume))
    found = names_of(study, labels)
    for name, mask in masks.items():
        assert np.array_equal(found == name, mask)
    assert not study.findings


def test_the_dataset_that_was_written_can_be_read_back(scene, tmp_path):
    generator = np.random.default_rng(1)
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    segmentation = scenes.a_segmentation(volume, scenes.blobs(generator))
    other = scenes.a_volume(generator, scenes.matrix(generator), name="unlabeled")
    cases = [a_case(volume, segmentation, patient="P 1"), a_case(other, id="unlabeled", side="train")]
    study = exportStudy(tmp_path, cases, scenes.SCHEME, name="study")
    back = load_dataset(study.path)
    assert back.scheme == scenes.SCHEME
    assert [case.id for case in back.cases] == ["scan", "unlabeled"]
    assert back.cases[0].patient == "P 1"
    assert [case.regime(back.scheme) for case in back.cases] == [Regime.FULL, Regime.NONE]
    assert back.modality == {"image": "MR"}
    assert load_dataset(tmp_path).cases == back.cases


def test_a_scan_with_values_of_air_in_hounsfield_units_is_taken_for_ct(scene, tmp_path):
    volume = slicer.util.addVolumeFromArray(np.full(scenes.SHAPE, -1000, np.int16), name="scan")
    study, _, _ = exported(tmp_path, a_case(volume))
    assert study.dataset.modality == {"image": "CT"}


def test_no_node_of_the_user_is_touched(scene, tmp_path):
    generator = np.random.default_rng(2)
    volume = scenes.a_volume(generator, scenes.matrix(generator, flips=(1, -1, 1)))
    segmentation = scenes.a_segmentation(volume, scenes.blobs(generator))
    transform = scenes.moved(volume, segmentation, values=scenes.a_motion(generator))
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)  # Slicer itself adds it on first use
    before = [scenes.digest(node) for node in (volume, segmentation)]
    matrix_time, count = transform.GetMTime(), scene.GetNumberOfNodes()
    exported(tmp_path, a_case(volume, segmentation))
    assert [scenes.digest(node) for node in (volume, segmentation)] == before
    assert (transform.GetMTime(), scene.GetNumberOfNodes()) == (matrix_time, count)


def test_a_segmentation_under_another_transform_than_its_volume_is_written_where_it_is_seen(scene, tmp_path):
    generator = np.random.default_rng(3)
    volume = scenes.a_volume(generator, scenes.matrix(generator, spacing=(1.0, 1.0, 1.0)))
    masks = scenes.blobs(generator)
    segmentation = scenes.a_segmentation(volume, masks)
    axes = np.eye(4)
    axes[:3, 3] = worldGrid(volume).matrix[:3, 0] * 2  # two voxels along i
    scenes.moved(segmentation, values=axes)
    study, _, labels = exported(tmp_path, a_case(volume, segmentation))
    found = names_of(study, labels)
    for name, mask in masks.items():
        assert np.array_equal((found == name)[:, :, 2:], mask[:, :, :-2])
    lost = {finding.what.split("'")[1]: int(finding.what.split()[0]) for finding in study.findings}
    assert lost == {name: int(mask[:, :, -2:].sum()) for name, mask in masks.items() if mask[:, :, -2:].any()}


def test_a_segment_smaller_than_the_volume_leaves_the_rest_as_it_should_be(scene, tmp_path):
    generator = np.random.default_rng(4)
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    mask = np.zeros(scenes.SHAPE, bool)
    mask[3, 4, 5] = True
    segmentation = scenes.a_segmentation(volume, {"head": mask})
    segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    study, _, labels = exported(tmp_path, a_case(volume, segmentation))
    found = names_of(study, labels)
    assert np.array_equal(found == "head", mask)
    assert (found[~mask] == "background").all()


def test_voxels_outside_the_volume_are_counted_and_reported(scene, tmp_path):
    generator = np.random.default_rng(5)
    where = scenes.matrix(generator)
    large = scenes.a_volume(generator, where, name="large", shape=(9, 11, 13))
    mask = np.zeros((9, 11, 13), bool)
    mask[0:4, 2:8, 3:13] = True
    segmentation = scenes.a_segmentation(large, {"head": mask})
    inner = where.copy()
    inner[:3, 3] = (where @ [1, 1, 1, 1])[:3]
    small = scenes.a_volume(generator, inner)
    study, _, labels = exported(tmp_path, a_case(small, segmentation))
    inside = mask[1:8, 1:10, 1:12]
    assert np.array_equal(names_of(study, labels) == "head", inside)
    (finding,) = study.findings
    assert finding.code == "outside_volume"
    assert finding.what.startswith(f"{mask.sum() - inside.sum()} voxels of segment 'head'")


def test_a_segment_on_a_finer_grid_is_brought_over_by_the_nearest_voxel_and_noted(scene, tmp_path):
    generator = np.random.default_rng(6)
    where = scenes.matrix(generator, spacing=(3.0, 3.0, 3.0))
    volume = scenes.a_volume(generator, where)
    fine = where @ np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    fine[:3, 3] = (where @ [-1 / 3, -1 / 3, -1 / 3, 1])[:3]
    reference = scenes.a_volume(generator, fine, name="fine", shape=tuple(3 * n for n in scenes.SHAPE))
    coarse = scenes.blobs(generator)["head"]
    segmentation = scenes.a_segmentation(reference, {"head": coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)})
    study, _, labels = exported(tmp_path, a_case(volume, segmentation))
    assert np.array_equal(names_of(study, labels) == "head", coarse)
    assert [finding.code for finding in study.findings] == ["resampled"]


def test_an_unchanged_case_is_not_written_again_and_a_changed_label_writes_one_file(scene, tmp_path):
    generator = np.random.default_rng(15)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    segmentation = scenes.a_segmentation(volume, masks)
    first, _, _ = exported(tmp_path, a_case(volume, segmentation))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nrrd")}
    again, _, _ = exported(tmp_path, a_case(volume, segmentation))
    assert again.path == first.path
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nrrd")} == times
    masks["head"][2, 3, 2] ^= True
    slicer.util.updateSegmentBinaryLabelmapFromArray(masks["head"].astype(np.uint8), segmentation, "id head", volume)
    changed, _, _ = exported(tmp_path, a_case(volume, segmentation))
    assert changed.path != first.path
    assert first.path.exists()
    assert len(set(tmp_path.rglob("*.nrrd")) - set(times)) == 1


def test_a_transform_that_bends_space_is_refused_with_a_remedy(scene, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(16))
    bent = scenes.a_transform(None, name="warp", cls="vtkMRMLGridTransformNode")
    volume.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(
        CaseError, match=r"'scan' is under the transform 'warp', which is not linear(.|\n)*remedy: resample"
    ):
        exported(tmp_path, a_case(volume))


def test_a_linear_transform_below_a_bent_one_is_refused_too(scene, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(17))
    bent = scenes.a_transform(None, name="warp", cls="vtkMRMLBSplineTransformNode")
    straight = scenes.moved(volume, values=np.eye(4))
    straight.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(CaseError, match="which is not linear"):
        exported(tmp_path, a_case(volume))


def test_color_images_empty_volumes_and_label_maps_are_refused(scene, tmp_path):
    color = slicer.util.addVolumeFromArray(
        np.zeros((3, 4, 5, 3), np.uint8), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    with pytest.raises(CaseError, match="3 components per voxel"):
        exported(tmp_path, a_case(color))
    labels = slicer.util.addVolumeFromArray(
        np.zeros((3, 4, 5), np.uint8), name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    with pytest.raises(CaseError, match="it is a label map"):
        exported(tmp_path, a_case(labels))
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(CaseError, match=r"holds no voxels(.|\n)*volume 'empty'"):
        exported(tmp_path, a_case(empty))


@pytest.mark.parametrize("kind", ["stretched", "sheared", "sheared volume"])
def test_axes_at_odd_angles_are_straightened_voxel_by_voxel(scene, tmp_path, kind):
    generator = np.random.default_rng(18)
    where = scenes.matrix(generator)
    if kind == "sheared volume":
        where[:3, 1] += 0.2 * where[:3, 0]
    volume = scenes.a_volume(generator, where)
    masks = scenes.blobs(generator)
    segmentation = scenes.a_segmentation(volume, masks)
    motion = scenes.a_motion(generator)
    motion[:3, :3] = (
        motion[:3, :3]
        @ {
            "stretched": np.diag([1.5, 0.7, 1.0]),
            "sheared": np.eye(3) + 0.2 * np.eye(3, k=1),
            "sheared volume": np.eye(3),
        }[kind]
    )
    scenes.moved(volume, segmentation, values=motion)
    study, image, labels = exported(tmp_path, a_case(volume, segmentation))
    assert np.array_equal(image.voxels, slicer.util.arrayFromVolume(volume))
    assert image.geometry.displacement_mm(labels.geometry) < 1e-6
    found = names_of(study, labels)
    for name, mask in masks.items():
        assert np.array_equal(found == name, mask)


def a_ramp(where, shape, slope, *, name):
    """A volume whose intensity grows along a direction of the world."""
    k, j, i = np.indices(shape)
    places = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ where.T
    return slicer.util.addVolumeFromArray((places[..., :3] @ slope).astype(np.float64), ijkToRAS=where, name=name)


@pytest.mark.parametrize("kind", ["turned", "sheared"])
def test_a_channel_on_another_grid_is_brought_to_the_first_ones_where_the_views_show_it(scene, tmp_path, kind):
    generator = np.random.default_rng(19)
    slope = np.array([0.3, -0.7, 1.1])
    where = scenes.matrix(generator)
    first = scenes.a_volume(generator, where, name="T1")
    middle = (where @ [5, 4, 3, 1])[:3]
    other = scenes.matrix(generator, spacing=(1.5, 1.5, 1.5))
    if kind == "sheared":
        other[:3, 1] += 0.3 * other[:3, 0]
    other[:3, 3] += middle - (other @ [20, 20, 20, 1])[:3]
    second = a_ramp(other, (41, 41, 41), slope, name="FLAIR")
    motion = scenes.a_motion(generator)
    scenes.moved(first, second, values=motion)
    case = SceneCase(id="scan", volumes={"T1": first, "FLAIR": second})
    study = exportStudy(tmp_path, [case], scenes.SCHEME, name="study")
    assert study.dataset.channels == ("T1", "FLAIR")
    one, two = (read_volume(tmp_path / study.dataset.cases[0].images[role]) for role in ("T1", "FLAIR"))
    assert one.geometry.displacement_mm(two.geometry) < 1e-6
    k, j, i = np.indices(scenes.SHAPE)
    expected = (np.stack([i, j, k, np.ones_like(i)], axis=-1) @ where.T)[..., :3] @ slope
    assert np.abs(two.voxels - expected).max() < 1e-3
    assert [(finding.code, finding.severity) for finding in study.findings] == [("resampled", "note")]


def test_channels_on_one_grid_are_written_as_they_are(scene, tmp_path):
    generator = np.random.default_rng(23)
    where = scenes.matrix(generator)
    nodes = {role: scenes.a_volume(generator, where + 1e-6, name=role) for role in ("T1", "FLAIR")}
    study = exportStudy(tmp_path, [SceneCase(id="scan", volumes=nodes)], scenes.SCHEME, name="study")
    for role, node in nodes.items():
        written = read_volume(tmp_path / study.dataset.cases[0].images[role])
        assert written.voxels.dtype == np.int16
        assert np.array_equal(written.voxels, slicer.util.arrayFromVolume(node))
    assert not study.findings


def test_cases_with_other_channels_or_clashing_names_are_refused(scene, tmp_path):
    generator = np.random.default_rng(20)
    one, two = scenes.a_volume(generator), scenes.a_volume(generator, name="two")
    cases = [SceneCase(id="a", volumes={"T1": one}), SceneCase(id="b", volumes={"FLAIR": two})]
    with pytest.raises(CaseError, match=r"the channels FLAIR, the first case has T1(.|\n)*case 'b'"):
        exportStudy(tmp_path, cases, scenes.SCHEME, name="study")
    cases = [SceneCase(id="a/1", volumes={"T1": one}), SceneCase(id="A:1", volumes={"T1": two})]
    with pytest.raises(CaseError, match="the same name for a file system"):
        exportStudy(tmp_path, cases, scenes.SCHEME, name="study")
    with pytest.raises(CaseError, match="no case is chosen"):
        exportStudy(tmp_path, [], scenes.SCHEME, name="study")


def test_names_of_any_script_become_files(scene, tmp_path):
    folder = tmp_path / "José Müller 中"
    volume = scenes.a_volume(np.random.default_rng(21), name="Kopf/Hals: أحمد 2?")
    study, image, _ = exported(folder, a_case(volume, id=volume.GetName()))
    assert np.array_equal(image.voxels, slicer.util.arrayFromVolume(volume))
    assert load_dataset(study.path).cases[0].id == volume.GetName()


def test_a_closed_surface_becomes_voxels_in_a_copy(scene, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(22), np.diag([1.0, 1.0, 1.0, 1.0]), shape=(30, 30, 30))

    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(15, 15, 15)
    sphere.SetRadius(8)
    sphere.SetThetaResolution(30)
    sphere.SetPhiResolution(30)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "head", [1, 0, 0], "id head")
    study, _, labels = exported(tmp_path, a_case(volume, node))
    assert (names_of(study, labels) == "head").sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.05)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
