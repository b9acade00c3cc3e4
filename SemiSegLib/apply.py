"""One job from request to results: ``python -m SemiSegLib.apply JOBFOLDER`` segments scans with a trained model.

Started by ``runs.process.start`` on an ``ApplyFolder``, as a training's worker is on a run folder. Started again, it
segments the scans that have no result yet. A scan that cannot be segmented is noted, and the others are.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from SemiSegLib import __version__
from SemiSegLib.cases.channels import read_channels, spread_frames
from SemiSegLib.cases.volume import write_volume
from SemiSegLib.errors import CaseError, RunError, SemiSegError, explain
from SemiSegLib.planning.memory import is_out_of_memory
from SemiSegLib.prediction.findings import read_findings, write_findings, write_findings_csv
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.segmentation_file import write_segmentation
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder
from SemiSegLib.runs.job import Words, read_command_line, work_or_fail
from SemiSegLib.runs.reporter import Reporter
from SemiSegLib.runs.review import write_review

# Between two writes of the status while one scan is being segmented.
TELL_SECONDS = 0.5
WORDS = Words(noun="job", again="apply the model again")
logger = logging.getLogger("SemiSegLib.apply")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work on one job folder and return the exit code: 0 finished or stopped, 1 failed."""
    path, detached = read_command_line("SemiSegLib.apply", "Segment scans with a trained model.", arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        folder = ApplyFolder(path)
        with folder.lock():
            return _lead(folder, detached=detached)
    except RunError as error:
        # No job, or another worker is at it: its status must stay.
        logger.error("%s", error)
        return 1


def run(folder: ApplyFolder) -> None:
    """Work on a job in this process; for scripts and tests.

    Raises:
        CheckpointError: the model cannot be read.
        CaseError: not one of the scans could be segmented; why the others could not is in ``ApplyFolder.failures``.
    """
    with folder.lock(), Reporter(folder, version=__version__, owns_group=False) as reporter:
        _work(folder, reporter)


def _lead(folder: ApplyFolder, *, detached: bool) -> int:
    with Reporter(folder, version=__version__, owns_group=detached) as reporter:
        return work_or_fail(lambda: _work(folder, reporter), reporter, WORDS, logger=logger)


def _work(folder: ApplyFolder, reporter: Reporter) -> None:
    job = folder.job
    count = len(job.cases)
    reporter.update(message="reading the model", total_steps=count, step=0, fraction=0.0)
    model = load_model(Path(job.model), device=job.device)
    predictor = Predictor(model, device=job.device, mirror=job.mirror, largest_component=job.largest_component)
    failures: dict[str, str] = {}
    # What failed before is tried again.
    folder.write_failures(failures)
    for number, case in enumerate(job.cases):
        if folder.stop_requested():
            folder.clear_stop()
            text = f"stopped: {_counted(number, count, failures)}"
            reporter.update(state="stopped", eta_seconds=None, message=text)
            return
        text = f"segmenting '{case.id}', {number + 1} of {count}"
        reporter.update(
            state="training", step=number, fraction=number / count, message=text, device=str(predictor.device)
        )
        if not folder.result_path(case).exists() and (why := _try(folder, case, predictor, reporter)):
            failures[case.id] = why
            folder.write_failures(failures)
    if len(failures) == count:
        raise CaseError(failures[job.cases[0].id])
    tables = {case.id: folder.findings_path(case) for case in job.cases}
    # Results of a version before there were such tables have none.
    known = {name: read_findings(path) for name, path in tables.items() if path.exists()}
    write_findings_csv(known, folder.structures_path)
    folder.clear_stop()
    text = _counted(count, count, failures)
    reporter.update(state="finished", step=count, fraction=1.0, eta_seconds=0.0, message=text)


def _counted(done: int, count: int, failures: Mapping[str, str]) -> str:
    text = f"{done - len(failures)} of {count} scans segmented"
    return f"{text}, {len(failures)} failed" if failures else text


def _try(folder: ApplyFolder, case: ApplyCase, predictor: Predictor, reporter: Reporter) -> str:
    """Segment a scan and return "", or why this scan cannot be segmented; an error of another kind ends the job."""
    try:
        _segment(folder, case, predictor, reporter)
    except SemiSegError as error:
        text = str(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        text = explain(
            "there is not enough memory to segment it",
            where=f"scan '{case.id}'",
            remedy="close other programs, choose the device 'cpu' or crop the scan, then apply the model to it again",
        )
    else:
        return ""
    logger.error("%s: %s", case.id, text)
    return text


def _segment(folder: ApplyFolder, case: ApplyCase, predictor: Predictor, reporter: Reporter) -> None:
    logger.info("segmenting %s", case.id)
    model, path = predictor.model, folder.result_path(case)
    path.parent.mkdir(exist_ok=True)
    roles = [channel.role for channel in model.study.plan.channels]
    channels = read_channels(_in_order(folder.image_paths(case), roles, case), roles)
    count, done, began = len(folder.job.cases), reporter.status.step, time.monotonic()
    told = began

    def tell(share: float) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > TELL_SECONDS:
            told = now
            # The scans to come are taken to need as long as this one.
            left = (now - began) / share * (count - done - share)
            reporter.update(fraction=(done + share) / count, eta_seconds=left)

    prediction = predictor.predict(
        channels, uncertainty=folder.job.uncertainty, on_progress=tell, drawn=case.drawn, review=True
    )
    if prediction.findings is not None:
        write_findings(prediction.findings, folder.findings_path(case))
    if prediction.uncertainty is not None:
        write_volume(prediction.uncertainty, folder.uncertainty_path(case))
    if prediction.review is not None:
        write_review(prediction.review, folder.review_path(case))
    # Written last: a scan that has a segmentation is done.
    write_segmentation(prediction, path, provenance={**model.provenance, "job": folder.job.id})


def _in_order(images: Mapping[str, Path], roles: Sequence[str], case: ApplyCase) -> list[Path]:
    """Return image files in the order of the model's channels, by role.

    One channel needs no name, nor does one 4-D file that holds all channels as its frames.
    """
    if len(images) == 1:
        frames = spread_frames(list(images.values()), roles)
        if len(frames) == len(roles):
            return frames
    if set(roles) != set(images):
        raise CaseError(
            explain(
                f"it has the channels {', '.join(images)}, the model was trained on {', '.join(roles)}",
                where=f"scan '{case.id}'",
                remedy="name one image for each channel of the model",
            )
        )
    return [images[role] for role in roles]


if __name__ == "__main__":
    sys.exit(main())
