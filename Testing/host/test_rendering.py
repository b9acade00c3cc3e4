"""Views show what is in the scene, and the window's picture shows panel and views."""

import numpy as np
import pytest
import qt
import slicer

from Testing.host.rendering.pictures import to_array, to_image
from Testing.host.rendering.window import slice_picture, three_d_picture, window_picture

SHAPE = (11, 24, 30)


@pytest.fixture
def shown_scene():
    """A bright block in a dark volume and a pure green segment in the block's corner."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[2:9, 4:20, 5:25] = 100
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([0.9, 1.1, 3.0, 1.0]), name="scan")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(200, 100)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("organ", "organ", (0.0, 1.0, 0.0))
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:8, 5:15, 6:18] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    slicer.util.setSliceViewerLayers(background=volume)
    return segmentation


def green_pixels(picture):
    picture = picture.astype(int)
    return int(((picture[..., 1] > picture[..., 0] + 40) & (picture[..., 1] > picture[..., 2] + 40)).sum())


@pytest.mark.parametrize("name", ["Red", "Green", "Yellow"])
def test_a_slice_view_shows_the_volume_and_the_segment(shown_scene, screenshot, name):
    picture = slice_picture(name, (200, 160))
    screenshot(f"slice_{name}", picture)
    assert picture.shape == (160, 200, 3)
    assert picture.max() > 100
    assert green_pixels(picture) > 100
    shown_scene.GetDisplayNode().SetVisibility(False)
    assert green_pixels(slice_picture(name, (200, 160))) == 0


def test_a_slice_outside_the_segment_does_not_show_it(shown_scene):
    assert green_pixels(slice_picture("Red", (200, 160), offset_share=0.0)) == 0


def test_the_3d_view_shows_the_surface(shown_scene, screenshot):
    assert green_pixels(three_d_picture((200, 200))) == 0
    shown_scene.CreateClosedSurfaceRepresentation()
    picture = three_d_picture((200, 200))
    screenshot("three_d", picture)
    assert green_pixels(picture) > 200


def test_the_window_shows_panel_and_views(shown_scene, screenshot):
    shown_scene.CreateClosedSurfaceRepresentation()
    panel = qt.QLabel("the panel")
    panel.setStyleSheet("background-color: #0000ff; color: white")
    panel.resize(150, 300)
    picture = window_picture(panel, view_width=200, view_height=160, with_3d=True)
    screenshot("window", picture)
    pixels = to_array(picture)
    assert pixels.shape == (368, 150 + 2 * 204, 3)
    assert tuple(pixels[2, 2]) == (0, 0, 255)
    assert green_pixels(pixels[:, 150:]) > 300


def test_views_share_the_height_of_a_tall_panel(shown_scene):
    panel = qt.QLabel("the panel")
    panel.resize(150, 500)
    pixels = to_array(window_picture(panel, view_width=200))
    assert pixels.shape == (500, 150 + 2 * 204, 3)
    # Black is the background of slice views, the window's own is gray.
    assert tuple(pixels[-1, 160]) == (0, 0, 0)
    assert tuple(pixels[-1, -10]) == (48, 48, 48)


def test_a_picture_survives_the_way_to_qt_and_back():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(to_array(to_image(pixels)), pixels)
