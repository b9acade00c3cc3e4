"""The list of a study's runs: queued, renamed, removed, resumed, and two hundred of them."""

import os
import shutil
import time

import pytest

from SemiSegLib.config import write_json
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Stepped, event_to_line
from SemiSegModule import jobs
from SemiSegModule.panel import run_entry, run_list
from SemiSegModule.panel.run_list import RunList
from Testing.host.interaction import click, item_center, process_events, type_text, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_run, alive, choose_run, column, open_box, show_whole, shown_run

# What a person notices; the processor's time, because other programs run too.
PAUSE_SECONDS = 0.1


def status_of(state, **more):
    return alive(RunStatus(state=state, **more))


def rows(panel):
    return list(zip(*(column(panel.ui.runsTable, number) for number in range(3)), strict=True))


def look(panel):
    panel.panel.training.watcher.look()
    process_events()


@pytest.fixture
def waiting(monkeypatch, started):
    """Runs whose worker was asked for; those that come after another one wait."""
    original = jobs.startWorker

    def start(run, after=None):
        original(run)
        if run.request.after or after:
            run.write_status(status_of("queued", message="waiting for the end of 'first'"))

    monkeypatch.setattr(jobs, "startWorker", start)
    return started


def test_a_second_training_waits_for_the_first_and_the_first_stays_in_view(study, waiting, screenshot):
    click(study.ui.trainButton)
    waiting[0].write_status(status_of("training", step=3, total_steps=10, fraction=0.3, best_dice=0.5))
    look(study)
    assert study.ui.trainButton.text == "Add to queue"
    click(study.ui.trainButton)
    click(study.ui.trainButton)
    first, second, third = waiting
    assert second.request.after == str(first.path)
    assert third.request.after == str(second.path)
    assert study.panel.training.run.path == first.path
    assert study.ui.runsBox.title == "Runs (3): 1 training, 2 waiting"
    title = first.request.title
    open_box(study.ui.runsBox)
    assert rows(study) == [(title, "Waiting", ""), (title, "Waiting", ""), (title, "Training 30 %", "0.500")]
    assert study.ui.runsTable.currentRow() == 2
    show_whole(study)
    screenshot("training_queue", study.ui.trainingSection)


def test_a_run_is_removed_from_the_queue_and_can_be_resumed(study, waiting):
    click(study.ui.trainButton)
    click(study.ui.trainButton)
    second = waiting[1]
    open_box(study.ui.runsBox)
    assert study.ui.removeRunButton.toolTip == "Only a training that waits for its turn can be removed."
    study.ui.runsTable.setCurrentCell(0, 0)
    process_events()
    assert study.ui.statusLabel.text == "Waiting for the end of 'first'."
    assert not study.ui.stopButton.enabled
    click(study.ui.removeRunButton)
    assert second.stop_requested()
    assert not study.ui.removeRunButton.enabled
    second.clear_stop()
    second.write_status(RunStatus(state="stopped", message="stopped while it waited for its turn"))
    look(study)
    assert rows(study)[0][1] == "Not started"
    click(study.ui.resumeButton)
    assert [run.path for run in waiting] == [waiting[0].path, second.path, second.path]


def test_a_run_that_is_resumed_waits_for_the_one_at_work(study, monkeypatch):
    asked = []
    monkeypatch.setattr(jobs, "startWorker", lambda run, after=None: asked.append((run.path.name, after)))
    folder = study.panel.parameters.studyFolder
    a_run(folder, "stopped yesterday").write_status(RunStatus(state="stopped", step=3))
    study.enter()
    choose_run(study, "stopped yesterday")
    assert study.ui.resumeButton.toolTip == "Go on from the last checkpoint"
    click(study.ui.resumeButton)
    busy = a_run(folder, "at work")
    busy.write_status(status_of("training", step=1))
    study.panel.training.runs.look()
    assert study.ui.trainButton.text == "Add to queue"
    assert study.ui.resumeButton.toolTip == "Go on from the last checkpoint when the trainings before have ended"
    click(study.ui.resumeButton)
    (first, nothing), (second, after) = asked
    assert (first, nothing) == (second, None) == ("stopped yesterday", None)
    assert after.path == busy.path


