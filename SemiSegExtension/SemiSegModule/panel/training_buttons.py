"""Which buttons of a training can be pressed, and why the others cannot."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from SemiSegModule.panel.run_entry import RunEntry


def showButtons(ui: Any, entry: RunEntry | None, state: str, *, whyNot: str, isWaiting: bool) -> None:
    """Enable what can be done.

    Args:
        ui: widgets of the form by name.
        entry: what is known of the run that is shown.
        state: of that run; "" if it is not known.
        whyNot: why no training can be started, or "".
        isWaiting: whether a new training has to wait for others.
    """
    state = state if entry is not None else ""
    ui.trainButton.text = _("Add to queue") if isWaiting else _("Train")
    what = _("Write the ticked cases to the study folder and train on them")
    queue = _("Write the ticked cases to the study folder now, and train on them when the trainings before have ended")
    setButton(ui.trainButton, whyNot, queue if isWaiting else what)
    active = state in ("preparing", "training", "stopping")
    asked = entry is not None and entry.isAskedToStop
    why = "" if active else _("No training is going on.")
    why = _("The training saves a model and ends") if active and (state == "stopping" or asked) else why
    setButton(ui.stopButton, why, _("Finish the current step, save a model of the best state, and end"))
    why = "" if state == "queued" and not asked else _("Only a training that waits for its turn can be removed.")
    setButton(ui.removeRunButton, why, _("Do not begin this training; it can be resumed later"))
    why = "" if state in ("created", "stopped", "failed") else _("Only a stopped or failed training can be resumed.")
    what = _("Go on from the last checkpoint")
    queue = _("Go on from the last checkpoint when the trainings before have ended")
    setButton(ui.resumeButton, why, queue if isWaiting else what)
    noRun = "" if entry is not None else _("No training is chosen.")
    setButton(ui.openRunButton, noRun, _("Show log, report and model"))
    setButton(ui.showPlotButton, noRun, _("Show loss and validation Dice of each structure in a plot view"))
    ui.plotFrame.visible = entry is not None


def setButton(button: Any, why: str, what: str) -> None:
    """Enable a button, or disable it and say why in its tooltip."""
    button.enabled = not why
    button.toolTip = why or what
