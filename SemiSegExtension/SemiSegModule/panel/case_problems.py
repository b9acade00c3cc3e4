"""What is doubtful about the cases of the table, with a remedy, and a fix by one click where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule.bridge.case_check import CaseCheck
from SemiSegModule.bridge.pairing import scalarVolumes, suggestChannel
from SemiSegModule.panel import case_words as words
from SemiSegModule.panel.channels import useVolume
from SemiSegModule.panel.row_labels import withSegmentation
from SemiSegModule.panel.study_view import OnlyPart, StudyView
from SemiSegModule.waiting import Waiting, keepAnswering

_WORST_FIRST = ("error", "warning", "note")


@dataclass(frozen=True)
class CaseProblem:
    """One thing that a person should know or decide.

    Attributes:
        severity: "error", "warning" or "note".
        what: what was found.
        remedy: what to do.
        label: words of the button that does it, "" if a person must.
        fix: does it.
    """

    severity: str
    what: str
    remedy: str
    label: str = ""
    fix: Callable[[], None] | None = None


class CaseProblems:
    """Says what is doubtful about a row, and does what a person clicks. No node of the user is ever changed.

    Args:
        panel: gives ``parameters``, ``logic`` and ``ui``.
    """

    def __init__(self, panel: Any) -> None:
        self.panel = panel

    def of(self, view: StudyView, number: int, check: CaseCheck | None) -> tuple[CaseProblem, ...]:
        """Return what is doubtful about a row, the worst first.

        Args:
            view: the study.
            number: of the row.
            check: what was found in the nodes, or None if that is not known (yet).
        """
        found = [*self._missingChannels(view, number), *self._unclear(view, number)]
        if not found and number in view.openRows:
            found.append(CaseProblem("error", view.rowProblems[number], "", _("Show in Labels"), self._showLabels))
        found += self._patientSides(view, number)
        # Without a meaning for every segment nothing more can be said about them.
        for finding in check.findings if check is not None and number not in view.openRows else ():
            label, fix = self._fixOf(finding.code, view, number, check)
            found.append(CaseProblem(finding.severity, finding.what, finding.remedy, label, fix))
        found += self._onlyParts(view, number)
        return tuple(sorted(found, key=lambda problem: _WORST_FIRST.index(problem.severity)))

    def _missingChannels(self, view: StudyView, number: int) -> list[CaseProblem]:
        row, found = view.rows[number], []
        channels = self.panel.parameters.channels
        for channel in channels:
            if channel in row.volumes:
                continue
            further = [node for other in view.rows for role, node in other.volumes.items() if role != channels[0]]
            node = suggestChannel(row.volumes[channels[0]], channels[0], channel, scalarVolumes(), further)
            what = _("the volume of channel {channel} is missing").format(channel=channel)
            if node is None:
                found.append(CaseProblem("error", what, _("choose it below, or load it")))
                continue
            label = _("Use {name}").format(name=node.GetName())
            fix = _bound(useVolume, self.panel.parameters, number, channel, node)
            found.append(CaseProblem("error", what, _("choose it below"), label, fix))
        return found

    def _unclear(self, view: StudyView, number: int) -> list[CaseProblem]:
        unclear = [segmentId for segmentId, meaning in view.cases[number].meanings.items() if not meaning]
        if not unclear or view.scheme is None:
            return []
        segmentation = view.rows[number].segmentation.GetSegmentation()
        names = ", ".join(segmentation.GetSegment(segmentId).GetName() for segmentId in unclear)
        what = _("nobody has said which structures these segments are: {names}").format(names=names)
        remedy = _("choose a structure for each in Labels, or leave it out")
        return [CaseProblem("error", what, remedy, _("Show in Labels"), self._showLabels)]

    def _patientSides(self, view: StudyView, number: int) -> list[CaseProblem]:
        conflict = view.sideConflicts.get(number)
        if not conflict:
            return []
        side = view.cases[number].side
        what = _("scans of patient {patient} are on two sides of the split").format(patient=view.cases[number].patient)
        label = _("All to {side}").format(side=words.explainSide(side))
        remedy = _("put them all on one side, or correct the patient: else the score of a model would be too good")
        return [CaseProblem("error", what, remedy, label, _bound(self.setSide, [number], side))]

    def _onlyParts(self, view: StudyView, number: int) -> list[CaseProblem]:
        drawn, found = view.cases[number].meanings.values(), []
        for item in view.onlyParts if view.rows[number].isChosen else ():
            if item.whole in drawn and item.isDrawn:
                label = _("Show in Structures")
                found.append(CaseProblem("warning", *describeOnlyPart(item), label, self._showStructures))
        return found

    def _fixOf(
        self, code: str, view: StudyView, number: int, check: CaseCheck
    ) -> tuple[str, Callable[[], None] | None]:
        if code == "empty_segment":
            return _("Count as not looked for"), _bound(self._leaveOut, view, number, check.emptySegments)
        if code == "resampled":
            return _("Make a copy on the scan's voxels"), _bound(self._copyOntoScan, view, number)
        if code == "outside_volume" and any(finding.code == "resampled" for finding in check.findings):
            # What lies inside the scan is good; the copy has that alone.
            return self._fixOf("resampled", view, number, check)
        if code == "elsewhere":
            return _("Use without labels"), _bound(self._useWithoutLabels, number)
        if code in ("overlap", "part_missing"):
            return _("Decide in Labels"), self._showLabels
        if code == "nowhere_annotated":
            return _("Show in Labels"), self._showLabels
        return "", None

    def setSide(self, numbers: list[int], side: str | None) -> None:
        """Put rows, and all other scans of their patients, on a side of the split; used patients stay."""
        view = self.panel.view
        patients = {view.cases[number].patient or view.cases[number].id for number in numbers}
        rows = self.panel.parameters.rows()
        # A row may have come since the view was made; it is none of those that a person sees.
        for number, (row, case) in enumerate(zip(rows, view.cases, strict=False)):
            if (case.patient or case.id) in patients and number not in view.lockedSides:
                row.side = side or None
        self.panel.parameters.setRows(rows)

    def _useWithoutLabels(self, number: int) -> None:
        rows = self.panel.parameters.rows()
        rows[number] = replace(withSegmentation(rows[number], None), isWithoutLabels=True)
        self.panel.parameters.setRows(rows)

    def _leaveOut(self, view: StudyView, number: int, segmentIds: tuple[str, ...]) -> None:
        """Let empty segments say nothing: neither drawn nor absent."""
        rows, case = self.panel.parameters.rows(), view.cases[number]
        changed = self.panel.logic.leaveOut(case, segmentIds, view.scheme)
        news = {i: meaning for i, meaning in changed.meanings.items() if meaning != case.meanings[i]}
        rows[number].meanings = {**rows[number].meanings, **news}
        rows[number].lookedFor = list(changed.lookedFor)
        self.panel.parameters.setRows(rows)

    def _copyOntoScan(self, view: StudyView, number: int) -> None:
        case = view.cases[number]
        volume = next(iter(case.volumes.values()))
        surfaces, waiting = self.panel.cases.checks.surfaces, Waiting(self._showCopying, keepAnswering)
        with self.panel.busy():
            try:
                node = self.panel.logic.copyOntoScan(case.segmentation, volume, surfaces=surfaces, waiting=waiting)
            except SemiSegError as error:
                self.panel.showError(_("The copy could not be made."), str(error))
                return
        rows = self.panel.parameters.rows()
        for row in rows:
            if next(iter(row.volumes.values())) is volume:
                row.segmentation = node
        self.panel.parameters.setRows(rows)

    def _showCopying(self, _done: int, _count: int, name: str) -> None:
        # Until the panel is shown anew, which comes at the end.
        self.panel.ui.casesSummaryLabel.text = _("Copying {name}...").format(name=name)

    def _showLabels(self) -> None:
        _unfold(self.panel.ui.labelsSection)
        self.panel.ui.labelsSection.setFocus()

    def _showStructures(self) -> None:
        _unfold(self.panel.ui.structuresSection)
        self.panel.ui.structuresSection.setFocus()


def describeOnlyPart(item: OnlyPart) -> tuple[str, str]:
    """Return what it means that a structure has one part alone, and what to do."""
    what = _("'{whole}' has one part alone, '{part}': all that is drawn as '{whole}' counts as '{part}'")
    remedy = _("right if there is nothing else in it; else add what is missing as a part")
    return what.format(whole=item.whole, part=item.part), remedy


def _unfold(section: Any) -> None:
    section.collapsed = False
    slicer.app.processEvents()


def _bound(function: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    return lambda: function(*arguments)