def test_each_run_of_the_queue_is_shown_in_its_turn_and_its_failure_is_told(host, study, waiting):
    for _each in range(3):
        click(study.ui.trainButton)
    first, second, third = waiting
    first.write_status(RunStatus(state="finished", step=10))
    look(study)
    assert study.panel.training.run.path == second.path
    assert study.ui.statusLabel.text == "Waiting for the end of 'first'."
    second.write_status(status_of("training", step=1, total_steps=10))
    look(study)
    second.write_status(RunStatus(state="failed", message="no space left", remedy="free 2 GB"))
    look(study)
    (message,) = host.dialogs.shown("error")
    assert message.startswith("The training failed.\n\nno space left")
    assert study.panel.training.run.path == third.path
    third.write_status(RunStatus(state="failed", message="out of memory", remedy="a smaller patch"))
    look(study)
    assert "out of memory" in host.dialogs.shown("error")[1]
    assert study.panel.training.run.path == third.path


def test_the_model_to_use_stays_that_of_the_training_while_its_baseline_trains(study, waiting):
    click(study.ui.baselineCheckBox)
    click(study.ui.trainButton)
    first, baseline = waiting
    assert baseline.request.compare_with is not None
    a_model_file(first.model_path)
    first.write_status(RunStatus(state="finished", step=10))
    baseline.write_status(status_of("training", step=1, total_steps=10))
    look(study)
    assert study.panel.training.run.path == first.path
    assert study.panel.model.path == first.model_path


def test_a_run_that_was_put_at_the_end_is_not_shown_before_those_it_waits_for(tmp_path):
    names = ("oldest, resumed", "next", "after next")
    oldest, following, last = (a_run(tmp_path, name) for name in names)
    for number, (run, after) in enumerate(((oldest, last), (following, None), (last, following))):
        os.utime(run.request_path, (number, number))
        run.write_status(status_of("queued"))
        if after is not None:
            write_json(run.after_path, {"after": str(after.path)})
    found = RunList(lambda: None, Timer)
    found.show(tmp_path)
    assert found.next().run.path == following.path
    following.write_status(status_of("training"))
    found.look()
    assert found.next().run.path == following.path
    following.write_status(RunStatus(state="finished"))
    found.look()
    assert found.next().run.path == last.path


def test_a_run_that_nobody_started_can_be_started(study, monkeypatch, started):
    a_run(study.panel.parameters.studyFolder, "left over")
    study.enter()
    choose_run(study, "left over")
    assert rows(study) == [("left over", "Not started", "")]
    assert study.ui.statusLabel.text == "Not started yet; Resume begins it."
    assert not study.ui.stopButton.enabled
    click(study.ui.resumeButton)
    assert [run.path.name for run in started] == ["left over"]
    assert study.ui.stopButton.enabled


def test_a_shown_run_whose_folder_is_gone_is_told_and_another_training_can_begin(study, started, monkeypatch):
    monkeypatch.setattr(jobs, "LOOKS_OUT_OF_REACH", 2)
    click(study.ui.trainButton)
    shutil.rmtree(started[0].path)
    for _look in range(2):
        look(study)
    study.panel.training.runs.look()
    process_events()
    assert study.ui.statusLabel.text.startswith("the files of the run cannot be read: No such file")
    assert "moved or deleted" in study.ui.statusLabel.text
    assert not study.ui.stopButton.enabled
    assert study.ui.trainButton.text == "Train"
    click(study.ui.trainButton)
    assert study.panel.training.run.path == started[1].path


def test_a_study_folder_that_cannot_be_reached_is_told_and_nothing_breaks(host, study):
    before = study.ui.trainButton.toolTip
    type_text(study.ui.studyFolderEdit, str(study.panel.parameters.studyPath.parent / ("x" * 300)))
    study.panel.refresh()
    study.panel.training.runs.look()
    assert study.ui.trainButton.toolTip == "The study folder cannot be reached."
    assert not study.ui.trainButton.enabled
    assert study.ui.preflightLabel.text == "\u26a0 The study folder cannot be reached."
    study.panel.parameters.studyFolder = str(study.panel.parameters.studyPath.parent / "study")
    process_events()
    assert study.ui.trainButton.enabled
    assert study.ui.trainButton.toolTip == before


