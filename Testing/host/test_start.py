"""The host is what a module finds in Slicer, and nothing goes unnoticed in it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qt
import slicer

ROOT = Path(__file__).resolve().parents[2]


def test_names_that_only_the_wheel_has_are_gone():
    for name in ("getNode", "loadVolume", "arrayFromVolume", "VTKObservationMixin"):
        assert not hasattr(slicer, name), name
    assert callable(slicer.util.getNode)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_test_starts_with_an_empty_scene_and_no_settings(turn):
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode") == 0
    assert qt.QSettings().allKeys() == ()
    slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    node.UnRegister(None)
    node.SetSingletonTag("Demo")
    slicer.mrmlScene.AddNode(node)
    qt.QSettings().setValue("left", "behind")


def test_an_exception_in_a_slot_is_remembered(host):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    with host.expect_slot_error(ZeroDivisionError, "division"):
        button.click()


def test_an_exception_in_an_observer_is_remembered(host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")

    def observe(caller, event):
        raise KeyError("observer")

    node.AddObserver("ModifiedEvent", observe)
    with host.expect_slot_error(KeyError, "observer"):
        node.Modified()


def test_an_error_of_vtk_is_remembered(host):
    with host.expect_complaint("Invalid segment"):
        slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(None, 1)


def test_importing_torch_is_refused():
    with pytest.raises(AssertionError, match="imports torch"):
        import torch  # noqa: F401


def test_the_subject_hierarchy_is_part_of_the_scene_after_a_close():
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode") == 1
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetScene() is slicer.mrmlScene
    assert hierarchy.GetItemByDataNode(volume)
    slicer.mrmlScene.RemoveNode(volume)
    assert hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "scan") == 0


def test_a_scene_file_brings_its_nodes_back_to_the_subject_hierarchy(tmp_path):
    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), name="scan")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), properties={})
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), properties={})
    volume = slicer.util.getNode("scan")
    assert slicer.util.arrayFromVolume(volume).sum() == 276
    assert slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene).GetItemByDataNode(volume)


def test_volumes_and_segmentations_go_to_files_and_back(tmp_path):
    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), name="scan")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "labels")
    segmentation.CreateDefaultDisplayNodes()
    segment = segmentation.GetSegmentation().AddEmptySegment("organ", "organ")
    mask = np.zeros((2, 3, 4), np.uint8)
    mask[1, 1:, :2] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    assert slicer.util.saveNode(volume, str(tmp_path / "scan.nii.gz"), properties={})
    assert slicer.util.saveNode(segmentation, str(tmp_path / "labels.seg.nrrd"), properties={})
    slicer.mrmlScene.Clear(0)
    volume = slicer.util.loadVolume(str(tmp_path / "scan.nii.gz"), properties={})
    segmentation = slicer.util.loadSegmentation(str(tmp_path / "labels.seg.nrrd"), properties={})
    assert (volume.GetName(), segmentation.GetName()) == ("scan", "labels")
    assert slicer.util.arrayFromVolume(volume).sum() == 276
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "organ", volume), mask)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == volume.GetID()


def test_a_process_ends_well_after_many_slots_and_missing_attributes():
    code = (
        "from Testing.host import start; host = start.start(); import qt\n"
        "button = qt.QPushButton(); button.connect('clicked()', lambda: None)\n"
        "for _ in range(60000): button.clicked.emit(); hasattr(button, 'nothing')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_layers_layout_and_plots_work_without_views():
    volume = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), name="scan")
    slicer.util.setSliceViewerLayers(background=volume, label=None, fit=True, rotateToVolumePlane=True)
    manager = slicer.app.layoutManager()
    for name in manager.sliceViewNames():
        assert manager.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    chart = slicer.util.plot(np.column_stack([np.arange(4.0), np.arange(4.0) ** 2]), 0, ["step", "loss"])
    assert chart.GetNumberOfPlotSeriesNodes() == 1
    assert slicer.app.applicationLogic().GetSelectionNode().GetActivePlotChartID() == chart.GetID()
    changes = []
    manager.layoutChanged.connect(changes.append)
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    assert changes == [slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView]
