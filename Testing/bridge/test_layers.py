"""Closed surfaces as voxels: only where they are, once for each surface and place, and as on the whole grid."""

import numpy as np
import pytest
import slicer
import vtk

from SemiSegModule.bridge import layers
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.layers import SurfaceImages, drawnMoment, readLayers
from SemiSegModule.bridge.segments import placeLayers
from Testing.bridge import scenes

SHAPE = (13, 21, 17)


def a_sphere(center, radius):
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*center)
    sphere.SetRadius(radius)
    sphere.SetThetaResolution(20)
    sphere.SetPhiResolution(20)
    sphere.Update()
    return sphere.GetOutput()


def a_case_of_surfaces(generator, *, places=((9, 8, 6), (5, 14, 4), (16, 20, 12)), radius=4.0):
    """A volume on an oblique grid and spheres around voxels (i, j, k); the last one reaches beyond the scan."""
    volume = scenes.a_volume(generator, scenes.matrix(generator, spacing=(1.1, 0.9, 1.7)), shape=SHAPE)
    matrix = worldGrid(volume).matrix
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    for number, place in enumerate(places):
        center = (matrix @ [*place, 1])[:3]
        surface = a_sphere(center, radius)
        node.AddSegmentFromClosedSurfaceRepresentation(surface, f"s{number}", [1, 0, 0], f"s{number}")
    return volume, node, [f"s{number}" for number in range(len(places))]


def on_the_scan(found, ids, grid):
    """Masks on the whole grid, and how many voxels lie outside of it."""
    placed = placeLayers(found, ids, grid)
    whole = {segment: np.zeros(grid.shape, bool) for segment in ids}
    box = tuple(slice(first, first + size) for first, size in zip(*placed.box, strict=True))
    for segment in ids:
        whole[segment][box] = placed.masks[segment]
    return whole, dict(placed.outside)


def on_the_whole_grid(_segmentation, _segment, grid):
    slices, rows, columns = grid.shape
    return 0, columns - 1, 0, rows - 1, 0, slices - 1


@pytest.mark.parametrize("seed", range(4))
def test_a_surface_is_converted_where_it_is_as_on_the_whole_grid(scene, monkeypatch, seed):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(seed))
    grid = worldGrid(volume)
    cut = readLayers(node, ids, grid)
    assert all(np.prod(layer.voxels.shape) < 0.4 * np.prod(SHAPE) for layer in cut)
    masks, outside = on_the_scan(cut, ids, grid)
    monkeypatch.setattr(layers, "_extentAround", on_the_whole_grid)
    whole, outsideWhole = on_the_scan(readLayers(node, ids, grid), ids, grid)
    assert outside == outsideWhole
    assert [outside[segment] > 0 for segment in ids] == [False, False, True]
    for segment, mask in masks.items():
        assert mask.any()
        assert np.array_equal(mask, whole[segment])


def test_a_surface_beside_the_scan_has_all_its_voxels_outside(scene, monkeypatch):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(5), places=((90, 8, 6),))
    grid = worldGrid(volume)
    masks, outside = on_the_scan(readLayers(node, ids, grid), ids, grid)
    monkeypatch.setattr(layers, "_extentAround", on_the_whole_grid)
    assert outside == on_the_scan(readLayers(node, ids, grid), ids, grid)[1]
    assert outside["s0"] > 0
    assert not masks["s0"].any()


def test_nothing_is_converted_on_more_of_the_grid_than_a_surface_fills(scene, monkeypatch):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(6), places=((9, 8, 6),), radius=2.0)
    extents, original = [], layers._extentAround
    monkeypatch.setattr(layers, "_extentAround", lambda *given: extents.append(original(*given)) or extents[-1])
    readLayers(node, ids, worldGrid(volume))
    (extent,) = extents
    sizes = [last - first + 1 for first, last in zip(extent[::2], extent[1::2], strict=True)]
    assert np.prod(sizes) < 0.5 * np.prod(SHAPE)


def test_a_surface_is_converted_once_until_it_or_its_place_changes(scene, monkeypatch):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(6))
    grid, kept, made = worldGrid(volume), SurfaceImages(), []
    original = layers._converted
    monkeypatch.setattr(layers, "_converted", lambda n, i, g: made.append(i) or original(n, i, g))
    assert kept.missing(node, ids, grid) == tuple(ids)
    first = readLayers(node, ids, grid, kept)
    assert kept.missing(node, ids, grid) == ()
    again = readLayers(node, ids, grid, kept)
    assert made == ids
    assert all(a is b for a, b in zip(first, again, strict=True))

    surface = node.GetSegmentation().GetSegment("s1").GetRepresentation("Closed surface")
    before = drawnMoment(node.GetSegmentation(), "s1")
    surface.DeepCopy(a_sphere((worldGrid(volume).matrix @ [8, 8, 6, 1])[:3], 3.0))
    surface.Modified()
    assert drawnMoment(node.GetSegmentation(), "s1") != before
    assert kept.missing(node, ids, grid) == ("s1",)
    readLayers(node, ids, grid, kept)
    assert made == [*ids, "s1"]

    scenes.moved(node, values=scenes.a_motion(np.random.default_rng(7)))
    assert kept.missing(node, ids, grid) == tuple(ids)


def test_segments_that_have_left_the_scene_are_forgotten(scene):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(8))
    grid, kept = worldGrid(volume), SurfaceImages()
    readLayers(node, ids, grid, kept)
    node.GetSegmentation().RemoveSegment("s0")
    kept.forgetRemoved()
    assert kept.missing(node, ids[1:], grid) == ()
    assert len(kept._kept) == 2
    slicer.mrmlScene.RemoveNode(node)
    kept.forgetRemoved()
    assert len(kept._kept) == 0
