"""The split of a study into training, validation and test, by patient, and stable while the study grows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.config import check_range, from_json, read_json, write_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.label_set import Regime

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split as stored.

    Attributes:
        format: version of the file.
        patients: patient to side.
    """

    patients: Mapping[str, Side]
    format: int = FORMAT


def make_split(dataset: Dataset, *, seed: int, validation_share: float = 0.2, test_share: float = 0.0) -> Dataset:
    """Return the dataset with every case on a side of the split.

    Cases that have a side keep it, and a patient's new cases join the patient's earlier ones. Of the other patients
    those with labels are drawn for validation and test until the shares are reached: fully labeled ones if there are
    any, since only they can score every class. The order depends on the seed and the patient's name alone. Everything
    else is for training, which always keeps one labeled patient; so a single labeled patient gives no validation,
    and two give one.

    Args:
        dataset: cases may already have sides, for example from an earlier split.
        seed: of the order in which patients are drawn.
        validation_share: of the labeled patients, 0 to 1; above 0 gives at least one if there are two.
        test_share: likewise; validation is served first.

    Raises:
        CaseError: the cases of a patient already stand on two sides.
    """
    check_range("validation_share", validation_share, low=0.0, high=1.0)
    check_range("test_share", test_share, low=0.0, high=1.0)
    sides = patient_sides(dataset)
    candidates = _labeled_patients(dataset)
    fresh = sorted((p for p in candidates if p not in sides), key=lambda patient: draw_order(seed, patient))
    left = len(candidates) - 1 - sum(sides.get(patient, Side.TRAIN) is not Side.TRAIN for patient in candidates)
    for side, share in ((Side.VALIDATION, validation_share), (Side.TEST, test_share)):
        have = sum(assigned is side for patient, assigned in sides.items() if patient in candidates)
        wanted = max(1, round(share * len(candidates))) if share > 0 else 0
        take = max(0, min(wanted - have, left, len(fresh)))
        sides |= dict.fromkeys(fresh[:take], side)
        fresh, left = fresh[take:], left - take
    return _with_sides(dataset, {case.patient: sides.get(case.patient, Side.TRAIN) for case in dataset.cases})


def write_split(dataset: Dataset, path: Path) -> None:
    """Write which side each patient is on; patients without a side are left out."""
    write_json(path, Split(patients=dict(sorted(patient_sides(dataset).items()))))


def apply_split(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with the sides of a stored split; patients it does not know keep theirs or none.

    Raises:
        ConfigError: the file is missing or is not a split.
        CaseError: the dataset itself puts a patient on another side, so a model may have seen its validation cases.
    """
    stored = from_json(Split, read_json(path), where=Path(path).name)
    if stored.format != FORMAT:
        what = f"the split has format {stored.format}, this version of SemiSeg reads {FORMAT}"
        raise CaseError(explain(what, where=str(path), remedy="update SemiSeg"))
    for patient, side in patient_sides(dataset).items():
        if stored.patients.get(patient, side) is not side:
            raise CaseError(
                explain(
                    f"patient '{patient}' is on the side '{side.value}' in the dataset and on "
                    f"'{stored.patients[patient].value}' in the stored split",
                    where=str(path),
                    remedy="start a new run: this one has already used the patient on the stored side",
                )
            )
    return _with_sides(dataset, stored.patients)


def patient_sides(dataset: Dataset) -> dict[str, Side]:
    """Return the side of each patient that has one.

    Raises:
        CaseError: the cases of a patient stand on two sides; the message names the cases.
    """
    sides: dict[str, Side] = {}
    first: dict[str, str] = {}
    for case in dataset.cases:
        if case.split is None:
            continue
        if sides.setdefault(case.patient, case.split) is not case.split:
            raise CaseError(
                explain(
                    f"patient '{case.patient}' is on two sides: '{first[case.patient]}' is for "
                    f"{sides[case.patient].value}, '{case.id}' for {case.split.value}",
                    where=f"dataset '{dataset.name}'",
                    remedy="put all cases of a patient on one side",
                )
            )
        first.setdefault(case.patient, case.id)
    return sides


def draw_order(seed: int, name: str) -> bytes:
    """Return a key that sorts names in an order drawn by the seed, the same whatever other names there are."""
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()


def _labeled_patients(dataset: Dataset) -> set[str]:
    """Return the patients with the most complete labels that occur: fully labeled, else coarse, else partial."""
    by_regime = dataset.by_regime()
    for regime in (Regime.FULL, Regime.COARSE, Regime.PARTIAL):
        if by_regime[regime]:
            return {case.patient for case in by_regime[regime]}
    return set()


def _with_sides(dataset: Dataset, sides: Mapping[str, Side]) -> Dataset:
    def placed(case: Case) -> Case:
        return replace(case, split=sides.get(case.patient, case.split))

    return dataset.with_cases(tuple(placed(case) for case in dataset.cases))
