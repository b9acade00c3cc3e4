"""Where a case was annotated, voxel by voxel: slices, slices with a segment, boxes; oblique grids, transforms."""

import json

import numpy as np
import pytest
import slicer
import vtk

from SemiSegLib.errors import CaseError
from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.region import (
    BOX,
    DRAWN_SLICES,
    SLICES,
    Region,
    formatRanges,
    parseRanges,
    readRegion,
    regionFromJson,
    regionToJson,
    sliceDirection,
)
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION
from Testing.bridge import scenes
from Testing.bridge.exports import a_case, exported, names_of


def centers(volume):
    """World RAS of every voxel center, (K, J, I, 3), worked out one by one."""
    matrix = worldGrid(volume).matrix
    result = np.zeros((*scenes.SHAPE, 3))
    for k, j, i in np.ndindex(scenes.SHAPE):
        result[k, j, i] = (matrix @ [i, j, k, 1])[:3]
    return result


def a_box(center, size, turned=None):
    box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    box.SetSize(*size)
    values = np.eye(4)
    if turned is not None:
        values[:3, :3] = turned
    values[:3, 3] = center
    box.SetAndObserveObjectToNodeMatrix(scenes.to_vtk(values))
    return box


def a_study(generator):
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    masks = scenes.blobs(generator)
    return volume, masks, scenes.a_segmentation(volume, masks)


def check(tmp_path, volume, segmentation, masks, region, inside):
    """Inside it is as drawn, outside anything, and nothing else."""
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, region=region))
    found = names_of(study, labels)
    expected = np.full(scenes.SHAPE, "background", dtype=object)
    for name, mask in masks.items():
        expected[mask] = name
    expected[~inside] = "*"
    assert np.array_equal(found, expected.astype(str))
    assert 0 < inside.sum() < inside.size
    assert study.dataset.cases[0].regime(scenes.SCHEME) is Regime.PARTIAL


@pytest.mark.parametrize("axis", range(3))
def test_outside_the_named_slices_nothing_is_known(scene, tmp_path, axis):
    volume, masks, segmentation = a_study(np.random.default_rng(axis))
    inside = np.zeros(scenes.SHAPE, bool)
    for first, last in ((0, 1), (4, 5)):
        np.moveaxis(inside, 2 - axis, 0)[first : last + 1] = True
    region = Region(kind=SLICES, axis=axis, ranges=((0, 1), (4, 5), (90, 95)))
    check(tmp_path, volume, segmentation, masks, region, inside)


@pytest.mark.parametrize("axis", range(3))
def test_the_slices_that_hold_a_segment_are_those_that_were_annotated(scene, tmp_path, axis):
    volume, masks, segmentation = a_study(np.random.default_rng(10 + axis))
    for number, (segment, drawn) in enumerate(
        (("id head", masks["head"]), ("", np.logical_or.reduce([*masks.values()])))
    ):
        inside = np.zeros(scenes.SHAPE, bool)
        for index in np.unique(np.nonzero(drawn)[2 - axis]):
            np.moveaxis(inside, 2 - axis, 0)[index] = True
        if inside.all():
            continue
        region = Region(kind=DRAWN_SLICES, axis=axis, segment=segment)
        check(tmp_path / str(number), volume, segmentation, masks, region, inside)


@pytest.mark.parametrize("seed", range(8))
def test_a_box_holds_the_voxels_whose_centers_lie_in_it(scene, tmp_path, seed):
    generator = np.random.default_rng(20 + seed)
    volume, masks, segmentation = a_study(generator)
    if seed % 2:
        scenes.moved(volume, segmentation, values=scenes.a_motion(generator))
    points = centers(volume)
    box = a_box(points[3, 4, 5], (5.0, 6.0, 9.0), scenes.rotation(generator))
    if seed >= 4:
        # The box is carried by a transform of its own, which turns, shifts and stretches it.
        motion = scenes.a_motion(generator)
        motion[:3, :3] = motion[:3, :3] @ np.diag([1.0, 1.3, 0.8])
        values = np.linalg.inv(motion) @ scenes.from_vtk(box.GetObjectToNodeMatrix())
        turned, _ = np.linalg.qr(values[:3, :3])
        values[:3, :3] = turned
        box.SetAndObserveObjectToNodeMatrix(scenes.to_vtk(values))
        scenes.moved(box, values=motion)
    toWorld = scenes.from_vtk(box.GetObjectToNodeMatrix())
    if box.GetParentTransformNode() is not None:
        toWorld = motion @ toWorld
    inBox = (np.concatenate([points, np.ones((*scenes.SHAPE, 1))], axis=-1) @ np.linalg.inv(toWorld).T)[..., :3]
    inside = (np.abs(inBox) <= np.array([5.0, 6.0, 9.0]) / 2).all(axis=-1)
    before = scenes.digest(volume), scenes.digest(segmentation), box.GetMTime()
    check(tmp_path, volume, segmentation, masks, Region(kind=BOX, box=box), inside)
    assert before == (scenes.digest(volume), scenes.digest(segmentation), box.GetMTime())
    box.SetInsideOut(True)
    check(tmp_path / "out", volume, segmentation, masks, Region(kind=BOX, box=box), ~inside)


