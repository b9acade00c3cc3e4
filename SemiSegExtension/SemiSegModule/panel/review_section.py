"""Look at what a model found, case by case: correct, accept or reject it, and train on with what was accepted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.methods.cards import CARDS
from SemiSegModule.bridge.result import REJECTED, Result
from SemiSegModule.bridge.result_views import isComparing
from SemiSegModule.bridge.uncertainty import overlaid
from SemiSegModule.panel.accepted_case import acceptIntoStudy, takeFromStudy
from SemiSegModule.panel.review_table import ReviewTable, describeStates
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_buttons import setButton

# Height of Slicer's table of segments: its rows are of one height, and beyond the most it scrolls.
_FEWEST_ROWS, _MOST_ROWS = 2, 7
_HEADER_PIXELS, _ROW_PIXELS = 24, 30


class ReviewSection:
    """Shows results by rank and the chosen one in the views.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``, the model and the section that trains.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._notice = ""
        self.table = ReviewTable(ui.reviewTable, self.show)
        ui.resultSegmentsTable.setMRMLScene(slicer.mrmlScene)
        ui.resultSegmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._onSelection)
        for button, call in (
            (ui.nextCaseButton, self.next),
            (ui.doubtButton, self.jumpToDoubt),
            (ui.uncertaintyButton, self.toggleUncertainty),
            (ui.compareButton, self.toggleComparison),
            (ui.correctButton, self.correct),
            (ui.acceptButton, self.accept),
            (ui.acceptSelectedButton, self.acceptSelected),
            (ui.rejectButton, self.reject),
            (ui.trainOnButton, self.trainOn),
        ):
            button.connect("clicked()", call)
        ui.reviewFrame.visible = False

    @property
    def current(self) -> Result | None:
        """The result that is looked at, if it is still in the scene."""
        node = self.panel.parameters.reviewed if self.panel.parameters is not None else None
        found = [result for result in self.panel.logic.results() if result.node is node]
        return found[0] if found else None

    def refresh(self, view: StudyView) -> None:
        """Show the results of the scene."""
        results, current = self.panel.logic.results(), self.current
        self.ui.reviewFrame.visible = bool(results)
        self.table.show(results, current)
        shown = current.shown if current is not None else None
        if self.ui.resultSegmentsTable.segmentationNode() is not shown:
            self.ui.resultSegmentsTable.setSegmentationNode(shown)
        self.ui.resultSegmentsTable.visible = shown is not None
        rows = min(max(self.ui.resultSegmentsTable.segmentCount, _FEWEST_ROWS), _MOST_ROWS)
        self.ui.resultSegmentsTable.setFixedHeight(_HEADER_PIXELS + rows * _ROW_PIXELS)
        self.ui.resultLabel.text = self._description(current)
        self.ui.resultLabel.visible = bool(results)
        self._showButtons(view, results, current)

    def close(self) -> None:
        """Let go of the scene's nodes."""
        self.ui.resultSegmentsTable.setSegmentationNode(None)
        self.table.show([], None)

    def showFirst(self) -> None:
        """Show the case that is worth the next look, unless a person is busy elsewhere: in another module, say."""
        if self.panel.owner.parent.isEntered:
            self.next()

    def next(self) -> None:
        """Show the highest-ranked case that nobody has decided on."""
        result = self.panel.logic.nextResult(self.current)
        if result is not None:
            self.show(result)

    def show(self, result: Result) -> None:
        """Show a case and its result in the views."""
        self._notice = ""
        self.panel.parameters.reviewed = result.node
        self.panel.logic.showResult(result, self._secondChannel(result))
        self.panel.scheduleRefresh()

    def _secondChannel(self, result: Result) -> Any:
        """Return the image of the study's second channel that belongs to a result's scan, or None."""
        parameters = self.panel.parameters
        channels = [row.volumes for row in parameters.rows() if row.volumes[parameters.channels[0]] is result.volume]
        return channels[0].get(parameters.channels[1]) if channels and len(parameters.channels) > 1 else None

    def jumpToDoubt(self) -> None:
        """Bring the views to the place where the model is least sure."""
        if self.current is not None:
            self.panel.logic.jumpToMostUncertain(self.current)

    def toggleUncertainty(self) -> None:
        """Lay the map of uncertainty over the views, or take it away."""
        isOn = self.current is not None and overlaid() is not self.current.uncertainty
        self.panel.logic.showUncertainty(self.current if isOn else None)
        self.panel.scheduleRefresh()

    def toggleComparison(self) -> None:
        """Show the result beside the one before it, or the views as they were."""
        if self.current is not None:
            self.panel.logic.compare(None if isComparing() else self.current)
            self.panel.scheduleRefresh()

    def correct(self) -> None:
        """Open a copy of the result in the Segment Editor."""
        if self.current is not None:
            self.panel.logic.correct(self.current)
            self.panel.scheduleRefresh()

    def accept(self) -> None:
        """Take the result, as corrected, for the labels of its case."""
        self._accept(None)

    def acceptSelected(self) -> None:
        """Take the selected structures for labels of the case; of the others nothing is known."""
        result = self.current
        if result is not None:
            segmentation = result.shown.GetSegmentation()
            ids = self.ui.resultSegmentsTable.selectedSegmentIDs()
            self._accept([segmentation.GetSegment(segmentId).GetName() for segmentId in ids])

    def reject(self) -> None:
        """Put the result away, and take back what was accepted of it."""
        result = self.current
        if result is not None:
            self.panel.logic.rejectResult(result)
            self._notice = "\n".join(takeFromStudy(self.panel.parameters, result))
            self.panel.scheduleRefresh()

    def trainOn(self) -> None:
        """Train on the ticked cases, the accepted ones among them, from the weights of the model."""
        model = self.panel.model
        if model.info is None or self.panel.isBusy:
            return
        parameters = self.panel.parameters
        if any(card.name == model.info.method for card in CARDS):
            parameters.method = model.info.method
        parameters.warmStart = str(model.path)
        self.panel.training.train()

    def _accept(self, structures: Collection[str] | None) -> None:
        result = self.current
        if result is None:
            return
        try:
            notices = acceptIntoStudy(
                self.panel.parameters,
                self.panel.logic,
                result,
                structures,
                self.panel.schemeFile.scheme,
                self.panel.training.runs.sides,
            )
        except SemiSegError as error:
            self.panel.showError(_("The result could not be accepted."), str(error))
            return
        self._notice = "\n".join(notices)
        self.panel.scheduleRefresh()

    def _description(self, result: Result | None) -> str:
        if result is None:
            return _("Choose a case, or press Next case.")
        before = self.panel.logic.resultBefore(result)
        lines = [result.reason, describeStates(result), self._notice]
        if result.accepted:
            text = _("Accepted: {names}. Accept selected adds to it; Reject takes it back.")
            lines.append(text.format(names=", ".join(result.accepted)))
        if isComparing() and before is not None:
            text = _("Left view: {new}. Right view: {old}.")
            lines.append(text.format(new=result.shown.GetName(), old=before.shown.GetName()))
        if result.correction is not None:
            lines.append(_("Corrected: {name}").format(name=result.correction.GetName()))
        return "\n".join(filter(None, lines))

    def _showButtons(self, view: StudyView, results: list[Result], current: Result | None) -> None:
        ui = self.ui
        none = "" if current is not None else _("Choose a case first.")
        open_ = any(not result.decision for result in results)
        what = _("Show the case that is worth the next look and nobody has decided on")
        setButton(ui.nextCaseButton, "" if open_ else _("Every case is accepted or rejected."), what)
        place = none or ("" if current.placeInWorld() is not None else _("The model is sure everywhere."))
        setButton(ui.doubtButton, place, _("Bring the slice views to the place where the model is least sure"))
        map_ = none or ("" if current.uncertainty is not None else _("No map of uncertainty was made."))
        setButton(ui.uncertaintyButton, map_, _("Lay over the views how unsure the model is: yellow to red"))
        ui.uncertaintyButton.checked = not map_ and overlaid() is current.uncertainty
        hasEarlier = current is not None and self.panel.logic.resultBefore(current) is not None
        before = none or ("" if hasEarlier else _("There is no earlier result of this case."))
        setButton(ui.compareButton, before, _("Show the earlier result of this case beside this one"))
        ui.compareButton.checked = isComparing()
        setButton(ui.correctButton, none, _("Open a copy of the result in the Segment Editor; the result is kept"))
        setButton(ui.acceptButton, none, _("Take the structures, as corrected, for the labels of this case"))
        rejected = none or (_("It is put away already.") if current.decision == REJECTED else "")
        what = _("Put the result away, hidden and kept; what was accepted of it is taken back")
        setButton(ui.rejectButton, rejected, what)
        isAccepted = any(result.decision not in ("", REJECTED) for result in results)
        why = "" if isAccepted else _("Accept at least one case first.")
        why = why or self.panel.model.whyNot or self.panel.whyNoTraining(view)
        setButton(ui.trainOnButton, why, _("Train on all ticked cases, beginning with what the model knows"))
        self._showSelection()

    def _showSelection(self) -> None:
        isPartly = self.current is not None and self.current.accepted
        selected = self.ui.resultSegmentsTable.selectedSegmentIDs()
        why = "" if selected else _("Select the structures that are right in the table above.")
        what = _("Take the selected structures for labels of this case; the others count as not looked for")
        more = _("Add the selected structures to what is accepted of this case; Reject takes all of it back")
        setButton(self.ui.acceptSelectedButton, why, more if isPartly else what)

    def _onSelection(self, *_changes: Any) -> None:
        if self.panel.parameters is not None:
            self._showSelection()
