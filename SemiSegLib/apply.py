"""One job from request to results: ``python -m SemiSegLib.apply JOBFOLDER`` segments scans with a trained model."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from SemiSegLib import __version__
from SemiSegLib.cases.volume import read_volume, write_volume
from SemiSegLib.errors import CaseError, SemiSegError, explain
from SemiSegLib.prediction.model_file import Model, load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.segmentation_file import write_segmentation
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.status import RunStatus

logger = logging.getLogger("SemiSegLib.apply")


def main(arguments: Sequence[str] | None = None) -> int:
    """Work on one job folder and return the exit code: 0 finished or stopped, 1 failed."""
    given = [a for a in (sys.argv[1:] if arguments is None else arguments) if not a.startswith("--")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    folder = ApplyFolder(Path(given[0]))
    try:
        with folder.lock():
            run(folder)
    except SemiSegError as error:
        _fail(folder, error)
        logger.error("%s", error)
        return 1
    except BaseException as error:
        _fail(folder, error)
        raise
    return 0


def run(folder: ApplyFolder) -> None:
    """Segment every scan of a job that has no result yet, telling its state in the job's status.

    Raises:
        CheckpointError: the model cannot be read.
        CaseError: a scan cannot be read or has other channels than the model.
    """
    job = folder.job
    status = RunStatus(
        state="preparing",
        message="reading the model",
        total_steps=len(job.cases),
        pid=os.getpid(),
        pid_started=process_mark(os.getpid()),
        host=socket.gethostname(),
        owns_group="--detached" in sys.argv,
        version=__version__,
    )
    _tell(folder, status)
    model = load_model(Path(job.model), device=job.device)
    predictor = Predictor(model, device=job.device, mirror=job.mirror)
    for number, case in enumerate(job.cases):
        if folder.stop_requested():
            _tell(folder, replace(status, state="stopped", message=f"{number} of {len(job.cases)} scans segmented"))
            return
        share = number / len(job.cases)
        status = replace(
            status,
            state="training",
            step=number,
            fraction=share,
            message=f"segmenting '{case.id}', {number + 1} of {len(job.cases)}",
        )
        _tell(folder, status)
        if not folder.result_path(case).exists():
            _segment(folder, case, model, predictor)
    done = f"{len(job.cases)} of {len(job.cases)} scans segmented"
    _tell(folder, replace(status, state="finished", step=len(job.cases), fraction=1.0, eta_seconds=0.0, message=done))


def _segment(folder: ApplyFolder, case: ApplyCase, model: Model, predictor: Predictor) -> None:
    logger.info("segmenting %s", case.id)
    path = folder.result_path(case)
    path.parent.mkdir(exist_ok=True)
    channels = [read_volume(file) for file in _in_order(folder.image_paths(case), model, case)]
    began, status, count = time.monotonic(), folder.status(), len(folder.job.cases)

    def tell(share: float) -> None:
        # The scans to come are taken to need as long as this one.
        seconds = (time.monotonic() - began) / share
        done = status.step + share
        _tell(folder, replace(status, fraction=done / count, eta_seconds=seconds * (count - done)))

    prediction = predictor.predict(channels, uncertainty=folder.job.uncertainty, on_progress=tell)
    if prediction.uncertainty is not None:
        write_volume(prediction.uncertainty, folder.uncertainty_path(case))
    # Written last: a scan that has a segmentation is done.
    write_segmentation(prediction, path, provenance={**model.provenance, "job": folder.job.id})


def _in_order(images: Mapping[str, Path], model: Model, case: ApplyCase) -> list[Path]:
    """Return image files in the order of the model's channels, by role; one channel needs no name."""
    roles = [channel.role for channel in model.study.plan.channels]
    if len(roles) == len(images) == 1:
        return list(images.values())
    if set(roles) != set(images):
        raise CaseError(
            explain(
                f"it has the channels {', '.join(images)}, the model was trained on {', '.join(roles)}",
                where=f"scan '{case.id}'",
                remedy="name one image for each channel of the model",
            )
        )
    return [images[role] for role in roles]


def _tell(folder: ApplyFolder, status: RunStatus) -> None:
    folder.write_status(replace(status, heartbeat=time.time()))


def _fail(folder: ApplyFolder, error: BaseException) -> None:
    what, *rest = str(error).split("\n") or [type(error).__name__]
    parts = {key.strip(): text.strip() for key, _colon, text in (line.partition(":") for line in rest)}
    _tell(
        folder,
        replace(
            folder.status(),
            state="failed",
            eta_seconds=None,
            message=what or type(error).__name__,
            where=parts.get("where", ""),
            remedy=parts.get("remedy", "the log of the job says more"),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
