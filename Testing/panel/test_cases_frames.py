"""Volumes of the scene that are no case by themselves: color images, and sequences on which somebody has drawn."""

import numpy as np
import pytest
import slicer

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.frames import framedVolumes, makeGray, splitFrames
from Testing.bridge import scenes
from Testing.host.interaction import click, process_events
from Testing.panel.studies import a_small_study, column, show_whole
from Testing.panel.test_cases_adding import a_sequence

CASE, SEGMENTATION = 0, 1


def a_photo(colors=3, *, kind=None, voxels=np.uint8):
    """A volume of colors; the file says that they are by ``kind``, or nobody does."""
    values = np.zeros((4, 5, 6, colors), voxels)
    values[..., 0], values[..., 1] = 200, 100
    node = slicer.util.addVolumeFromArray(
        values, ijkToRAS=np.diag([2.0, 3.0, 4.0, 1.0]), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    if kind is not None:
        node.SetVoxelVectorType(kind)
    process_events()
    return node


RGB, RGBA = slicer.vtkMRMLVolumeNode.VoxelVectorTypeColorRGB, slicer.vtkMRMLVolumeNode.VoxelVectorTypeColorRGBA


@pytest.mark.parametrize(
    ("colors", "kind", "voxels"),
    [(3, None, np.uint8), (4, None, np.uint8), (3, RGB, np.uint16), (4, RGBA, np.uint8)],
)
def test_a_color_image_is_told_as_one_and_made_gray_by_one_click(panel, screenshot, colors, kind, voxels):
    a_small_study()
    node = a_photo(colors, kind=kind, voxels=voxels)
    before = scenes.digest(node)
    assert panel.ui.framesLabel.text.startswith("photo is a color image, so it is no case")
    assert not panel.ui.splitFramesButton.visible
    show_whole(panel)
    screenshot("cases_color", panel.parent)
    click(panel.ui.makeGrayButton)
    assert column(panel.ui.casesTable, CASE)[-1] == "photo gray"
    gray = slicer.util.getNode("photo gray")
    assert gray.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert gray.GetSpacing() == (2.0, 3.0, 4.0)
    # Red and green as bright as people see them.
    assert abs(slicer.util.arrayFromVolume(gray).astype(float) - (0.3 * 200 + 0.59 * 100)).max() <= 1
    assert not panel.ui.framesFrame.visible
    assert scenes.digest(node) == before


@pytest.mark.parametrize(
    ("components", "kind", "voxels"),
    [
        (3, slicer.vtkMRMLVolumeNode.VoxelVectorTypeSpatial, np.uint8),
        (3, None, np.float32),
        (5, None, np.uint8),
    ],
)
def test_what_is_not_in_color_holds_several_images(panel, components, kind, voxels):
    a_photo(components, kind=kind, voxels=voxels)
    assert panel.ui.framesLabel.text.startswith(f"photo holds {components} images")
    assert not panel.ui.makeGrayButton.visible
    (frames,) = framedVolumes()
    with pytest.raises(CaseError, match="no color image"):
        makeGray(frames)


def test_a_color_image_can_be_left_out_and_its_colors_split_on_the_console(panel):
    a_photo()
    (frames,) = framedVolumes()
    assert [node.GetName() for node in splitFrames(frames, (1, 2))] == ["photo 1", "photo 2"]
    click(panel.ui.ignoreFramesButton)
    assert not panel.ui.framesFrame.visible


def drawn_on(proxy, name="perfusion drawn"):
    masks = {"head": np.zeros((4, 5, 6), bool)}
    masks["head"][1:3, 1:3, 1:3] = True
    return scenes.a_segmentation(proxy, masks, name=name)


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (("3",), ["perfusion 3 labels"]),
        (("1, 3", "3"), ["(none)", "perfusion 3 labels"]),
        (("1, 3", ""), ["(none)", "(none)"]),
    ],
    ids=["the only image", "the image that is named", "nobody knows"],
)
def test_labels_drawn_on_a_sequence_come_along_with_their_image(host, panel, answers, labels):
    proxy, _frames = a_sequence()
    node = drawn_on(proxy)
    before = scenes.digest(node)
    host.dialogs.enter_text(*answers)
    click(panel.ui.splitFramesButton)
    assert column(panel.ui.casesTable, SEGMENTATION) == labels
    assert scenes.digest(node) == before
    assert len(host.dialogs.shown("text")) == len(answers)
    if labels[-1] != "(none)":
        copy = slicer.util.getNode(labels[-1])
        volume = slicer.util.getNode("perfusion 3")
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(copy, "id head", volume)
        assert int((mask > 0).sum()) == 8


def test_labels_of_an_image_that_was_not_chosen_are_refused(host, panel):
    proxy, _frames = a_sequence()
    drawn_on(proxy)
    host.dialogs.enter_text("1, 3", "2")
    click(panel.ui.splitFramesButton)
    assert "image 2 was not chosen" in host.dialogs.shown("error")[0]
    assert panel.ui.casesTable.rowCount == 0
    assert panel.ui.framesFrame.visible


def play_with(proxy, count):
    """Labels of each image in a sequence that is played with that of the images; image n has n voxels of them."""
    (browser,) = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "labels sequence")
    for number in range(count):
        mask = np.zeros((4, 5, 6), bool)
        mask[0, 0, : number + 1] = True
        node = scenes.a_segmentation(proxy, {"head": mask}, name="made")
        sequence.SetDataNodeAtValue(node, str(number))
        slicer.mrmlScene.RemoveNode(node)
    browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    browser.GetProxyNode(sequence).SetName("perfusion labels")
    process_events()


def test_a_sequence_of_labels_is_split_with_the_images(host, panel):
    proxy, _frames = a_sequence()
    play_with(proxy, 4)
    host.dialogs.enter_text("2, 4")
    click(panel.ui.splitFramesButton)
    assert column(panel.ui.casesTable, SEGMENTATION) == ["perfusion 2 labels", "perfusion 4 labels"]
    for number in (2, 4):
        volume = slicer.util.getNode(f"perfusion {number}")
        node = slicer.util.getNode(f"perfusion {number} labels")
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, "id head", volume)
        assert int((mask > 0).sum()) == number


def test_a_sequence_of_labels_of_another_length_is_left_out_with_a_word(host, panel):
    proxy, _frames = a_sequence()
    play_with(proxy, 3)
    host.dialogs.enter_text("2, 4")
    click(panel.ui.splitFramesButton)
    (told,) = host.dialogs.shown("info")
    assert "perfusion labels holds labels of 3 images, perfusion holds 4 images" in told
    assert column(panel.ui.casesTable, CASE) == ["perfusion 2", "perfusion 4"]
    assert column(panel.ui.casesTable, SEGMENTATION) == ["(none)", "(none)"]
