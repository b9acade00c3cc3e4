"""What Train writes: where, while Slicer goes on answering, and what is said if it cannot be."""

import pytest
import slicer
from PySide6 import QtWidgets

from SemiSegLib.runs.status import RunStatus
from SemiSegModule.bridge import images
from Testing.host.interaction import click, process_events, set_slider, tick_cell, type_text
from Testing.panel.studies import alive, cancel_writing, is_writing_window, shown_run, watch_writing


def test_cases_are_written_while_slicer_answers_and_nothing_else_can_begin(study, started, monkeypatch):
    seen = watch_writing(monkeypatch, lambda: (study.form.enabled, study.ui.statusLabel.text, len(started)))
    click(study.ui.trainButton)
    assert seen == [(False, "Writing Ann (1 of 4)...", 0)]
    assert study.form.enabled
    assert len(started) == 1


def test_a_second_call_while_cases_are_written_does_nothing(study, started, monkeypatch):
    watch_writing(monkeypatch, study.panel.training.train)
    click(study.ui.trainButton)
    assert len(started) == 1


def test_writing_can_be_canceled_and_what_is_written_already_is_used_again(host, study, started, monkeypatch):
    write = images.write_volume
    seen = watch_writing(monkeypatch, cancel_writing)
    click(study.ui.trainButton)
    assert len(seen) == 1
    assert (started, host.dialogs.shown("error")) == ([], [])
    assert study.ui.statusLabel.text == "Canceled; no training was started."
    assert not study.ui.progressBar.isVisibleTo(study.form)
    assert list(study.panel.parameters.studyPath.glob("*.json")) == []
    (image,) = (study.panel.parameters.studyPath / "images").iterdir()
    moment = image.stat().st_mtime_ns
    monkeypatch.setattr(images, "write_volume", write)
    click(study.ui.trainButton)
    assert len(started) == 1
    assert image.stat().st_mtime_ns == moment


def test_canceling_a_second_training_leaves_the_first_one_as_it_is(study, started, monkeypatch):
    click(study.ui.trainButton)
    started[0].write_status(alive(RunStatus(state="training", message="training", step=3)))
    # Another intensity is another file.
    volume = slicer.util.getNode("Ann")
    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume) + 1)
    watch_writing(monkeypatch, cancel_writing)
    click(study.ui.trainButton)
    study.panel.training.watcher.look()
    process_events()
    assert len(started) == 1
    assert shown_run(study) == started[0].request.title
    assert study.ui.statusLabel.text.startswith("Training, step 3.")
    assert study.ui.stopButton.enabled
    assert study.ui.trainButton.text == "Add to queue"


def test_what_takes_a_moment_shows_no_window(study, started, monkeypatch):
    seen = watch_writing(monkeypatch, windows)
    click(study.ui.trainButton)
    ((window,),) = seen
    assert not window
    process_events()
    assert windows() == []


def windows():
    """Whether each window that says how far a writing is can be seen."""
    return [w.isVisible() for w in QtWidgets.QApplication.topLevelWidgets() if is_writing_window(w)]


def test_a_scan_removed_while_the_study_is_written_is_named_and_nothing_is_started(host, study, started, monkeypatch):
    watch_writing(monkeypatch, lambda: slicer.mrmlScene.RemoveNode(slicer.util.getNode("Bob")))
    click(study.ui.trainButton)
    (message,) = host.dialogs.shown("error")
    assert "'Bob' is no longer in the scene" in message
    assert started == []
    assert study.ui.trainButton.enabled


def test_a_scene_closed_while_the_study_is_written_ends_in_an_explanation(host, study, started, monkeypatch):
    watch_writing(monkeypatch, slicer.mrmlScene.Clear)
    click(study.ui.trainButton)
    assert "is no longer in the scene" in host.dialogs.shown("error")[0]
    assert started == []
    assert study.ui.casesTable.rowCount == 0


def test_a_scene_closed_while_the_last_case_is_written_changes_nothing_of_what_was_asked(
    host, study, started, monkeypatch
):
    for row in (1, 2, 3):
        tick_cell(study.ui.casesTable, row)
    set_slider(study.ui.minutesSpinBox, 7)
    watch_writing(monkeypatch, slicer.mrmlScene.Clear)
    click(study.ui.trainButton)
    (run,) = started
    assert run.request.training.seconds == 420.0
    assert host.dialogs.shown("error") == []
    assert study.ui.casesTable.rowCount == 0


def test_a_folder_that_cannot_be_written_to_is_explained(host, study, started, tmp_path):
    (tmp_path / "file").write_text("no folder")
    type_text(study.ui.studyFolderEdit, str(tmp_path / "file" / "study"))
    click(study.ui.trainButton)
    (message,) = host.dialogs.shown("error")
    assert message.startswith("The training could not be started.\n\na file cannot be written: ")
    assert "choose another study folder" in message
    assert started == []
    assert study.ui.trainButton.enabled


def test_a_full_disk_is_explained(host, study, started, monkeypatch):
    def fail(volume, path):
        raise RuntimeError("Exception thrown in SimpleITK ImageFileWriter_Execute:\nsitk::ERROR: no space left")

    monkeypatch.setattr(images, "write_volume", fail)
    click(study.ui.trainButton)
    assert "a file cannot be written: sitk::ERROR: no space left" in host.dialogs.shown("error")[0]
    assert started == []


def test_the_home_folder_can_be_given_as_a_tilde(study, started, tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    type_text(study.ui.studyFolderEdit, "~/SemiSeg/my study")
    click(study.ui.trainButton)
    assert started[0].path.parent == tmp_path / "home" / "SemiSeg" / "my study" / "runs"
    assert started[0].request.dataset.startswith(str(tmp_path / "home"))
    assert study.ui.studyFolderEdit.currentPath == "~/SemiSeg/my study"
    assert shown_run(study) == started[0].request.title


@pytest.mark.parametrize("text", ["my study", "./study", "~nobody that this computer knows/study"])
def test_a_path_that_begins_nowhere_is_refused_with_the_reason(study, started, text):
    type_text(study.ui.studyFolderEdit, text)
    assert not study.ui.trainButton.enabled
    assert study.ui.trainButton.toolTip == "Give the whole path of the study folder; ~ stands for your home folder."
