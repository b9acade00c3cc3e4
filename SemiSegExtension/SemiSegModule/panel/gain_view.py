"""Whether scans without fine labels helped: the verdict, structure by structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.runs.gain import HARMED, HELPED, NO_GAIN, TOO_FEW, Gain, GainRow
from SemiSegModule.panel.run_entry import RunEntry
from SemiSegModule.panel.tables import fitRows


class GainView:
    """Shows what the comparison of a run with its baseline says.

    Args:
        ui: widgets of the form by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._shown: Any = None
        ui.gainTable.verticalHeader().visible = False
        self.show(None, ())

    def show(self, chosen: RunEntry | None, entries: Sequence[RunEntry]) -> None:
        """Show the verdict about a run, or about the run that it is the baseline of."""
        baseline = _baseline(chosen, entries)
        key = None if baseline is None else (baseline.run.path, baseline.state, baseline.gain, baseline.gainTrouble)
        if key == self._shown and key is not None:
            return
        self._shown = key
        self.ui.gainLabel.visible = baseline is not None
        self.ui.gainTable.visible = False
        if baseline is None:
            return
        gain = baseline.gain
        if gain is None:
            self.ui.gainLabel.text = baseline.gainTrouble or _waiting(baseline)
            return
        self.ui.gainLabel.text = "\n".join([gain.sentence, *gain.notes])
        self._showRows(gain)

    def _showRows(self, gain: Gain) -> None:
        table = self.ui.gainTable
        table.clearContents()
        heads = [_("Structure"), _("Dice"), _("Gain (95 %)"), _("Verdict")]
        table.setColumnCount(len(heads))
        table.setHorizontalHeaderLabels(heads)
        table.setRowCount(len(gain.rows))
        for number, row in enumerate(gain.rows):
            for column, text in enumerate(_texts(row)):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled)
                # For both there is no room side by side.
                item.setToolTip(_("Fine labels alone: {dice}").format(dice=_dice(row.baseline_dice)))
                table.setItem(number, column, item)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in range(1, len(heads)):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.visible = True
        fitRows(table, len(gain.rows))


def verdictText(verdict: str) -> str:
    """Return a verdict in words for the screen."""
    words = {
        HELPED: _("helped"),
        NO_GAIN: _("no measurable gain"),
        HARMED: _("harmed"),
        TOO_FEW: _("too few cases"),
    }
    return words.get(verdict, verdict)


def _texts(row: GainRow) -> list[str]:
    difference = "" if row.difference is None else f"{row.difference:+.3f}"
    if row.low is not None and row.high is not None:
        difference = _("{difference} ({low} to {high})").format(
            difference=difference, low=f"{row.low:+.3f}", high=f"{row.high:+.3f}"
        )
    return [row.structure or _("all (mean)"), _dice(row.dice), difference, verdictText(row.verdict)]


def _dice(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _baseline(chosen: RunEntry | None, entries: Sequence[RunEntry]) -> RunEntry | None:
    """Return the run at whose end is written what a run is worth against it: itself, or a later one; the newest."""
    if chosen is None or chosen.baselineOf is not None:
        return chosen
    return next((entry for entry in entries if entry.baselineOf == chosen.run.path), None)


def _waiting(baseline: RunEntry) -> str:
    if baseline.isBusy or baseline.state == "created":
        return _("Whether the other scans helped is told when '{title}' has ended.").format(title=baseline.title)
    return _("Whether the other scans helped is not known: '{title}' did not come to its end.").format(
        title=baseline.title
    )
