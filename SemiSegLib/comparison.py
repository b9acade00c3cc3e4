"""What a comparison of methods asks and finds: settings, scores, tables with spread, gains with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from SemiSegLib.arms import Arm
from SemiSegLib.config import YOUNGER, check_range
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.evaluation.statistics import Interval, PairedTest, paired_bootstrap, paired_wilcoxon
from SemiSegLib.evaluation.table import Column, Row, Table
from SemiSegLib.runs.request import PlanSettings, TrainingSettings

Scores = Mapping[str, Mapping[str, tuple[float | None, float | None]]]
"""Case to structure to (Dice, HD95 in mm); None where the reference cannot judge it."""

DICE, HD95 = 0, 1


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """What is compared.

    Attributes:
        methods: method names, each optionally with a preset and options ("marginal:ours+dice_weight=0.5").
        fine: for each of ``methods``, numbers of cases that keep their fine labels; None for all.
        arms: lines given whole, before those of ``methods``.
        fine_order: cases in the order in which they keep fine labels; empty draws it, by patient, from ``split_seed``.
        other_labels: what the other fully labeled training cases keep: "coarse" or "none".
        only: folder names of the arms to train; the others are shown as far as their scores are kept. None trains all.
        drawn: patient to the one structure that stays drawn, for the arms whose ``labels`` ask for it.
        seeds: number of seeds, from 0.
        validation_share, test_share: shares of the patients when the data set has no split of its own.
        split_seed: of the split and of the choice of fine cases, which are the same for every run.
        with_full: add "supervised" on every fine label.
        training: how long and with what every arm is trained.
        plan: what is fixed of the plan.
        preset_settings: train each of ``methods`` with the training and plan settings that its preset asks for.
        given: names of the fields of ``training`` and ``plan`` that win over what presets and arms ask for.
        largest_component: score every model a second time with one piece of each structure, the largest.
    """

    methods: tuple[str, ...] = ()
    fine: tuple[int | None, ...] = ()
    arms: tuple[Arm, ...] = ()
    fine_order: tuple[str, ...] = ()
    other_labels: str = "coarse"
    seeds: int = 3
    validation_share: float = 0.1
    test_share: float = 0.2
    split_seed: int = 0
    with_full: bool = True
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(steps=None, seconds=270.0))
    plan: PlanSettings = field(default_factory=PlanSettings)
    preset_settings: bool = False
    given: tuple[str, ...] = ()
    largest_component: bool = False
    only: tuple[str, ...] | None = field(default=None, metadata={YOUNGER: True})
    drawn: Mapping[str, str] | None = field(default=None, metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        check_range("seeds", self.seeds, low=1, high=100)
        if self.drawn is None and any(arm.labels for arm in self.arms):
            raise ConfigError(
                explain(
                    "a line asks for one structure a patient, and nothing says which",
                    where="comparison",
                    remedy="give the structure of each patient (drawn)",
                )
            )


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """What one arm gave.

    Attributes:
        arm: which.
        scores: per seed, case to structure to (Dice, HD95 mm) on the test side.
        steps: per seed, optimizer steps done.
        seconds: per seed, time of the training with its validations, over all its sessions.
        largest_component: whether one piece of each structure, the largest, was scored.
    """

    arm: Arm
    scores: tuple[Scores, ...]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    largest_component: bool = False

    @property
    def title(self) -> str:
        """The name of its line."""
        return f"{self.arm.title}, largest piece" if self.largest_component else self.arm.title

    def seed_means(self, structures: Sequence[str], metric: int) -> list[float]:
        """Return for each seed the mean over structures of the mean over the cases in which they are known.

        Args:
            structures: names; one that is known in no case is left out.
            metric: ``DICE`` or ``HD95``.

        Returns:
            One value per seed; nothing if none of the structures is known anywhere.
        """
        values = [self._values(name, metric) for name in structures]
        means = [found.mean(axis=1) for found in values if found.size]
        return [float(value) for value in np.mean(means, axis=0)] if means else []

    def patient_means(self, structures: Sequence[str], patients: Mapping[str, str]) -> dict[str, float]:
        """Return patient to mean Dice over cases, structures and seeds, in the order of the scores.

        Args:
            structures: names.
            patients: case to patient; a case that is not there is a patient of its own.
        """
        found: dict[str, list[float]] = {}
        for case in self.scores[0]:
            values = (seed[case].get(name, (None, None))[DICE] for seed in self.scores for name in structures)
            known = [value for value in values if value is not None]
            if known:
                found.setdefault(patients.get(case, case), []).append(float(np.mean(known)))
        return {patient: float(np.mean(values)) for patient, values in found.items()}

    def _values(self, structure: str, metric: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return (seeds, cases) of one structure over the cases in which it is known."""
        first = self.scores[0]
        known = [c for c, found in first.items() if structure in found and found[structure][metric] is not None]
        return np.array([[seed[case][structure][metric] for case in known] for seed in self.scores], dtype=float)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The whole comparison, with what is needed to repeat it.

    Attributes:
        dataset: name.
        sides: number of cases on each side of the split.
        patients: case to patient, of the test side.
        fine_cases: the most that any arm keeps, in their order.
        settings: what was asked.
        hardware: in words.
        structures: leaves that are scored.
        results: one per arm and way of scoring.
    """

    dataset: str
    sides: Mapping[str, int]
    patients: Mapping[str, str] = field(default_factory=dict)
    fine_cases: tuple[str, ...]
    settings: ComparisonSettings
    hardware: str
    structures: tuple[str, ...]
    results: tuple[ArmResult, ...] = field(default_factory=tuple)

    def gain(self, line: ArmResult, rival: ArmResult) -> Interval:
        """Return the mean leaf Dice of a line minus that of a rival, seeds averaged.

        The 95 % interval is that of a paired bootstrap over patients: two scans of one are not two witnesses.

        Raises:
            CaseError: the two were not scored on the same patients.
        """
        return paired_bootstrap(*self._patients_of(line, rival))

    def test(self, line: ArmResult, rival: ArmResult) -> PairedTest:
        """Return Wilcoxon's signed-rank test of the same means of the same patients.

        Raises:
            CaseError: the two were not scored on the same patients.
        """
        return paired_wilcoxon(*self._patients_of(line, rival))

    def _patients_of(self, line: ArmResult, rival: ArmResult) -> tuple[list[float], list[float]]:
        """Return (patients,) mean leaf Dice of both lines, seeds averaged, patients in one order."""
        own, other = (result.patient_means(self.structures, self.patients) for result in (line, rival))
        if own.keys() != other.keys():
            raise CaseError(
                explain(
                    f"only one of the two was scored on: {', '.join(sorted(own.keys() ^ other.keys()))}",
                    where=f"'{line.title}' against '{rival.title}'",
                    remedy="score both lines on the same cases",
                )
            )
        return [*own.values()], [other[patient] for patient in own]


def comparison_markdown(comparison: Comparison) -> str:
    """Return the table: per structure mean Dice and HD95 over cases, plus or minus the spread over seeds."""
    names = comparison.structures
    settings = comparison.settings
    columns = (
        *(Column(name=f"{name} Dice", best="high") for name in names),
        *(Column(name=f"{name} HD95", unit="mm", digits=2, best="low") for name in names),
        Column(name="steps", digits=0),
        Column(name="run", unit="s", digits=0),
    )
    rows = tuple(
        Row(
            result.title,
            {
                **{f"{name} Dice": result.seed_means((name,), DICE) for name in names},
                **{f"{name} HD95": result.seed_means((name,), HD95) for name in names},
                "steps": list(result.steps),
                "run": list(result.seconds),
            },
        )
        for result in comparison.results
    )
    sides = ", ".join(f"{count} {side}" for side, count in comparison.sides.items())
    return "\n".join(
        [
            f"{comparison.dataset}: {sides} cases; {budget_words(settings)} a run, seeds 0 to {settings.seeds - 1}; "
            f"{comparison.hardware}. Fine cases: {', '.join(comparison.fine_cases)}.",
            "",
            "Mean over the test cases, then mean ± standard deviation over seeds.",
            "",
            Table("labels and method", columns, rows).to_markdown(),
            "Mean leaf Dice minus that of the first line, seeds averaged, with the 95 % interval of a paired bootstrap "
            "over the patients of the test cases, and the p-value of Wilcoxon's signed-rank test over them:",
            "",
            *_gains(comparison),
            "",
        ]
    )


def p_value_words(p_value: float) -> str:
    """Return a p-value with two digits."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def budget_words(settings: ComparisonSettings) -> str:
    """Return how long a run of a comparison is, in words."""
    training = settings.training
    asked_otherwise = settings.preset_settings or any(arm.own.training for arm in settings.arms)
    unless = "" if not asked_otherwise or {"steps", "seconds"} & set(settings.given) else " (or as the preset says)"
    return f"{training.seconds:g} s{unless}" if training.steps is None else f"{training.steps} steps{unless}"


def _gains(comparison: Comparison) -> list[str]:
    """Return one line of Markdown for each result that has a first line of its own way of scoring before it."""
    first: dict[bool, ArmResult] = {}
    lines = []
    for result in comparison.results:
        rival = first.setdefault(result.largest_component, result)
        if rival is not result:
            gain, test = comparison.gain(result, rival), comparison.test(result, rival)
            interval = f"{gain.low:+.4f} to {gain.high:+.4f}"
            lines.append(f"- {result.title}: {gain.mean:+.4f} ({interval}), p {p_value_words(test.p_value)}")
    return lines or ["- only one line"]