def test_a_run_is_renamed_by_a_double_click_and_keeps_its_place(host, panel, tmp_path):
    from PySide6 import QtTest
    from PySide6.QtCore import Qt

    old = a_run(tmp_path, "run")
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    open_box(panel.ui.runsBox)
    table = panel.ui.runsTable
    process_events()
    where = item_center(table, 0, 0)
    for press in (QtTest.QTest.mouseClick, QtTest.QTest.mouseDClick):
        press(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
    line = host.app.focusWidget() or table.findChild("QLineEdit")
    QtTest.QTest.keyClicks(line, "Before the holidays")
    QtTest.QTest.keyClick(line, Qt.Key.Key_Return)
    process_events()
    assert jobs.titleOf(RunFolder(old.path)) == "Before the holidays"
    assert shown_run(panel) == "Before the holidays"
    assert old.request.title == RunFolder(old.path).request.title


def test_a_state_that_is_edited_is_refused(panel, tmp_path):
    a_run(tmp_path, "run")
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    import qt

    assert not panel.ui.runsTable.item(0, 1).flags() & qt.Qt.ItemIsEditable


def test_a_run_that_another_program_starts_is_found(panel, tmp_path):
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    assert not panel.ui.runsBox.visible
    run = a_run(tmp_path, "by the command line")
    run.write_status(status_of("training", step=5, total_steps=10, fraction=0.5))
    panel.panel.training.runs.look()
    wait_until(lambda: panel.ui.statusLabel.text.startswith("Training, step 5 of 10"))
    assert shown_run(panel) == "by the command line"


def test_the_run_at_work_is_taken_up_before_those_that_wait(panel, tmp_path):
    for name, state in (("at work", "training"), ("next", "queued"), ("last", "queued")):
        a_run(tmp_path, name).write_status(status_of(state))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    assert shown_run(panel) == "at work"


class Timer:
    """What a list of runs needs of qt.QTimer; the test is the clock."""

    def __init__(self):
        self.isRunning = False

    def setInterval(self, milliseconds):
        pass

    def connect(self, signal, slot):
        self.tick = slot

    def start(self):
        self.isRunning = True

    def stop(self):
        self.isRunning = False


def read_on(found):
    """Let a list of runs read what the last portion has left."""
    while found._aside.isBusy:
        found._aside._timer.tick()


@pytest.fixture
def two_hundred(tmp_path):
    for number in range(200):
        run = a_run(tmp_path, f"run {number:03}")
        run.write_status(RunStatus(state="finished", step=10, best_dice=0.5))
    return tmp_path


def test_many_runs_are_read_in_portions_newest_first(two_hundred, monkeypatch):
    monkeypatch.setattr(run_list, "PORTION_SECONDS", 0.0)
    found = RunList(lambda: None, Timer)
    found.show(two_hundred)
    assert [entry.isRead for entry in found.entries] == [True] * 10 + [False] * 190
    assert not found.isComplete
    read_on(found)
    assert all(entry.state == "finished" for entry in found.entries)


def test_what_ended_is_not_read_again_until_it_changes(two_hundred, monkeypatch):
    found = RunList(lambda: None, Timer)
    found.show(two_hundred)
    read_on(found)
    reads, original = [], run_entry.observe
    monkeypatch.setattr(run_entry, "observe", lambda run: reads.append(run.path.name) or original(run))
    found.look()
    read_on(found)
    assert reads == []
    changed = found.entries[7].run
    changed.write_status(status_of("training"))
    found.look()
    read_on(found)
    assert reads == [changed.path.name]
    assert found.entries[7].isBusy


def test_no_pause_is_noticed_with_two_hundred_runs_and_ten_thousand_events(panel, two_hundred):
    busy = RunFolder(two_hundred / "runs" / "run 150")
    event = Stepped(
        step=1,
        fraction=0.5,
        losses={"dice": 0.5, "cross entropy": 0.5},
        weights={"dice": 1.0, "cross entropy": 1.0},
        learning_rate=1e-3,
        seconds_per_step=0.1,
        data_seconds=0.01,
        eta_seconds=9.0,
    )
    busy.events_path.write_text((event_to_line(event, time=0.0) + "\n") * 10_000)
    busy.write_status(status_of("training", step=5, total_steps=10, fraction=0.5))
    section, pauses = panel.panel.training, []

    def measured(call):
        begin = time.process_time()
        call()
        pauses.append(time.process_time() - begin)

    type_text(panel.ui.studyFolderEdit, str(two_hundred))
    wait_until(lambda: section.runs.isComplete)
    choose_run(panel, "run 150")
    panel.panel.logic.showPlot(busy, section.progress.data)
    while len(section.progress.data.losses) < 10_000:
        measured(section.watcher.look)
    for _again in range(3):
        measured(panel.panel.refresh)
        measured(section.runs.look)
        measured(section.watcher.look)
    assert len(pauses) > 100
    assert max(pauses) < PAUSE_SECONDS