def test_slicer_agrees_which_points_lie_in_the_box(scene):
    generator = np.random.default_rng(40)
    volume, _, _ = a_study(generator)
    points = centers(volume)
    box = a_box(points[3, 4, 5], (5.0, 6.0, 9.0), scenes.rotation(generator))
    inside = readRegion(Region(kind=BOX, box=box)).inside(worldGrid(volume), [])
    planes = vtk.vtkPlanes()
    box.GetPlanesWorld(planes)
    # Slicer's planes look inward: its function is negative outside of the box, as for its "crop volume".
    signs = {bool(v): set() for v in (True, False)}
    for index in np.ndindex(scenes.SHAPE):
        signs[bool(inside[index])].add(planes.EvaluateFunction(points[index]) < 0)
    assert len(signs[True]) == len(signs[False]) == 1
    assert signs[True] != signs[False]


def test_a_region_and_a_drawn_region_hold_together(scene, tmp_path):
    generator = np.random.default_rng(41)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    drawn = generator.random(scenes.SHAPE) > 0.5
    segmentation = scenes.a_segmentation(volume, {**masks, "drawn here": drawn})
    meanings = {**{f"id {name}": name for name in masks}, "id drawn here": ANNOTATED_REGION}
    case = a_case(volume, segmentation, meanings=meanings, region=Region(kind=SLICES, axis=2, ranges=((2, 4),)))
    study, _, labels = exported(tmp_path, case)
    inside = drawn.copy()
    inside[:2] = inside[5:] = False
    assert np.array_equal(names_of(study, labels) == "*", ~inside)


def test_a_box_that_is_gone_stops_the_export_with_a_sentence(scene, tmp_path):
    volume, _, segmentation = a_study(np.random.default_rng(42))
    box = a_box((0, 0, 0), (5, 5, 5))
    scene.RemoveNode(box)
    with pytest.raises(CaseError, match="no box was chosen, or it was removed from the scene"):
        exported(tmp_path, a_case(volume, segmentation, region=Region(kind=BOX, box=box)))


@pytest.mark.parametrize(
    ("text", "runs", "again"),
    [
        ("0-4, 9", ((0, 4), (9, 9)), "0-4, 9"),
        (" 9;2 - 3,4 ", ((2, 4), (9, 9)), "2-4, 9"),
        ("5:7,6-8", ((5, 8),), "5-8"),
        ("", (), ""),
    ],
)
def test_slices_are_named_as_in_a_print_dialog(scene, text, runs, again):
    assert parseRanges(text) == runs
    assert formatRanges(runs) == again


@pytest.mark.parametrize("text", ["a", "3-", "-3", "4-2", "1,,x", "1.5"])
def test_other_words_are_no_slices(scene, text):
    with pytest.raises(CaseError, match="names no slices"):
        parseRanges(text)


def test_a_region_survives_the_parameter_node(scene):
    region = Region(kind=SLICES, axis=1, ranges=((0, 3), (5, 5)))
    assert regionFromJson(regionToJson(region)) == region
    assert regionFromJson(regionToJson(None)) is None


def middle(volume, region):
    """Where the middle of the annotated voxels is, and how many there are."""
    inside = np.broadcast_to(readRegion(region).inside(worldGrid(volume), []), scenes.SHAPE)
    return [*centers(volume)[inside].mean(axis=0), inside.sum()]


@pytest.mark.parametrize("flips", [(1, 1, 1), (1, 1, -1), (-1, 1, 1), (-1, -1, -1)])
def test_the_same_slices_are_meant_when_slicer_counts_them_from_the_other_end(scene, tmp_path, flips):
    generator = np.random.default_rng(50)
    volume = scenes.a_volume(generator, scenes.matrix(generator, flips=flips))
    regions = [Region(kind=SLICES, axis=axis, ranges=((0, 1), (4, 4))) for axis in range(3)]
    stored = json.dumps([regionToJson(region, volume) for region in regions])
    before = [middle(volume, region) for region in regions]
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear()
    assert scene.ReadFromMRB(str(path))
    (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert np.linalg.det(worldGrid(volume).matrix) > 0
    read = [regionFromJson(data, volume=volume) for data in json.loads(stored)]
    assert np.allclose([middle(volume, region) for region in read], before, atol=1e-3)
    isTurned = flips != (1, 1, 1)
    assert read[2].ranges == (((2, 2), (5, 6)) if isTurned else ((0, 1), (4, 4)))
    assert (read[0].ranges, read[1].ranges) == (regions[0].ranges, regions[1].ranges)
    # What is kept now is kept as it is counted now.
    again = [regionFromJson(regionToJson(region, volume), volume=volume) for region in read]
    assert again == read


def test_slices_stay_as_they_were_named_where_nothing_says_how_they_were_counted(scene):
    generator = np.random.default_rng(51)
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    region = Region(kind=SLICES, axis=2, ranges=((0, 1),))
    assert regionFromJson(regionToJson(region), volume=volume) == region
    stored = regionToJson(region, volume)
    # Another grid, or none at all.
    volume.SetSpacing(1, 2, 3)
    assert regionFromJson(stored, volume=volume) == region
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert regionFromJson(stored, volume=empty) == region


def test_slices_beyond_a_scan_are_no_others_when_it_is_counted_from_the_other_end(scene):
    generator = np.random.default_rng(52)
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    stored = regionToJson(Region(kind=SLICES, axis=2, ranges=((0, 1), (5, 95), (99, 99))), volume)
    turn = np.diag([1.0, 1.0, -1.0, 1.0])
    turn[2, 3] = scenes.SHAPE[0] - 1
    volume.SetIJKToRASMatrix(scenes.to_vtk(worldGrid(volume).matrix @ turn))
    assert regionFromJson(stored, volume=volume).ranges == ((0, 1), (5, 6))


def test_slices_have_their_anatomical_names(scene):
    volume = scenes.a_volume(np.random.default_rng(0))
    assert [sliceDirection(worldGrid(volume), axis) for axis in range(3)] == ["sagittal", "coronal", "axial"]
