"""Scores of many cases in one line per structure, with the empty cases counted in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from SemiSegLib.evaluation.metrics import CaseScore, StructureScore
from SemiSegLib.evaluation.modes import DISTANCE_METRICS, OVERLAP_METRICS
from SemiSegLib.evaluation.statistics import Interval, bootstrap_interval

ALL_METRICS = (*OVERLAP_METRICS, *DISTANCE_METRICS)


@dataclass(frozen=True)
class StructureSummary:
    """One structure over all cases in which it was judged.

    Attributes:
        structure: name.
        kind: "leaf", "group" or "superclass".
        unit: of the distances.
        cases: number of cases in which it was judged.
        metrics: metric name to mean with confidence interval over the cases that have it.
        dice_where_present: Dice over the cases whose reference holds the structure.
        missed: cases in which only the prediction lacks it.
        invented: cases in which only the reference lacks it.
        absent: cases in which both lack it.
    """

    structure: str
    kind: str
    unit: str
    cases: int
    metrics: Mapping[str, Interval]
    dice_where_present: Interval
    missed: int
    invented: int
    absent: int

    @property
    def empty_text(self) -> str:
        """The empty cases in words, "" if there is none."""
        parts = ((self.missed, "missed"), (self.invented, "invented"), (self.absent, "absent in both"))
        return ", ".join(f"{count} {word}" for count, word in parts if count)


def summarize(
    scores: Sequence[CaseScore], patients: Mapping[str, str], *, confidence: float = 0.95, seed: int = 0
) -> tuple[StructureSummary, ...]:
    """Return one summary per structure, in the order in which the cases name them.

    Args:
        scores: of every case.
        patients: case to patient, the unit of the intervals; a case that is not there is a patient of its own.
        confidence: of the intervals, 0 to 1.
        seed: of their drawing.
    """
    rows: dict[str, list[tuple[str, StructureScore]]] = {}
    for score in scores:
        for row in score.rows:
            rows.setdefault(row.structure, []).append((patients.get(score.case, score.case), row))
    return tuple(_summary(found, confidence, seed) for found in rows.values())


def _summary(found: Sequence[tuple[str, StructureScore]], confidence: float, seed: int) -> StructureSummary:
    def interval(metric: str, *, only_present: bool = False) -> Interval:
        chosen = [(p, row) for p, row in found if not (only_present and row.empty in ("reference", "both"))]
        known = [(p, value) for p, value in ((p, getattr(row, metric)) for p, row in chosen) if value is not None]
        owners = [patient for patient, _ in known]
        return bootstrap_interval([v for _, v in known], patients=owners, confidence=confidence, seed=seed)

    rows = [row for _, row in found]
    states = [row.empty for row in rows]
    return StructureSummary(
        structure=rows[0].structure,
        kind=rows[0].kind,
        unit=rows[0].unit,
        cases=len(rows),
        metrics={metric: interval(metric) for metric in ALL_METRICS},
        dice_where_present=interval("dice", only_present=True),
        missed=states.count("prediction"),
        invented=states.count("reference"),
        absent=states.count("both"),
    )
