"""The host is what a module finds in Slicer, and nothing goes unnoticed in it."""

import numpy as np
import pytest
import qt
import slicer


def test_names_that_only_the_wheel_has_are_gone():
    for name in ("getNode", "loadVolume", "arrayFromVolume", "VTKObservationMixin"):
        assert not hasattr(slicer, name), name
    assert callable(slicer.util.getNode)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_test_starts_with_an_empty_scene_and_no_settings(turn):
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0
    assert qt.QSettings().allKeys() == ()
    slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16))
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
