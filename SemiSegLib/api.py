"""The few calls a script needs: train, follow, predict, evaluate.

from SemiSegLib import api
from SemiSegLib.runs.request import RunRequest, TrainingSettings

request = RunRequest(dataset="study", method="marginal", training=TrainingSettings(steps=None, seconds=600))
run = api.start(request, "runs")
api.follow(run)
api.predict(run.model_path, [["scan.nii.gz"]], ["result.seg.nrrd"])
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from SemiSegLib.cases.channels import read_channels
from SemiSegLib.cases.dataset import Case, Dataset, file_of
from SemiSegLib.cases.split import apply_split, write_split
from SemiSegLib.errors import CaseError, RunError, explain
from SemiSegLib.evaluation.judge import CaseJudge, JudgedCase
from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.prediction.findings import Findings
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.result_files import require_free, write_result
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import is_running
from SemiSegLib.runs.process import start as start_process
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Event, event_from_data

POLL_SECONDS = 0.25


def start(request: RunRequest, runs: Path | str, *, name: str | None = None, split: Dataset | None = None) -> RunFolder:
    """Make a run folder and start its worker process.

    Args:
        request: what to train.
        runs: folder in which the run folder is made.
        name: name of the run folder, or None for time and method.
        split: a dataset whose sides the run must keep, or None to keep the stored ones or to make them.

    Returns:
        The run, training in the background; it goes on when this process ends.

    Raises:
        RunError: the folder exists or the worker cannot be started.
    """
    run = RunFolder.create(Path(runs), request, name=name)
    if split is not None:
        write_split(split, run.split_path)
    start_process(run)
    return run


def follow(
    run: RunFolder,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_status: Callable[[RunStatus], None] | None = None,
) -> RunStatus:
    """Wait until a run ends, telling its events as they come.

    Args:
        run: a started run.
        on_event: called with each event of the training.
        on_status: called with the status several times a second; before the training it alone tells what is done.

    Returns:
        The final status.

    Raises:
        RunError: the run failed; the text is the worker's own.
    """
    offset = 0
    while True:
        running = is_running(run)
        lines, offset = run.events(offset)
        for line in lines:
            if on_event is not None:
                on_event(event_from_data(line, where=str(run.events_path)))
        if on_status is not None:
            on_status(run.status())
        if not running:
            return _final_status(run)
        time.sleep(POLL_SECONDS)


def train(request: RunRequest, runs: Path | str, *, name: str | None = None) -> RunFolder:
    """Train to the end and return the run; its model is ``run.model_path``.

    Raises:
        RunError: the run failed.
    """
    run = start(request, runs, name=name)
    follow(run)
    return run


@dataclass(frozen=True)
class PredictionSettings:
    """How a model is applied.

    Attributes:
        device: "auto", "cpu", "cuda" or "mps".
        mirror: average over copies mirrored along the axes that the training flipped; refused if it flipped none.
        uncertainty: also write the uncertainty map, values 0 to 1, beside the result: ``..._uncertainty.nrrd``.
        largest_component: keep one piece of each structure, the largest.
        all_pieces: keep what a model would leave out that knows how far its structures reach, see ``labels.reach``.
        drawn: structures that a person has drawn in the scans already; for the table of structures.
        review: also tell how much a look at each result is worth, in ``..._review.json`` beside it.
    """

    device: str = "auto"
    mirror: bool = False
    uncertainty: bool = False
    largest_component: bool = False
    all_pieces: bool = False
    drawn: tuple[str, ...] = ()
    review: bool = False


def predict(
    model: Path | str,
    images: Sequence[Sequence[Path | str]],
    outputs: Sequence[Path | str],
    settings: PredictionSettings | None = None,
    *,
    overwrite: bool = False,
    on_done: Callable[[Path], None] | None = None,
) -> list[Findings]:
    """Segment scans and write one result each, on the grid of the scan, and beside it a table of its structures.

    Args:
        model: a model file.
        images: for each scan its channel files, in the model's channel order; "file#2" is frame 2, counted from 0, of
            a 4-D file, and one 4-D file with as many frames as the model has channels is those channels. Channels
            are brought to the grid of the first as in training.
        outputs: for each scan the result: ``.seg.nrrd``, or a label image ``.nii.gz`` or ``.nrrd``.
        settings: how.
        overwrite: replace results that are there already; a scan that is read is never replaced.
        on_done: called with each result.

    Returns:
        For each scan what is known of its structures: drawn, found, not there or unsure.

    Raises:
        ConfigError: a result has an ending that none is written in, or its place is taken; no scan was segmented then.
        CaseError: the counts differ, a scan does not fit the model, or its channels lie on different grids.
        LabelError: a drawn structure is not one of the model's.
    """
    settings = settings or PredictionSettings()
    if len(images) != len(outputs):
        raise CaseError(
            explain(
                f"{len(images)} scans and {len(outputs)} results", where="predict", remedy="name one result per scan"
            )
        )
    require_free(
        [Path(output) for output in outputs],
        [Path(file_of(str(file))) for files in images for file in files],
        uncertainty=settings.uncertainty,
        review=settings.review,
        overwrite=overwrite,
    )
    predictor = _predictor(model, settings)
    roles = [channel.role for channel in predictor.model.study.plan.channels]
    tables = []
    for files, output in zip(images, outputs, strict=True):
        channels = read_channels(files, roles)
        prediction = predictor.predict(
            channels, uncertainty=settings.uncertainty, drawn=settings.drawn, review=settings.review
        )
        assert prediction.findings is not None
        tables.append(prediction.findings)
        write_result(prediction, predictor.model, Path(output))
        if on_done is not None:
            on_done(Path(output))
    return tables


def evaluate(
    model: Path | str,
    dataset: Dataset,
    cases: Iterable[Case],
    settings: PredictionSettings | None = None,
    *,
    mode: str = "strict",
    on_case: Callable[[JudgedCase], None] | None = None,
) -> list[CaseScore]:
    """Apply a model to cases with labels and score each by what its labels say.

    Args:
        model: a model file.
        dataset: the study.
        cases: cases to score; those without annotation are refused.
        settings: how the model is applied.
        mode: metric mode, see ``evaluation.metrics``.
        on_case: called with each case, its score and its prediction.

    Returns:
        One score per case, in order.

    Raises:
        CaseError: the model knows other structures than the study, or a case has no labels or cannot be read.
    """
    judge = CaseJudge(_predictor(model, settings or PredictionSettings()), dataset, mode=mode)
    scores = []
    for case in cases:
        judged = judge.judge(case)
        scores.append(judged.score)
        if on_case is not None:
            on_case(judged)
    return scores


def evaluate_both(
    model: Path | str,
    dataset: Dataset,
    cases: Iterable[Case],
    settings: PredictionSettings | None = None,
    *,
    mode: str = "strict",
) -> tuple[list[CaseScore], list[CaseScore]]:
    """Score as ``evaluate`` does, and again with one piece of each structure, the largest; each case predicted once.

    Raises:
        CaseError: as ``evaluate`` does.
    """
    judge = CaseJudge(_predictor(model, settings or PredictionSettings()), dataset, mode=mode)
    judged = [judge.judge_both(case) for case in cases]
    return [whole.score for whole, _ in judged], [pieces.score for _, pieces in judged]


def with_split(dataset: Dataset, split: Path | None) -> Dataset:
    """Return the data set with the sides that a run's ``split.json`` stores, or as it is."""
    return dataset if split is None else apply_split(dataset, split)


def _predictor(model: Path | str, settings: PredictionSettings) -> Predictor:
    loaded = load_model(Path(model), device=settings.device)
    return Predictor(
        loaded,
        device=settings.device,
        mirror=settings.mirror,
        largest_component=settings.largest_component,
        all_pieces=settings.all_pieces,
    )


def _final_status(run: RunFolder) -> RunStatus:
    status = run.status()
    if status.state in ("finished", "stopped"):
        return status
    raise RunError(
        explain(
            status.message or "the worker ended without a word",
            where=status.where or str(run.path),
            remedy=status.remedy or f"read {run.log_path.name} in the run folder, then resume",
        )
    )
