"""Several methods on few fine labels, several seeds each, under one budget and one split, as a table with spread."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import SemiSegLib
from SemiSegLib import api
from SemiSegLib.arms import Arm, read_arm
from SemiSegLib.cases.coarsen import choose_fine
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.split import make_split
from SemiSegLib.config import check_range, read_json, to_json, write_json
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.evaluation.statistics import paired_bootstrap
from SemiSegLib.evaluation.table import Column, Row, Table
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from SemiSegLib.training.events import Event

Scores = Mapping[str, Mapping[str, tuple[float | None, float | None]]]
"""Case to structure to (Dice, HD95 in mm); None where the reference cannot judge it."""


class View(Protocol):
    """What shows the progress of one run."""

    def show(self, event: Event) -> None:
        """Show one event."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """What is compared.

    Attributes:
        methods: method names, each optionally with a preset and options ("marginal:ours+dice_weight=0.5").
        fine: numbers of cases that keep their fine labels.
        other_labels: what the other fully labeled training cases keep: "coarse" or "none".
        seeds: number of seeds, from 0.
        validation_share, test_share: shares of the patients when the data set has no split of its own.
        split_seed: of the split and of the choice of fine cases, which are the same for every run.
        with_full: add "supervised" on every fine label.
        training: how long and with what every arm is trained.
        plan: what is fixed of the plan.
    """

    methods: tuple[str, ...]
    fine: tuple[int, ...]
    other_labels: str = "coarse"
    seeds: int = 3
    validation_share: float = 0.1
    test_share: float = 0.2
    split_seed: int = 0
    with_full: bool = True
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(steps=None, seconds=270.0))
    plan: PlanSettings = field(default_factory=PlanSettings)

    def __post_init__(self) -> None:
        check_range("seeds", self.seeds, low=1, high=100)


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """What one arm gave.

    Attributes:
        arm: which.
        scores: per seed, case to structure to (Dice, HD95 mm) on the test side.
        steps: per seed, optimizer steps done.
        seconds: per seed, wall time of the run with validation.
    """

    arm: Arm
    scores: tuple[Scores, ...]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The whole comparison, with what is needed to repeat it."""

    dataset: str
    sides: Mapping[str, int]
    fine_cases: tuple[str, ...]
    settings: ComparisonSettings
    hardware: str
    structures: tuple[str, ...]
    results: tuple[ArmResult, ...] = field(default_factory=tuple)


def compare(
    dataset: Dataset,
    path: Path | str,
    settings: ComparisonSettings,
    output: Path | str,
    *,
    view: Callable[[str], AbstractContextManager[View]],
) -> Comparison:
    """Train every arm with every seed, score each on the test side, and write ``comparison.json`` and ``.md``.

    Runs that finished in an earlier call are kept, unfinished ones are resumed.

    Raises:
        CaseError: there are too few fully labeled training cases, or no labeled test case.
        RunError: a run failed.
    """
    output = Path(output).absolute()
    study = make_split(
        dataset,
        seed=settings.split_seed,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
    )
    if not any(case.annotation for case in study.side(Side.TEST)):
        raise CaseError(
            explain("no labeled case is kept for the table", where=f"dataset '{study.name}'", remedy="raise test_share")
        )
    bench = _Bench(study, Path(path), settings, output)
    results = []
    for arm in _arms(settings):
        seeds = [_run(bench, arm, seed, view) for seed in range(settings.seeds)]
        scores, steps, seconds = zip(*seeds, strict=True)
        results.append(ArmResult(arm=arm, scores=scores, steps=steps, seconds=seconds))
        _write(_comparison(study, settings, tuple(results)), output)
    return _comparison(study, settings, tuple(results))


def comparison_markdown(comparison: Comparison) -> str:
    """Return the table: per structure mean Dice and HD95 over cases, plus or minus the spread over seeds."""
    names = comparison.structures
    settings = comparison.settings
    budget = (
        f"{settings.training.seconds:g} s" if settings.training.steps is None else f"{settings.training.steps} steps"
    )
    columns = (
        *(Column(name=f"{name} Dice", best="high") for name in names),
        *(Column(name=f"{name} HD95", unit="mm", digits=2, best="low") for name in names),
        Column(name="steps", digits=0),
        Column(name="run", unit="s", digits=0),
    )
    rows = tuple(
        Row(
            result.arm.title,
            {
                **{f"{name} Dice": _values(result, name, 0).mean(axis=1).tolist() for name in names},
                **{f"{name} HD95": _values(result, name, 1).mean(axis=1).tolist() for name in names},
                "steps": list(result.steps),
                "run": list(result.seconds),
            },
        )
        for result in comparison.results
    )
    sides = ", ".join(f"{count} {side}" for side, count in comparison.sides.items())
    return "\n".join(
        [
            f"{comparison.dataset}: {sides} cases; {budget} a run, seeds 0 to {settings.seeds - 1}; "
            f"{comparison.hardware}. Fine cases: {', '.join(comparison.fine_cases)}.",
            "",
            "Mean over the test cases, then mean ± standard deviation over seeds.",
            "",
            Table("labels and method", columns, rows).to_markdown(),
            "Mean leaf Dice minus that of the first line, seeds averaged, with the 95 % interval of a paired bootstrap "
            "over the test cases:",
            "",
            *_gains(comparison),
            "",
        ]
    )


