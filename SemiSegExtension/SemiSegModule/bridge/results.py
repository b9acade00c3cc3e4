"""Scans of the scene to a job that applies a model, and its results back beside the scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder, ApplyRequest
from SemiSegModule.bridge.geometry import Grid
from SemiSegModule.bridge.images import readScan, writeScan, writingTo
from SemiSegModule.bridge.segmentation_import import loadSegmentation
from SemiSegModule.waiting import Waiting

# Attribute of every segmentation that a model made: such a node is never taken for labels by itself.
RESULT_ATTRIBUTE = "SemiSeg.Result"
_SCENE_FILE = "scene.json"


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
        places[caseId] = {**place, "matrix": scan.grid.matrix.tolist(), "shape": list(scan.grid.shape)}
    request = ApplyRequest(model=str(model), cases=tuple(files), device=device, uncertainty=uncertainty)
    with writingTo(Path(parent)):
        job = ApplyFolder.create_job(parent, request)
        write_json(job.path / _SCENE_FILE, places)
    return job


def loadResults(job: ApplyFolder, *, label: str = "") -> tuple[list[Any], list[str]]:
    """Return new segmentation nodes for the results that a job has written, and what could not be placed.

    Args:
        job: finished or stopped; scans without a result are passed over.
        label: added to the volume's name to name each node.
    """
    nodes, problems = [], []
    places = read_json(job.path / _SCENE_FILE)
    for case in job.job.cases:
        path = job.result_path(case)
        if not path.is_file():
            continue
        place = places[case.id]
        volume = _volume(place)
        if volume is None:
            problems.append(f"the volume '{place['name']}' is no longer in the scene; its result is {path}")
            continue
        grid = Grid(np.array(place["matrix"]), tuple(place["shape"]))
        try:
            node = loadSegmentation(path, volume, writtenGrid=grid, name=f"{volume.GetName()} {label}".strip())
        except CaseError as error:
            problems.append(str(error))
            continue
        node.SetAttribute(RESULT_ATTRIBUTE, job.job.id)
        nodes.append(node)
    return nodes, problems


def _volume(place: Mapping[str, Any]) -> Any:
    node = slicer.mrmlScene.GetNodeByID(place["node"])
    if node is not None and node.GetName() == place["name"]:
        return node
    # A scene that was closed and loaded again may number its nodes differently.
    named = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == place["name"]]
    return named[0] if len(named) == 1 else None
