"""The line above Train: what to know before a training begins, at a glance or worked out beside Slicer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule import preflight
from SemiSegModule.aside import Aside
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_buttons import setButton
from SemiSegModule.panel.training_form import TrainingForm
from SemiSegModule.preflight import Remark

# The disk of a study may be a network drive: it is not asked at each click.
SECONDS = 10.0


class PreflightLine:
    """Shows what ``StudyLogic.preflight`` says of the ticked cases, and on a click what ``StudyLogic.lookAhead`` does.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``, ``view`` and ``logic``.
        form: what the training will be.
    """

    def __init__(self, ui: Any, panel: Any, form: TrainingForm) -> None:
        self.ui, self.panel, self.form = ui, panel, form
        self._asked: Any = None
        self._when = 0.0
        self._command: Any = None
        self._workedOut: Any = None
        self._isOutdated = False
        self._aside: Aside[tuple[int, int | None, bool]] = Aside(self._onFree)
        ui.preflightButton.connect("clicked()", self.lookAhead)

    def show(self, view: StudyView) -> None:
        """Show what to know, unless the study cannot be trained yet: then the button says why."""
        folder = self.panel.parameters.studyPath
        self.ui.preflightFrame.visible = folder is not None and not view.whyNotReady()
        if folder is None or view.whyNotReady():
            return
        busy = _("It is being worked out.") if self._command is not None else ""
        missing = _("Packages are missing.") if self.panel.packages.missing else ""
        what = _("Work out memory, disk and size of samples for these choices; takes some seconds, nothing is written")
        setButton(self.ui.preflightButton, busy or missing or self.panel.whyNoTraining(view), what)
        asked = self._choices(view)
        if self._command is not None or self._workedOut == asked:
            return
        self._aside.letGo(folder)
        if self._aside.isBusy:
            self._isOutdated = asked != self._asked
            return
        if asked == self._asked and time.monotonic() < self._when + SECONDS:
            return
        self._asked, self._when, self._workedOut = asked, time.monotonic(), None
        needed, withText = preflight.neededBytes(view.chosen), self.form.needsText(view)
        self._aside.ask(lambda: (needed, preflight.freeBytes(folder), withText), about=folder)

    def lookAhead(self) -> None:
        """Work out beside Slicer what the training will need; returns at once."""
        view, folder, card = self.panel.view, self.panel.parameters.studyPath, self.form.card(self.panel.view)
        if self._command is not None or folder is None or card is None or self.panel.whyNoTraining(view):
            return
        asked = self._choices(view)
        try:
            self._command = self.panel.logic.lookAhead(
                view.chosen,
                view.scheme,
                folder,
                method=card.name,
                onEnd=lambda remarks: self._onEnd(asked, remarks),
                **self.form.asked(card),
            )
        except SemiSegError as error:
            self._tell([Remark(True, str(error).split("\n")[0])])
            return
        self.ui.preflightLabel.text = _("Working out what the training needs...")
        self.show(view)

    def close(self) -> None:
        """End what is being worked out; nobody waits for it any more."""
        if self._command is not None:
            self._command.kill()
        self._command, self._workedOut, self._asked, self._isOutdated = None, None, None, False
        self._aside.close()

    def _onFree(self, found: tuple[int, int | None, bool]) -> None:
        if self._isOutdated:
            self._isOutdated = False
            self.panel.scheduleRefresh()
        elif self._command is None and self._workedOut is None:
            needed, free, withText = found
            self._tell(preflight.remarks(needed, free, withText=withText))

    def _onEnd(self, asked: Any, remarks: list[Remark]) -> None:
        self._command, self._workedOut = None, asked
        self._tell(remarks)
        self.panel.scheduleRefresh()

    def _tell(self, remarks: Sequence[Remark]) -> None:
        marks = {True: "\u26a0", False: "\u2713"}
        self.ui.preflightLabel.text = "\n".join(f"{marks[r.isWarning]} {r.text}" for r in remarks)

    def _choices(self, view: StudyView) -> Any:
        """Return what the answer depends on."""
        card = self.form.card(view)
        asked = self.form.asked(card) if card is not None else {}
        cases = [(case.id, len(case.volumes)) for case in view.chosen]
        return repr((self.panel.parameters.studyPath, cases, card and card.name, asked))
