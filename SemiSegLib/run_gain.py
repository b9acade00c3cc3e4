"""A baseline at work: it takes over the split of the run it is compared with, and at its end both models are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import RunError, explain
from SemiSegLib.evaluation.gain import Compared, measure_gain
from SemiSegLib.evaluation.judge import CaseJudge
from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.prediction.model_file import Model, load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import Gain


def take_over_split(run: RunFolder) -> None:
    """Give a run that is compared with another one the split of that, unless it has its own from an earlier session.

    Raises:
        RunError: the other run has no model; hours of training would end without a comparison.
    """
    if run.request.compare_with is None or run.split_path.exists():
        return
    write_json(run.split_path, read_json(_first(run).split_path))


def judge_cases(
    model: Model, dataset: Dataset, cases: Sequence[Case], *, device: str, on_case: Callable[[], None]
) -> tuple[CaseJudge, list[CaseScore]]:
    """Return the judge of a loaded model and its score of each case; the one place that scores models of runs."""
    judge = CaseJudge(Predictor(model, device=device), dataset)
    scores = []
    for case in cases:
        scores.append(judge.judge(case).score)
        on_case()
    return judge, scores


def compare_with_first(
    run: RunFolder,
    dataset: Dataset,
    cases: Sequence[Case],
    scores: Sequence[CaseScore],
    *,
    provenance: Mapping[str, Any],
    on_case: Callable[[], None],
) -> Gain:
    """Return what the run that this one is the baseline of gained by its other cases, and write ``gain.json``.

    Args:
        run: the baseline.
        dataset: the study with the sides of the run.
        cases: validation cases with labels.
        scores: of the baseline's model on them.
        provenance: of the baseline's model.
        on_case: called after each case.

    Raises:
        RunError: the other run or its model is not there any more.
        SemiSegError: its model cannot be used for this study.
    """
    first = _first(run)
    model = load_model(first.model_path)
    _judge, first_scores = judge_cases(model, dataset, cases, device=run.request.training.device, on_case=on_case)
    full = Regime.FULL.value
    counts = model.provenance["training_cases"]
    gain = measure_gain(
        first_scores,
        scores,
        patients={case.id: case.patient for case in cases},
        compared=Compared(
            run=first.request.id,
            baseline=run.request.id,
            method=first.request.method,
            extra_cases={name: count for name, count in counts.items() if name != full},
            notes=_notes(first, run, counts.get(full, 0), provenance["training_cases"].get(full, 0)),
        ),
    )
    run.report.mkdir(exist_ok=True)
    write_json(run.gain_path, gain)
    return gain


def _first(run: RunFolder) -> RunFolder:
    path = run.sibling(str(run.request.compare_with))
    remedy = "resume that training, or start it again with a baseline; then resume this one"
    try:
        first = RunFolder(path)
    except RunError:
        raise RunError(
            explain("the training to compare with is not there", where=f"run '{path.name}'", remedy=remedy)
        ) from None
    if not first.model_path.exists() or not first.split_path.exists():
        raise RunError(
            explain("the training to compare with ended without a model", where=f"run '{path.name}'", remedy=remedy)
        )
    return first


def _notes(first: RunFolder, run: RunFolder, first_full: int, full: int) -> tuple[str, ...]:
    notes = []
    status = first.status()
    if status.state == "stopped":
        notes.append(
            f"The training with all cases was stopped at {100 * status.fraction:.0f} % of its budget; the one without "
            "them had all of it."
        )
    if first_full != full:
        notes.append(
            f"The fully labeled training cases were not the same: {first_full} in the training with all cases, {full} "
            "in the one without the others. Labels have been changed in between."
        )
    if run.request.warm_start is not None:
        notes.append("Both trainings went on from the same earlier model, which may have learned from these cases.")
    return tuple(notes)
