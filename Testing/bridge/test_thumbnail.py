"""Pictures of scans: the middle slice, upright whatever the axes of the file."""

import tracemalloc

import numpy as np
import pytest
import slicer

from SemiSegModule.bridge.thumbnail import thumbnail, toPortableGraymap
from Testing.bridge import scenes

SIZE = 32


def a_body(shape=(12, 40, 30)):
    """Canonical voxels (superior, posterior, left): bright in front and at the patient's left."""
    voxels = np.zeros(shape, np.int16)
    voxels[:, 8:32, 5:25] = 300
    voxels[:, 8:14, 5:25] = 900
    voxels[:, 8:32, 20:25] = 600
    return voxels


def a_scan(voxels, order, flips, spacing=(1.0, 1.0, 1.0)):
    """The same body stored with other axes; RAS coordinates of each voxel stay the same."""
    # Array axes (k, j, i) of the canonical body run to S, P, L; index (i, j, k) to RAS is diag(-1, -1, 1).
    matrix = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    stored = np.flip(voxels.transpose(order), tuple(axis for axis, flip in enumerate(flips) if flip < 0))
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for axis, source in enumerate(order):
        column, row = 2 - axis, 2 - source
        change[row, column] = flips[axis]
        change[row, 3] = voxels.shape[source] - 1 if flips[axis] < 0 else 0
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(stored), ijkToRAS=matrix @ change)


@pytest.mark.parametrize(("order", "flips"), scenes.ALL_TURNS)
def test_the_picture_is_the_same_for_every_order_of_axes(scene, order, flips):
    expected = thumbnail(a_scan(a_body(), (0, 1, 2), (1, 1, 1)), SIZE)
    assert np.array_equal(thumbnail(a_scan(a_body(), order, flips), SIZE), expected)


def test_front_is_up_and_the_patients_left_is_on_the_right(scene):
    picture = thumbnail(a_scan(a_body(), (0, 1, 2), (1, 1, 1)), SIZE).astype(int)
    assert picture.shape == (SIZE, SIZE)
    top, bottom = picture[: SIZE // 2].mean(), picture[SIZE // 2 :].mean()
    assert top > bottom
    assert picture[18:24, 18:].mean() > picture[18:24, :14].mean()


def test_thick_slices_are_shown_as_they_were_acquired(scene):
    voxels = np.zeros((24, 40, 6), np.int16)
    voxels[:, 4:30] = np.arange(100, 700, 100)
    voxels[:, 30:36] = 900
    node = a_scan(voxels, (0, 1, 2), (1, 1, 1), spacing=(1.0, 1.0, 6.0))
    # Sagittal: as wide as the body is deep (40 mm of 40), as high as it is long (24 mm of 40).
    picture = thumbnail(node, 40)
    rows = np.flatnonzero(picture.max(axis=1))
    assert rows[0] >= 8
    assert rows[-1] < 32


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_scan_has_a_picture_without_contrast(scene, value):
    node = slicer.util.addVolumeFromArray(np.full((3, 4, 5), value, np.float32))
    assert np.unique(thumbnail(node, SIZE)).size == 1


def test_nothing_to_show_is_none_and_nan_does_no_harm(scene):
    assert thumbnail(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"), SIZE) is None
    voxels = np.random.default_rng(0).normal(size=(3, 9, 9)).astype(np.float32)
    voxels[1, :3] = np.nan
    assert thumbnail(slicer.util.addVolumeFromArray(voxels), SIZE).max() == 255


def test_the_file_format_holds_the_pixels():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert toPortableGraymap(pixels) == b"P5 3 2 255\n" + bytes(range(6))


def test_no_more_than_one_slice_of_a_turned_scan_is_copied(scene):
    # Thick in a direction that is not the first in memory.
    voxels = np.zeros((128, 128, 64), np.int16)
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([-3.0, 1, -1, 1]), name="scan")
    tracemalloc.start()
    try:
        assert thumbnail(volume, 16) is not None
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < voxels.nbytes / 4
