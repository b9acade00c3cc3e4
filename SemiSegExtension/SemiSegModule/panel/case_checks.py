"""Looks through the cases in the background: what is found is shown when it is known, nobody waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import qt

from SemiSegLib.errors import SemiSegError
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.case_check import CaseCheck, convertSurfacesOf, failed
from SemiSegModule.bridge.geometry import transformToWorld, worldGrid
from SemiSegModule.bridge.layers import SurfaceImages, drawnMoment
from SemiSegModule.bridge.region import readRegion
from SemiSegModule.bridge.scene_case import SceneCase

# A person who draws changes a segment every second: a case is looked at when it has rested this long.
_REST_MILLISECONDS = 600
_POLL_MILLISECONDS = 15


class CaseChecks:
    """Checks of cases, kept as long as their nodes and what was said about them stay as they are.

    Args:
        logic: does the check.
        onChecked: called when a case was checked.
        isHeld: whether no check may begin now. Who writes files takes every turn that Slicer can spare: with a surface
            of a check in the same turn nobody would be answered for twice as long.

    Attributes:
        surfaces: closed surfaces of the cases that were turned into voxels; whoever else needs them adds to them.
    """

    def __init__(self, logic: Any, onChecked: Callable[[], None], isHeld: Callable[[], bool] = lambda: False) -> None:
        self._logic, self._onChecked, self._isHeld = logic, onChecked, isHeld
        self._done: dict[str, tuple[Any, CaseCheck]] = {}
        self._wanted: dict[str, tuple[Any, SceneCase, LabelScheme]] = {}
        # Of which case surfaces are being turned into voxels, and the parts that are left.
        self._converting: tuple[Any, Iterator[None]] = (None, iter(()))
        self._running: tuple[str, Any, Future[CaseCheck]] | None = None
        self.surfaces = SurfaceImages()
        self._threads: ThreadPoolExecutor | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._turn)

    def result(self, case: SceneCase, scheme: LabelScheme) -> CaseCheck | None:
        """Return what was found in a case, or None if it is still to be checked."""
        name = next(iter(case.volumes.values())).GetID()
        key = _key(case, scheme)
        known, found = self._done.get(name, (None, None))
        if known == key:
            self._wanted.pop(name, None)
            return found
        if self._wanted.get(name, (None,))[0] != key and not (self._running and self._running[1] == key):
            self._wanted[name] = (key, case, scheme)
            self._start(_REST_MILLISECONDS if found is not None else 0)
        return None

    @property
    def isBusy(self) -> bool:
        """Whether cases are still to be checked."""
        return bool(self._wanted) or self._running is not None

    def close(self) -> None:
        """Check nothing any more; a check that runs ends by itself and is forgotten."""
        self._timer.stop()
        self._wanted.clear()
        self._done.clear()
        self.surfaces.clear()
        self._converting = (None, iter(()))
        self._running = None
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _start(self, milliseconds: int) -> None:
        if self._running is None:
            self._timer.start(milliseconds)

    def _turn(self) -> None:
        if self._running is not None:
            self._finish()
        elif self._wanted and self._isHeld():
            self._timer.start(_REST_MILLISECONDS)
        elif self._wanted:
            self._begin()

    def _begin(self) -> None:
        """Do one step that takes a moment: turn a part of a surface into voxels, or begin the check of one case."""
        name = next(iter(self._wanted))
        key, case, scheme = self._wanted[name]
        # Whatever becomes of this case, the others have their turn.
        self._timer.start(0)
        if any(node is not None and node.GetScene() is None for node in (*case.volumes.values(), case.segmentation)):
            # It left the scene since; the next refresh shows the cases that are left.
            del self._wanted[name]
            return
        if self._converting[0] != key:
            self._converting = (key, convertSurfacesOf(case, self.surfaces))
        isConverted = next(self._converting[1], True)
        if not isConverted:
            return
        del self._wanted[name]
        self.surfaces.forgetRemoved()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semiseg-check")
        taken = self._logic.snapshotCase(case, scheme, self.surfaces)
        self._running = (name, key, self._threads.submit(self._logic.checkCase, taken))
        self._timer.start(_POLL_MILLISECONDS)

    def _finish(self) -> None:
        name, key, future = self._running
        if not future.done():
            self._timer.start(_POLL_MILLISECONDS)
            return
        self._running = None
        if self._wanted:
            self._timer.start(0)
        error = future.exception()
        if error is not None and not isinstance(error, SemiSegError):
            logging.error("SemiSeg: the check of case '%s' failed", key[0], exc_info=error)
        self._done[name] = (key, future.result() if error is None else failed(key[0], error))
        self._onChecked()


def _key(case: SceneCase, scheme: LabelScheme) -> Any:
    """Return what a check depends on, by the moments of last change: cheap enough for every refresh."""
    volumes = [(node.GetID(), _imageMoment(node)) for node in case.volumes.values()]
    drawn: list[Any] = []
    if case.segmentation is not None:
        segmentation = case.segmentation.GetSegmentation()
        drawn = [case.segmentation.GetID()]
        drawn += [(segmentId, *drawnMoment(segmentation, segmentId)) for segmentId in case.meanings]
    said = (dict(case.meanings), case.lookedFor, repr(case.region), dict(case.overlapRules))
    return (case.id, volumes, drawn, _places(case), said, scheme.structures)


def _places(case: SceneCase) -> Any:
    """Return where scans, segments and the box are, which changes without a change of their voxels."""
    try:
        matrices = [worldGrid(node).matrix for node in case.volumes.values()]
        if case.segmentation is not None:
            matrices.append(transformToWorld(case.segmentation))
        region = readRegion(case.region)
    except SemiSegError as error:
        # The check says so; it is asked again when this is put right.
        return str(error)
    box = None
    if region is not None and region.toBox is not None:
        matrices.append(region.toBox)
        box = (region.size, region.isInsideOut)
    return ([matrix.tobytes() for matrix in matrices], box)


def _imageMoment(volumeNode: Any) -> int:
    image = volumeNode.GetImageData()
    return int(image.GetMTime()) if image is not None else 0
