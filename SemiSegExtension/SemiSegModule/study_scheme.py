"""The label scheme as a person edits it in the panel: kept in the parameter node, followed by labels, taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from SemiSegLib.config import from_json, to_json
from SemiSegLib.labels.edits import Edit, Step, origins
from SemiSegModule.bridge.overlaps import ruleKey
from SemiSegModule.parameters import SCHEME_EDITED, CaseRow, StudyParameters


def applyEdit(parameters: StudyParameters, edit: Edit) -> None:
    """Make the scheme of an edit that of the study, as one change; what was said of cases follows the names.

    The scheme is then the study's own, wherever it came from: neither the scene nor a file changes it any more.
    """
    before = parameters.rows()
    after = [_followed(row, edit) for row in before]
    wasModifying = parameters.node.StartModify()
    parameters.schemeUndo = {
        "source": parameters.schemeSource,
        "scheme": parameters.editedScheme,
        "steps": parameters.schemeSteps,
        "rows": [
            {"volume": _volumeId(old), "before": _said(old), "after": _said(new)}
            for old, new in zip(before, after, strict=True)
            if _said(old) != _said(new)
        ],
    }
    parameters.editedScheme = to_json(edit.scheme)
    parameters.schemeSteps = [*parameters.schemeSteps, *(to_json(step) for step in edit.steps)]
    parameters.schemeSource = SCHEME_EDITED
    _rememberNames(parameters)
    parameters.setRows(after)
    parameters.node.EndModify(wasModifying)


def undoEdit(parameters: StudyParameters) -> bool:
    """Take back the last edit of the scheme and return whether there was one.

    What was said of a case since then is kept.
    """
    undo = parameters.schemeUndo
    if undo is None:
        return False
    known = {entry["volume"]: entry for entry in undo["rows"]}
    rows = []
    for row in parameters.rows():
        entry = known.get(_volumeId(row))
        rows.append(replace(row, **entry["before"]) if entry is not None and _said(row) == entry["after"] else row)
    wasModifying = parameters.node.StartModify()
    parameters.editedScheme = undo["scheme"]
    parameters.schemeSteps = undo["steps"]
    parameters.schemeSource = undo["source"]
    parameters.schemeUndo = None
    _rememberNames(parameters)
    parameters.setRows(rows)
    parameters.node.EndModify(wasModifying)
    return True


def steps(parameters: StudyParameters) -> tuple[Step, ...]:
    """Return what became of names so far, for ``labels.edits.origins``."""
    return tuple(from_json(Step, step, where="edited label scheme") for step in parameters.schemeSteps)


def _rememberNames(parameters: StudyParameters) -> None:
    """Tell a training that goes on from a model under which names it knows the structures of today."""
    renamed, merged = origins(steps(parameters))
    parameters.renamed = renamed
    parameters.merged = {name: list(before) for name, before in merged.items()}


def _followed(row: CaseRow, edit: Edit) -> CaseRow:
    """Return a row with what a person said of it under the names of today."""
    now: Callable[[str], str | None] = edit.name_now
    meanings = {segment: name for segment, old in row.meanings.items() if (name := now(old)) is not None}
    lookedFor = row.lookedFor
    if lookedFor is not None:
        lookedFor = list(dict.fromkeys(name for old in lookedFor if (name := now(old)) is not None))
    rules = {}
    for first, second, rule in row.overlapRules:
        pair, winner = (now(first), now(second)), now(rule)
        if None not in (*pair, winner) and pair[0] != pair[1]:
            rules[ruleKey(*pair)] = winner
    return replace(row, meanings=meanings, lookedFor=lookedFor, overlapRules=[[*pair, rules[pair]] for pair in rules])


def _said(row: CaseRow) -> dict[str, Any]:
    return {"meanings": row.meanings, "lookedFor": row.lookedFor, "overlapRules": row.overlapRules}


def _volumeId(row: CaseRow) -> str:
    return str(next(iter(row.volumes.values())).GetID())
