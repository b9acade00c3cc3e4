"""Slicer is closed and opened, a scene is saved and loaded: what runs meanwhile is there again, and can be stopped."""

from pathlib import Path

import pytest
import slicer

from SemiSegLib.runs import folder
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import is_running, observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from Testing.host.interaction import click, process_events, type_text, wait_until
from Testing.panel.studies import a_run, a_small_study, alive, choose_run, column, shown_run

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"
# A new Python process on a busy machine.
PATIENCE_SECONDS = 100


def open_slicer(host):
    """The panel of a freshly loaded module, as after a start of Slicer; settings are those of the last one."""
    module = host.load_module(EXTENSION / "SemiSeg.py")
    host.app.startupCompleted.emit()
    representation = module.widgetRepresentation()
    representation.resize(520, 900)
    representation.show()
    representation.enter()
    process_events()
    return representation.self()


def close_slicer(host):
    slicer.modules.semiseg.widgetRepresentation().exit()
    host.unload_module("SemiSeg")
    slicer.mrmlScene.Clear()
    process_events()


@pytest.fixture
def closed(host):
    """Nothing; whatever the test has opened is closed at its end."""
    yield
    if hasattr(slicer.modules, "semiseg"):
        close_slicer(host)


@pytest.fixture
def real_process(monkeypatch):
    """Runs are started for real; what they do is only to say that they train."""
    monkeypatch.setattr(RunFolder, "worker_module", "Testing.panel.pretend_worker")


def is_shown_as_training(panel):
    panel.panel.training.watcher.look()
    return panel.ui.statusLabel.text.startswith("Training, step 3 of 10")


def test_a_training_goes_on_while_slicer_is_closed_and_is_found_and_stopped_afterwards(
    host, closed, real_process, tmp_path
):
    panel = open_slicer(host)
    a_small_study()
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "new study"))
    click(panel.ui.trainButton)
    (run,) = jobs.findRuns(tmp_path / "new study")
    wait_until(lambda: is_shown_as_training(panel), seconds=PATIENCE_SECONDS)
    close_slicer(host)
    assert host.dialogs.messages == []
    assert is_running(run)
    assert not run.stop_requested()

    # The scene was not saved; the study folder is known from the settings.
    panel = open_slicer(host)
    assert panel.ui.studyFolderEdit.currentPath == str(tmp_path / "new study")
    wait_until(lambda: is_shown_as_training(panel), seconds=PATIENCE_SECONDS)
    assert shown_run(panel) == run.request.title
    assert panel.ui.trainButton.text == "Add to queue"
    click(panel.ui.stopButton)
    wait_until(lambda: observe(run).state == "stopped", seconds=PATIENCE_SECONDS)
    wait_until(lambda: not is_running(run), seconds=PATIENCE_SECONDS)
    panel.panel.training.watcher.look()
    assert panel.ui.statusLabel.text == "Stopped.\nA model is saved."


def test_a_run_of_a_saved_scene_is_watched_again_when_the_scene_is_opened(panel, tmp_path):
    run = a_run(tmp_path / "study", "overnight")
    run.write_status(alive(RunStatus(state="training", step=3, total_steps=10, fraction=0.3)))
    other = a_run(tmp_path / "other")
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "study"))
    choose_run(panel, "overnight")
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    process_events()
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "other"))
    assert panel.panel.training.run is None
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()
    assert panel.panel.training.watcher.run.path == run.path
    assert panel.ui.statusLabel.text.startswith("Training, step 3 of 10")
    assert panel.ui.stopButton.enabled
    assert not other.stop_requested()


def test_what_was_asked_of_a_run_is_read_once_however_often_the_panel_is_refreshed(panel, tmp_path, monkeypatch):
    for name in ("first", "second", "third"):
        a_run(tmp_path, name)
    reads, original = [], folder.read_json
    monkeypatch.setattr(folder, "read_json", lambda path: reads.append(path.parent.name) or original(path))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    for _again in range(3):
        panel.panel.refresh()
    assert sorted(reads) == ["first", "second", "third"]


def test_a_run_that_cannot_be_read_is_listed_and_hides_no_other(host, panel, tmp_path):
    newer, damaged, running = (a_run(tmp_path, name) for name in ("newer", "damaged", "running"))
    newer.request_path.write_text('{"dataset": "x", "method": "y", "setting of a later version": 1}')
    damaged.status_path.write_text("[1, 2")
    running.write_status(alive(RunStatus(state="training", step=3, total_steps=10)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    assert set(column(panel.ui.runsTable, 0)) == {"newer", "damaged", "running"}
    assert panel.ui.statusLabel.text.startswith("Training, step 3 of 10")
    choose_run(panel, "damaged")
    assert "not valid JSON" in panel.ui.statusLabel.text
    choose_run(panel, "running")
    assert panel.ui.statusLabel.text.startswith("Training, step 3 of 10")
