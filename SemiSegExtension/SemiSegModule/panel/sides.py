"""On which side of the split a case stands: where runs have used its patient, or where its other scans are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from SemiSegModule.bridge.pairing import patientOf
from SemiSegModule.parameters import CaseRow


def caseNames(rows: Sequence[CaseRow]) -> list[str]:
    """Return what the cases of rows are called: as their first volumes are, with a number where a name comes again."""
    names = [next(iter(row.volumes.values())).GetName() for row in rows]
    repeats = [names[:number].count(name) for number, name in enumerate(names)]
    return [name if not repeat else f"{name} ({repeat + 1})" for name, repeat in zip(names, repeats, strict=True)]


def usedSides(rows: Sequence[CaseRow], patients: Sequence[str], used: Mapping[str, str]) -> dict[int, str]:
    """Return row number to the side on which a run has used the case, or the patient that it is of now.

    Args:
        rows: of the case table.
        patients: of each row; a case whose patient nobody knows is a patient of its own.
        used: patient to the side of the split on which a run has used it.
    """
    sides: dict[int, str] = {}
    for number, row in enumerate(rows):
        known = [name for name in (*row.usedAs, patients[number]) if name in used]
        if known:
            sides[number] = used[known[0]]
    ofPatient = {patients[number]: side for number, side in sides.items()}
    found = {number: sides.get(number) or ofPatient.get(patient) for number, patient in enumerate(patients)}
    return {number: side for number, side in found.items() if side}


def sideOfPatient(number: int, rows: Sequence[CaseRow], used: Mapping[str, str]) -> str | None:
    """Return the side on which the patient of a row stands apart from what was said of this row; None if on none.

    What a run has used comes first, then the ticked ones of the patient's other scans, then those that are not ticked.

    Args:
        number: of the row.
        rows: of the case table.
        used: see ``usedSides``.
    """
    volumes = [next(iter(row.volumes.values())) for row in rows]
    names = caseNames(rows)
    patients = [row.patient or patientOf(volumes[n]) or names[n] for n, row in enumerate(rows)]
    locked = usedSides(rows, patients, used)
    if number in locked:
        return locked[number]
    others = [row for n, row in enumerate(rows) if n != number and patients[n] == patients[number] and row.side]
    return min(others, key=lambda row: not row.isChosen).side if others else None
