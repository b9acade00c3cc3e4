"""A study folder that takes long to answer, as on a network drive: the panel waits for it at no click."""

import threading
import time
from dataclasses import replace

import slicer

from SemiSegLib.labels.schemes import write_scheme
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import aside, jobs
from SemiSegModule.aside import Aside
from Testing.bridge import scenes
from Testing.host.heartbeat import Heartbeat
from Testing.host.interaction import click, process_events, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.slow_drives import PAUSE_SECONDS, a_used_study, all_read, in_the_panels_thread
from Testing.panel.studies import a_run, alive, choose_run, column, open_box, shown_run


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


def test_files_that_a_click_asks_for_are_touched_beside_the_panel(host, study, slow, tmp_path):
    run = a_run(study.panel.parameters.studyPath, "at work")
    run.write_status(alive(RunStatus(state="training", step=1)))
    study.panel.training.runs.look()
    process_events()
    choose_run(study, "at work")
    scheme, model = tmp_path / "scheme.json", a_model_file(tmp_path / "model.safetensors")
    write_scheme(scenes.SCHEME, scheme)
    asked = slow()
    with Heartbeat(5) as heart:
        click(study.ui.stopButton)
        host.dialogs.choose_path(str(scheme))
        click(study.ui.openSchemeButton)
        host.dialogs.choose_path(str(model))
        click(study.ui.openModelButton)
    assert heart.longest_pause < PAUSE_SECONDS, str(heart)
    assert {"request_stop", "read_scheme", "describe"} <= {name for name, _isMain in asked}
    assert in_the_panels_thread(asked) == []
    assert run.stop_requested()
    assert study.panel.parameters.schemeSource == str(scheme)
    assert study.panel.parameters.modelPath == str(model)


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
