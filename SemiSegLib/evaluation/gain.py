"""Whether cases without fine labels helped: two models on the same validation cases, and how sure the difference is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.evaluation.statistics import paired_bootstrap
from SemiSegLib.runs.gain import HARMED, HELPED, MEAN, NO_GAIN, TOO_FEW, Gain, GainRow

CONFIDENCE = 0.95
# Of five differences without any effect all have one sign once in 16; of six once in 32, less than 5 %.
FEWEST_PATIENTS = 6
# Ours: what two trainings that differ in their seed alone may differ by in Dice. Standard deviations over seeds in
# Documentation/hippocampus.md are 0.001 to 0.006, so that 95 of 100 such differences lie below 0.003 to 0.017. Cases
# cannot tell it from a gain: all of them move together. Very short trainings differ by more.
LEAST_DIFFERENCE = 0.01
REGIME_WORDS = {"coarse": "coarsely labeled", "partial": "partly labeled", "none": "unlabeled"}

Pairs = Mapping[str, tuple[float, float]]
"""Case to its Dice by the run and by the baseline."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The two runs.

    Attributes:
        run, baseline: their ids.
        method: name of the method of the first.
        extra_cases: regime name to the number of training cases that only the first used.
        notes: what to know before one believes the result, one sentence each.
    """

    run: str
    baseline: str
    method: str
    extra_cases: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def measure_gain(
    scores: Sequence[CaseScore],
    baseline_scores: Sequence[CaseScore],
    *,
    patients: Mapping[str, str],
    compared: Compared,
) -> Gain:
    """Return what the cases that only the first run used were worth.

    The unit of the statistics is the patient. A gain is claimed only of at least ``FEWEST_PATIENTS``, and if it is
    larger than the chance of the cases (its interval) and the chance of the seed (``LEAST_DIFFERENCE``) together, which
    are independent; harm likewise.

    Args:
        scores: of the run with all its labels, by the mode "strict".
        baseline_scores: of the baseline, of the same cases.
        patients: case to patient; a case that is not there is a patient of its own.
        compared: which two runs.
    """
    ours, theirs = ({score.case: score for score in found} for found in (scores, baseline_scores))
    cases = [case for case in ours if case in theirs]
    names: dict[str, str] = {}
    pairs: dict[str, dict[str, tuple[float, float]]] = {}
    for case in cases:
        other = {row.structure: row.dice for row in theirs[case].rows}
        for row in ours[case].rows:
            rival = other.get(row.structure)
            if row.dice is not None and rival is not None:
                names.setdefault(row.structure, row.kind)
                pairs.setdefault(row.structure, {})[case] = (row.dice, rival)
    mean = _row("", MEAN, _mean_pairs(names, pairs), patients)
    rows = (mean, *(_row(name, kind, pairs[name], patients) for name, kind in names.items()))
    return Gain(
        verdict=mean.verdict,
        sentence=_sentence(mean, compared.extra_cases),
        rows=rows,
        run=compared.run,
        baseline=compared.baseline,
        method=compared.method,
        extra_cases=compared.extra_cases,
        confidence=CONFIDENCE,
        least_difference=LEAST_DIFFERENCE,
        notes=compared.notes,
    )


def gain_markdown(gain: Gain) -> str:
    """Return the section of a report that tells the gain."""
    lines = [
        "| structure | cases | Dice | Dice without them | difference (95 % interval) | verdict |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in gain.rows:
        cells = [
            row.structure.replace("|", "\\|") or "mean over structures",
            str(row.cases),
            "" if row.dice is None else f"{row.dice:.3f}",
            "" if row.baseline_dice is None else f"{row.baseline_dice:.3f}",
            "" if row.difference is None else _difference(row),
            row.verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    explanation = (
        "Both models were trained with the same split, budget and seed, and scored on the same validation cases, on "
        "which both were also chosen. The intervals are paired bootstraps over patients. The verdicts also allow for "
        f"what the same training with another seed differs by, up to {gain.least_difference:g}. With many structures, "
        "some verdicts of single structures are chance; the mean decides."
    )
    parts = ["## Did the other cases help?", gain.sentence, *gain.notes, "\n".join(lines), explanation]
    return "\n\n".join(parts)


def _mean_pairs(names: Mapping[str, str], pairs: Mapping[str, Pairs]) -> Pairs:
    """Return the mean over the leaves of each case; over the superclasses where no leaf was judged in any case."""
    for kind in ("leaf", "superclass"):
        found: dict[str, list[tuple[float, float]]] = {}
        for name, own in names.items():
            if own == kind:
                for case, pair in pairs[name].items():
                    found.setdefault(case, []).append(pair)
        if found:
            return {case: _mean(values) for case, values in found.items()}
    return {}


def _row(structure: str, kind: str, pairs: Pairs, patients: Mapping[str, str]) -> GainRow:
    grouped: dict[str, list[tuple[float, float]]] = {}
    for case, pair in pairs.items():
        grouped.setdefault(patients.get(case, case), []).append(pair)
    witnesses = [_mean(values) for values in grouped.values()]
    count = len(witnesses)
    dice, baseline_dice = _mean(witnesses) if witnesses else (None, None)
    difference = None if dice is None or baseline_dice is None else dice - baseline_dice
    low = high = None
    if count > 1:
        first, second = zip(*witnesses, strict=True)
        interval = paired_bootstrap(first, second, confidence=CONFIDENCE)
        low, high = interval.low, interval.high
    return GainRow(
        structure=structure,
        kind=kind,
        cases=len(pairs),
        patients=count,
        dice=dice,
        baseline_dice=baseline_dice,
        difference=difference,
        low=low,
        high=high,
        verdict=_verdict(count, difference, low, high),
    )


def _verdict(patients: int, difference: float | None, low: float | None, high: float | None) -> str:
    if patients < FEWEST_PATIENTS or difference is None or low is None or high is None:
        return TOO_FEW
    if difference > math.hypot(difference - low, LEAST_DIFFERENCE):
        return HELPED
    return HARMED if -difference > math.hypot(high - difference, LEAST_DIFFERENCE) else NO_GAIN


def _sentence(mean: GainRow, extra_cases: Mapping[str, int]) -> str:
    kinds = [f"{count} {REGIME_WORDS.get(name, name)}" for name, count in extra_cases.items() if count]
    extra = f"the {' and '.join(kinds)} training case{'' if sum(extra_cases.values()) == 1 else 's'}"
    if not kinds:
        extra = "the other training cases"
    if mean.difference is None:
        return f"No validation case is labeled, so nothing can be said about whether {extra} helped."
    opening = {
        HELPED: f"{extra[0].upper()}{extra[1:]} helped",
        NO_GAIN: f"There is no measurable gain from {extra}",
        HARMED: f"{extra[0].upper()}{extra[1:]} made the model worse",
        TOO_FEW: f"There are too few validation patients ({mean.patients}, {FEWEST_PATIENTS} are needed) to say "
        f"whether {extra} helped",
    }[mean.verdict]
    cases = f"{mean.cases} validation case{'' if mean.cases == 1 else 's'}"
    interval = "" if mean.low is None else f", 95 % interval {mean.low:+.3f} to {mean.high:+.3f}"
    return (
        f"{opening}: mean Dice {mean.dice:.3f} with them, {mean.baseline_dice:.3f} without "
        f"({mean.difference:+.3f}{interval}, {cases})."
    )


def _difference(row: GainRow) -> str:
    interval = "" if row.low is None else f" ({row.low:+.3f} to {row.high:+.3f})"
    return f"{row.difference:+.3f}{interval}"


def _mean(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    first, second = np.mean(values, axis=0)
    return float(first), float(second)
