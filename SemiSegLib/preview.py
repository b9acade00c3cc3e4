"""What the unfinished model predicts for one case, as a file to look at while it trains."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.volume import Volume
from SemiSegLib.prediction.predictor import Prediction
from SemiSegLib.prediction.segmentation_file import write_segmentation
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.training.events import Event, Finished, Previewed, Validated

logger = logging.getLogger("SemiSegLib.worker")


class Preview:
    """Keeps what a validation predicts for its first case, and writes it beside the training, which does not wait.

    Args:
        folder: the run.
        store: prepared cases; knows where their voxels come from.
    """

    def __init__(self, folder: RunFolder, store: PreparedStore) -> None:
        self._folder, self._store = folder, store
        self._case_id: str | None = None
        self._leaves: np.ndarray | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="semiseg-preview")
        self._pending: Future[Previewed] | None = None

    def take(self, case_id: str, leaves: np.ndarray) -> None:
        """Keep a prediction if it is that of the case to look at: the first one of the first validation.

        Args:
            case_id: whose.
            leaves: (D, H, W) uint8 on the plan grid; must not be changed any more.
        """
        if self._case_id in (None, case_id):
            self._case_id, self._leaves = case_id, leaves

    def hear(self, event: Event) -> Iterator[Previewed]:
        """Begin to write after a validation, and yield what has been written since the last event.

        A preview that takes longer than the steps to the next validation is finished first; the next one is left out.
        At the end of a training it is waited for.
        """
        if self._pending is not None and (self._pending.done() or isinstance(event, Finished)):
            pending, self._pending = self._pending, None
            try:
                yield pending.result()
            except OSError as error:
                # A full disk: the training will tell when it saves itself.
                logger.warning("no preview: %s", error)
        if isinstance(event, Validated) and self._leaves is not None and self._pending is None:
            assert self._case_id is not None
            self._pending = self._pool.submit(self._write, event.step, self._case_id, self._leaves)
            self._leaves = None
        if isinstance(event, Finished):
            self._pool.shutdown()

    def _write(self, step: int, case_id: str, leaves: np.ndarray) -> Previewed:
        grid = self._store.grid(case_id)
        volume = Volume(np.ascontiguousarray(grid.restore_nearest(leaves)), grid.source)
        path = self._folder.preview_path(case_id)
        path.parent.mkdir(exist_ok=True)
        prediction = Prediction(volume, None, self._store.dataset.scheme)
        write_segmentation(prediction, path, provenance={"run": self._folder.request.id})
        return Previewed(step=step, case=case_id, file=path.relative_to(self._folder.path).as_posix())
