"""Train, watch, stop, resume: what the panel does with runs. The worker's part is written by the tests here."""

import json
import shutil

import numpy as np
import slicer

from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.errors import RunError
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Noticed, Stepped, Validated, WarmStarted, event_to_line
from SemiSegModule import jobs
from Testing.bridge import scenes
from Testing.host.interaction import choose, click, process_events, set_slider, tick_cell
from Testing.panel.studies import a_run, alive, choose_run, column, shown_run


def look(panel):
    """What the timer does once a second."""
    panel.panel.training.watcher.look()
    process_events()


def stepped(step, fraction, loss):
    return Stepped(
        step=step,
        fraction=fraction,
        losses={"dice": loss, "cross entropy": loss},
        weights={"dice": 1.0, "cross entropy": 0.5},
        learning_rate=1e-3,
        seconds_per_step=0.1,
        data_seconds=0.01,
        eta_seconds=90.0,
    )


def validated(step, dice, *, is_best):
    return Validated(
        step=step,
        dice={"head": dice, "tail": dice / 2, "vessel": float("nan")},
        cases={"head": 2, "tail": 2, "vessel": 0},
        mean_dice=dice * 0.75,
        is_best=is_best,
        seconds=1.0,
    )


def tell(run, *events):
    for event in events:
        run.append_event(event_to_line(event, time=0.0))


def test_the_recommended_method_is_chosen_and_says_why(study):
    assert study.ui.methodComboBox.currentText.endswith("(recommended)")
    assert "coarse" in study.ui.methodReasonLabel.text
    assert study.panel.parameters.method == ""


def test_another_method_can_be_chosen_and_stays(study):
    other = next(card for card in CARDS if card.name == "supervised")
    choose(study.ui.methodComboBox, other.title)
    assert study.panel.parameters.method == "supervised"
    assert study.ui.methodReasonLabel.text == other.summary
    scenes.a_volume(np.random.default_rng(1), name="new")
    process_events()
    assert study.ui.methodComboBox.currentText == other.title


def test_train_writes_the_ticked_cases_and_starts_one_worker(study, started, tmp_path):
    tick_cell(study.ui.casesTable, 1)
    set_slider(study.ui.minutesSpinBox, 7)
    choose(study.ui.deviceComboBox, "Processor (CPU)")
    click(study.ui.trainButton)
    (run,) = started
    assert run.path.parent == tmp_path / "Studie José 中" / "runs"
    assert run.request.method == study.panel.recommendation(study.panel.view).method
    assert (run.request.training.seconds, run.request.training.steps) == (420.0, None)
    assert run.request.training.device == "cpu"
    written = load_dataset(RunFolder(run.path).request.dataset)
    assert [case.id for case in written.cases] == ["Ann", "Cid", "Dan"]
    assert [len(cases) for cases in written.by_regime().values()] == [1, 1, 0, 1]


def test_while_a_training_runs_it_can_be_stopped_and_a_second_one_would_wait(study, started):
    assert study.ui.stopButton.toolTip == "No training is going on."
    click(study.ui.trainButton)
    assert study.ui.trainButton.text == "Add to queue"
    assert "when the trainings before have ended" in study.ui.trainButton.toolTip
    click(study.ui.stopButton)
    assert started[0].stop_requested()
    assert not study.ui.stopButton.enabled
    assert study.ui.stopButton.toolTip == "The training saves a model and ends"
    started[0].write_status(RunStatus(state="stopped", message="", best_dice=0.5))
    look(study)
    assert study.ui.trainButton.text == "Train"
    assert study.ui.statusLabel.text == "Stopped. Best mean Dice 0.500."


def test_progress_is_told_in_words_bar_curve_and_table(study, started):
    click(study.ui.trainButton)
    (run,) = started
    tell(run, stepped(10, 0.1, 1.0), stepped(20, 0.2, 0.8), validated(20, 0.6, is_best=True), stepped(30, 0.3, 0.7))
    tell(run, validated(30, 0.4, is_best=False), Noticed(step=30, text="a step was skipped"))
    run.write_status(
        alive(RunStatus(state="training", step=30, total_steps=100, fraction=0.3, eta_seconds=90, best_dice=0.45))
    )
    look(study)
    text = study.ui.statusLabel.text
    assert text == "Training, step 30 of 100, about 2 min left. Best mean Dice 0.450.\na step was skipped"
    assert study.ui.progressBar.value == 30
    data = study.panel.training.progress.data
    assert np.allclose(data.losses, [(0.1, 1.5), (0.2, 1.2), (0.3, 1.05)])
    assert np.allclose(data.dice, [(0.2, 0.45), (0.3, 0.3)])
    assert study.ui.curveLabel.visible
    assert study.ui.curveLabel.pixmap.width() > 200
    assert column(study.ui.scoresTable, 0) == ["head", "tail", "vessel"]
    assert column(study.ui.scoresTable, 1) == ["0.600", "0.300", "not in validation cases"]
    assert column(study.ui.scoresTable, 2) == ["2", "2", "0"]


