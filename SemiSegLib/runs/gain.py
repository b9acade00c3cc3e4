"""What more labels were worth: a run against its fine-only baseline, structure by structure. This is ``gain.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SemiSegLib.config import check_choice, from_json, read_json
from SemiSegLib.errors import ConfigError, explain

HELPED, NO_GAIN, HARMED, TOO_FEW = "helped", "no measurable gain", "harmed", "too few cases"
VERDICTS = (HELPED, NO_GAIN, HARMED, TOO_FEW)
# The row that judges the whole: the mean over the structures.
MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class GainRow:
    """One structure, or the mean over them, over the validation cases in which both models were scored.

    Attributes:
        structure: its name; "" for the mean.
        kind: "leaf", "group", "superclass" or "mean".
        cases: number of validation cases.
        patients: number of their patients; two scans of one patient are not two witnesses.
        dice: mean Dice of the run with all its labels, 0 to 1, or None if it was never scored.
        baseline_dice: that of the baseline, trained on the fully labeled cases only.
        difference: the first minus the second.
        low, high: ends of its 95 % interval (paired bootstrap over patients), or None for fewer than two patients.
        verdict: "helped", "no measurable gain", "harmed" or "too few cases" (fewer than six patients).
    """

    structure: str
    kind: str
    cases: int
    patients: int
    dice: float | None
    baseline_dice: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: str

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Whether cases without fine labels helped on the user's own data.

    Attributes:
        verdict: of the mean: "helped", "no measurable gain", "harmed" or "too few cases".
        sentence: the same in a sentence with its numbers.
        rows: the mean first, then the structures in the order of the scheme.
        run: id of the run with all its labels.
        baseline: id of the run it is compared with.
        method: name of the method of the first.
        extra_cases: what the first used and the baseline did not: regime name to the number of training cases.
        confidence: of the intervals.
        least_difference: what trainings that differ in their seed alone may differ by; help or harm is a difference
            larger than this and the interval together.
        notes: what to know before one believes it, one sentence each.
    """

    verdict: str
    sentence: str
    rows: tuple[GainRow, ...]
    run: str
    baseline: str
    method: str
    extra_cases: Mapping[str, int]
    confidence: float
    least_difference: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)


def read_gain(path: Path) -> Gain | None:
    """Return the gain in a file, or None if it was not measured (yet).

    Fields of a newer version are ignored.

    Raises:
        ConfigError: the file holds something else.
    """
    if not path.exists():
        return None
    data = read_json(path)
    rows = data.get("rows") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(explain("this is not a gain", where=path.name, remedy="resume the run; it is measured again"))
    return from_json(Gain, {**_known(Gain, data), "rows": [_known(GainRow, row) for row in rows]}, where=path.name)


def _known(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: value for name, value in data.items() if name in names}
