"""The table of a study's runs: title, state, Dice, when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegModule.panel.run_entry import RunEntry
from SemiSegModule.panel.tables import fitRows

TITLE, STATE, DICE, WHEN = range(4)


class RunsTable:
    """Shows runs; one is chosen by a click, renamed by a double-click.

    Args:
        ui: widgets of the form by name.
        onChosen: called with the entry that a person has chosen.
        onRenamed: called with an entry and its new title.
    """

    def __init__(
        self, ui: Any, onChosen: Callable[[RunEntry], None], onRenamed: Callable[[RunEntry, str], None]
    ) -> None:
        self.ui = ui
        self._onChosen, self._onRenamed = onChosen, onRenamed
        self._entries: list[RunEntry] = []
        self._shown: list[tuple[str, ...]] = []
        self._isUpdating = False
        table = ui.runsTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Title"), _("State"), _("Dice"), _("When")])
        table.verticalHeader().visible = False
        header = table.horizontalHeader()
        header.setSectionResizeMode(TITLE, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._onSelection)
        table.connect("itemChanged(QTableWidgetItem*)", self._onEdited)

    def show(self, entries: Sequence[RunEntry], chosen: str) -> None:
        """Show runs; ``chosen`` is the path of the one that is marked."""
        self._isUpdating = True
        table = self.ui.runsTable
        wanted = [_texts(entry) for entry in entries]
        if wanted != self._shown:
            count = len(self._entries)
            self._entries, before, self._shown = list(entries), self._shown, wanted
            table.setRowCount(len(wanted))
            for row, texts in enumerate(wanted):
                if row >= len(before) or texts != before[row]:
                    self._showRow(row, texts)
            for column in (STATE, DICE, WHEN):
                table.resizeColumnToContents(column)
            if len(wanted) != count:
                fitRows(table, len(wanted), most=6)
        self._entries = list(entries)
        paths = [str(entry.run.path) for entry in entries]
        row = paths.index(chosen) if chosen in paths else -1
        if row != table.currentRow() or not table.selectedItems():
            table.clearSelection()
            if row >= 0:
                table.setCurrentCell(row, TITLE)
        self._isUpdating = False

    def _showRow(self, row: int, texts: tuple[str, ...]) -> None:
        table = self.ui.runsTable
        for column, text in enumerate(texts):
            item = table.item(row, column)
            if item is None:
                item = qt.QTableWidgetItem()
                flags = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
                item.setFlags(flags | qt.Qt.ItemIsEditable if column == TITLE else flags)
                table.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(_("{title}; double-click to rename").format(title=text) if column == TITLE else text)

    def _onSelection(self) -> None:
        row = self.ui.runsTable.currentRow()
        if not self._isUpdating and 0 <= row < len(self._entries) and self.ui.runsTable.selectedItems():
            self._onChosen(self._entries[row])

    def _onEdited(self, item: Any) -> None:
        if self._isUpdating or item.column() != TITLE:
            return
        entry = self._entries[item.row()]
        if item.text().strip() != entry.title:
            self._onRenamed(entry, item.text().strip())


def summary(entries: Sequence[RunEntry]) -> str:
    """Return how many runs there are, and how many of them are at work or wait."""
    if not entries:
        return _("Runs")
    waiting = sum(entry.state == "queued" for entry in entries)
    training = sum(entry.isBusy for entry in entries) - waiting
    parts = [_("{n} training").format(n=training)] if training else []
    parts += [_("{n} waiting").format(n=waiting)] if waiting else []
    count = _("Runs ({count})").format(count=len(entries))
    return f"{count}: {', '.join(parts)}" if parts else count


def _texts(entry: RunEntry) -> tuple[str, ...]:
    best = entry.status.best_dice if entry.status is not None else None
    return (entry.title, _stateText(entry), "" if best is None else f"{best:.3f}", entry.when if entry.isRead else "")


def _stateText(entry: RunEntry) -> str:
    if not entry.isRead:
        return "..."
    if entry.status is None:
        return _("Not readable")
    if entry.state == "training":
        return _("Training {percent} %").format(percent=round(100 * entry.status.fraction))
    return {
        "created": _("Not started"),
        "queued": _("Waiting"),
        "preparing": _("Preparing"),
        "stopping": _("Stopping"),
        "finished": _("Finished"),
        "stopped": _("Stopped") if entry.status.step else _("Not started"),
        "failed": _("Failed"),
    }[entry.state]
