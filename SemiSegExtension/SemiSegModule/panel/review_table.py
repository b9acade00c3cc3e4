"""The list of results by rank, and what is known of a result in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegModule.bridge.result import ACCEPTED, PARTLY_ACCEPTED, REJECTED, Result
from SemiSegModule.bridge.result_segments import ABSENT, AMBIGUOUS, LATENT
from SemiSegModule.panel.tables import fitRows

_CASE, _PRIORITY, _WHY, _DECISION = range(4)


class ReviewTable:
    """One row for each case, the one that is worth the next look first.

    Args:
        table: the QTableWidget.
        onChosen: called with the result that a person chooses.
    """

    def __init__(self, table: Any, onChosen: Callable[[Result], None]) -> None:
        self.table = table
        self._onChosen = onChosen
        self._results: list[Result] = []
        self._shown: Any = None
        self._updating = False
        table.verticalHeader().visible = False
        table.connect("currentCellChanged(int,int,int,int)", self._onCurrentCellChanged)

    def show(self, results: Sequence[Result], current: Result | None) -> None:
        """Show results and mark the one that is looked at."""
        self._updating = True
        rows = [(r.node.GetID(), r.name, _score(r), r.reason, describeDecision(r)) for r in results]
        if rows != self._shown:
            self._shown, self._results = rows, list(results)
            self._fill(rows)
        row = self._results.index(current) if current in self._results else -1
        if self.table.currentRow() != row:
            self.table.setCurrentCell(row, _CASE)
            if row < 0:
                self.table.clearSelection()
        self._updating = False

    def _fill(self, rows: Sequence[tuple[str, ...]]) -> None:
        table = self.table
        table.clearContents()
        headers = [_("Case"), _("Priority"), _("Why"), _("Decision")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.setRowCount(len(rows))
        for number, (_id, *texts) in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                item.setToolTip(text)
                table.setItem(number, column, item)
        header = table.horizontalHeader()
        for column in range(len(headers)):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(_WHY, qt.QHeaderView.Stretch)
        fitRows(table, len(rows), most=6)

    def _onCurrentCellChanged(self, row: int, *_cells: int) -> None:
        if not self._updating and 0 <= row < len(self._results):
            self._onChosen(self._results[row])


def describeDecision(result: Result) -> str:
    """Return what a person has decided on a result, in a word."""
    return {
        ACCEPTED: _("accepted"),
        PARTLY_ACCEPTED: _("partly accepted"),
        REJECTED: _("rejected"),
    }.get(result.decision, "")


def describeStates(result: Result) -> str:
    """Return which structures were found though nobody drew them, are doubtful, or are absent, in one line."""
    words = {LATENT: _("Found"), AMBIGUOUS: _("Doubtful (flagged)"), ABSENT: _("Not there")}
    found = {state: [name for name, own in result.states.items() if own == state] for state in words}
    return "; ".join(f"{words[state]}: {', '.join(names)}" for state, names in found.items() if names)


def _score(result: Result) -> str:
    # Percent: "look here" is no probability, and two digits are as much as it is good for.
    return "" if result.score is None else f"{round(100 * result.score)} %"
