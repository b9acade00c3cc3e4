"""The case of the study that a result belongs to: it gets the labels that were accepted, and gives them back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, SemiSegError
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.acceptance import Acceptance
from SemiSegModule.bridge.result import Result
from SemiSegModule.logic import StudyLogic
from SemiSegModule.panel.case_rows import updateRows, withoutImagesOf
from SemiSegModule.panel.case_words import explainSide
from SemiSegModule.panel.row_labels import SIDE_OF_ACCEPTED, givenBack
from SemiSegModule.panel.sides import sideOfPatient
from SemiSegModule.panel.study_view import schemeOf
from SemiSegModule.parameters import CaseRow, StudyParameters


def acceptIntoStudy(
    parameters: StudyParameters,
    logic: StudyLogic,
    result: Result,
    structures: Collection[str] | None,
    readScheme: Callable[[str], LabelScheme],
    used: Mapping[str, str],
) -> list[str]:
    """Accept a result and give its case the labels; return what a person should know of it.

    The side of the split stays where it is; a case without one takes that of its patient, and is for training only if
    the patient has none either. A scan that the study does not have becomes a case of it.

    Args:
        parameters: hold the case table.
        logic: accepts the result.
        result: the result.
        structures: names of what is accepted; None: all.
        readScheme: returns the label scheme of a name or path.
        used: patient to the side of the split on which a run has used it.

    Raises:
        CaseError: the result cannot be accepted, or its scan alone is no case of this study; nothing is decided.
    """
    rows, notices = parameters.rows(), []
    row = _rowOf(result, rows)
    isNew = row is None
    if isNew:
        row = _newRow(result, parameters, rows)
        rows.append(row)
        notices.append(_("'{name}' is a case of the study now.").format(name=result.name))
    accepted = logic.acceptResult(result, structures)
    if accepted.leftOpen:
        text = _("Nothing is shown of {names}, but the model is not sure: left open. Select and accept what is absent.")
        notices.append(text.format(names=", ".join(accepted.leftOpen)))
    if row.segmentation is not None and row.segmentation is not accepted.segmentation:
        text = _("'{name}' stays in the scene, but is no longer what the study learns from.")
        notices.append(text.format(name=row.segmentation.GetName()))
    if not _hasLabelsOf(result, row):
        # Accepted once more, it is the labels of before the first time that come back.
        row.before = replace(row, volumes={}, before=None)
    row.segmentation, row.isChosen, row.isWithoutLabels = accepted.segmentation, True, False
    row.meanings, row.overlapRules = dict(accepted.meanings), []
    row.region, row.regionBox = None, None
    row.state = accepted.state
    if isNew or not row.side:
        notices += _placeWithPatient(row, rows, used, result.name)
    row.lookedFor, unknown = _namesInStudy(accepted, rows, parameters, readScheme)
    if unknown:
        text = _("The study has no structure {names}. Add it in Structures, or say in Labels what its segment is.")
        notices.append(text.format(names=", ".join(unknown)))
    wasModifying = parameters.node.StartModify()
    used = list(row.volumes.values())
    parameters.removedVolumes = [v for v in parameters.removedVolumes if not any(v is node for node in used)]
    parameters.setRows(rows, removed=[other for other in parameters.removedRows() if _rowOf(result, [other]) is None])
    parameters.node.EndModify(wasModifying)
    return notices


def takeFromStudy(parameters: StudyParameters, result: Result) -> list[str]:
    """Take the labels of a result from its case again; return what a person should know of it.

    What was said of these labels goes with them, and the labels of before come back with what was said of them; if they
    are gone, a segmentation of the scene that belongs to the scan.
    """
    rows = parameters.rows()
    if not any(_hasLabelsOf(result, row) for row in rows):
        return []
    parameters.setRows([givenBack(row) if _hasLabelsOf(result, row) else row for row in rows])
    updateRows(parameters)
    row = _rowOf(result, parameters.rows())
    if row is None or row.segmentation is None:
        return [_("The study no longer learns from it; the case is without labels.")]
    text = _("The study no longer learns from it; the case has '{name}' again.")
    return [text.format(name=row.segmentation.GetName())]


def _hasLabelsOf(result: Result, row: CaseRow) -> bool:
    return row.segmentation is not None and any(row.segmentation is node for node in (result.node, result.correction))


def _rowOf(result: Result, rows: list[CaseRow]) -> CaseRow | None:
    # A model that wants the channels in another order gives its results to another one than the study's first.
    return next((row for row in rows if any(node is result.volume for node in row.volumes.values())), None)


def _newRow(result: Result, parameters: StudyParameters, rows: list[CaseRow]) -> CaseRow:
    removed = _rowOf(result, [withoutImagesOf(rows, row) for row in parameters.removedRows()])
    if removed is not None and parameters.channels[0] in removed.volumes:
        # It was a case before: its patient and its side of the split stay.
        return removed
    if len(parameters.channels) > 1:
        text = _(
            "'{name}' is no case of the study, and a case of the study has the channels {channels}. Take it into the "
            "study with Add from scene in Cases, choose its channels there, and accept then."
        )
        raise CaseError(text.format(name=result.name, channels=", ".join(parameters.channels)))
    return CaseRow(volumes={parameters.channels[0]: result.volume})


def _placeWithPatient(row: CaseRow, rows: list[CaseRow], used: Mapping[str, str], name: str) -> list[str]:
    """Put a case on the side of its patient, else on that of accepted cases; return what a person should know of it."""
    standing = sideOfPatient(rows.index(row), rows, used)
    # A case that was removed had a side, but its patient may have been put on another one since.
    side = standing or row.side or SIDE_OF_ACCEPTED
    if side != row.side:
        row.side = row.sideOfAcceptance = side
    if standing is None or side == SIDE_OF_ACCEPTED:
        return []
    text = _("'{name}' is for {side}, where its patient stands already: no training learns from it.")
    return [text.format(name=name, side=explainSide(side))]


def _namesInStudy(
    accepted: Acceptance,
    rows: list[CaseRow],
    parameters: StudyParameters,
    readScheme: Callable[[str], LabelScheme],
) -> tuple[list[str], tuple[str, ...]]:
    """Return what was looked for as the study calls it, and what it has no structure for."""
    try:
        scheme = schemeOf(parameters, readScheme, rows)
    except SemiSegError:
        # Why there is none is told in Cases.
        return list(accepted.lookedFor), ()
    lookedFor, unknown = accepted.lookedForIn(scheme)
    # It counts once the study has a structure of this name.
    return [*lookedFor, *unknown], unknown
