"""From the ticked cases to a training, and to the one that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.runs.folder import RunFolder
from SemiSegModule.look_ahead import WouldFailError
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_form import TrainingForm
from SemiSegModule.panel.writing import Canceled, cancellable
from SemiSegModule.waiting import keepAnswering


def exportAndStart(
    panel: Any, form: TrainingForm, view: StudyView, showExport: Callable[[int, int, str], None]
) -> tuple[list[RunFolder], tuple[Any, ...]]:
    """Write the ticked cases to the study folder and start a training on them, behind those that wait.

    Args:
        panel: gives ``parameters``, ``logic`` and the checks of its cases.
        form: what the training will be.
        view: the study.
        showExport: called with the number of cases that are written, their number and the name of the next one.

    Returns:
        The training, its baseline if one was asked for, and what was noticed while the cases were written.

    Raises:
        SemiSegError: cases cannot be written or the training cannot be started.
        Canceled: a person did not want to wait, or not a training that would fail; none is started, and what is written
            already is used next time.
    """
    parameters, logic, card = panel.parameters, panel.logic, form.card(view)
    # Before anything is written: whatever happens to Slicer from here on, the training is found again.
    panel.rememberStudyFolder(parameters.studyFolder)
    withBaseline = parameters.withBaseline and not form.whyNoBaseline(view, card)
    # Slicer goes on answering while the cases are written: the scene, and the choices with it, may be closed by then.
    asked, names, folder = form.asked(card), form.namesInModel(), parameters.studyPath
    # What the checks have turned into voxels is not converted again.
    surfaces = panel.cases.checks.surfaces
    with cancellable(showExport) as waiting:
        export = logic.exportStudy(folder, view.chosen, view.scheme, surfaces=surfaces, waiting=waiting)
    baselineTitle = _("{title}, fine labels alone").format(title=card.title)

    def start(*, regardless: bool = False) -> list[RunFolder]:
        last = logic.endOfQueue(folder)
        after = str(last.path) if last is not None else None
        renamed, merged = names()
        asked.update(renamed=renamed, merged=merged, regardless=regardless)
        runs = [logic.startTraining(export.path, card.name, title=card.title, after=after, **asked)]
        if withBaseline:
            runs.append(logic.startBaseline(runs[0], title=baselineTitle))
        return runs

    # Files alone: those of all runs are looked at, as they are now. What the list of runs knows may be seconds old, and
    # two trainings at once have no room on a graphics card.
    panel.ui.statusLabel.text = _("Working out what the training needs...")
    try:
        return keepAnswering(start), export.findings
    except WouldFailError as error:
        if not _isWanted(error):
            raise Canceled from None
    return keepAnswering(partial(start, regardless=True)), export.findings


def _isWanted(error: WouldFailError) -> bool:
    """Return whether a person wants a training started although it would fail, after telling why."""
    reasons = "\n\n".join(remark.text for remark in error.remarks)
    text = _("The training would fail:\n\n{reasons}\n\nStart it all the same?").format(reasons=reasons)
    return bool(slicer.util.confirmYesNoDisplay(text, windowTitle=_("Start training")))
