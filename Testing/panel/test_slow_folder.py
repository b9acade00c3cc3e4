"""A study folder that takes long to answer, as on a network drive: the panel waits for it at no click."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import slicer

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.split import Split
from SemiSegLib.config import to_json, write_json
from SemiSegLib.labels.schemes import write_scheme
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.model_info import read_model_info
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Stepped, event_to_line
from SemiSegModule import aside, jobs, logic, logic_review, logic_training, preflight, study_scheme
from SemiSegModule.aside import Aside
from SemiSegModule.panel import panel as whole_panel
from SemiSegModule.panel import run_entry, training_section
from Testing.bridge import scenes
from Testing.host.heartbeat import Heartbeat
from Testing.host.interaction import click, process_events, type_text, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_gain, a_run, alive, choose_run, column, open_box, shown_run

# So long takes each question to the folder.
SLOW_SECONDS = 0.2
# What a person notices.
PAUSE_SECONDS = 0.1


@pytest.fixture
def slow(panel, moment, monkeypatch):
    """Makes every question to the study folder slow from now on; returns who was asked, and in which thread."""
    asked = []

    def slowed(original, name):
        def ask(*given):
            asked.append((name, threading.current_thread() is threading.main_thread()))
            time.sleep(SLOW_SECONDS)
            return original(*given)

        return ask

    def begin():
        moment()
        for owner, name in (
            (jobs, "findRuns"),
            (jobs, "canBeReached"),
            (jobs, "runAt"),
            (jobs, "observe"),
            (preflight, "freeBytes"),
            (jobs, "logTail"),
            (jobs, "titleOf"),
            (jobs, "isAtWork"),
            (run_entry, "observe"),
            (run_entry, "splitOf"),
            (run_entry, "is_there"),
            (run_entry, "read_gain"),
            (RunFolder, "stop_requested"),
            (logic, "read_scheme"),
            (logic_review, "find_runs"),
            (logic_review, "isUnseen"),
            (logic_training, "end_of_queue"),
            (study_scheme, "read_model_info"),
            (training_section, "runNeedsText"),
            (whole_panel, "is_there"),
        ):
            monkeypatch.setattr(owner, name, slowed(getattr(owner, name), name))
        monkeypatch.setattr(
            type(panel.panel.logic), "describeModel", slowed(lambda _s, p: read_model_info(p), "describe")
        )
        return asked

    return begin


def all_read(panel):
    runs = panel.panel.training.runs
    wait_until(lambda: runs.isComplete and not runs._aside.isBusy, what="the runs are read")
    wait_until(lambda: not panel.panel.model._aside.isBusy and not panel.panel.isOutdated, what="the model is known")


def a_step(number):
    step = Stepped(
        step=number,
        fraction=number / 100,
        losses={"dice": 0.5},
        weights={},
        learning_rate=1e-3,
        seconds_per_step=0.1,
        data_seconds=0.01,
        eta_seconds=90.0,
    )
    return event_to_line(step, time=0.0)


def in_the_panels_thread(asked):
    return [name for name, isMain in asked if isMain]


def a_used_study(folder):
    """A run that has used Ann for training and left a model."""
    run = a_run(folder, "first")
    write_json(run.split_path, to_json(Split(patients={"Ann": Side.VALIDATION})))
    run.write_status(RunStatus(state="finished", step=10, best_dice=0.5))
    a_model_file(run.model_path)
    return run


def test_no_click_waits_for_the_study_folder(study, slow):
    folder = study.panel.parameters.studyPath
    run = a_used_study(folder)
    study.panel.training.runs.look()
    process_events()
    study.panel.parameters.runFolder = str(run.path)
    process_events()
    assert study.panel.model.path == run.model_path
    assert study.panel.view.lockedSides == {0: "validation"}
    asked = slow()
    study.panel.training.runs.look()
    with Heartbeat(5) as heart:
        for _again in range(5):
            study.panel.refresh()
            process_events()
        study.panel.training.runs.look()
        process_events()
    assert heart.longest_pause < PAUSE_SECONDS, str(heart)
    assert in_the_panels_thread(asked) == []
    all_read(study)
    assert study.panel.model.path == run.model_path


def test_a_slow_folder_is_shown_when_it_answers_and_nothing_is_trained_before(study, slow, tmp_path):
    other = tmp_path / "other study"
    a_used_study(other)
    asked = slow()
    # The first answer says that the folder is slow.
    study.panel.training.runs.look()
    all_read(study)
    study.panel.parameters.studyFolder = str(other)
    process_events()
    assert study.panel.view.lockedSides == {}
    assert study.ui.trainButton.toolTip == "The trainings in the study folder are being read."
    all_read(study)
    process_events()
    assert column(study.ui.runsTable, 0) == ["first"]
    assert list(study.panel.view.lockedSides) == [0]
    assert study.ui.trainButton.enabled
    assert in_the_panels_thread(asked) == []


def test_a_run_that_was_just_started_is_listed_at_once(study, started, slow):
    slow()
    study.panel.training.runs.look()
    all_read(study)
    click(study.ui.trainButton)
    assert column(study.ui.runsTable, 0) == [started[0].request.title]
    assert study.panel.training.run.path == started[0].path
    all_read(study)
    assert column(study.ui.runsTable, 1) == ["Preparing"]


def test_what_the_watcher_knows_is_not_overwritten_by_an_older_look(panel, tmp_path, slow):
    run = a_run(tmp_path, "at work")
    run.write_status(alive(RunStatus(state="training", step=1)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    assert shown_run(panel) == "at work"
    slow()
    runs = panel.panel.training.runs
    runs.look()
    all_read(panel)
    panel.panel.training.watcher.unwatch()
    runs.look()
    runs.take(run, alive(RunStatus(state="training", step=7)))
    wait_until(lambda: not runs._aside.isBusy, what="the older look has ended")
    assert runs.entry(run.path).status.step == 7


def test_watching_a_training_waits_for_no_folder(panel, tmp_path, slow):
    run = a_run(tmp_path, "at work")
    run.write_status(alive(RunStatus(state="training", step=1, total_steps=100)))
    run.append_event(a_step(1))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    assert "step 1 " in panel.ui.statusLabel.text
    asked = slow()
    run.write_status(alive(RunStatus(state="training", step=7, total_steps=100)))
    run.append_event(a_step(7))
    watcher = panel.panel.training.watcher
    with Heartbeat(5) as heart:
        for _again in range(5):
            watcher.look()
            process_events()
    assert heart.longest_pause < PAUSE_SECONDS, str(heart)
    wait_until(lambda: "step 7 " in panel.ui.statusLabel.text, what="the look has an answer")
    panel.panel.training.showPlot()
    # What is asked of a run that is watched no more tells nothing.
    watcher.look()
    assert watcher._aside.isBusy
    watcher.unwatch()
    run.write_status(alive(RunStatus(state="training", step=9, total_steps=100)))
    wait_until(lambda: not watcher._aside.isBusy, what="the look has an answer")
    assert "step 7 " in panel.ui.statusLabel.text
    assert in_the_panels_thread(asked) == []


def test_the_log_of_a_slow_folder_comes_when_it_answers(panel, tmp_path, slow):
    runs = [a_run(tmp_path, name) for name in ("first", "second")]
    for run in runs:
        run.write_status(alive(RunStatus(state="training", step=1)))
        run.log_path.write_text(f"log of {run.path.name}")
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    training, shown = panel.panel.training, panel.ui.logEdit
    open_box(panel.ui.logBox)
    log = training.run.log_path
    other = next(run for run in runs if run.path != training.run.path)
    assert shown.plainText == log.read_text()
    asked = slow()
    log.write_text("news")
    training.log.show(training.run)
    wait_until(lambda: shown.plainText == "news", what="the log has an answer")
    # What is read of a run that is shown no more is forgotten.
    log.write_text("older news")
    training.log.show(training.run)
    training._onRunChosen(training.runs.entry(other.path))
    wait_until(lambda: not training.log._aside.isBusy, what="the log has an answer")
    training.log.show(training.run)
    wait_until(lambda: shown.plainText == f"log of {other.path.name}", what="the log of the other run")
    assert in_the_panels_thread(asked) == []


def test_a_run_in_a_slow_folder_can_be_stopped_once(panel, tmp_path, slow):
    run = a_run(tmp_path, "at work")
    run.write_status(alive(RunStatus(state="training", step=1)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    open_box(panel.ui.runsBox)
    assert panel.ui.stopButton.enabled
    asked = slow()
    runs = panel.panel.training.runs
    # A look that was begun before the click knows of no stop.
    runs.look()
    all_read(panel)
    runs.look()
    click(panel.ui.stopButton)
    assert not panel.ui.stopButton.enabled
    all_read(panel)
    process_events()
    assert not panel.ui.stopButton.enabled
    assert panel.ui.stopButton.toolTip == "The training saves a model and ends"
    run.write_status(RunStatus(state="stopped", step=2))
    run.clear_stop()
    panel.panel.training.watcher.look()
    wait_until(lambda: panel.ui.resumeButton.enabled, what="the end is noticed")
    # Resumed, it can be stopped again.
    run.write_status(alive(RunStatus(state="training", step=2)))
    panel.panel.training._watch()
    wait_until(lambda: panel.ui.stopButton.enabled, what="the training goes on")
    assert in_the_panels_thread(asked) == []


def test_the_gain_in_a_slow_folder_comes_when_it_answers(study, started, slow):
    click(study.ui.baselineCheckBox)
    click(study.ui.trainButton)
    _first, second = started
    for run in started:
        run.write_status(RunStatus(state="finished", step=9, best_dice=0.8))
    study.panel.training.watcher.look()
    asked = slow()
    study.panel.training.runs.look()
    all_read(study)
    second.gain_path.parent.mkdir(parents=True)
    write_json(second.gain_path, {"no": "gain"})
    study.panel.training.runs.look()
    wait_until(lambda: "gain.json" in study.ui.gainLabel.text, what="the trouble is told")
    write_json(second.gain_path, a_gain())
    study.panel.training.runs.look()
    wait_until(lambda: study.ui.gainLabel.text.startswith(a_gain().sentence), what="the gain has an answer")
    assert study.ui.gainTable.rowCount == len(a_gain().rows)
    assert in_the_panels_thread(asked) == []


def test_a_scheme_in_a_slow_folder_stays_as_it_was_until_it_answers(study, slow, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    write_scheme(scenes.SCHEME, first)
    write_scheme(replace(scenes.SCHEME, name="second"), second)
    parameters = study.panel.parameters
    parameters.schemeSource = str(first)
    process_events()
    asked = slow()
    # Changed, so that it is read again.
    write_scheme(replace(scenes.SCHEME, name="changed"), first)
    study.panel.refresh()
    assert study.panel.view.scheme == scenes.SCHEME
    wait_until(lambda: study.panel.view.scheme.name == "changed", what="the drive answers")
    parameters.schemeSource = str(second)
    process_events()
    assert study.panel.view.scheme is None
    assert study.ui.trainButton.toolTip == "The label scheme is being read."
    wait_until(lambda: study.panel.view.scheme is not None, what="the drive answers")
    assert study.panel.view.scheme.name == "second"
    second.unlink()
    study.panel.refresh()
    assert study.panel.view.scheme.name == "second"
    wait_until(lambda: study.panel.view.scheme is None, what="the drive answers")
    assert "is neither a ready scheme nor a file" in study.panel.view.problem
    assert in_the_panels_thread(asked) == []


def test_a_training_that_begins_waits_for_no_folder(study, started, slow, tmp_path):
    model = a_model_file(tmp_path / "earlier.safetensors", scheme=study.panel.view.scheme)
    study.panel.structures._edit(
        lambda: study.panel.logic.renameStructure(study.panel.view.scheme, "tail", "cauda"),
    )
    study.panel.parameters.warmStart = str(model)
    process_events()
    asked = slow()
    study.panel.training.runs.look()
    all_read(study)
    study.panel.refresh()
    all_read(study)
    # What the model calls its structures is nobody's concern before.
    assert "read_model_info" not in [name for name, _isMain in asked]
    click(study.ui.trainButton)
    (run,) = started
    assert dict(run.request.renamed) == {"cauda": "tail"}
    assert {"read_model_info", "end_of_queue"} <= {name for name, _isMain in asked}
    assert in_the_panels_thread(asked) == []


def test_a_training_that_is_resumed_waits_for_no_folder(panel, slow, tmp_path, monkeypatch):
    resumed = []
    monkeypatch.setattr(jobs, "startWorker", lambda run, after=None: resumed.append((run.path.name, after.path.name)))
    a_run(tmp_path, "stopped").write_status(RunStatus(state="stopped", step=3))
    a_run(tmp_path, "at work").write_status(alive(RunStatus(state="training", step=1)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    choose_run(panel, "stopped")
    asked = slow()
    panel.panel.training.resume()
    assert resumed == [("stopped", "at work")]
    assert {"runNeedsText", "end_of_queue"} <= {name for name, _isMain in asked}
    assert in_the_panels_thread(asked) == []


def test_a_scene_that_begins_waits_for_no_folder(ready, started, slow, tmp_path):
    whole = ready[0].panel
    click(ready[0].ui.applyAllButton)
    last = tmp_path / "study"
    whole.rememberStudyFolder(str(last))
    asked = slow()
    slicer.mrmlScene.Clear()
    process_events()
    # Until it is known whether it is still there.
    assert whole.parameters.studyFolder == str(last)
    wait_until(lambda: whole.apply.job is not None, what="the job is found")
    assert whole.apply.job.path == started[0].path
    wait_until(lambda: not whole._lookAtLast.isBusy, what="the folder is looked at")
    assert whole.parameters.studyFolder == str(last)
    whole.rememberStudyFolder(str(tmp_path / "gone"))
    slicer.mrmlScene.Clear()
    process_events()
    wait_until(lambda: whole.parameters.studyFolder != str(tmp_path / "gone"), what="another folder is proposed")
    assert whole.parameters.studyFolder.endswith("SemiSeg")
    assert {"is_there", "find_runs", "isAtWork"} <= {name for name, _isMain in asked}
    assert in_the_panels_thread(asked) == []


def test_of_many_folders_that_are_typed_the_last_one_is_shown(panel, tmp_path, slow):
    for name in ("a", "ab", "abc"):
        a_run(tmp_path / name, f"run of {name}")
    slow()
    panel.panel.training.runs.look()
    all_read(panel)
    for name in ("a", "ab", "abc"):
        panel.ui.studyFolderEdit.currentPath = str(tmp_path / name)
        process_events()
    all_read(panel)
    open_box(panel.ui.runsBox)
    assert column(panel.ui.runsTable, 0) == ["run of abc"]


def test_a_work_is_waited_for_while_works_are_quick(host, moment):
    moment()
    done = []
    aside = Aside(done.append)
    aside.ask(lambda: "quick")
    assert done == ["quick"] or wait_until(lambda: done == ["quick"], what="a busy machine") is None
    aside.ask(lambda: time.sleep(0.2) or "slow")
    wait_until(lambda: done[-1] == "slow")
    begin = time.monotonic()
    aside.ask(lambda: time.sleep(0.2) or "slow again")
    assert time.monotonic() - begin < 0.15
    assert done[-1] == "slow"
    wait_until(lambda: done[-1] == "slow again")
    aside.ask(lambda: "forgotten")
    aside.close()
    process_events()
    assert done[-1] == "slow again"
    assert not aside.isBusy


def test_no_thread_that_waits_for_a_folder_keeps_slicer_from_quitting(panel, moment):
    moment()
    answered = threading.Event()
    aside = Aside(lambda _result: None)
    aside.ask(answered.wait)
    thread = next(thread for thread in threading.enumerate() if thread.name == "semiseg-aside")
    aside.close()
    # Python waits at its end for every other thread.
    assert thread.is_alive()
    assert thread.daemon
    answered.set()
    thread.join()


def test_a_folder_that_never_answers_keeps_no_other_one_waiting(panel, moment, monkeypatch, tmp_path):
    """A drive that is gone: its `stat` hangs."""
    gone, there = tmp_path / "gone", tmp_path / "there"
    for folder in (gone, there):
        a_run(folder, f"run of {folder.name}").write_status(alive(RunStatus(state="training", step=3)))
    moment()
    never = threading.Event()

    def hang(original):
        def ask(first, *more):
            if str(gone) in str(getattr(first, "path", first)):
                never.wait()
            return original(first, *more)

        return ask

    monkeypatch.setattr(jobs, "findRuns", hang(jobs.findRuns))
    monkeypatch.setattr(jobs, "canBeReached", hang(jobs.canBeReached))
    monkeypatch.setattr(jobs, "observe", hang(jobs.observe))
    monkeypatch.setattr(aside, "PATIENCE_SECONDS", 0.2)
    panel.panel.parameters.studyFolder = str(gone)
    process_events()
    panel.panel.parameters.studyFolder = str(there)
    process_events()
    time.sleep(0.3)
    panel.panel.training.runs.look()
    all_read(panel)
    wait_until(lambda: shown_run(panel) == "run of there", what="the other folder is shown")
    wait_until(lambda: "step 3" in panel.ui.statusLabel.text, what="its run is watched")
    never.set()


def test_a_run_that_never_answers_does_not_keep_another_from_being_watched(panel, moment, monkeypatch, tmp_path):
    gone, there = (a_run(tmp_path / name, name) for name in ("gone", "there"))
    there.write_status(alive(RunStatus(state="training", step=3)))
    moment()
    never, observe = threading.Event(), jobs.observe
    monkeypatch.setattr(jobs, "observe", lambda run: never.wait() if run is gone else observe(run))
    watcher = panel.panel.training.watcher
    watcher.watch(gone)
    assert watcher._aside.isBusy
    watcher.watch(there)
    wait_until(lambda: "step 3" in panel.ui.statusLabel.text, what="the other run is watched")
    never.set()


def test_a_run_shows_what_its_list_knows_until_its_folder_answers(panel, slow, tmp_path):
    runs = [a_run(tmp_path, name) for name in ("first", "second")]
    for run in runs:
        run.write_status(alive(RunStatus(state="training", step=3)))
    type_text(panel.ui.studyFolderEdit, str(tmp_path))
    training = panel.panel.training
    other = next(run for run in runs if run.path != training.run.path)
    slow()
    # The first answer says that the folder is slow.
    training.watcher.look()
    wait_until(lambda: not training.watcher._aside.isBusy, what="the look has an answer")
    training._onRunChosen(training.runs.entry(other.path))
    assert training.watcher._aside.isBusy
    assert "step 3" in panel.ui.statusLabel.text
    assert training.status.is_active


def test_nothing_else_is_applied_while_the_folder_of_a_job_does_not_answer(ready, slow):
    panel, _volumes = ready
    apply = panel.panel.apply
    slow()
    apply.watcher._aside._isQuick = False
    click(panel.ui.applyAllButton)
    process_events()
    assert apply.watcher._aside.isBusy
    assert not panel.ui.applyAllButton.enabled
    assert panel.ui.applyAllButton.toolTip == "A model is being applied; wait for it or stop it."


def test_events_that_were_written_with_the_end_are_told_before_it(host, monkeypatch, tmp_path):
    told = []
    (tmp_path / "events").touch()

    class Listener:
        def onStatus(self, status):
            told.append(status.state)

        def onEvents(self, events):
            told.extend(event["step"] for event in events)

        def onEnd(self, status):
            told.append("the end")

    class Run:
        """150 events, and two more with the end, after the first look."""

        path = request_path = Path(__file__)
        # Nothing more in it than was read.
        events_path = tmp_path / "events"

        def events(self, offset, *, most_bytes):
            lines = [{"step": number} for number in range(150 if not told else 152)]
            return lines[offset:], len(lines)

    states = iter(["training", "finished", "finished", "finished"])
    monkeypatch.setattr(jobs, "observe", lambda run: RunStatus(state=next(states)))
    watcher = jobs.RunWatcher(Listener(), MagicMock)
    watcher.watch(Run())
    while watcher.run is not None:
        watcher.look()
    steps = [word for word in told if isinstance(word, int)]
    assert steps == list(range(152))
    assert told[-1] == "the end"
