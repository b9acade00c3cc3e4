"""Several methods on few fine labels, several seeds each, under one split, trained and scored on unseen cases."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

import SemiSegLib
from SemiSegLib import api
from SemiSegLib.arms import Arm, read_arm
from SemiSegLib.cases.coarsen import choose_fine
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.split import make_split
from SemiSegLib.comparison import ArmResult, Comparison, ComparisonSettings, Scores, comparison_markdown
from SemiSegLib.config import read_json, to_json, write_json
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Event

# Folder of the runs, in that of the comparison.
RUNS = "runs"
# Score files of a run: as predicted, and with one piece of each structure.
ENDINGS = (".json", ".largest.json")


class View(Protocol):
    """What shows the progress of one run."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def tell(self, status: RunStatus) -> None:
        """Show what is done of which no event tells."""


def compare(
    dataset: Dataset,
    path: Path | str,
    settings: ComparisonSettings,
    output: Path | str,
    *,
    view: Callable[[str], AbstractContextManager[View]],
    on_result: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Train every arm with every seed, score each on the test side, and write ``comparison.json`` and ``.md``.

    Runs that finished in an earlier call are kept, unfinished ones are resumed.

    Args:
        dataset: cases that have a side keep it; runs read it from ``path`` again.
        path: its folder or file.
        settings: what is compared.
        output: folder for runs, scores and tables.
        view: shows the progress of one run.
        on_result: called with all that is there, after each arm.

    Raises:
        CaseError: there are too few fully labeled training cases, or no labeled test case.
        ConfigError: two arms have the same name, or kept scores are of other settings.
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
    bench = Bench(study, Path(path), settings, output)
    arms = arms_of(settings)
    results: list[ArmResult] = []
    for arm in arms:
        runs = [_run(bench, arm, seed, view) for seed in range(settings.seeds)]
        results += _results(arm, runs)
        found = _comparison(bench, arms, results)
        _write(found, output)
        if on_result is not None:
            on_result(found)
    return _comparison(bench, arms, results)


def arms_of(settings: ComparisonSettings) -> tuple[Arm, ...]:
    """Return the lines of a comparison in their order.

    Raises:
        ConfigError: a method, preset or option is unknown, or two lines would share their runs.
    """
    arms = [*settings.arms]
    for fine in settings.fine:
        arms += [read_arm(text, fine=fine, with_settings=settings.preset_settings) for text in settings.methods]
    full = read_arm("supervised", fine=None)
    if settings.with_full and full.name not in [arm.name for arm in arms]:
        arms.append(full)
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(explain("two lines are the same", where=f"line '{name}'", remedy="name each line once"))
    return tuple(arms)


@dataclass(frozen=True)
class Bench:
    """What every run of a comparison shares.

    Attributes:
        study: with sides.
        path: from which runs read it.
        settings: what is compared.
        output: folder for runs, scores and tables.
    """

    study: Dataset
    path: Path
    settings: ComparisonSettings
    output: Path

    def fine_cases(self, count: int) -> tuple[str, ...]:
        """Return the first so many cases that keep their fine labels."""
        order = self.settings.fine_order
        if not order:
            return choose_fine(self.study, count, self.settings.split_seed)
        if count > len(order):
            where, remedy = "fine cases", "name more cases in the order, or ask for fewer"
            raise ConfigError(explain(f"{count} were asked for, {len(order)} named", where=where, remedy=remedy))
        return order[:count]

    def request(self, arm: Arm, seed: int) -> RunRequest:
        """Return what is asked of one run."""
        settings = self.settings
        training, plan = arm.own.under(settings.training, settings.plan, given=settings.given)
        return RunRequest(
            dataset=str(self.path),
            method=arm.method,
            preset=arm.preset,
            options=arm.options,
            plan=plan,
            training=training,
            fine_cases=None if arm.fine is None else self.fine_cases(arm.fine),
            other_labels=settings.other_labels,
            drawn=settings.drawn if arm.labels else None,
            undrawn="background" if arm.labels == "naive" else "unknown",
            seed=seed,
            title=f"{arm.title}, seed {seed}",
        )


@dataclass(frozen=True)
class _Run:
    """What one run gave: the scores in each way of scoring."""

    scores: tuple[Scores, ...]
    steps: int
    seconds: float


def _run(bench: Bench, arm: Arm, seed: int, view: Callable[[str], AbstractContextManager[View]]) -> _Run:
    name = f"{arm.name}_seed{seed}"
    request = bench.request(arm, seed)
    files = [bench.output / "scores" / f"{name}{ending}" for ending in ENDINGS[: 1 + bench.settings.largest_component]]
    kept = {file: read_json(file) for file in files if file.exists()}
    for data in kept.values():
        _require_same(data.get("asked"), _asked(request), name)
    if len(kept) == len(files):
        first = kept[files[0]]
        return _Run(tuple(kept[file]["scores"] for file in files), first["steps"], first["seconds"])
    run, seconds = _trained(bench, request, name, view)
    seconds = next((float(data["seconds"]) for data in kept.values()), seconds)
    tested = [case for case in bench.study.side(Side.TEST) if case.annotation is not None]
    if bench.settings.largest_component:
        ways = api.evaluate_both(run.model_path, bench.study, tested)
        scores = tuple(_plain(found) for found in ways)
    else:
        scores = (_plain(api.evaluate(run.model_path, bench.study, tested)),)
    steps = run.status().step
    files[0].parent.mkdir(parents=True, exist_ok=True)
    for file, found in zip(files, scores, strict=True):
        if file not in kept:
            write_json(file, {"asked": _asked(request), "scores": found, "steps": steps, "seconds": seconds})
    return _Run(scores, steps, seconds)


def _trained(
    bench: Bench, request: RunRequest, name: str, view: Callable[[str], AbstractContextManager[View]]
) -> tuple[RunFolder, float]:
    """Return a finished run and its seconds: one that is there, resumed if need be, or a new one."""
    runs = bench.output / RUNS
    start = time.monotonic()
    if (runs / name).exists():
        run = RunFolder(runs / name)
        _require_same(_asked(run.request), _asked(request), name)
        if run.status().state == "finished" and run.model_path.exists():
            told = [float(event["time"]) for event in run.events()[0]]
            return run, max(told) - min(told)
        run.clear_stop()
        start_process(run)
    else:
        run = api.start(request, runs, name=name, split=bench.study)
    with view(name) as shown:
        api.follow(run, on_event=shown.show, on_status=shown.tell)
    return run, time.monotonic() - start


def _asked(request: RunRequest) -> dict[str, Any]:
    """Return a request as it stands in a file; the place of the data and the mark of a run may differ."""
    return {key: value for key, value in to_json(request).items() if key not in ("dataset", "id")}


def _require_same(kept: object, asked: Mapping[str, Any], name: str) -> None:
    if kept is not None and kept != asked:
        raise ConfigError(
            explain(
                "an earlier comparison in this folder trained it with other settings",
                where=f"run '{name}'",
                remedy="give the same settings, or another output folder",
            )
        )


def _plain(scores: Sequence[CaseScore]) -> Scores:
    return {score.case: {row.structure: (row.dice, row.hd95) for row in score.rows} for score in scores}


def _results(arm: Arm, runs: Sequence[_Run]) -> list[ArmResult]:
    """Return one result for each way of scoring."""
    return [
        ArmResult(
            arm=arm,
            scores=tuple(run.scores[way] for run in runs),
            steps=tuple(run.steps for run in runs),
            seconds=tuple(run.seconds for run in runs),
            largest_component=way > 0,
        )
        for way in range(len(runs[0].scores))
    ]


def _comparison(bench: Bench, arms: Sequence[Arm], results: Sequence[ArmResult]) -> Comparison:
    study = bench.study
    return Comparison(
        dataset=study.name,
        sides={side.value: len(study.side(side)) for side in Side},
        patients={case.id: case.patient for case in study.side(Side.TEST)},
        fine_cases=bench.fine_cases(max((arm.fine for arm in arms if arm.fine is not None), default=0)),
        settings=bench.settings,
        hardware=f"{os.cpu_count()} cores of {platform.machine()}, {_device()}, torch {torch.__version__}, "
        f"SemiSeg {SemiSegLib.__version__}",
        structures=study.scheme.leaf_names[1:],
        results=tuple(results),
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _write(comparison: Comparison, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "comparison.json", comparison)
    (output / "comparison.md").write_text(comparison_markdown(comparison), encoding="utf-8")
