"""The label scheme as a person edits it in the panel: kept in the parameter node, followed by labels, taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import CheckpointError
from SemiSegLib.labels.edits import Edit, add_structures
from SemiSegLib.labels.name_steps import Step, origins
from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.runs.model_info import read_model_info
from SemiSegModule.bridge.overlaps import ruleKey
from SemiSegModule.parameters import SCHEME_EDITED, SCHEME_FROM_SCENE, CaseRow, StudyParameters


def applyEdit(parameters: StudyParameters, edit: Edit) -> None:
    """Make the scheme of an edit that of the study, as one change; what was said of cases follows the names.

    The scheme is then the study's own, wherever it came from: neither the scene nor a file changes it any more.
    """
    isFirst = parameters.schemeSource != SCHEME_EDITED
    rows, removed = parameters.rows(), parameters.removedRows()
    before = [*rows, *removed]
    after = [withNames(row, edit.name_now) for row in before]
    wasModifying = parameters.node.StartModify()
    parameters.schemeUndo = {
        "source": parameters.schemeSource,
        "scheme": parameters.editedScheme,
        "base": parameters.schemeBase,
        "steps": parameters.schemeSteps,
        "rows": [
            {"volume": _volumeId(old), "before": _said(old), "after": _said(new)}
            for old, new in zip(before, after, strict=True)
            if _said(old) != _said(new)
        ],
    }
    parameters.editedScheme = to_json(edit.scheme)
    if isFirst:
        parameters.schemeBase = parameters.schemeSource
    # What became of the names of another scheme that was edited before says nothing of this one.
    earlier = [] if isFirst else parameters.schemeSteps
    parameters.schemeSteps = [*earlier, *(to_json(step) for step in edit.steps)]
    parameters.schemeSource = SCHEME_EDITED
    parameters.setRows(after[: len(rows)], removed=after[len(rows) :])
    parameters.node.EndModify(wasModifying)


def undoEdit(parameters: StudyParameters) -> bool:
    """Take back the last edit of the scheme and return whether there was one.

    What was said of a case since then is kept.
    """
    undo = parameters.schemeUndo
    if undo is None:
        return False
    known = {entry["volume"]: entry for entry in undo["rows"]}

    def undone(row: CaseRow) -> CaseRow:
        entry = known.get(_volumeId(row))
        isAsLeft = entry is not None and _said(row) == entry["after"]
        return _withSaid(row, entry["before"]) if isAsLeft else row

    rows = [undone(row) for row in parameters.rows()]
    removed = [undone(row) for row in parameters.removedRows()]
    wasModifying = parameters.node.StartModify()
    parameters.editedScheme = undo["scheme"]
    parameters.schemeBase = undo.get("base", SCHEME_FROM_SCENE)
    parameters.schemeSteps = undo["steps"]
    parameters.schemeSource = undo["source"]
    parameters.schemeUndo = None
    parameters.setRows(rows, removed)
    parameters.node.EndModify(wasModifying)
    return True


def takeStructures(parameters: StudyParameters, current: LabelScheme | None, theirs: LabelScheme) -> None:
    """Let the study know the structures of a dataset whose cases come in.

    What the segments of the scene say is less than what a dataset says, so its scheme leads as long as nobody has
    chosen or edited one; to such a scheme only what it lacks is added.

    Args:
        parameters: of the study.
        current: the scheme of the study as it is, or None if there is none.
        theirs: scheme of the dataset.
    """
    if parameters.schemeSource == SCHEME_FROM_SCENE:
        applyEdit(parameters, add_structures(theirs, current) if current is not None else Edit(theirs))
    elif current is not None:
        edit = add_structures(current, theirs)
        if edit.scheme is not current:
            applyEdit(parameters, edit)


def rememberModels(parameters: StudyParameters, models: Iterable[Path]) -> None:
    """Remember under which names trainings that begin now know the structures of the study, for ``namesInModel``."""
    isEdited = parameters.schemeSource == SCHEME_EDITED
    names = {
        "base": parameters.schemeBase if isEdited else parameters.schemeSource,
        "steps": parameters.schemeSteps if isEdited else [],
    }
    parameters.modelNames = {**parameters.modelNames, **{str(path): names for path in models}}


def namesInModel(
    parameters: StudyParameters, model: str
) -> Callable[[], tuple[dict[str, str], dict[str, tuple[str, ...]]]]:
    """Return a work that tells under which names a model knows structures that are called otherwise today.

    The work reads the model's file and touches no node, so that it can be done apart from the scene.

    From a model of this study what became of names since its training leads back to it. Of any other model only its
    names are known: what it has under the name of today needs no other one.

    Args:
        parameters: of the study.
        model: path of the model file; empty for none.

    Returns:
        The work; it returns {name: earlier name} and {name: earlier names it is merged of}, as ``RunRequest`` takes
        them with ``warm_start``.
    """
    stored = parameters.schemeSteps if parameters.schemeSource == SCHEME_EDITED else []
    then = parameters.modelNames.get(model, {"base": None, "steps": []})
    isOurs = then["base"] == parameters.schemeBase and then["steps"] == stored[: len(then["steps"])]
    since = stored[len(then["steps"]) :] if isOurs else stored
    return partial(_namesBefore, model, since, isOurs=isOurs)


def _namesBefore(
    model: str, since: list[dict[str, Any]], *, isOurs: bool
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    if not model or not since:
        return {}, {}
    try:
        known = [structure.name for structure in read_model_info(model).scheme.structures]
    except CheckpointError:
        # What is wrong with the file is told when it is loaded.
        return {}, {}
    steps = [from_json(Step, step, where=_("edited label scheme")) for step in since]
    renamed, merged = origins(steps, None if isOurs else known)
    keys = {name_key(name) for name in known}
    before: dict[str, tuple[str, ...]] = {}
    for name, names in {**{new: (old,) for new, old in renamed.items()}, **merged}.items():
        if isOurs or name in names or name_key(name) not in keys:
            before[name] = tuple(old for old in names if name_key(old) in keys)
    return (
        {name: old[0] for name, old in before.items() if len(old) == 1 and old[0] != name},
        {name: old for name, old in before.items() if len(old) > 1},
    )


def withNames(row: CaseRow, now: Callable[[str], str | None]) -> CaseRow:
    """Return a row with what a person said of it under other names; what has none is left out."""
    meanings = {segment: name for segment, old in row.meanings.items() if (name := now(old)) is not None}
    lookedFor = row.lookedFor
    if lookedFor is not None:
        lookedFor = list(dict.fromkeys(name for old in lookedFor if (name := now(old)) is not None))
    rules = {}
    for first, second, rule in row.overlapRules:
        pair, winner = (now(first), now(second)), now(rule)
        if None not in (*pair, winner) and pair[0] != pair[1]:
            rules[ruleKey(*pair)] = winner
    kept = [[*pair, rules[pair]] for pair in rules]
    before = withNames(row.before, now) if row.before is not None else None
    return replace(row, meanings=meanings, lookedFor=lookedFor, overlapRules=kept, before=before)


def _said(row: CaseRow) -> dict[str, Any]:
    said = {"meanings": row.meanings, "lookedFor": row.lookedFor, "overlapRules": row.overlapRules}
    return said if row.before is None else {**said, "labelsBefore": _said(row.before)}


def _withSaid(row: CaseRow, said: Mapping[str, Any]) -> CaseRow:
    """Return a row with what ``_said`` gave of it."""
    own = {name: value for name, value in said.items() if name != "labelsBefore"}
    before = _withSaid(row.before, said["labelsBefore"]) if row.before is not None else None
    return replace(row, **own, before=before)


def _volumeId(row: CaseRow) -> str:
    return str(next(iter(row.volumes.values())).GetID())
