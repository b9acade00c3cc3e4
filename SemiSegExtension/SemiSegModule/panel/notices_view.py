"""What a person should know of a run, all of it, and what its structures start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.training.events import Noticed, WarmStarted
from SemiSegModule.history import TrainingHistory
from SemiSegModule.panel.tables import fitRows


class NoticesView:
    """Shows the notices of a run, and after a warm start which weights of structures were copied, new or dropped.

    Args:
        ui: widgets of the form by name.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._told: tuple[int, WarmStarted | None] = (-1, None)
        ui.warmStartTable.verticalHeader().visible = False

    def show(self, history: TrainingHistory) -> None:
        """Show what the events of a run have told so far."""
        told = (len(history.notices), history.warmStart)
        if told == self._told:
            return
        count, warmStart = self._told = told
        self.ui.noticesBox.visible = count > 0
        self.ui.noticesBox.title = _("Notices ({count})").format(count=count)
        self.ui.noticesEdit.plainText = "\n".join(lines(history.notices))
        self.ui.warmStartTable.visible = warmStart is not None
        if warmStart is not None:
            self._showRows(rows(warmStart))

    def _showRows(self, texts: Sequence[tuple[str, str]]) -> None:
        table = self.ui.warmStartTable
        table.clearContents()
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Structure"), _("Starts from")])
        table.setRowCount(len(texts))
        for number, row in enumerate(texts):
            for column, text in enumerate(row):
                item = qt.QTableWidgetItem(text)
                item.setFlags(qt.Qt.ItemIsEnabled)
                item.setToolTip(text)
                table.setItem(number, column, item)
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(1, qt.QHeaderView.Stretch)
        fitRows(table, len(texts))


def lines(notices: Sequence[Noticed]) -> list[str]:
    """Return one line for each thing that was told; how often, if that is more than once."""
    steps: dict[str, list[int]] = {}
    for notice in notices:
        steps.setdefault(notice.text, []).append(notice.step)
    told = []
    for text, known in steps.items():
        if len(known) == 1:
            told.append(_("Step {step}: {text}").format(step=known[0], text=text))
        else:
            often = _("Steps {first} to {last}, {count} times: {text}")
            told.append(often.format(first=known[0], last=known[-1], count=len(known), text=text))
    return told


def rows(warmStart: WarmStarted) -> list[tuple[str, str]]:
    """Return each structure and in words what its weights start from, then those of the earlier model that are gone."""
    found = []
    for name, origins in warmStart.origins.items():
        if not origins:
            found.append((name, _("new: it starts from nothing")))
        elif origins == (name,):
            found.append((name, _("copied: its own weights")))
        else:
            found.append((name, _("copied: weights of {names}").format(names=", ".join(origins))))
    return found + [(name, _("dropped: nothing starts from it")) for name in warmStart.dropped]
