"""Several methods on few fine labels, several seeds each, under one split, trained and scored on unseen cases."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch

import SemiSegLib
from SemiSegLib import api
from SemiSegLib.arms import Arm
from SemiSegLib.bench import Bench, arms_of
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.split import make_split
from SemiSegLib.comparison import ArmResult, Comparison, ComparisonSettings, Scores, comparison_markdown
from SemiSegLib.config import write_atomically, write_json
from SemiSegLib.errors import CaseError, ConfigError, RunError, explain, take_apart
from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.kept_scores import (
    KeptScores,
    ScoreFiles,
    require_same_request,
    require_same_split,
    tested_cases,
)
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.model_info import read_model_info
from SemiSegLib.runs.process import is_running
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

    Runs that finished in an earlier call are kept, unfinished ones are resumed, and one that is at work is waited for.
    Kept scores are used again where the test cases are still the same, else the kept run is scored again. Where a run
    fails, the other arms are measured all the same.

    Args:
        dataset: cases that have a side keep it; runs read it from ``path`` again.
        path: its folder or file.
        settings: what is compared.
        output: folder for runs, scores and tables.
        view: shows the progress of one run.
        on_result: called with all that is there: once with what is kept, then after each arm that is trained.

    Raises:
        CaseError: there are too few fully labeled training cases, or no labeled test case.
        ConfigError: two arms have the same name, or what is kept is of other settings, another split or other
            training cases, or of other test cases and without its run.
        RunError: runs failed, or were stopped before their end; told when the others are done.
    """
    output = Path(output).absolute()
    study = make_split(
        dataset,
        seed=settings.split_seed,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
    )
    if not tested_cases(study):
        raise CaseError(
            explain("no labeled case is kept for the table", where=f"dataset '{study.name}'", remedy="raise test_share")
        )
    bench = Bench(study, Path(path), settings, output)
    arms = arms_of(settings)
    asked = [arm for arm in arms if settings.only is None or arm.name in settings.only]
    known = {arm.name: _kept(bench, arm, is_asked=arm in asked) for arm in arms}

    def tell() -> None:
        found = _found(bench, arms, known)
        _write(found, output)
        if on_result is not None:
            on_result(found)

    if any(known.values()):
        tell()
    failures: list[RunError] = []
    for arm in asked:
        if known[arm.name]:
            continue
        try:
            known[arm.name] = [_run(bench, arm, seed, view) for seed in range(settings.seeds)]
        except RunError as error:
            failures.append(error)
        else:
            tell()
    if failures:
        raise failures[0] if len(failures) == 1 else _together(failures)
    return _found(bench, arms, known)


def _found(bench: Bench, arms: Sequence[Arm], known: Mapping[str, Sequence[tuple[KeptScores, ...]]]) -> Comparison:
    """Return the comparison of the arms that are known."""
    results = [result for arm in arms if known[arm.name] for result in _results(arm, known[arm.name])]
    return _comparison(bench, arms, results)


def _kept(bench: Bench, arm: Arm, *, is_asked: bool) -> list[tuple[KeptScores, ...]]:
    """Return what is kept of every seed of an arm, or nothing where one is lacking.

    Raises:
        ConfigError: an arm that is asked for was trained with other settings.
    """
    found = []
    try:
        for seed in range(bench.settings.seeds):
            kept = _score_files(bench, arm, seed).read()
            if kept is None:
                return []
            found.append(kept)
    except ConfigError:
        if is_asked:
            raise
        return []
    return found


def _together(failures: Sequence[RunError]) -> RunError:
    whats, wheres, _remedies = zip(*(take_apart(str(error)) for error in failures), strict=True)
    what = f"{len(failures)} lines failed: {'; '.join(whats)}"
    return RunError(explain(what, where="; ".join(wheres), remedy="see to it; the same command goes on with them"))


def _score_files(bench: Bench, arm: Arm, seed: int) -> ScoreFiles:
    name = f"{arm.name}_seed{seed}"
    endings = ENDINGS[: 1 + bench.settings.largest_component]
    files = tuple(bench.output / "scores" / f"{name}{ending}" for ending in endings)
    return ScoreFiles(name, files, bench.request(arm, seed), bench.data)


def _run(
    bench: Bench, arm: Arm, seed: int, view: Callable[[str], AbstractContextManager[View]]
) -> tuple[KeptScores, ...]:
    """Return what one run gave, for each way of scoring."""
    score_files = _score_files(bench, arm, seed)
    kept = score_files.read()
    if kept is not None:
        return kept
    score_files.require_run(bench.output / RUNS / score_files.run)
    run = _trained(bench, score_files.request, score_files.run, view)
    # Of all its sessions: a clock here would miss those before an interruption, or count what lay between them.
    seconds = float(read_model_info(run.model_path).provenance["seconds"])
    found = tuple(KeptScores(_plain(scores), run.status().step, seconds) for scores in _scored(bench, run))
    score_files.write(found)
    return found


def _scored(bench: Bench, run: RunFolder) -> tuple[list[CaseScore], ...]:
    """Return the scores of a run's model on the test side, for each way of scoring; on the training's device."""
    tested = tested_cases(bench.study)
    applied = api.PredictionSettings(device=run.request.training.device)
    if bench.settings.largest_component:
        return api.evaluate_both(run.model_path, bench.study, tested, applied)
    return (api.evaluate(run.model_path, bench.study, tested, applied),)


def _trained(
    bench: Bench, request: RunRequest, name: str, view: Callable[[str], AbstractContextManager[View]]
) -> RunFolder:
    """Return a finished run: one that is there, resumed if need be, or a new one."""
    runs = bench.output / RUNS
    if (runs / name).exists():
        run = RunFolder(runs / name)
        require_same_request(run.request, request, name)
        require_same_split(run.split_path, bench.study, name)
        if run.status().state == "finished" and run.model_path.exists():
            return run
        # An earlier call may have been interrupted while its worker goes on.
        if not is_running(run):
            start_process(run)
    else:
        run = api.start(request, runs, name=name, split=bench.study)
    with view(name) as shown:
        status = api.follow(run, on_event=shown.show, on_status=shown.tell)
    if status.state != "finished":
        where, remedy = f"run '{name}'", "the same command goes on with it"
        raise RunError(explain("the training was stopped before its end", where=where, remedy=remedy))
    return run


def _plain(scores: Sequence[CaseScore]) -> Scores:
    return {score.case: {row.structure: (row.dice, row.hd95) for row in score.rows} for score in scores}


def _results(arm: Arm, runs: Sequence[tuple[KeptScores, ...]]) -> list[ArmResult]:
    """Return one result for each way of scoring."""
    return [
        ArmResult(
            arm=arm,
            scores=tuple(run[way].scores for run in runs),
            steps=tuple(run[way].steps for run in runs),
            seconds=tuple(run[way].seconds for run in runs),
            largest_component=way > 0,
        )
        for way in range(len(runs[0]))
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
    write_atomically(output / "comparison.md", comparison_markdown(comparison).encode())
