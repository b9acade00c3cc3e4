"""Closing Slicer while a training runs: keep it, stop it, or do not close."""

import getpass
import socket

import pytest
import qt
import slicer
from PySide6 import QtWidgets

from SemiSegLib.config import write_json
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder, ApplyRequest
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from Testing.host.interaction import process_events, type_text
from Testing.panel.studies import a_run, alive

Button = QtWidgets.QMessageBox.StandardButton


@pytest.fixture
def window(monkeypatch):
    """Slicer's main window; the module is loaded when it is there."""
    window = qt.QMainWindow()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda verbose=True: window)
    window.show()
    yield window
    window.hide()
    window.deleteLater()
    process_events()


@pytest.fixture
def busy(window, panel, tmp_path):
    """A training at work and one that waits, in the study that the panel shows."""
    runs = []
    for name, state in (("at work", "training"), ("next", "queued")):
        runs.append(a_run(tmp_path, name))
        runs[-1].write_status(alive(RunStatus(state=state)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    return runs


def test_without_a_training_nothing_is_asked(host, window, panel):
    assert window.close()
    assert host.dialogs.messages == []


def test_keeping_closes_and_stops_nothing(host, window, busy):
    host.dialogs.answer(Button.Yes)
    assert window.close()
    (message,) = host.dialogs.messages
    assert message.text == "2 trainings go on or wait."
    assert "found again" in message.details["informativeText"]
    host.app.aboutToQuit.emit()
    assert [run.stop_requested() for run in busy] == [False, False]


@pytest.mark.parametrize("other", [{"user": "somebody else"}, {"host": "gpu-server"}])
def test_a_training_of_somebody_else_is_neither_asked_about_nor_stopped(host, window, busy, other):
    mine = {"pid": 0, "pid_started": "", "host": socket.gethostname(), "user": getpass.getuser()}
    write_json(busy[0].process_path, {**mine, **other})
    write_json(busy[1].process_path, mine)
    host.dialogs.answer(Button.No)
    assert window.close()
    (message,) = host.dialogs.messages
    assert message.text == "A training is going on."
    assert message.details["informativeText"].splitlines()[0] == jobs.titleOf(busy[1])
    host.app.aboutToQuit.emit()
    assert [run.stop_requested() for run in busy] == [False, True]


def test_a_training_that_an_older_version_started_here_is_asked_about(host, window, busy):
    write_json(busy[0].process_path, {"pid": 0, "pid_started": "", "host": socket.gethostname()})
    window.close()
    assert host.dialogs.messages[0].text == "2 trainings go on or wait."


@pytest.fixture
def elsewhere(window, panel, tmp_path, monkeypatch):
    """A training that this Slicer has started in a study that the panel shows no more."""
    monkeypatch.setattr(jobs, "start", lambda run, **_more: run.write_status(alive(RunStatus(state="training"))))
    run = a_run(tmp_path / "other study", "elsewhere")
    panel.logic.resumeTraining(run)
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "shown study"))
    yield run
    run.write_status(RunStatus(state="finished", step=10))


def test_a_training_that_was_started_here_in_another_study_is_asked_about_and_stopped(host, window, elsewhere):
    host.dialogs.answer(Button.No)
    assert window.close()
    (message,) = host.dialogs.messages
    assert message.text == "A training is going on."
    assert message.details["informativeText"].splitlines()[0] == jobs.titleOf(elsewhere)
    host.app.aboutToQuit.emit()
    assert elsewhere.stop_requested()


def test_a_training_of_another_study_is_counted_once_where_that_is_shown(host, window, panel, elsewhere, tmp_path):
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "other study"))
    window.close()
    assert host.dialogs.messages[0].text == "A training is going on."


def test_of_another_study_nothing_is_asked_that_has_ended_or_was_started_elsewhere(host, window, elsewhere, tmp_path):
    a_run(tmp_path / "third study", "of before").write_status(alive(RunStatus(state="training")))
    elsewhere.write_status(RunStatus(state="stopped", step=10))
    assert window.close()
    assert host.dialogs.messages == []


def test_a_prediction_is_no_training_that_is_asked_about(host, window, elsewhere, tmp_path):
    elsewhere.write_status(RunStatus(state="finished", step=10))
    asked = ApplyRequest(model=str(tmp_path / "m.safetensors"), cases=(ApplyCase(id="a", images={"image": "a.nrrd"}),))
    job = ApplyFolder.create_job(tmp_path / "applied", asked)
    jobs.startWorker(job)
    assert jobs.isOwnWork(job)
    assert window.close()
    assert host.dialogs.messages == []


def test_trainings_that_have_ended_meanwhile_are_not_asked_about(host, window, busy):
    for run in busy:
        run.write_status(RunStatus(state="finished", step=10))
    assert window.close()
    assert host.dialogs.messages == []


def test_many_trainings_are_named_and_counted(host, window, panel, tmp_path):
    for number in range(8):
        a_run(tmp_path, f"run {number}").write_status(alive(RunStatus(state="queued")))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    window.close()
    named = host.dialogs.messages[0].details["informativeText"].split("\n\n")[0].splitlines()
    assert named[0].startswith("run ")
    assert named[6:] == ["and 2 more"]


def test_stopping_stops_all_when_slicer_really_quits(host, window, busy):
    host.dialogs.answer(Button.No)
    assert window.close()
    # Slicer's own question about unsaved data comes now, and may be answered with Cancel.
    assert [run.stop_requested() for run in busy] == [False, False]
    host.app.aboutToQuit.emit()
    assert [run.stop_requested() for run in busy] == [True, True]


def test_a_closing_that_slicer_called_off_stops_nothing_later(host, window, busy):
    host.dialogs.answer(Button.No, Button.Yes)
    window.close()
    window.show()
    window.close()
    host.app.aboutToQuit.emit()
    assert [run.stop_requested() for run in busy] == [False, False]


def test_cancel_keeps_slicer_open(host, window, busy):
    host.dialogs.answer(Button.Cancel)
    assert not window.close()
    assert window.visible
    assert [run.stop_requested() for run in busy] == [False, False]


def test_a_run_that_cannot_be_stopped_does_not_keep_slicer_from_quitting(host, window, busy, monkeypatch, caplog):
    from SemiSegLib.errors import CaseError
    from SemiSegModule.logic import StudyLogic

    def refuse(self, run):
        raise CaseError("the disk is gone")

    monkeypatch.setattr(StudyLogic, "stop", refuse)
    host.dialogs.answer(Button.No)
    window.close()
    host.app.aboutToQuit.emit()
    assert "the disk is gone" in caplog.text


def test_an_unloaded_module_asks_no_more(host, window, busy, panel):
    panel.cleanup()
    assert window.close()
    assert host.dialogs.messages == []


def test_an_unloaded_module_does_nothing_when_slicer_quits(host, window, busy, panel, monkeypatch):
    asked = []
    guard = panel.panel.training.closing
    panel.cleanup()
    monkeypatch.setattr(guard, "_stop", asked.append)
    guard._toStop = busy
    host.app.aboutToQuit.emit()
    assert asked == []


def test_a_choice_is_kept_if_the_module_is_unloaded_before_slicer_quits(host, window, busy, panel):
    host.dialogs.answer(Button.No)
    window.close()
    panel.cleanup()
    host.app.aboutToQuit.emit()
    assert [run.stop_requested() for run in busy] == [True, True]