def _arms(settings: ComparisonSettings) -> list[Arm]:
    arms = [read_arm(text, fine=fine) for fine in settings.fine for text in settings.methods]
    return [*arms, read_arm("supervised", fine=None)] if settings.with_full else arms


@dataclass(frozen=True)
class _Bench:
    """What every run of a comparison shares."""

    study: Dataset
    path: Path
    settings: ComparisonSettings
    output: Path


def _run(
    bench: _Bench, arm: Arm, seed: int, view: Callable[[str], AbstractContextManager[View]]
) -> tuple[Scores, int, float]:
    name = f"{arm.name}_seed{seed}"
    kept = bench.output / "scores" / f"{name}.json"
    request = _request(bench, arm, seed)
    # As it stands in the file; the place of the data and the mark of a run may differ.
    asked = {key: value for key, value in to_json(request).items() if key not in ("dataset", "id")}
    if kept.exists():
        data = read_json(kept)
        _require_same(data.get("asked"), asked, name)
        return data["scores"], data["steps"], data["seconds"]
    start = time.monotonic()
    run = _started(bench, request, name)
    with view(name) as shown:
        status = api.follow(run, on_event=shown.show)
    seconds = time.monotonic() - start
    tested = [case for case in bench.study.side(Side.TEST) if case.annotation is not None]
    scores = {
        score.case: {row.structure: (row.dice, row.hd95) for row in score.rows}
        for score in api.evaluate(run.model_path, bench.study, tested)
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"asked": asked, "scores": scores, "steps": status.step, "seconds": seconds})
    return scores, status.step, seconds


def _require_same(kept: object, asked: Mapping[str, Any], name: str) -> None:
    if kept is not None and kept != asked:
        raise ConfigError(
            explain(
                "an earlier comparison in this folder trained it with other settings",
                where=f"finished run '{name}'",
                remedy="give the same settings, or another output folder",
            )
        )


def _request(bench: _Bench, arm: Arm, seed: int) -> RunRequest:
    settings = bench.settings
    return RunRequest(
        dataset=str(bench.path),
        method=arm.method,
        preset=arm.preset,
        options=arm.options,
        plan=settings.plan,
        training=settings.training,
        fine_cases=None if arm.fine is None else choose_fine(bench.study, arm.fine, settings.split_seed),
        other_labels=settings.other_labels,
        seed=seed,
        title=f"{arm.title}, seed {seed}",
    )


def _started(bench: _Bench, request: RunRequest, name: str) -> RunFolder:
    runs = bench.output / "runs"
    if (runs / name).exists():
        run = RunFolder(runs / name)
        run.clear_stop()
        start_process(run)
        return run
    return api.start(request, runs, name=name, split=bench.study)


def _comparison(study: Dataset, settings: ComparisonSettings, results: tuple[ArmResult, ...]) -> Comparison:

    return Comparison(
        dataset=study.name,
        sides={side.value: len(study.side(side)) for side in Side},
        fine_cases=choose_fine(study, max(settings.fine), settings.split_seed) if settings.fine else (),
        settings=settings,
        hardware=f"{os.cpu_count()} cores of {platform.machine()}, {_device()}, torch {torch.__version__}, "
        f"SemiSeg {SemiSegLib.__version__}",
        structures=study.scheme.leaf_names[1:],
        results=results,
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _write(comparison: Comparison, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "comparison.json", comparison)
    (output / "comparison.md").write_text(comparison_markdown(comparison), encoding="utf-8")


def _values(result: ArmResult, structure: str, which: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (seeds, cases) Dice or HD95 of one structure over the cases in which it is known."""
    known = [c for c, found in result.scores[0].items() if structure in found and found[structure][which] is not None]
    return np.array([[seed[case][structure][which] for case in known] for seed in result.scores], dtype=float)


def _case_means(result: ArmResult, structures: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (cases,) mean Dice over structures and seeds."""
    means = []
    for case in result.scores[0]:
        found = (seed[case].get(name, (None, None))[0] for seed in result.scores for name in structures)
        means.append(np.mean([dice for dice in found if dice is not None]))
    return np.array(means, dtype=float)


def _gains(comparison: Comparison) -> list[str]:
    if len(comparison.results) < 2:
        return ["- only one line"]
    first, *others = (_case_means(result, comparison.structures) for result in comparison.results)
    lines = []
    for result, values in zip(comparison.results[1:], others, strict=True):
        gain = paired_bootstrap(values, first)
        lines.append(f"- {result.arm.title}: {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})")
    return lines
