"""Fully labeled cases as if each patient had one structure drawn: files stay untouched, only meanings change.

A case keeps one structure; what is not that structure may be background or any other one. So methods for partly labeled
data are compared on data whose truth is known. The naive reading of such labels, in which whatever was not drawn is
background, is here for comparison only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.split import draw_order
from SemiSegLib.config import from_json, read_json, write_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Which structure each patient keeps, as stored.

    Attributes:
        format: version of the file.
        seed: of the draw.
        patients: patient to the name of the structure that stays drawn.
    """

    patients: Mapping[str, str]
    seed: int = 0
    format: int = FORMAT


def assign_structures(dataset: Dataset, structures: Sequence[str], *, seed: int = 0) -> Assignment:
    """Return one structure for each patient with fully labeled training cases, each structure as often as the others.

    Patients are drawn in an order that depends on the seed and their names alone, and take the structures in turn.

    Args:
        dataset: with or without a split; without one every case counts as training.
        structures: names of leaves, groups or superclasses other than background.
        seed: of the order.

    Raises:
        LabelError: a name is not a structure of the scheme.
        CaseError: no structure is named, one twice, or background is; or there are fewer patients than structures.
    """
    names = [dataset.scheme.find(name).name for name in structures]
    patients = {case.patient for case in dataset.cases if _is_full_training(case, dataset.scheme)}
    what = ""
    if not names or len(set(names)) < len(names) or BACKGROUND in map(name_key, names):
        what = f"the structures are {', '.join(names) or 'none'}"
    elif len(patients) < len(names):
        what = f"{len(patients)} patients have fully labeled training cases, for {len(names)} structures"
    if what:
        remedy = "name each structure once, without background, and no more of them than there are patients"
        raise CaseError(explain(what, where=f"dataset '{dataset.name}'", remedy=remedy))
    drawn = sorted(patients, key=lambda patient: draw_order(seed, patient))
    return Assignment(patients={p: names[number % len(names)] for number, p in enumerate(drawn)}, seed=seed)


def recast(dataset: Dataset, drawn: Mapping[str, str]) -> Dataset:
    """Return the dataset in which the fully labeled training cases of these patients show one structure each.

    Other cases, and the validation and test sides, stay as they are.

    Args:
        dataset: with or without a split; without one every case counts as training.
        drawn: patient to the name of the structure that stays drawn.

    Raises:
        LabelError: a name is not a structure of the scheme.
        CaseError: a patient has no fully labeled training case, or nothing says what the segments of one mean.
    """
    chosen = {c.id for c in dataset.cases if c.patient in drawn and _is_full_training(c, dataset.scheme)}
    lost = set(drawn) - {case.patient for case in dataset.cases if case.id in chosen}
    if lost:
        raise CaseError(
            explain(
                f"patient '{min(lost)}' has no fully labeled training case",
                where=f"dataset '{dataset.name}'",
                remedy="name patients of fully labeled training cases only",
            )
        )
    cases = tuple(
        replace(case, annotation=_only(case, case.annotation, dataset.scheme, drawn[case.patient]))
        if case.id in chosen and case.annotation is not None
        else case
        for case in dataset.cases
    )
    return dataset.with_cases(cases)


def undrawn_as_background(dataset: Dataset) -> Dataset:
    """Return the dataset with partial labels of training cases read naively: what may be background is background.

    For comparison only: it teaches that the structures nobody drew are not there. A value that may be anything at all
    still may, and cases that are not partly labeled stay as they are.
    """
    cases = tuple(
        replace(case, annotation=_naive(case.annotation, dataset.scheme))
        if case.annotation is not None
        and case.split in (None, Side.TRAIN)
        and case.regime(dataset.scheme) is Regime.PARTIAL
        else case
        for case in dataset.cases
    )
    return dataset.with_cases(cases)


def write_assignment(assignment: Assignment, path: Path) -> None:
    """Write which structure each patient keeps."""
    write_json(path, replace(assignment, patients=dict(sorted(assignment.patients.items()))))


def read_assignment(path: Path) -> Assignment:
    """Return what ``write_assignment`` wrote.

    Raises:
        ConfigError: the file is missing or is no such file.
        CaseError: a newer version wrote it.
    """
    stored = from_json(Assignment, read_json(path), where=Path(path).name)
    if stored.format != FORMAT:
        what = f"the assignment has format {stored.format}, this version of SemiSeg reads {FORMAT}"
        raise CaseError(explain(what, where=str(path), remedy="update SemiSeg"))
    return stored


def _is_full_training(case: Case, scheme: LabelScheme) -> bool:
    return case.split in (None, Side.TRAIN) and case.regime(scheme) is Regime.FULL


def _only(case: Case, annotation: Annotation, scheme: LabelScheme, name: str) -> Annotation:
    """Return what the annotation says if only this structure had been drawn."""
    if annotation.values is None and annotation.segments is None:
        raise CaseError(
            explain(
                "its segments are matched by name when the file is read, so they cannot be taken away before",
                where=f"case '{case.id}'",
                remedy="list the segments of the file in the dataset",
            )
        )
    inside = scheme.leaves_of(name)
    others = scheme.cover(frozenset(range(len(scheme.leaves))) - inside)

    def seen(names: tuple[str, ...]) -> tuple[str, ...]:
        return (name,) if scheme.leaf_set(names) <= inside else others

    return _with_meanings(annotation, seen)


def _naive(annotation: Annotation, scheme: LabelScheme) -> Annotation:
    anything, background = frozenset(range(len(scheme.leaves))), scheme.leaves_of(BACKGROUND)

    def seen(names: tuple[str, ...]) -> tuple[str, ...]:
        found = scheme.leaf_set(names)
        return (BACKGROUND,) if background < found < anything else names

    return _with_meanings(annotation, seen)


def _with_meanings(annotation: Annotation, seen: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Annotation:
    values, segments = annotation.values, annotation.segments
    return replace(
        annotation,
        values=None if values is None else {value: seen(names) for value, names in values.items()},
        segments=None if segments is None else {name: seen(names) for name, names in segments.items()},
        elsewhere=seen(annotation.elsewhere),
    )
