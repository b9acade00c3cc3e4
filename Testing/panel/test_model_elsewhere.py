"""A model goes to another machine: trained and exported here, opened there in a fresh scene, without study or run."""

import shutil

import pytest
import slicer

from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.scene_case import segmentTag
from Testing.host.application.sample_data import clickSample
from Testing.host.interaction import click, process_events, tick_cell, type_text, wait_until
from Testing.panel.real_worker import PATIENCE_SECONDS, has_ended, wait_for
from Testing.panel.studies import column
from Testing.panel.test_model import plain

COLORS = {"head": (0.9, 0.1, 0.1), "tail": (0.1, 0.6, 0.2), "vessel": (0.2, 0.3, 0.9)}
WHOLES = {"head": "organ", "tail": "organ", "vessel": "vessel"}


def results():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]


def paint_segments():
    """Give the structures of the study colors of its own."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        for index in range(segmentation.GetNumberOfSegments()):
            segment = segmentation.GetNthSegment(index)
            if segment.GetName() in COLORS:
                segment.SetColor(*COLORS[segment.GetName()])


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
def test_a_trained_model_is_exported_and_used_in_a_fresh_scene_without_its_study(host, panel, home, tmp_path):
    clickSample("SemiSegStudy")
    process_events()
    paint_segments()
    study, file = tmp_path / "study", tmp_path / "usb stick" / "organ.safetensors"
    file.parent.mkdir()
    type_text(panel.ui.studyFolderEdit, str(study))
    tick_cell(panel.ui.casesTable, column(panel.ui.casesTable, 0).index("test_00"))
    click(panel.ui.trainButton)
    training = panel.panel.training
    wait_for(lambda: has_ended(training) or (training.status is not None and training.status.step >= 5), "five steps")
    click(panel.ui.stopButton)
    wait_for(lambda: has_ended(training), "the end of the training")
    assert (host.dialogs.shown("error"), training.status.state) == ([], "stopped")
    method = training.run.request.method
    host.dialogs.choose_path(str(file))
    click(panel.ui.exportModelButton)
    assert [path.name for path in file.parent.iterdir()] == [file.name]

    # What is left is the file and a scan.
    scan = slicer.util.getNode("test_00")
    voxels, matrix = slicer.util.arrayFromVolume(scan).copy(), worldGrid(scan).matrix
    slicer.mrmlScene.Clear()
    process_events()
    shutil.rmtree(study)
    type_text(panel.ui.studyFolderEdit, "")
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=matrix, name="new patient")
    process_events()
    assert panel.panel.model.path is None
    type_text(panel.ui.modelEdit, str(file))
    wait_until(lambda: panel.panel.model.path == file, what="the model is looked at")
    lines = plain(panel.ui.modelInfoLabel).split("\n")
    assert lines[0] == "Segments: \u25a0 vessel, organ (\u25a0 head, \u25a0 tail)"
    assert lines[1] == "Channels: T1"
    for color in COLORS.values():
        assert "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in color)) in panel.ui.modelInfoLabel.text

    tick_cell(panel.ui.applyVolumesList, 0)
    click(panel.ui.applyButton)
    wait_for(lambda: has_ended(panel.panel.apply) and results(), "the result")
    assert host.dialogs.shown("error") == []
    (result,) = results()
    # Where there is no run, the result is named after the file.
    assert (method in result.GetName(), result.GetName()) == (False, "new patient organ")
    segmentation = result.GetSegmentation()
    segments = [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]
    # Parts of one whole stand together.
    assert [segment.GetName() for segment in segments] == ["head", "tail", "vessel"]
    for segment in segments:
        assert segment.GetColor() == pytest.approx(COLORS[segment.GetName()], abs=1 / 255)
        assert segmentTag(segment, "SemiSeg.Superclass") == WHOLES[segment.GetName()]
    drawn = [slicer.util.arrayFromSegmentBinaryLabelmap(result, segment.GetName(), volume) for segment in segments]
    assert all(mask.shape == voxels.shape for mask in drawn)
