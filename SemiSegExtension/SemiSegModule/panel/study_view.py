"""What the panel shows, worked out from the parameter node and the scene: no widget, no file written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.config import from_json
from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key
from SemiSegModule.bridge.overlaps import EITHER, IGNORE, ruleKey
from SemiSegModule.bridge.pairing import patientOf, sketchStudy
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
from SemiSegModule.panel.sides import caseNames, usedSides
from SemiSegModule.parameters import SCHEME_EDITED, SCHEME_FROM_SCENE, CaseRow, StudyParameters
from SemiSegModule.study_scheme import withNames


@dataclass(frozen=True)
class OnlyPart:
    """A drawn structure with one part alone: to a training both are the same.

    Attributes:
        whole: its name.
        part: name of the part.
        isDrawn: whether the part, or something in it, is drawn too.
    """

    whole: str
    part: str
    isDrawn: bool


class NothingDrawn(SemiSegError):
    """No ticked row has a segmentation, and nobody has chosen what the structures are."""


@dataclass
class StudyView:
    """The study as it is now.

    Attributes:
        rows: case table.
        cases: one per row.
        scheme: label scheme, or None if there is none yet.
        problem: why there is no scheme, or "".
        mayBeginScheme: whether nobody has chosen or drawn any structure, so that the first one can be typed.
        rowProblems: row number to what a person must decide before this case can be used.
        openRows: those of them in which something is lacking or not said, so that their labels cannot be looked at yet.
        sideConflicts: row numbers whose patient stands on two sides of the split.
        lockedSides: row number to the side on which a run has used the case or its patient; it never changes again.
        lockedByName: those of them of which nobody has said whose they are, and another scan of the name was used.
        sketch: the chosen cases as a dataset without voxels, or None.
        regimes: row number to how much the labels say.
        onlyParts: structures, drawn in ticked cases, that have one part alone.
    """

    rows: list[CaseRow]
    cases: list[SceneCase] = field(default_factory=list)
    scheme: LabelScheme | None = None
    problem: str = ""
    mayBeginScheme: bool = False
    rowProblems: dict[int, str] = field(default_factory=dict)
    openRows: set[int] = field(default_factory=set)
    lockedSides: dict[int, str] = field(default_factory=dict)
    lockedByName: set[int] = field(default_factory=set)
    sideConflicts: dict[int, bool] = field(default_factory=dict)
    sketch: Dataset | None = None
    regimes: dict[int, Regime] = field(default_factory=dict)
    onlyParts: tuple[OnlyPart, ...] = ()

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


def viewOf(parameters: StudyParameters, readScheme: Callable[[str], LabelScheme], used: Mapping[str, str]) -> StudyView:
    """Return the study as the parameter node and the scene say; reads nothing in the study folder.

    Args:
        parameters: what a person has said.
        readScheme: returns the label scheme of a name or path.
        used: patient to the side of the split on which a run has used it.
    """
    view = StudyView(rows=parameters.rows())
    try:
        view.scheme = schemeOf(parameters, readScheme, view.rows)
    except SemiSegError as error:
        view.problem, view.mayBeginScheme = str(error), isinstance(error, NothingDrawn)
    names = caseNames(view.rows)
    for number, row in enumerate(view.rows):
        view.cases.append(_case(names[number], row, view.scheme))
        problem = _rowProblem(row, view.cases[-1], parameters.channels)
        if problem:
            view.rowProblems[number] = problem
            view.openRows.add(number)
    _lockSides(view, used)
    _findSideConflicts(view)
    if view.scheme is not None:
        everything = sketchStudy(view.cases, view.scheme, "")
        view.regimes = {number: case.regime(view.scheme) for number, case in enumerate(everything.cases)}
        kept = tuple(case for case, row in zip(everything.cases, view.rows, strict=True) if row.isChosen)
        view.sketch = replace(everything, cases=kept)
        view.onlyParts = _onlyParts(view.chosen, view.scheme)
    return view


def _onlyParts(cases: Sequence[SceneCase], scheme: LabelScheme) -> tuple[OnlyPart, ...]:
    drawn = {meaning for case in cases for meaning in case.meanings.values()}
    inside = {s.name for name in drawn if scheme.match(name) is not None for s in scheme.ancestors(name)}
    parts: dict[str, list[str]] = {}
    for structure in scheme.structures:
        if structure.parent:
            parts.setdefault(scheme.find(structure.parent).name, []).append(structure.name)
    alone = {whole: names[0] for whole, names in parts.items() if len(names) == 1 and whole in drawn}
    return tuple(OnlyPart(whole, part, part in inside) for whole, part in alone.items())


def rememberUse(parameters: StudyParameters, view: StudyView) -> None:
    """Keep with each ticked row as which patient a run uses it now: a name can be changed, the use cannot."""
    used = {}
    for row, case in zip(view.rows, view.cases, strict=True):
        if row.isChosen:
            used[next(iter(row.volumes.values())).GetID()] = case.patient or case.id
    rows = parameters.rows()
    for row in rows:
        patient = used.get(next(iter(row.volumes.values())).GetID())
        if patient is not None and patient not in row.usedAs:
            row.usedAs.append(patient)
    parameters.setRows(rows)


def _lockSides(view: StudyView, used: Mapping[str, str]) -> None:
    """Put cases on the side on which a run has used them, or the patient that they are of now."""
    view.lockedSides = usedSides(view.rows, [case.patient or case.id for case in view.cases], used)
    for number, side in view.lockedSides.items():
        if not view.cases[number].patient and not view.rows[number].usedAs:
            view.lockedByName.add(number)
        view.cases[number] = replace(view.cases[number], side=side)


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


def schemeOf(
    parameters: StudyParameters, readScheme: Callable[[str], LabelScheme], rows: Sequence[CaseRow]
) -> LabelScheme:
    """Return the label scheme that a person has chosen; from the scene, it is that of the ticked rows.

    Raises:
        SemiSegError: no row says what the structures are, or the scheme cannot be read.
    """
    if parameters.schemeSource == SCHEME_EDITED:
        return from_json(LabelScheme, parameters.editedScheme, where=_("edited label scheme"))
    if parameters.schemeSource != SCHEME_FROM_SCENE:
        return readScheme(parameters.schemeSource)
    drawn = [row for row in rows if row.isChosen and row.segmentation is not None]
    if not drawn:
        raise NothingDrawn(_("Load a segmentation for at least one of the ticked volumes, or choose a ready scheme."))
    return schemeFromSegments([row.segmentation for row in drawn], "Scene", [row.meanings for row in drawn])


def _case(caseId: str, row: CaseRow, scheme: LabelScheme | None) -> SceneCase:
    meanings: dict[str, str] = {}
    lookedFor: tuple[str, ...] = ()
    if scheme is not None and row.segmentation is not None:
        meanings = suggestMeanings(row.segmentation, scheme)
        # What was said under another spelling or alias, with another scheme perhaps, still holds.
        row = withNames(row, lambda name: _nameIn(scheme, name))
        meanings.update({i: meaning for i, meaning in row.meanings.items() if i in meanings})
        lookedFor = suggestLookedFor(meanings, scheme)
        if row.lookedFor is not None:
            lookedFor = tuple(name for name in row.lookedFor if name_key(name) != BACKGROUND)
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
        region=regionFromJson(row.region, row.regionBox, volume) if row.segmentation is not None else None,
        overlapRules={ruleKey(first, second): rule for first, second, rule in row.overlapRules},
    )


def _nameIn(scheme: LabelScheme, said: str) -> str | None:
    """Return what a scheme calls a structure that a person named; words that stand for no structure stay."""
    if said in (ANNOTATED_REGION, LEFT_OUT, EITHER, IGNORE):
        return said
    found = scheme.match(said)
    return found.name if found is not None else None


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