def test_every_notice_of_a_run_stays_to_be_read(study, started, screenshot):
    click(study.ui.trainButton)
    (run,) = started
    assert not study.ui.noticesBox.visible
    tell(run, Noticed(step=0, text="warm start: kept: vessel"), Noticed(step=7, text="a step was skipped"))
    tell(run, Noticed(step=9, text="a step was skipped"), Noticed(step=9, text="memory ran out"))
    run.write_status(alive(RunStatus(state="training", step=9, total_steps=100, fraction=0.1)))
    look(study)
    assert study.ui.statusLabel.text.endswith("\nmemory ran out")
    assert study.ui.noticesBox.isVisibleTo(study.form)
    assert study.ui.noticesBox.title == "Notices (4)"
    assert study.ui.noticesEdit.plainText.split("\n") == [
        "Step 0: warm start: kept: vessel",
        "Steps 7 to 9, 2 times: a step was skipped",
        "Step 9: memory ran out",
    ]
    assert len(study.logic.notices(run)) == 4
    screenshot("training_notices", study.ui.trainingSection)


def test_what_each_structure_starts_from_is_shown_after_a_warm_start(study, started, screenshot):
    click(study.ui.trainButton)
    (run,) = started
    assert not study.ui.warmStartTable.visible
    assert study.logic.warmStart(run) is None
    event = WarmStarted(
        step=0,
        origins={"vessel": ("vessel",), "head": ("organ",), "tail": ("cauda", "tip"), "nerve": ()},
        dropped=("bone",),
    )
    tell(run, event)
    look(study)
    assert study.ui.warmStartTable.isVisibleTo(study.form)
    assert column(study.ui.warmStartTable, 0) == ["vessel", "head", "tail", "nerve", "bone"]
    assert column(study.ui.warmStartTable, 1) == [
        "copied: its own weights",
        "copied: weights of organ",
        "copied: weights of cauda, tip",
        "new: it starts from nothing",
        "dropped: nothing starts from it",
    ]
    assert study.logic.warmStart(run) == event
    screenshot("training_warm_start", study.ui.trainingSection)


def test_an_event_of_a_newer_worker_is_passed_over(study, started):
    click(study.ui.trainButton)
    started[0].append_event(json.dumps({"kind": "sung", "time": 0.0, "song": "la"}))
    tell(started[0], stepped(10, 0.1, 1.0))
    look(study)
    assert len(study.panel.training.progress.data.losses) == 1


def test_a_failed_training_is_told_once_with_cause_remedy_and_log(host, study, started):
    click(study.ui.trainButton)
    (run,) = started
    run.log_path.write_text("many lines\nValueError: the last one\n")
    run.write_status(RunStatus(state="failed", message="no space left", where="disk", remedy="free 2 GB, then resume"))
    look(study)
    look(study)
    (message,) = [m for m in host.dialogs.messages if m.kind == "error"]
    assert message.text == "The training failed.\n\nno space left\ndisk\nfree 2 GB, then resume"
    assert str(run.log_path) in message.details["detailedText"]
    assert "ValueError: the last one" in message.details["detailedText"]
    assert study.ui.statusLabel.text == "Failed: no space left\nfree 2 GB, then resume"
    assert study.ui.trainButton.enabled


def test_a_run_that_failed_long_ago_is_shown_without_a_dialog_and_can_be_resumed(host, study, started, tmp_path):
    run = a_run(study.panel.parameters.studyFolder, "old run")
    run.write_status(RunStatus(state="failed", message="out of memory", remedy="resume"))
    study.enter()
    choose_run(study, "old run")
    assert study.ui.statusLabel.text.startswith("Failed: out of memory")
    assert host.dialogs.shown("error") == []
    click(study.ui.resumeButton)
    assert [r.path for r in started] == [run.path]
    assert not study.ui.resumeButton.enabled
    assert study.ui.stopButton.enabled


