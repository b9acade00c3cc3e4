"""The main job on the built-in cohort: what coarse labels add to few fine ones, in a few minutes on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SemiSegLib import api
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.compare import RUNS, View
from SemiSegLib.evaluation.judge import JudgedCase
from SemiSegLib.evaluation.pictures import Panel, comparison_picture
from SemiSegLib.evaluation.summary import summarize
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.runs.request import RunRequest, TrainingSettings


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows: a table, a picture and the report of the recommended method's run."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    picture: Path
    report: Path


def run_demo(
    output: Path | str, *, steps: int, view: Callable[[str], AbstractContextManager[View]], seed: int = 0
) -> DemoResult:
    """Make the cohort, train ``supervised`` and the recommended method on it, and score both on unseen scans.

    Args:
        output: folder for everything; what an earlier demo left there is used again.
        steps: of each training.
        view: shows the progress of one run.
        seed: of cohort and trainings.
    """
    output = Path(output).absolute()
    study = write_cohort(output / "cohort", fine=3, coarse=16, partial=4, none=2, validation=3, test=8, seed=seed)
    tested = study.side(Side.TEST)
    methods = ("supervised", recommend(study).method)
    rows, panels, report = [], [], output
    for method in methods:
        request = RunRequest(dataset=str(study.root), method=method, seed=seed, training=TrainingSettings(steps=steps))
        run = api.start(request, output / RUNS)
        with view(method) as shown:
            api.follow(run, on_event=shown.show, on_status=shown.tell)
        kept: list[Panel] = []

        def keep(judged: JudgedCase, kept: list[Panel] = kept) -> None:
            if not kept:
                kept.append(Panel(judged.score.case, judged.image, judged.prediction.leaves))

        scores = api.evaluate(run.model_path, study, tested, on_case=keep)
        summary = summarize(scores, {case.id: case.patient for case in tested})
        dice = {s.structure: s.metrics["dice"].mean for s in summary}
        rows.append((method, *(dice[name] for name in study.scheme.leaf_names[1:])))
        panels.append((method, kept[0]))
        report = run.report / "report.md"
    picture = comparison_picture(study, panels, output / "demo.png")
    return DemoResult(("method", *study.scheme.leaf_names[1:]), tuple(rows), picture, report)
