"""Turning to canonical axes and back is exact and moves no voxel in space."""

from itertools import permutations, product

import numpy as np
import pytest

from SemiSegLib.cases.orientation import Orientation, closest_orientation
from SemiSegLib.cases.volume import Geometry
from Testing.lib.cases.tiny import image, oblique

ALL_48 = [Orientation(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def test_a_grid_in_canonical_order_is_left_alone():
    assert closest_orientation(oblique()) == Orientation((0, 1, 2), (False, False, False))
    identity = Geometry((2, 3, 4), np.eye(4)[:, [2, 1, 0, 3]])
    assert closest_orientation(identity) == Orientation((0, 1, 2), (False, False, False))


@pytest.mark.parametrize("stored", ALL_48)
@pytest.mark.parametrize("degrees_z", [20.0, 45.0, 90.0, -45.0])
def test_all_48_ways_to_store_a_scan_have_one_canonical_form(stored, degrees_z):
    scan = image(1, oblique(degrees_z=degrees_z))
    canonical = closest_orientation(scan.geometry)
    expected = canonical.apply(scan.voxels)
    voxels, geometry = stored.apply(scan.voxels), stored.apply_geometry(scan.geometry)
    found = closest_orientation(geometry)
    turned = found.apply(voxels)
    assert np.array_equal(turned, expected)
    assert found.apply_geometry(geometry).displacement_mm(canonical.apply_geometry(scan.geometry)) < 1e-9
    assert np.array_equal(found.undo(turned), voxels)


@pytest.mark.parametrize("way", ALL_48)
def test_a_voxel_keeps_its_place(way):
    grid = oblique((3, 4, 5))
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"))
    turned_index = way.apply(index)
    turned_grid = way.apply_geometry(grid)
    assert turned_index.shape[1:] == turned_grid.shape
    for place in np.ndindex(turned_grid.shape):
        before = grid.affine @ [*turned_index[(slice(None), *place)], 1]
        assert np.allclose(turned_grid.affine @ [*place, 1], before)


def test_leading_axes_are_kept_and_the_result_can_be_written_to():
    way = Orientation((2, 0, 1), (True, False, True))
    array = np.random.default_rng(0).random((2, 3, 4, 5, 6))
    turned = way.apply(array)
    assert turned.shape == (2, 3, 6, 4, 5)
    assert turned.flags.c_contiguous
    assert turned.flags.writeable
    assert np.array_equal(way.undo(turned), array)
