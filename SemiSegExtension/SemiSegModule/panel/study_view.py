"""What the panel shows, worked out from the parameter node and the scene: no widget, no file written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.config import from_json
from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key
from SemiSegModule.bridge.overlaps import ruleKey
from SemiSegModule.bridge.pairing import (
    patientOf,
    scalarVolumes,
    segmentationOf,
    segmentations,
    sketchStudy,
)
from SemiSegModule.bridge.region import BOX, DRAWN_SLICES, SLICES, regionFromJson, whyIncomplete
from SemiSegModule.bridge.scene_case import (
    ANNOTATED_REGION,
    LEFT_OUT,
    SceneCase,
    schemeFromSegments,
    suggestLookedFor,
    suggestMeanings,
    suggestState,
)
from SemiSegModule.logic import StudyLogic
from SemiSegModule.parameters import SCHEME_EDITED, SCHEME_FROM_SCENE, CaseRow, StudyParameters


@dataclass
class StudyView:
    """The study as it is now.

    Attributes:
        rows: case table.
        cases: one per row.
        scheme: label scheme, or None if there is none yet.
        problem: why there is no scheme, or "".
        rowProblems: row number to what a person must decide before this case can be used.
        sideConflicts: row numbers whose patient stands on two sides of the split.
        lockedSides: row number to the side on which a run has used the patient; it never changes again.
        sketch: the chosen cases as a dataset without voxels, or None.
        regimes: row number to how much the labels say.
    """

    rows: list[CaseRow]
    cases: list[SceneCase] = field(default_factory=list)
    scheme: LabelScheme | None = None
    problem: str = ""
    rowProblems: dict[int, str] = field(default_factory=dict)
    lockedSides: dict[int, str] = field(default_factory=dict)
    sideConflicts: dict[int, bool] = field(default_factory=dict)
    sketch: Dataset | None = None
    regimes: dict[int, Regime] = field(default_factory=dict)

    @property
    def chosen(self) -> list[SceneCase]:
        """The cases that are ticked."""
        return [case for row, case in zip(self.rows, self.cases, strict=True) if row.isChosen]

    def whyNotReady(self) -> str:
        """Return why a training cannot be started, or the empty string."""
        if not self.chosen:
            return _("Tick at least one volume in Cases.")
        if self.problem:
            return self.problem
        for number, problem in self.rowProblems.items():
            if self.rows[number].isChosen:
                return _("{case}: {problem}").format(case=self.cases[number].id, problem=problem)
        if all(self.regimes[n] is Regime.NONE for n, row in enumerate(self.rows) if row.isChosen):
            return _("None of the ticked cases has labels.")
        return ""


def updateRows(parameters: StudyParameters) -> bool:
    """Bring the case table in line with the scene and return whether it changed.

    New volumes get a row with the segmentation that belongs to them; rows of removed volumes go, and of volumes that
    are a further channel of another row. What a person has chosen is kept.
    """
    before = parameters.rows()
    further = [node for row in before for channel, node in row.volumes.items() if channel != parameters.channels[0]]
    rows = [replace(row) for row in before if not any(row.volumes[parameters.channels[0]] is node for node in further)]
    volumes = scalarVolumes()
    known = [*(node for row in rows for node in row.volumes.values()), *parameters.removedVolumes]
    taken = [row.segmentation for row in rows if row.segmentation is not None]
    free = [node for node in segmentations(withResults=False) if not any(node is t for t in taken)]
    for row in rows:
        if row.segmentation is None and not row.isWithoutLabels:
            row.segmentation = segmentationOf(row.volumes[parameters.channels[0]], free, volumes)
            free = [node for node in free if node is not row.segmentation]
    for volume in volumes:
        if not any(volume is node for node in known):
            found = segmentationOf(volume, free, volumes)
            free = [node for node in free if node is not found]
            rows.append(CaseRow(volumes={parameters.channels[0]: volume}, segmentation=found))
    changed = rows != before or len(rows) != parameters.storedRowCount
    if changed:
        parameters.setRows(rows)
    return changed


def viewOf(parameters: StudyParameters, logic: StudyLogic) -> StudyView:
    """Return the study as the parameter node and the scene say."""
    view = StudyView(rows=parameters.rows())
    try:
        view.scheme = _scheme(parameters, logic, view.rows)
    except SemiSegError as error:
        view.problem = str(error)
    names = [row.volumes[parameters.channels[0]].GetName() for row in view.rows]
    used = logic.usedSides(parameters.studyPath)
    for number, row in enumerate(view.rows):
        repeat = names[:number].count(names[number])
        caseId = names[number] if not repeat else f"{names[number]} ({repeat + 1})"
        case = _case(caseId, row, view.scheme)
        locked = used.get(case.patient or case.id)
        if locked:
            view.lockedSides[number] = locked
            case = replace(case, side=locked)
        view.cases.append(case)
        problem = _rowProblem(row, view.cases[-1], parameters.channels)
        if problem:
            view.rowProblems[number] = problem
    _findSideConflicts(view)
    if view.scheme is not None:
        everything = sketchStudy(view.cases, view.scheme, "")
        view.regimes = {number: case.regime(view.scheme) for number, case in enumerate(everything.cases)}
        kept = tuple(case for case, row in zip(everything.cases, view.rows, strict=True) if row.isChosen)
        view.sketch = replace(everything, cases=kept)
    return view


def _findSideConflicts(view: StudyView) -> None:
    """A patient on two sides makes validation too good: the model has seen whom it is tested on."""
    sides: dict[str, set[str]] = {}
    for row, case in zip(view.rows, view.cases, strict=True):
        if row.isChosen and case.side:
            sides.setdefault(case.patient or case.id, set()).add(case.side)
    for number, (row, case) in enumerate(zip(view.rows, view.cases, strict=True)):
        if row.isChosen and case.side and len(sides[case.patient or case.id]) > 1:
            view.sideConflicts[number] = True
            text = _("scans of patient {patient} are on two sides of the split").format(patient=case.patient)
            view.rowProblems.setdefault(number, text)


def regionProblem(case: SceneCase) -> str:
    """Return what a person must still say of where a case was annotated, or the empty string."""
    region = case.region
    if region is None:
        return ""
    if region.kind == SLICES and not region.ranges:
        return _("name the slices that were annotated")
    if region.kind == BOX and whyIncomplete(region):
        return _("choose the box that was annotated")
    isGone = region.kind == DRAWN_SLICES and region.segment and case.meanings.get(region.segment, LEFT_OUT) == LEFT_OUT
    return _("choose the segment whose slices were annotated") if isGone else ""


def _scheme(parameters: StudyParameters, logic: StudyLogic, rows: Sequence[CaseRow]) -> LabelScheme:
    if parameters.schemeSource == SCHEME_EDITED:
        return from_json(LabelScheme, parameters.editedScheme, where=_("edited label scheme"))
    if parameters.schemeSource != SCHEME_FROM_SCENE:
        return logic.readScheme(parameters.schemeSource)
    drawn = [row.segmentation for row in rows if row.isChosen and row.segmentation is not None]
    scheme = schemeFromSegments(drawn, "Scene") if drawn else None
    if scheme is None:
        raise SemiSegError(_("Load a segmentation for at least one of the ticked volumes, or choose a ready scheme."))
    return scheme


def _case(caseId: str, row: CaseRow, scheme: LabelScheme | None) -> SceneCase:
    meanings: dict[str, str] = {}
    lookedFor: tuple[str, ...] = ()
    if scheme is not None and row.segmentation is not None:
        meanings = suggestMeanings(row.segmentation, scheme)
        names = {structure.name for structure in scheme.structures}
        said = {i: m for i, m in row.meanings.items() if i in meanings and m in names | {ANNOTATED_REGION, LEFT_OUT}}
        meanings.update(said)
        lookedFor = suggestLookedFor(meanings, scheme)
        if row.lookedFor is not None:
            lookedFor = tuple(name for name in row.lookedFor if name in names and name_key(name) != BACKGROUND)
    volume = next(iter(row.volumes.values()))
    return SceneCase(
        id=caseId,
        volumes=row.volumes,
        segmentation=row.segmentation,
        meanings=meanings,
        lookedFor=lookedFor,
        patient=row.patient or patientOf(volume),
        side=row.side,
        state=row.state or suggestState(row.segmentation),
        region=regionFromJson(row.region, row.regionBox) if row.segmentation is not None else None,
        overlapRules={ruleKey(first, second): rule for first, second, rule in row.overlapRules},
    )


def _rowProblem(row: CaseRow, case: SceneCase, channels: Sequence[str]) -> str:
    absent = [channel for channel in channels if channel not in row.volumes]
    if absent:
        return _("choose the volume of channel {names}").format(names=", ".join(absent))
    unclear = sum(not meaning for meaning in case.meanings.values())
    if unclear:
        return _("say what {count} of its segments are").format(count=unclear)
    return regionProblem(case)


def nodeNames(nodes: Sequence[Any]) -> list[str]:
    """Return the names of nodes."""
    return [node.GetName() for node in nodes]
