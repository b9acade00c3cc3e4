"""The table of cases: filled when cases come and go, else only the cells that changed are touched."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.scene_case import STATES
from SemiSegModule.panel import case_words as words
from SemiSegModule.panel.case_problems import CaseProblem
from SemiSegModule.panel.case_thumbnails import Thumbnails
from SemiSegModule.panel.study_view import StudyView

CASE, SEGMENTATION, LABELS, STATE, SIDE, CHECK, PATIENT = range(7)
ROW_HEIGHT = 38
MOST_ROWS = 7
# Between the widest text of a column and its edges, together.
PADDING = 10
_PLAIN = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable


class CaseTable:
    """Shows the cases of a view.

    Args:
        table: QTableWidget.
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self.thumbnails = Thumbnails(self._showIcon)
        # What each cell shows, so that a refresh touches nothing that stays as it is.
        self._cells: dict[tuple[int, int], Any] = {}
        self._volumes: list[Any] = []
        table.verticalHeader().visible = False
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.Fixed)
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.horizontalHeader().highlightSections = False
        # Names of cases of one study often differ at their end alone.
        table.textElideMode = qt.Qt.ElideMiddle
        self._setColumns()

    @property
    def selectedRows(self) -> list[int]:
        """Numbers of the selected rows."""
        return sorted(index.row() for index in self.table.selectionModel().selectedRows())

    def show(self, view: StudyView, problems: dict[int, tuple[CaseProblem, ...] | None]) -> None:
        """Show a study.

        Args:
            view: the study.
            problems: row number to what was found, the worst first; None while a case is being checked.
        """
        volumes = [next(iter(row.volumes.values())) for row in view.rows]
        same = len(volumes) == len(self._volumes)
        if not same or any(a is not b for a, b in zip(volumes, self._volumes, strict=True)):
            self._fill(volumes)
        for number in range(len(view.rows)):
            self._showRow(view, number, problems.get(number, ()))
        others = any(case.patient not in ("", case.id) for case in view.cases)
        if self.table.isColumnHidden(PATIENT) == others:
            self.table.setColumnHidden(PATIENT, not others)
            # Both would leave no room for the names of the cases; the segmentation stands below the table too.
            self.table.setColumnHidden(SEGMENTATION, others)

    def close(self) -> None:
        """Let go of the nodes of a scene that is closed."""
        self.thumbnails.close()

    def forget(self) -> None:
        """Show no case, and hold no node any more."""
        self._fill([])

    def _setColumns(self) -> None:
        table = self.table
        titles = [_("Case"), _("Segments"), _("Labels"), _("State"), _("Used for"), _("Check"), _("Patient")]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        header = table.horizontalHeader()
        header.minimumSectionSize = 24
        contents = {
            # The segmentation's name mostly repeats the case's, so the case gets the room; a user can draw it wider.
            SEGMENTATION: [],
            LABELS: [words.describeRegime(regime) for regime in Regime] + [_("unclear")],
            STATE: [words.describeState(state) for state in STATES],
            SIDE: [words.describeSide(side) for side in words.SIDES],
            CHECK: [words.describeSeverity(severity) for severity in words.SEVERITY_COLORS],
            PATIENT: [_("MRN 12345")],
        }
        metrics = table.fontMetrics()
        for column, title in enumerate(titles):
            if column in contents:
                widest = max(metrics.horizontalAdvance(text) for text in (*contents[column], title))
                header.setSectionResizeMode(column, qt.QHeaderView.Interactive)
                header.resizeSection(column, widest + PADDING)
            else:
                header.setSectionResizeMode(column, qt.QHeaderView.Stretch)
        header.moveSection(PATIENT, 1)
        table.setColumnHidden(PATIENT, True)

    def _fill(self, volumes: list[Any]) -> None:
        """Make a row for each volume; the selected one stays selected, wherever it is now."""
        table = self.table
        current = table.currentRow()
        before = self._volumes[current] if 0 <= current < len(self._volumes) else None
        self._volumes = volumes
        self._cells.clear()
        table.setRowCount(len(volumes))
        for number in range(len(volumes)):
            for column in range(table.columnCount):
                if table.item(number, column) is None:
                    table.setItem(number, column, qt.QTableWidgetItem())
                table.item(number, column).setIcon(qt.QIcon())
                flags = _PLAIN | qt.Qt.ItemIsUserCheckable if column == CASE else _PLAIN
                table.item(number, column).setFlags(flags)
        rows = max(1, min(len(volumes), MOST_ROWS))
        table.setFixedHeight(table.horizontalHeader().sizeHint.height() + rows * ROW_HEIGHT + 2 * table.frameWidth)
        place = next((number for number, node in enumerate(volumes) if node is before), min(current, len(volumes) - 1))
        if volumes and (place != current or table.currentRow() != current):
            table.setCurrentCell(max(place, 0), CASE)

    def _showRow(self, view: StudyView, number: int, problems: tuple[CaseProblem, ...] | None) -> None:
        row, case = view.rows[number], view.cases[number]
        regime, isUnclear = view.regimes.get(number), bool(view.rowProblems.get(number))
        self._showCase(number, case.id, row.isChosen)
        segmentation = row.segmentation.GetName() if row.segmentation is not None else _("(none)")
        self._set(number, SEGMENTATION, segmentation, "" if row.segmentation is not None else words.GRAY, segmentation)
        labels = _("unclear") if isUnclear else words.describeRegime(regime) if regime else "-"
        color = words.RED if isUnclear else words.REGIME_COLORS[regime] if regime else ""
        self._set(number, LABELS, labels, color, view.rowProblems.get(number) or words.explainRegime(regime))
        self._set(number, STATE, words.describeState(case.state), words.STATE_COLORS[case.state], _stateTip(row.state))
        sideStyle = _sideStyle(case.side, view.lockedSides.get(number), number in view.lockedByName)
        self._set(number, SIDE, words.describeSide(case.side or ""), *sideStyle)
        self._set(number, PATIENT, case.patient, "", case.patient)
        self._set(number, CHECK, *_checkStyle(problems))

    def _showCase(self, number: int, name: str, isChosen: bool) -> None:
        icon = self.thumbnails.icon(self._volumes[number])
        if self._cells.get((number, CASE)) == (name, isChosen, icon):
            return
        self._cells[number, CASE] = (name, isChosen, icon)
        item = self.table.item(number, CASE)
        item.setText(name)
        item.setCheckState(qt.Qt.Checked if isChosen else qt.Qt.Unchecked)
        item.setToolTip(_("{name}: tick to use it in the study, double-click to see it").format(name=name))
        if icon is not None:
            item.setIcon(icon)

    def _showIcon(self, nodeId: str) -> None:
        for number, node in enumerate(self._volumes):
            if node.GetID() == nodeId:
                self.table.blockSignals(True)
                self.table.item(number, CASE).setIcon(self.thumbnails.icon(node))
                self.table.blockSignals(False)
                self.table.viewport().update()

    def _set(self, number: int, column: int, text: str, color: str, tip: str) -> None:
        if self._cells.get((number, column)) == (text, color, tip):
            return
        self._cells[number, column] = (text, color, tip)
        item = self.table.item(number, column)
        item.setText(text)
        item.setForeground(qt.QBrush(qt.QColor(color)) if color else qt.QBrush())
        item.setToolTip(tip)


def _stateTip(said: str) -> str:
    if said:
        return _("How far the annotation is, as you said; change it below the table")
    return _("How far the annotation is, by the status of its segments; change it below the table")


def _sideStyle(side: str | None, locked: str | None, isByName: bool) -> tuple[str, str]:
    if locked:
        used = words.explainSide(locked)
        if isByName:
            return "", _(
                "A scan of this name was used for {side}; if it is another patient, type the patient below the table"
            ).format(side=used)
        return "", _("A run has used this patient for {side}: that never changes").format(side=used)
    if side:
        return "", _("You chose this side; change it below the table")
    return words.GRAY, _("The run decides, and keeps to it from then on")


def _checkStyle(problems: tuple[CaseProblem, ...] | None) -> tuple[str, str, str]:
    if problems is None:
        return "...", words.GRAY, _("Is being checked")
    severity = problems[0].severity if problems else ""
    tip = "\n\n".join(f"{problem.what}\n{problem.remedy}".strip() for problem in problems)
    return words.describeSeverity(severity), words.SEVERITY_COLORS[severity], tip or _("Nothing doubtful was found")