def test_a_training_that_outlived_slicer_is_found_again(panel, tmp_path):
    run = a_run(tmp_path, "overnight")
    run.write_status(alive(RunStatus(state="training", step=5, total_steps=10, fraction=0.5)))
    tell(run, stepped(5, 0.5, 1.0))
    panel.panel.training._onFolderChanged(str(tmp_path))
    process_events()
    assert shown_run(panel) == "overnight"
    assert panel.ui.statusLabel.text.startswith("Training, step 5 of 10")
    assert panel.ui.stopButton.enabled
    assert panel.ui.curveLabel.visible
    slicer.mrmlScene.Clear()
    process_events()
    # The folder used last is remembered by the application, so a new scene takes the training up as well.
    assert panel.ui.statusLabel.text.startswith("Training, step 5 of 10")


def test_a_training_goes_on_when_the_module_is_closed(study, started, host):
    click(study.ui.trainButton)
    study.cleanup()
    assert not started[0].stop_requested()
    assert study.panel.training.watcher.run is None


def test_a_case_that_cannot_be_written_starts_nothing_and_is_explained(host, study, started):
    bent = scenes.a_transform(None, name="warp", cls="vtkMRMLGridTransformNode")
    slicer.util.getNode("Bob").SetAndObserveTransformNodeID(bent.GetID())
    before = {node.GetName(): scenes.digest(node) for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
    click(study.ui.trainButton)
    (message,) = host.dialogs.shown("error")
    assert message.startswith("The training could not be started.")
    assert "'warp', which is not linear" in message
    assert "remedy:" in message
    assert started == []
    assert study.ui.trainButton.enabled
    assert before == {n.GetName(): scenes.digest(n) for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}


def test_a_training_that_cannot_be_stopped_is_told(host, study, started):
    click(study.ui.trainButton)
    shutil.rmtree(started[0].path)
    click(study.ui.stopButton)
    assert host.dialogs.shown("error")[0].startswith("The training could not be stopped.")


def test_a_worker_that_cannot_be_started_is_explained(host, study, monkeypatch):
    def fail(run):
        raise RunError("the worker could not be started: no such file\n  where:  python\n  remedy: check it")

    monkeypatch.setattr(jobs, "startWorker", fail)
    click(study.ui.trainButton)
    assert "the worker could not be started" in host.dialogs.shown("error")[0]
    assert study.ui.trainButton.enabled


def test_findings_of_the_export_are_shown_beside_the_progress(study, started):
    segmentation = slicer.util.getNode("Ann drawn")
    volume = slicer.util.getNode("Ann")
    everywhere = np.ones(scenes.SHAPE, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(everywhere, segmentation, "id vessel", volume)
    process_events()
    click(study.ui.trainButton)
    look(study)
    assert "Ann: 'head' and 'vessel' share" in study.ui.statusLabel.text


def test_without_packages_nothing_is_started_until_they_are_installed(study, started, monkeypatch):
    waiting = []
    monkeypatch.setattr(study.panel, "ensurePackages", lambda then=None, **_more: bool(waiting.append(then)))
    click(study.ui.trainButton)
    assert started == []
    monkeypatch.setattr(study.panel, "ensurePackages", lambda then=None, **_more: True)
    waiting[0]()
    assert len(started) == 1


def test_train_says_why_it_cannot(study):
    for row in range(3):
        tick_cell(study.ui.casesTable, row)
    assert study.ui.trainButton.toolTip.startswith("Load a segmentation for at least one of the ticked volumes")
    choose(study.ui.schemeComboBox, "hippocampus")
    assert study.ui.trainButton.toolTip == "None of the ticked cases has labels."
    tick_cell(study.ui.casesTable, 3)
    assert study.ui.trainButton.toolTip == "Tick at least one volume in Cases."
    assert not study.ui.trainButton.enabled


def test_no_user_node_changes_when_a_training_is_started(study, started):
    nodes = [
        *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"),
        *slicer.util.getNodesByClass("vtkMRMLSegmentationNode"),
    ]
    before = [scenes.digest(node) for node in nodes]
    click(study.ui.trainButton)
    assert len(started) == 1
    assert [scenes.digest(node) for node in nodes] == before
