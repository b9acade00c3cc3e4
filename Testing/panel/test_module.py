"""The module as Slicer loads it: described, opened without packages or network, closed without a trace."""

import gc
import importlib.util
import socket
import sys
from pathlib import Path

import numpy as np
import slicer

from SemiSegModule import dependencies
from Testing.bridge import scenes
from Testing.host.interaction import click_cell, process_events, type_text
from Testing.panel.studies import a_small_study

ROOT = Path(__file__).resolve().parents[2]


def test_the_module_describes_itself(module):
    assert module.title == "SemiSeg"
    assert tuple(module.categories) == ("Segmentation",)
    assert not module.icon.isNull()
    assert module.helpText
    assert module.acknowledgementText
    assert tuple(module.contributors)
    assert "SemiSeg" in slicer.selfTests


def test_it_opens_without_packages_network_or_main_window(host, module, monkeypatch):
    def refuse(*_arguments):
        raise AssertionError("the module opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(dependencies, "missing", lambda **_more: ["torch>=2.4.1", "monai>=1.5.1"])
    monkeypatch.setattr(slicer.util, "mainWindow", lambda verbose=True: None)
    representation = module.widgetRepresentation()
    representation.enter()
    process_events()
    panel = representation.self()
    assert panel.ui.packagesFrame.isVisibleTo(representation)
    assert "torch, monai" in panel.ui.packagesLabel.text
    assert host.dialogs.messages == []
    representation.exit()


def test_every_disabled_button_says_why_and_every_field_what_it_is(panel):
    for name in ("trainButton", "stopButton", "resumeButton", "openRunButton", "applyButton", "applyStopButton"):
        button = getattr(panel.ui, name)
        assert not button.enabled
        assert button.toolTip, name
    for name in ("schemeComboBox", "channelsEdit", "studyFolderEdit", "minutesSpinBox", "deviceComboBox", "modelEdit"):
        assert getattr(panel.ui, name).toolTip, name


def test_closing_the_module_lets_go_of_every_node(host, module):
    representation = module.widgetRepresentation()
    representation.enter()
    process_events()
    panel = representation.self()
    a_small_study()
    segmentation = slicer.util.getNode("Ann drawn").GetSegmentation()
    assert segmentation.HasObserver(slicer.vtkSegmentation.SegmentAdded)
    panel.cleanup()
    assert panel.Observations == []
    slicer.mrmlScene.Clear()
    process_events()


def test_the_voxels_of_a_closed_scene_are_forgotten(host, module):
    representation = module.widgetRepresentation()
    representation.resize(520, 900)
    representation.show()
    representation.enter()
    process_events()
    panel = representation.self()
    a_small_study()
    scenes.a_volume(np.random.default_rng(7), name="Ann FLAIR")
    panel.ui.structuresSection.collapsed = False
    process_events()
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    # A fix of its own is offered for the selected case.
    click_cell(panel.ui.casesTable, 0, 2)
    assert panel.ui.fixCaseButton.isVisibleTo(panel.form)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode")]
    names += [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    gone = []
    for name in names:
        watched = slicer.util.getNode(name)
        watched.AddObserver("DeleteEvent", lambda *_, name=name: gone.append(name))
    del watched
    slicer.mrmlScene.Clear(0)
    # Nobody shows another study: a person has gone on to another module.
    panel.panel.setParameterNode(None)
    process_events()
    gc.collect()
    assert sorted(gone) == sorted(names)
    assert panel.panel.view.rows == []
    representation.enter()
    process_events()
    assert panel.ui.casesTable.rowCount == 0
    a_small_study()
    assert panel.ui.casesTable.rowCount == 4
    representation.exit()
    representation.hide()


def test_the_library_is_found_beside_the_module_in_a_source_tree(module, monkeypatch):
    import SemiSeg

    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path or ".").resolve() != ROOT])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    SemiSeg.makeLibraryImportable()
    assert sys.path[0] == str(ROOT)


def test_the_entry_file_stays_thin():
    assert len((ROOT / "SemiSegExtension/SemiSeg.py").read_text(encoding="utf-8").splitlines()) <= 150
