"""The module as Slicer loads it: described, opened without packages or network, closed without a trace."""

import importlib.util
import socket
import sys
from pathlib import Path

import slicer

from SemiSegModule import dependencies
from Testing.host.interaction import process_events
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
    monkeypatch.setattr(dependencies, "missing", lambda: ["torch>=2.4.1", "monai>=1.5.1"])
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


def test_the_library_is_found_beside_the_module_in_a_source_tree(module, monkeypatch):
    import SemiSeg

    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path or ".").resolve() != ROOT])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    SemiSeg.makeLibraryImportable()
    assert sys.path[0] == str(ROOT)


def test_the_entry_file_stays_thin():
    assert len((ROOT / "SemiSegExtension/SemiSeg.py").read_text(encoding="utf-8").splitlines()) <= 150
