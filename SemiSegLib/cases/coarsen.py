"""Fewer labels than there are, for comparisons: files stay untouched, only what their values mean is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.split import draw_order
from SemiSegLib.config import check_choice
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme


def keep_fine(dataset: Dataset, fine_ids: Iterable[str], *, others: str = "coarse") -> Dataset:
    """Return the dataset with the fine labels of these training cases only.

    Every other fully labeled training case becomes coarse (each value now stands for the superclass of its leaf) or a
    case without labels. Cases that were coarse, partial or without labels, and the validation and test sides, stay as
    they are.

    Args:
        dataset: with or without a split; without one every case counts as training.
        fine_ids: ids of cases that keep their fine labels.
        others: "coarse" or "none": what the other fully labeled training cases keep.

    Raises:
        CaseError: an id is unknown, or no superclass has more than one leaf, so that nothing could become coarser.
    """
    check_choice("others", others, ("coarse", "none"))
    kept = {dataset.case(case_id).id for case_id in fine_ids}
    chosen = [c for c in dataset.cases if c.id not in kept and _is_fine_training(c, dataset.scheme)]
    if others == "none":
        return without_annotation(dataset, [case.id for case in chosen])
    if len(dataset.scheme.superclasses) == len(dataset.scheme.leaves):
        raise CaseError(
            explain(
                "no superclass has more than one leaf, so coarse labels say as much as fine ones",
                where=f"label scheme '{dataset.scheme.name}'",
                remedy="use a scheme with superclasses, or leave the other cases without labels",
            )
        )
    coarse = {case.id for case in chosen}
    cases = tuple(
        replace(case, annotation=_coarser(case.annotation, dataset.scheme))
        if case.annotation is not None and case.id in coarse
        else case
        for case in dataset.cases
    )
    return dataset.with_cases(cases)


def without_annotation(dataset: Dataset, ids: Iterable[str]) -> Dataset:
    """Return the dataset with these cases as cases without labels; their label files are never opened again.

    Raises:
        CaseError: an id is unknown.
    """
    bare = {dataset.case(case_id).id for case_id in ids}
    cases = tuple(replace(case, annotation=None) if case.id in bare else case for case in dataset.cases)
    return dataset.with_cases(cases)


def choose_fine(dataset: Dataset, count: int, seed: int) -> tuple[str, ...]:
    """Return the ids of fully labeled training cases to keep fine.

    Patients are drawn in an order that depends on the seed and their names alone, and their cases are taken one
    patient after the other. So the choices of one seed are nested: the first three are among the first six.

    Args:
        dataset: with or without a split; without one every case counts as training.
        count: number of cases.
        seed: of the order.

    Raises:
        CaseError: there are fewer fully labeled training cases.
    """
    fine = [case for case in dataset.cases if _is_fine_training(case, dataset.scheme)]
    if not 0 <= count <= len(fine):
        raise CaseError(
            explain(
                f"{count} fine cases were asked for, {len(fine)} training cases are fully labeled",
                where=f"dataset '{dataset.name}'",
                remedy=f"ask for at most {len(fine)}",
            )
        )
    drawn = sorted(fine, key=lambda case: (draw_order(seed, case.patient), case.id))
    return tuple(case.id for case in drawn[:count])


def _is_fine_training(case: Case, scheme: LabelScheme) -> bool:
    return case.split in (None, Side.TRAIN) and case.regime(scheme) is Regime.FULL


def _coarser(annotation: Annotation, scheme: LabelScheme) -> Annotation:
    def coarse(names: tuple[str, ...]) -> tuple[str, ...]:
        roots = {scheme.superclass_of_leaf[leaf] for leaf in scheme.leaf_set(names)}
        return tuple(scheme.superclasses[root].name for root in sorted(roots))

    def table(meaning: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
        return {value: coarse(names) for value, names in meaning.items()}

    segments = annotation.segments
    return replace(
        annotation,
        values=None if annotation.values is None else table(annotation.values),
        segments=None if segments is None else {name: coarse(names) for name, names in segments.items()},
        elsewhere=coarse(annotation.elsewhere),
    )
