"""Scans of the scene to a job that applies a model, and its results back beside the scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder, ApplyRequest
from SemiSegLib.runs.review import read_review
from SemiSegModule.bridge.geometry import SAME_GRID_VOXELS, Grid, fromLps, volumeGrid
from SemiSegModule.bridge.images import readScan, writeScan, writingTo
from SemiSegModule.bridge.result import Result
from SemiSegModule.bridge.result_segments import STATE_TAG, arranged
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.segmentation_import import loadSegmentation, toOwn
from SemiSegModule.bridge.uncertainty import addUncertainty, readUncertainty
from SemiSegModule.waiting import Waiting

_SCENE_FILE = "scene.json"
_SEEN_FILE = "seen.txt"


def createJob(
    parent: Path,
    model: Path,
    scans: Sequence[Mapping[str, Any]],
    *,
    device: str = "auto",
    uncertainty: bool = False,
    waiting: Waiting | None = None,
) -> ApplyFolder:
    """Return a new job folder that holds copies of scans of the scene; nodes are only read.

    Args:
        parent: folder of the jobs.
        model: model file.
        scans: for each scan channel role to volume node.
        device: "auto", "cpu", "cuda" or "mps".
        uncertainty: ask for uncertainty maps too.
        waiting: is told how far it is, and has what takes long done apart from the scene; None: nobody waits.

    Raises:
        CaseError: no scan is given, or one cannot be written.
    """
    if not scans:
        raise CaseError(explain("no volume is chosen", where="apply a model", remedy="tick at least one volume"))
    waiting = waiting or Waiting()
    images = Path(parent) / "images"
    files, places = [], {}
    for number, volumes in enumerate(scans):
        node = next(iter(volumes.values()))
        place = {"node": node.GetID(), "name": node.GetName()}
        caseId = f"{number + 1} {place['name']}"
        waiting.tell(number, len(scans), place["name"])
        scan = readScan(volumes)
        names, _notes = waiting.apart(partial(writeScan, scan, place["name"], images))
        files.append(ApplyCase(id=caseId, images={role: str((images / f).absolute()) for role, f in names.items()}))
        own = volumeGrid(node).matrix.tolist()
        places[caseId] = {**place, "matrix": scan.grid.matrix.tolist(), "shape": list(scan.grid.shape), "own": own}
    request = ApplyRequest(model=str(model), cases=tuple(files), device=device, uncertainty=uncertainty)
    with writingTo(Path(parent)):
        job = ApplyFolder.create_job(parent, request)
        write_json(job.path / _SCENE_FILE, places)
    return job


def loadResults(
    job: ApplyFolder,
    *,
    label: str = "",
    wholes: Mapping[str, tuple[float, float, float]] | None = None,
    waiting: Waiting | None = None,
) -> tuple[list[Any], list[str]]:
    """Return new segmentation nodes for the results that a job has written, and what could not be placed.

    Each knows its score, the reason for it, its place of doubt and its uncertainty map, as far as the job wrote them;
    see ``bridge.result.Result``. New nodes are hidden: whoever shows one decides which.

    Args:
        job: finished or stopped; scans without a result are passed over.
        label: added to the volume's name to name each node.
        wholes: name of a superclass of the model to its color.
        waiting: is told how far it is, and has files read apart from the scene; None: nobody waits.
    """
    nodes, problems = [], []
    waiting = waiting or Waiting()
    places = read_json(job.path / _SCENE_FILE)
    cases = [case for case in job.job.cases if job.result_path(case).is_file()]
    for number, case in enumerate(cases):
        place = places[case.id]
        waiting.tell(number, len(cases), place["name"])
        volume = _volume(place)
        if volume is None:
            path = job.result_path(case)
            problems.append(f"the volume '{place['name']}' is no longer in the scene; its result is {path}")
            continue
        try:
            grid = _writtenGrid(place, volume)
            result = _loadResult(job, case, volume, grid, label=label, wholes=wholes or {}, waiting=waiting)
        except CaseError as error:
            problems.append(str(error))
            continue
        nodes.append(result.node)
        # Its uncertainty and score are extras: what is wrong with them is told, the result stays.
        for add in (_addUncertainty, _addReview):
            try:
                add(result, job, case, grid, waiting)
            except (CaseError, ConfigError) as error:
                problems.append(str(error))
    return nodes, problems


def absentVolumes(job: ApplyFolder) -> list[str]:
    """Return the names of the job's volumes that the scene does not have."""
    return [place["name"] for place in read_json(job.path / _SCENE_FILE).values() if _volume(place) is None]


