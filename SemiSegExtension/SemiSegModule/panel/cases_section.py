"""The case table: which volumes of the scene belong to the study, and which segmentation labels each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.pairing import scalarVolumes, segmentations
from SemiSegModule.panel.study_view import StudyView, describeRegime
from SemiSegModule.panel.tables import fitRows
from SemiSegModule.parameters import SCHEME_FROM_SCENE, CaseRow

# Background of a cell that needs a decision; readable on light and dark themes.
_ATTENTION = "#b3541e"


class CasesSection:
    """Shows the rows of the parameter node and writes choices back to it.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``, and is told of a new selection.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._updating = False
        self._shown: Any = None
        self._sources: list[str] = []
        table = ui.casesTable
        table.connect("cellChanged(int,int)", self._onCellChanged)
        table.connect("currentCellChanged(int,int,int,int)", self._onCurrentCellChanged)
        table.verticalHeader().visible = False
        ui.schemeComboBox.connect("activated(int)", self._onSchemeActivated)
        ui.openSchemeButton.connect("clicked()", self._onOpenScheme)
        ui.channelsEdit.connect("editingFinished()", self._onChannelsEdited)

    @property
    def selectedRow(self) -> int:
        """Number of the selected row, -1 if none."""
        return int(self.ui.casesTable.currentRow())

    def refresh(self, view: StudyView) -> None:
        """Show a study."""
        self._updating = True
        self._showSchemes()
        channels = self.panel.parameters.channels
        self.ui.channelsEdit.text = ", ".join(channels)
        signature = self._signature(view, channels)
        if signature != self._shown:
            self._shown = signature
            self._fill(view, channels)
        for number in range(len(view.rows)):
            self._showRow(view, number, len(channels) + 1)
        self.ui.casesSummaryLabel.text = self._summary(view)
        self._updating = False

    def _signature(self, view: StudyView, channels: list[str]) -> Any:
        nodes = [(node.GetID(), node.GetName()) for node in (*scalarVolumes(), *segmentations())]
        rows = [
            (
                case.id,
                {role: node.GetID() for role, node in row.volumes.items()},
                row.segmentation and row.segmentation.GetID(),
            )
            for row, case in zip(view.rows, view.cases, strict=True)
        ]
        return repr((nodes, rows, channels))

    def _fill(self, view: StudyView, channels: list[str]) -> None:
        table = self.ui.casesTable
        current = self.selectedRow
        table.clearContents()
        headers = [_("Volume"), *channels[1:], _("Segmentation"), _("Labels")]
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.setRowCount(len(view.rows))
        for number, row in enumerate(view.rows):
            for column in (0, len(channels) + 1):
                table.setItem(number, column, qt.QTableWidgetItem())
            for column, channel in enumerate(channels[1:], start=1):
                table.setCellWidget(number, column, self._volumeCombo(number, row, channel))
            table.setCellWidget(number, len(channels), self._segmentationCombo(number, row))
        header = table.horizontalHeader()
        for column in range(len(headers)):
            last = column == len(headers) - 1
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents if last else qt.QHeaderView.Stretch)
        fitRows(table, len(view.rows))
        if view.rows:
            table.setCurrentCell(min(max(current, 0), len(view.rows) - 1), 0)

    def _showRow(self, view: StudyView, number: int, labelsColumn: int) -> None:
        """Show tick and labels of a row; building its combo boxes anew at every tick would take too long."""
        item = self.ui.casesTable.item(number, 0)
        item.setText(view.cases[number].id)
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Checked if view.rows[number].isChosen else qt.Qt.Unchecked)
        item.setToolTip(_("Tick to use {name} in the study").format(name=view.cases[number].id))
        regime, problem = view.regimes.get(number), view.rowProblems.get(number)
        item = self.ui.casesTable.item(number, labelsColumn)
        item.setText(_("unclear") if problem else describeRegime(regime) if regime else "-")
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        item.setForeground(qt.QBrush(qt.QColor(_ATTENTION)) if problem else qt.QBrush())
        item.setToolTip(problem or _regimeTip(regime))

    def _volumeCombo(self, number: int, row: CaseRow, channel: str) -> Any:
        nodes = scalarVolumes()
        return _nodeCombo(nodes, row.volumes.get(channel), lambda node: self._chooseVolume(number, channel, node))

    def _segmentationCombo(self, number: int, row: CaseRow) -> Any:
        combo = _nodeCombo(segmentations(), row.segmentation, lambda node: self._chooseSegmentation(number, node))
        combo.toolTip = _("The segmentation drawn on this volume; (none) uses the volume without labels")
        return combo

    def _summary(self, view: StudyView) -> str:
        if not view.rows:
            return _("Load volumes into the scene; each becomes a case here. Sample Data has a ready study: SemiSeg.")
        if view.problem:
            return view.problem.split("\n")[0]
        chosen = [view.regimes[n] for n, row in enumerate(view.rows) if row.isChosen]
        words = {regime: describeRegime(regime) for regime in Regime} | {Regime.NONE: _("unlabeled")}
        counts = [(sum(r is regime for r in chosen), word) for regime, word in words.items()]
        parts = ", ".join(f"{count} {word}" for count, word in counts if count)
        return _("{count} cases: {parts}").format(count=len(chosen), parts=parts) if parts else _("No case is ticked.")

    def _showSchemes(self) -> None:
        source = self.panel.parameters.schemeSource
        ready = list(self.panel.logic.readySchemes())
        sources = [SCHEME_FROM_SCENE, *ready, *([source] if source not in (SCHEME_FROM_SCENE, *ready) else [])]
        combo = self.ui.schemeComboBox
        if sources != self._sources:
            self._sources = sources
            combo.clear()
            for name in sources:
                combo.addItem(_("From the segments in the scene") if name == SCHEME_FROM_SCENE else name)
        combo.currentIndex = sources.index(source)

    def _onSchemeActivated(self, index: int) -> None:
        self.panel.parameters.schemeSource = self._sources[index]

    def _onOpenScheme(self) -> None:
        kinds = _("Label schemes (*.json *.csv)")
        path = qt.QFileDialog.getOpenFileName(self.ui.casesTable, _("Open label scheme"), "", kinds)
        if path:
            self.openScheme(path)

    def openScheme(self, path: str) -> None:
        """Take the structures from a file, if it describes a scheme; else say why not and keep what was."""
        try:
            self.panel.logic.readScheme(path)
        except SemiSegError as error:
            self.panel.showError(_("The scheme cannot be used."), str(error))
            return
        self.panel.parameters.schemeSource = str(path)

    def _onChannelsEdited(self) -> None:
        if self._updating:
            return
        names = list(dict.fromkeys(name.strip() for name in self.ui.channelsEdit.text.split(",") if name.strip()))
        parameters = self.panel.parameters
        if not names or names == parameters.channels:
            return
        rows, first = parameters.rows(), parameters.channels[0]
        for row in rows:
            kept = {name: row.volumes[name] for name in names[1:] if name in row.volumes}
            row.volumes = {names[0]: row.volumes[first], **kept}
        parameters.setRows([])
        parameters.channels = names
        parameters.setRows(rows)

    def _onCellChanged(self, row: int, column: int) -> None:
        if self._updating or column != 0:
            return
        isChosen = self.ui.casesTable.item(row, column).checkState() == qt.Qt.Checked
        self._changeRow(row, isChosen=isChosen)

    def _onCurrentCellChanged(self, *_cells: int) -> None:
        if not self._updating:
            self.panel.scheduleRefresh()

    def _chooseVolume(self, number: int, channel: str, node: Any) -> None:
        volumes = dict(self.panel.parameters.rows()[number].volumes)
        volumes.pop(channel, None)
        self._changeRow(number, volumes={**volumes, **({channel: node} if node is not None else {})})

    def _chooseSegmentation(self, number: int, node: Any) -> None:
        self._changeRow(number, segmentation=node, isWithoutLabels=node is None, meanings={}, lookedFor=None)

    def _changeRow(self, number: int, **values: Any) -> None:
        rows = self.panel.parameters.rows()
        for name, value in values.items():
            setattr(rows[number], name, value)
        self.panel.parameters.setRows(rows)


def _nodeCombo(nodes: list[Any], current: Any, choose: Callable[[Any], None]) -> Any:
    """Return a combo box of nodes with an entry for none; ``choose`` is called when a person picks one."""
    combo = qt.QComboBox()
    combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    combo.minimumContentsLength = 8
    combo.addItems([_("(none)"), *(node.GetName() for node in nodes)])
    places = [index for index, node in enumerate(nodes) if node is current]
    combo.currentIndex = places[0] + 1 if places else 0
    combo.connect("activated(int)", lambda index: choose(nodes[index - 1] if index else None))
    return combo


def _regimeTip(regime: Regime | None) -> str:
    if regime is None:
        return ""
    return {
        Regime.FULL: _("Every voxel is known to its finest structure"),
        Regime.COARSE: _("Every voxel is known to its whole, not everywhere to its part"),
        Regime.PARTIAL: _("Some structures or regions were not annotated in this case"),
        Regime.NONE: _("Used without labels, by methods that learn from unlabeled scans"),
    }[regime]
