"""The line above Train: what to know before a training begins."""

from __future__ import annotations

import time
from typing import Any

from SemiSegModule.panel.study_view import StudyView

# The disk of a study may be a network drive: it is not asked at each click.
SECONDS = 10.0


class PreflightLine:
    """Shows what ``StudyLogic.preflight`` says of the ticked cases.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._asked: Any = None
        self._when = 0.0

    def show(self, view: StudyView) -> None:
        """Show what to know, unless the study cannot be trained yet: then the button says why."""
        folder = self.panel.parameters.studyPath
        self.ui.preflightLabel.visible = folder is not None and not view.whyNotReady()
        if folder is None or view.whyNotReady():
            return
        asked = (folder, [(case.id, len(case.volumes)) for case in view.chosen])
        if asked == self._asked and time.monotonic() < self._when + SECONDS:
            return
        self._asked, self._when = asked, time.monotonic()
        remarks = self.panel.logic.preflight(view.chosen, folder)
        marks = {True: "\u26a0", False: "\u2713"}
        self.ui.preflightLabel.text = "\n".join(f"{marks[r.isWarning]} {r.text}" for r in remarks)
