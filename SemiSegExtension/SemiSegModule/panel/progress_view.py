"""What a run tells, in words, bar, curve and table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Validated
from SemiSegModule.history import TrainingHistory
from SemiSegModule.panel.curve import drawCurve
from SemiSegModule.panel.notices_view import NoticesView
from SemiSegModule.panel.tables import fitRows
from SemiSegModule.panel.writing import writingText


class ProgressView:
    """Shows status and events of a run.

    Args:
        ui: widgets of the form by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self.notices = NoticesView(ui)
        self.clear()
        ui.scoresTable.verticalHeader().visible = False

    def clear(self) -> None:
        """Show nothing: no run is chosen."""
        self.data = TrainingHistory()
        self.notices.show(self.data)
        self._findings = ""
        self._drawnWidth = 0
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = False
        self.ui.statusLabel.text = _("No training yet.")
        self.ui.curveLabel.visible = False
        self.ui.scoresTable.visible = False

    def showStatus(self, status: RunStatus) -> None:
        """Show the state of a run in the bar and in words."""
        self.ui.progressBar.visible = True
        self.ui.progressBar.value = round(100 * status.fraction) if status.state != "finished" else 100
        self.ui.statusLabel.text = "\n".join(filter(None, [describeStatus(status), self._findings, self.data.notice]))
        # The panel may have been made wider or narrower since.
        self.draw()

    def showWriting(self, done: int, count: int, name: str) -> None:
        """Show how far the writing of the cases is."""
        self.ui.progressBar.visible = True
        self.ui.progressBar.value = round(100 * done / count)
        self.ui.statusLabel.text = writingText(done, count, name)

    def showEvents(self, events: list[dict[str, Any]]) -> None:
        """Add what happened to curve and table."""
        for data in events:
            self.data.take(data)
        self.notices.show(self.data)
        self._drawnWidth = 0
        self.draw()
        if self.data.best is not None:
            self._showScores(self.data.best)

    def tellFindings(self, findings: Sequence[Any]) -> None:
        """Say below the state what was noticed while the cases were written; notes are not worth it."""
        told = [f"{finding.case}: {finding.what}" for finding in findings if finding.severity != "note"]
        if told:
            more = _("and {count} more").format(count=len(told) - 3) if len(told) > 3 else ""
            self._findings = "\n".join(filter(None, [*told[:3], more]))

    def draw(self) -> None:
        """Draw the curve to the width of the panel, unless that is done already."""
        label = self.ui.curveLabel
        width = self.ui.statusLabel.width
        if not (self.data.losses or self.data.dice) or width == self._drawnWidth:
            return
        self._drawnWidth = width
        palette = label.palette
        pixmap = drawCurve(self.data, width, palette.color(qt.QPalette.WindowText), palette.color(qt.QPalette.Base))
        label.setPixmap(pixmap)
        label.visible = True

    def _showScores(self, event: Validated) -> None:
        table = self.ui.scoresTable
        table.clearContents()
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Structure"), _("Dice"), _("Cases")])
        table.setRowCount(len(event.dice))
        for number, (name, dice) in enumerate(event.dice.items()):
            cases = event.cases.get(name, 0)
            known = cases > 0 and math.isfinite(dice)
            texts = [name, f"{dice:.3f}" if known else _("not in validation cases"), str(cases)]
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled)
                table.setItem(number, column, item)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        fitRows(table, len(event.dice))
        table.visible = True


def describeStatus(status: RunStatus) -> str:
    """Return the state of a run in one or two sentences."""
    if status.state == "failed":
        parts = [_("Failed: {message}").format(message=status.message), status.remedy]
        return "\n".join(filter(None, parts))
    if status.state in ("finished", "stopped"):
        words = _("Finished.") if status.state == "finished" else _("Stopped.")
        return "\n".join(filter(None, [" ".join(filter(None, [words, _bestDice(status)])), _sentence(status.message)]))
    if status.state == "training":
        steps = _("step {step}").format(step=status.step)
        if status.total_steps:
            steps = _("step {step} of {total}").format(step=status.step, total=status.total_steps)
        eta = "" if status.eta_seconds is None else _("about {time} left").format(time=duration(status.eta_seconds))
        text = " ".join(filter(None, [", ".join(filter(None, [_("Training"), steps, eta])) + ".", _bestDice(status)]))
        # The worker says in its message if nothing moves.
        unusual = "" if status.message == "training" else status.message
        return "\n".join(filter(None, [text, _sentence(unusual), status.device]))
    if status.state == "queued":
        # The worker says in its message for what.
        return _sentence(status.message) or _("Waiting for its turn.")
    words = {
        "created": _("Not started yet; Resume begins it."),
        "preparing": _("Preparing the cases..."),
        "stopping": _("Stopping: the current step is finished and a model is saved..."),
    }[status.state]
    return " ".join(filter(None, [words, status.message]))


def duration(seconds: float) -> str:
    """Return a time in words that a person plans by."""
    if seconds < 60:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{hours} h {minutes} min").format(hours=int(seconds // 3600), minutes=round(seconds % 3600 / 60))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _bestDice(status: RunStatus) -> str:
    return "" if status.best_dice is None else _("Best mean Dice {dice}.").format(dice=f"{status.best_dice:.3f}")
