"""Drives that take long to answer, and what tests of the panel ask of them."""

import threading
import time

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.split import Split
from SemiSegLib.config import to_json, write_json
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.model_info import read_model_info
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Stepped, event_to_line
from SemiSegModule import jobs, logic, logic_review, logic_training, preflight, study_scheme
from SemiSegModule.panel import panel as whole_panel
from SemiSegModule.panel import run_actions, run_entry
from Testing.host.interaction import wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_run

# So long takes each question to the folder.
SLOW_SECONDS = 0.2
# What a person notices.
PAUSE_SECONDS = 0.1


def slow_down(panel, moment, monkeypatch):
    """Return what makes every question to the study folder slow, and returns who was asked, and in which thread."""
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
            (RunFolder, "request_stop"),
            (logic, "read_scheme"),
            (logic_review, "find_runs"),
            (logic_review, "isUnseen"),
            (logic_training, "end_of_queue"),
            (study_scheme, "read_model_info"),
            (run_actions, "runNeedsText"),
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
