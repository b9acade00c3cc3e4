"""Runs whose folder takes long to answer: begun, watched, stopped and resumed without a pause of the panel."""

import threading
from pathlib import Path
from unittest.mock import MagicMock

from SemiSegLib.config import write_json
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from Testing.host.heartbeat import Heartbeat
from Testing.host.interaction import click, process_events, type_text, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.slow_drives import PAUSE_SECONDS, a_step, all_read, in_the_panels_thread
from Testing.panel.studies import a_gain, a_run, alive, choose_run, column, open_box, shown_run


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
    panel.panel.training.actions.resume()
    assert resumed == [("stopped", "at work")]
    assert {"runNeedsText", "end_of_queue"} <= {name for name, _isMain in asked}
    assert in_the_panels_thread(asked) == []


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
