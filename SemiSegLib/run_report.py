"""The report of a finished run: its model on the validation cases, with pictures, beside what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.split import apply_split
from SemiSegLib.errors import SemiSegError
from SemiSegLib.evaluation.gain import gain_markdown
from SemiSegLib.evaluation.report import ReportContent, write_report
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.run_gain import compare_with_first, judge_cases
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import read_manifest


def write_run_report(
    run: RunFolder,
    *,
    on_case: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> Path | None:
    """Score the run's model on its validation cases and write ``report/report.md``; return the page.

    A run that is compared with another also gets ``report/gain.json`` and a section about it.

    Args:
        run: a run with a model.
        on_case: called with the number of cases done and of all.
        on_problem: told why there is no comparison, where one was asked for.

    Returns:
        The page, or None if the run has no labeled validation case.

    Raises:
        DependencyError: matplotlib is not installed; scores and comparison are written all the same.
    """
    dataset = apply_split(load_dataset(run.dataset), run.split_path)
    cases = [case for case in dataset.side(Side.VALIDATION) if case.annotation is not None]
    is_compared = run.request.compare_with is not None
    if not cases and not is_compared:
        return None
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if on_case is not None:
            on_case(done, len(cases) * (1 + is_compared))

    model = load_model(run.model_path)
    provenance = model.provenance
    judge, scores = judge_cases(model, dataset, cases, device=run.request.training.device, on_case=tell)
    sections = []
    if is_compared:
        try:
            gain = compare_with_first(run, dataset, cases, scores, provenance=provenance, on_case=tell)
            sections.append(gain_markdown(gain))
        except SemiSegError as error:
            # The run's own model and report are whole without it.
            if on_problem is not None:
                on_problem(str(error))
    if not cases:
        return None
    facts = {
        "method": f"{run.request.method}{f', preset {run.request.preset}' if run.request.preset else ''}",
        "training cases by label": ", ".join(f"{n} {name}" for name, n in provenance["training_cases"].items()),
        "steps": f"{provenance['steps']} in {provenance['seconds']:.0f} s; the model is that of step "
        f"{provenance['model_step']}",
        "computed on": str(provenance["compute"]),
        "seed": str(provenance["seed"]),
        "versions": f"SemiSeg {provenance['version']}, torch {provenance['torch']}",
    }
    if (start := read_manifest(run.environment_path).get("warm_start_words")) is not None:
        facts["warm start"] = str(start)
    title = run.request.title or f"Run {run.path.name}"
    content = ReportContent(
        title=title,
        scheme=dataset.scheme,
        scores=scores,
        patients={case.id: case.patient for case in cases},
        facts=facts,
        events=run.events()[0],
        view=judge.view,
        sections=sections,
    )
    return write_report(run.report, content)
