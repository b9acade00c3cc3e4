"""Closed surfaces as voxels: only where they are, once for each surface and place, and as on the whole grid."""

import numpy as np
import pytest
import slicer
import vtk

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge import layers, surface_voxels
from SemiSegModule.bridge.geometry import transformToWorld, worldGrid
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


def by_slicer(node, segment, grid):
    """What Slicer's own conversion makes of a surface, as a whole."""
    toWorld = transformToWorld(node)
    return layers._convertedBySlicer(node, segment, grid.moved(np.linalg.inv(toWorld)), toWorld)


def shape_of(kind, generator):
    """A surface of some kind around the origin, about 4 mm in radius."""
    if kind == "cube on voxel centers":
        source = vtk.vtkCubeSource()
        source.SetBounds(-3, 4, -2, 3, -4, 2)
    elif kind == "torus":
        torus = vtk.vtkParametricTorus()
        torus.SetRingRadius(3)
        torus.SetCrossSectionRadius(1.2)
        source = vtk.vtkParametricFunctionSource()
        source.SetParametricFunction(torus)
    elif kind == "cone":
        source = vtk.vtkConeSource()
        source.SetResolution(7)
        source.SetHeight(7)
        source.SetRadius(4)
        source.SetDirection(*generator.normal(size=3))
    else:
        source = vtk.vtkSphereSource()
        source.SetRadius(4)
        source.SetThetaResolution(24)
        source.SetPhiResolution(24)
    if kind == "open sphere":
        source.SetEndTheta(250)
    if kind == "strips":
        strips = vtk.vtkStripper()
        strips.SetInputConnection(source.GetOutputPort())
        source = strips
    if kind in ("inside out", "two shells"):
        turned = vtk.vtkReverseSense()
        turned.SetInputConnection(source.GetOutputPort())
        shells = vtk.vtkAppendPolyData()
        shells.AddInputConnection(turned.GetOutputPort())
        if kind == "two shells":
            shells.AddInputData(a_sphere((0.3, 0, 0), 2.2))
        source = shells
    source.Update()
    surface = vtk.vtkPolyData()
    surface.DeepCopy(source.GetOutput())
    if kind == "crumpled":
        # Neighbors cross each other and edges are sharp.
        for index in range(surface.GetNumberOfPoints()):
            point = np.array(surface.GetPoint(index)) + generator.normal(size=3) * 0.4
            surface.GetPoints().SetPoint(index, point)
    return surface


KINDS = (
    *("sphere", "cube on voxel centers", "torus", "cone", "open sphere", "strips", "inside out", "two shells"),
    "crumpled",
)


def a_case_of(kind, seed, place=(9, 8, 6)):
    """A volume and a surface of some kind around a voxel, on an oblique grid or on one along the axes."""
    generator = np.random.default_rng(seed)
    isOblique = seed % 2
    matrix = scenes.matrix(generator, spacing=(1.1, 0.9, 1.7)) if isOblique else np.diag([1.0, 1.0, 1.0, 1.0])
    volume = scenes.a_volume(generator, matrix, shape=SHAPE)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    surface = shape_of(kind, generator)
    center = (matrix @ [*place, 1])[:3]
    for index in range(surface.GetNumberOfPoints()):
        surface.GetPoints().SetPoint(index, center + surface.GetPoint(index))
    node.AddSegmentFromClosedSurfaceRepresentation(surface, "s0", [1, 0, 0], "s0")
    if isOblique:
        scenes.moved(volume, node, values=scenes.a_motion(generator))
    return volume, node


@pytest.mark.parametrize("kind", KINDS)
def test_a_surface_in_slabs_has_the_voxels_that_slicer_makes_of_it_as_a_whole(scene, monkeypatch, kind):
    # A slice is a slab of its own, and each filter a part.
    monkeypatch.setattr(surface_voxels, "_TURN_CUTS", 1)
    monkeypatch.setattr(surface_voxels, "_FEW_TRIANGLES", 1)
    for seed in range(6):
        # Every other time it reaches beyond the scan.
        volume, node = a_case_of(kind, seed, place=(9, 8, 6) if seed % 4 < 2 else (15, 20, 12))
        grid, kept = worldGrid(volume), SurfaceImages()
        parts = list(kept.parts(node, "s0", grid))
        found, whole = kept.layer(node, "s0", grid), by_slicer(node, "s0", grid)
        assert found.voxels.any()
        assert np.array_equal(found.voxels, whole.voxels)
        assert np.allclose(found.grid.matrix, whole.grid.matrix, rtol=0, atol=1e-9)
        assert found.values == whole.values
        # Four filters, and a slab for each slice.
        assert len(parts) >= 4 + len(found.voxels) - 1


@pytest.mark.parametrize("seed", range(4))
def test_a_surface_is_converted_where_it_is(scene, seed):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(seed))
    grid = worldGrid(volume)
    cut = readLayers(node, ids, grid)
    assert all(np.prod(layer.voxels.shape) < 0.4 * np.prod(SHAPE) for layer in cut)
    masks, outside = on_the_scan(cut, ids, grid)
    whole, outsideWhole = on_the_scan([by_slicer(node, segment, grid) for segment in ids], ids, grid)
    assert outside == outsideWhole
    assert [outside[segment] > 0 for segment in ids] == [False, False, True]
    for segment, mask in masks.items():
        assert mask.any()
        assert np.array_equal(mask, whole[segment])


def test_a_surface_beside_the_scan_has_all_its_voxels_outside(scene):
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(5), places=((90, 8, 6),))
    grid = worldGrid(volume)
    masks, outside = on_the_scan(readLayers(node, ids, grid), ids, grid)
    assert outside == on_the_scan([by_slicer(node, "s0", grid)], ids, grid)[1]
    assert outside["s0"] > 0
    assert not masks["s0"].any()


def test_a_surface_without_an_inside_has_no_voxels(scene):
    volume, node, _ids = a_case_of_surfaces(np.random.default_rng(5), places=())
    grid = worldGrid(volume)
    between = (grid.matrix @ [4.5, 4.5, 4.5, 1])[:3]
    for number, surface in enumerate((vtk.vtkPolyData(), a_sphere(between, 0.1))):
        node.AddSegmentFromClosedSurfaceRepresentation(surface, f"s{number}", [1, 0, 0], f"s{number}")
        assert by_slicer(node, f"s{number}", grid) is None
    assert readLayers(node, ["s0", "s1"], grid) == []


def test_a_surface_that_changes_between_two_parts_is_left_to_whoever_reads_it(scene, monkeypatch):
    monkeypatch.setattr(surface_voxels, "_TURN_CUTS", 1)
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(6))
    grid, kept = worldGrid(volume), SurfaceImages()
    surface = node.GetSegmentation().GetSegment("s1").GetRepresentation("Closed surface")
    parts = kept.parts(node, "s1", grid)
    next(parts)
    surface.DeepCopy(a_sphere((grid.matrix @ [8, 8, 6, 1])[:3], 3.0))
    surface.Modified()
    assert list(parts) == []
    assert kept.missing(node, ids, grid) == tuple(ids)
    assert np.array_equal(kept.layer(node, "s1", grid).voxels, by_slicer(node, "s1", grid).voxels)
    parts = kept.parts(node, "s0", grid)
    next(parts)
    node.GetSegmentation().RemoveSegment("s0")
    assert list(parts) == []
    parts = kept.parts(node, "s2", grid)
    next(parts)
    slicer.mrmlScene.RemoveNode(node)
    with pytest.raises(CaseError, match="no longer in the scene"):
        next(parts)


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
