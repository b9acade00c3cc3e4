"""The report of a finished run: its model on the validation cases, with pictures, beside what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.split import apply_split
from SemiSegLib.evaluation.judge import CaseJudge
from SemiSegLib.evaluation.report import ReportContent, write_report
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.runs.folder import RunFolder


def write_run_report(run: RunFolder, *, on_case: Callable[[int, int], None] | None = None) -> Path | None:
    """Score the run's model on its validation cases and write ``report/report.md``; return the page.

    Args:
        run: a run with a model.
        on_case: called with the number of cases done and of all.

    Returns:
        The page, or None if the run has no labeled validation case.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    dataset = apply_split(load_dataset(Path(run.request.dataset)), run.split_path)
    cases = [case for case in dataset.side(Side.VALIDATION) if case.annotation is not None]
    if not cases:
        return None
    model = load_model(run.model_path)
    judge = CaseJudge(Predictor(model, device=run.request.training.device), dataset)
    scores = []
    for done, case in enumerate(cases, start=1):
        scores.append(judge.judge(case).score)
        if on_case is not None:
            on_case(done, len(cases))

    provenance = model.provenance
    facts = {
        "method": f"{run.request.method}{f', preset {run.request.preset}' if run.request.preset else ''}",
        "training cases by label": ", ".join(f"{n} {name}" for name, n in provenance["training_cases"].items()),
        "steps": f"{provenance['steps']} in {provenance['seconds']:.0f} s; the model is that of step "
        f"{provenance['model_step']}",
        "computed on": str(provenance["compute"]),
        "seed": str(provenance["seed"]),
        "versions": f"SemiSeg {provenance['version']}, torch {provenance['torch']}",
    }
    title = run.request.title or f"Run {run.path.name}"
    content = ReportContent(
        title=title, scheme=dataset.scheme, scores=scores, facts=facts, events=run.events()[0], view=judge.view
    )
    return write_report(run.report, content)