def isUnseen(job: ApplyFolder) -> bool:
    """Return whether a job has left results that were not loaded into any scene."""
    if (job.path / _SEEN_FILE).exists() or not (job.path / _SCENE_FILE).exists():
        return False
    return any(job.result_path(case).is_file() for case in job.job.cases)


def markSeen(job: ApplyFolder) -> None:
    """Note that a job's results were loaded, so that they are not offered again."""
    # A folder that cannot be written to any more offers them once more, which does no harm.
    with suppress(OSError):
        job.write_text(_SEEN_FILE, "")


def _loadResult(
    job: ApplyFolder,
    case: ApplyCase,
    volume: Any,
    grid: Grid,
    *,
    label: str,
    wholes: Mapping[str, tuple[float, float, float]],
    waiting: Waiting,
) -> Result:
    states: dict[str, str] = {}

    def arrange(segments: tuple[FileSegment, ...]) -> tuple[FileSegment, ...]:
        # Also of those that are left out: that they were looked for is what makes a case known everywhere.
        states.update({segment.name: segment.tags.get(STATE_TAG, "") for segment in segments})
        return arranged(segments, wholes)

    name = f"{volume.GetName()} {label}".strip()
    path = job.result_path(case)
    result = Result(loadSegmentation(path, volume, writtenGrid=grid, name=name, arrange=arrange, waiting=waiting))
    result.node.GetDisplayNode().SetVisibility(False)
    result.describe(job=job.job.id, model=label, states=states)
    return result


def _addUncertainty(result: Result, job: ApplyFolder, case: ApplyCase, grid: Grid, waiting: Waiting) -> None:
    path = job.uncertainty_path(case)
    if path.is_file():
        map_ = waiting.apart(partial(readUncertainty, path))
        if result.volume is not None:
            result.uncertainty = addUncertainty(map_, result.volume, job.job.id, writtenGrid=grid)


def _addReview(result: Result, job: ApplyFolder, case: ApplyCase, grid: Grid, _waiting: Waiting) -> None:
    path = job.review_path(case)
    if not path.is_file():
        return
    review = read_review(path)
    place = None
    if review.place_lps_mm is not None:
        place = toOwn(result.volume, grid) @ fromLps(review.place_lps_mm)
    result.rate(review.score, review.reason, place)


def _writtenGrid(place: Mapping[str, Any], volume: Any) -> Grid:
    """Return the grid on which a scan was written, by the voxels that it has now.

    Slicer turns the order of slices when it loads a scan again whose axes are left-handed; the voxels are where they
    were, but count the other way. A scan that was moved since is followed by its voxels.
    """
    written = Grid(np.array(place["matrix"]), tuple(place["shape"]))
    now = volumeGrid(volume)
    if "own" not in place or now.shape != written.shape:
        return written
    turned = Grid(np.array(place["own"]), written.shape).indicesIn(now)
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(written.shape[::-1]) - 1
    isFlip = np.abs(turned[:3, :3] - np.diag(np.sign(np.diag(turned)[:3]))).max() < SAME_GRID_VOXELS
    places = {tuple(np.rint(corner)) for corner in corners @ turned.T}
    if not isFlip or places != {tuple(corner) for corner in corners}:
        return written
    return Grid(written.matrix @ np.linalg.inv(np.rint(turned)), written.shape)


def _volume(place: Mapping[str, Any]) -> Any:
    node = slicer.mrmlScene.GetNodeByID(place["node"])
    if node is not None and node.GetName() == place["name"]:
        return node
    # A scene that was closed and loaded again may number its nodes differently.
    named = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == place["name"]]
    return named[0] if len(named) == 1 else None
