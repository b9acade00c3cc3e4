"""The cases of the study: which scans belong to it, what labels each, and how far they are."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.meanings import isNumbered
from SemiSegModule.panel.case_checks import CaseChecks
from SemiSegModule.panel.case_details import CaseDetails
from SemiSegModule.panel.case_drop import DropFilter
from SemiSegModule.panel.case_loading import CaseLoading
from SemiSegModule.panel.case_problems import CaseProblem, CaseProblems
from SemiSegModule.panel.case_table import CASE, CaseTable
from SemiSegModule.panel.case_words import describeRegime
from SemiSegModule.panel.channels import changeChannels
from SemiSegModule.panel.frames_view import FramesView
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.parameters import SCHEME_EDITED, SCHEME_FROM_SCENE


class CasesSection:
    """Shows the rows of the parameter node and writes choices back to it.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``, and is told of a new selection.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._updating = False
        self._sources: list[str] = []
        self.table = CaseTable(ui.casesTable)
        self.problems = CaseProblems(panel)
        self.details = CaseDetails(ui, panel, self.problems)
        self.checks = CaseChecks(panel.logic, self._showProblems, lambda: panel.isBusy)
        self.loading = CaseLoading(ui, panel)
        self.frames = FramesView(ui, panel)
        self._shownProblems: dict[int, tuple[CaseProblem, ...] | None] = {}
        self._connect()

    def _connect(self) -> None:
        ui = self.ui
        ui.casesTable.connect("cellChanged(int,int)", self._onCellChanged)
        ui.casesTable.connect("currentCellChanged(int,int,int,int)", self._onSelected)
        ui.casesTable.connect("itemSelectionChanged()", self._onSelected)
        ui.casesTable.connect("cellActivated(int,int)", self._onActivated)
        ui.schemeComboBox.connect("activated(int)", self._onSchemeActivated)
        ui.openSchemeButton.connect("clicked()", self._onOpenScheme)
        ui.channelsEdit.connect("editingFinished()", self._onChannelsEdited)
        ui.addFolderButton.connect("clicked()", self._onAddFolder)
        ui.addDatasetButton.connect("clicked()", self._onAddDataset)
        ui.addVolumesButton.connect("clicked()", self._onAddVolumes)
        ui.removeCasesButton.connect("clicked()", self._onRemove)
        self._delete = qt.QShortcut(qt.QKeySequence("Del"), ui.casesTable)
        self._delete.context = qt.Qt.WidgetShortcut
        self._delete.connect("activated()", self._onRemove)
        self._drop = DropFilter(self.loading.start, lambda: self.loading.isBusy)
        ui.casesSection.acceptDrops = True
        ui.casesSection.installEventFilter(self._drop)

    @property
    def selectedRow(self) -> int:
        """Number of the selected row, -1 if none."""
        return int(self.ui.casesTable.currentRow())

    def refresh(self, view: StudyView) -> None:
        """Show a study."""
        self._updating = True
        self._showSchemes()
        if not self.ui.channelsEdit.hasFocus():
            # What is being typed stays.
            self.ui.channelsEdit.text = ", ".join(self.panel.parameters.channels)
        self._find(view)
        self.table.show(view, self._shownProblems)
        self._showDetails(view)
        self.frames.show()
        removed = self.panel.parameters.removedVolumes
        self.ui.addVolumesButton.visible = bool(removed)
        self.ui.casesSummaryLabel.text = self._summary(view)
        self._updating = False

    def close(self) -> None:
        """Let go of a scene that is closed: load and check nothing any more."""
        self.loading.cancel()
        self.checks.close()
        self.table.close()

    def forget(self) -> None:
        """Hold no node any more."""
        self._updating = True
        self.table.forget()
        self.details.forget()
        self._updating = False
        self.frames.forget()
        self._shownProblems = {}

    def _find(self, view: StudyView) -> None:
        """Find what is doubtful; what takes long is asked for and comes later."""
        self._shownProblems = {}
        for number, case in enumerate(view.cases):
            isOpen = number in view.openRows or view.scheme is None or not view.rows[number].isChosen
            check = None if isOpen else self.checks.result(case, view.scheme)
            found = self.problems.of(view, number, check)
            self._shownProblems[number] = None if check is None and not found and not isOpen else found

    def _showProblems(self) -> None:
        """Show what the background has found; nothing else of the panel depends on it."""
        view = self.panel.view
        if self.panel.parameters is None or self.panel.isOutdated or len(view.rows) != self.ui.casesTable.rowCount:
            return
        self._updating = True
        self._find(view)
        self.table.show(view, self._shownProblems)
        self._showDetails(view)
        self._updating = False
        self.panel.labels.showOverlaps()

    def _showDetails(self, view: StudyView) -> None:
        rows = self.table.selectedRows
        self.ui.removeCasesButton.enabled = bool(rows)
        self.details.show(view, rows, self._shownProblems.get(rows[0], ()) if rows else ())

    def _summary(self, view: StudyView) -> str:
        if not view.rows:
            return _(
                "Load volumes into the scene, or drop files and folders here; each scan becomes a case. Sample Data "
                "has a ready study: SemiSeg."
            )
        if view.problem:
            return view.problem.split("\n")[0]
        ticked = [number for number, row in enumerate(view.rows) if row.isChosen]
        chosen = [view.regimes[number] for number in ticked if number not in view.rowProblems]
        words = {regime: describeRegime(regime) for regime in Regime} | {Regime.NONE: _("unlabeled")}
        counts = [(sum(r is regime for r in chosen), word) for regime, word in words.items()]
        counts.append((len(ticked) - len(chosen), _("unclear")))
        parts = ", ".join(f"{count} {word}" for count, word in counts if count)
        if not parts:
            return _("No case is ticked.")
        summary = _("{count} cases: {parts}").format(count=len(ticked), parts=parts)
        isOpen = self.panel.parameters.schemeSource in (SCHEME_FROM_SCENE, SCHEME_EDITED) and view.scheme is not None
        numbered = [s.name for s in view.scheme.structures if isNumbered(s.name)] if isOpen else []
        if numbered:
            text = _(
                "'{name}' is only a number and need not mean the same in every file: choose ready structures above, or "
                "name them in Structures and channels."
            )
            return f"{summary}\n{text.format(name=numbered[0])}"
        fitting = self.panel.logic.fittingScheme(view.scheme) if isOpen else None
        if fitting is None:
            return summary
        text = _("The ready structures '{name}' have all of these, and know what is part of what: choose them above.")
        return f"{summary}\n{text.format(name=fitting)}"

    def _showSchemes(self) -> None:
        source = self.panel.parameters.schemeSource
        ready = list(self.panel.logic.readySchemes())
        # Edits are kept while another scheme is tried, so they can be chosen again.
        edited = [SCHEME_EDITED] if self.panel.parameters.editedScheme is not None else []
        sources = list(dict.fromkeys([SCHEME_FROM_SCENE, *ready, *edited, source]))
        combo = self.ui.schemeComboBox
        if sources != self._sources:
            self._sources = sources
            combo.clear()
            for name in sources:
                titles = {SCHEME_FROM_SCENE: _("From the segments in the scene"), SCHEME_EDITED: _("As edited below")}
                combo.addItem(titles.get(name, name.replace("_", " ") if name in ready else name))
        combo.currentIndex = sources.index(source)

    def _onAddFolder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(self.ui.casesTable, _("Add a folder of scans"))
        if path:
            self.loading.start([path])

    def _onAddDataset(self) -> None:
        kinds = _("Datasets (*.json)")
        path = qt.QFileDialog.getOpenFileName(self.ui.casesTable, _("Add a dataset"), "", kinds)
        if path:
            self.loading.start([path])

    def _onAddVolumes(self) -> None:
        self.panel.parameters.removedVolumes = []

    def _onRemove(self) -> None:
        """Take the selected cases out of the study; their nodes stay, and what was said of them until they return."""
        parameters = self.panel.parameters
        selected = self.table.selectedRows
        if parameters is None or not selected:
            return
        rows = parameters.rows()
        gone = [rows[number] for number in selected]
        volumes = [node for row in gone for node in row.volumes.values()]
        kept = [row for number, row in enumerate(rows) if number not in selected]
        wasModifying = parameters.node.StartModify()
        parameters.removedVolumes = [*parameters.removedVolumes, *volumes]
        parameters.setRows(kept, removed=[*parameters.removedRows(), *gone])
        parameters.node.EndModify(wasModifying)

    def _onSchemeActivated(self, index: int) -> None:
        self.panel.parameters.schemeSource = self._sources[index]

    def _onOpenScheme(self) -> None:
        kinds = _("Label schemes (*.json *.csv)")
        path = qt.QFileDialog.getOpenFileName(self.ui.casesTable, _("Open label scheme"), "", kinds)
        if path:
            self.openScheme(path)

    def openScheme(self, path: str) -> None:
        """Take the structures from a file, if it describes a scheme; else say why not and keep what was."""
        parameters = self.panel.parameters
        if parameters is None or self.panel.isBusy:
            return
        try:
            self.panel.withFiles(partial(self.panel.logic.readScheme, path))
        except SemiSegError as error:
            self.panel.showError(_("The scheme cannot be used."), str(error))
            return
        if self.panel.parameters is parameters:
            parameters.schemeSource = str(path)

    def _onChannelsEdited(self) -> None:
        # Qt tells that the typing ended also when the form is disabled since its scene is closed.
        if self._updating or self.panel.parameters is None:
            return
        names = list(dict.fromkeys(name.strip() for name in self.ui.channelsEdit.text.split(",") if name.strip()))
        parameters = self.panel.parameters
        if not names or names == parameters.channels:
            return
        why = changeChannels(parameters, names)
        if why:
            self.ui.channelsEdit.text = ", ".join(parameters.channels)
            self.panel.showError(_("The channels cannot be changed."), why)

    def _onCellChanged(self, row: int, column: int) -> None:
        if self._updating or column != CASE:
            return
        isChosen = self.ui.casesTable.item(row, column).checkState() == qt.Qt.Checked
        self._changeRow(row, isChosen=isChosen)

    def _onSelected(self, *_cells: int) -> None:
        if not self._updating:
            self.panel.scheduleRefresh()

    def _onActivated(self, row: int, _column: int) -> None:
        if row < len(self.panel.view.cases):
            self.panel.logic.showCase(self.panel.view.cases[row])

    def _changeRow(self, number: int, **values: Any) -> None:
        rows = self.panel.parameters.rows()
        for name, value in values.items():
            setattr(rows[number], name, value)
        self.panel.parameters.setRows(rows)
