"""A scan of a study, found again in the scene by its voxels.

Names and node IDs come again with the next patient, and a scan may have been renamed or moved since its training began:
what the study's file holds decides. Slicer turns the order of slices when it loads a scan again whose axes are
left-handed, so the voxels may count the other way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.dataset import frame_of
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import read_volume
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.geometry import Grid, fromGeometry
from SemiSegModule.bridge.images import voxelsOf
from SemiSegModule.bridge.pairing import scalarVolumes
from SemiSegModule.waiting import Waiting

# Along (k, j, i): as they are first, for a scan that is the same from both ends.
_TURNS = tuple(product((1, -1), repeat=3))
# File and its change, and the moment of a volume's voxels, to the turns that make them one; None if nothing does.
_known: dict[tuple[str, int, int], tuple[int, ...] | None] = {}


@dataclass(frozen=True)
class FoundScan:
    """A volume of the scene that has the voxels of a study's scan.

    Attributes:
        volume: its node.
        written: grid of the file, by the voxels as the volume counts them.
    """

    volume: Any
    written: Grid


@dataclass(frozen=True)
class _StudyFile:
    path: Path
    moment: tuple[str, int]
    grid: Grid
    voxels: np.ndarray


def findScan(dataset: Path, case: str, waiting: Waiting) -> FoundScan | None:
    """Return the volume that has the voxels of a case's first channel, one of the case's name first; None if none has.

    Args:
        dataset: folder or file of the dataset.
        case: id of the case in it.
        waiting: has files read and voxels compared apart from the scene.

    Raises:
        CaseError: the dataset has no such case, its file cannot be read, or a volume of the case's name has other
            voxels.
        ConfigError: the dataset's file is damaged.
    """
    file = waiting.apart(partial(_read, dataset, case))
    namesakes = [node for node in scalarVolumes() if node.GetName() == case]
    for node in sorted(scalarVolumes(), key=lambda node: node.GetName() != case):
        # Others may have been removed while the last one was compared.
        turns = _turns(node, file, waiting) if node.GetScene() is not None else None
        if turns is not None and node.GetScene() is not None:
            return FoundScan(node, _turned(file.grid, turns))
    if namesakes:
        raise CaseError(
            explain(
                _("there is a scan of the name '{name}', but it is another one, or its voxels were changed").format(
                    name=case
                ),
                where=str(file.path),
                remedy=_("load the scan of the training to see what is predicted for it"),
            )
        )
    return None


def _read(dataset: Path, case: str) -> _StudyFile:
    study = load_dataset(dataset)
    reference = study.case(case).images[study.channels[0]]
    path = study.path(reference)
    volume = read_volume(path, frame=frame_of(reference))
    moment = (f"{study.root}/{reference}", path.stat().st_mtime_ns)
    return _StudyFile(path, moment, fromGeometry(volume.geometry), volume.voxels)


def _turns(node: Any, file: _StudyFile, waiting: Waiting) -> tuple[int, ...] | None:
    image = node.GetImageData()
    isScalar = image is not None and image.GetNumberOfScalarComponents() == 1
    if not isScalar or image.GetDimensions()[::-1] != file.voxels.shape:
        return None
    key = (*file.moment, int(image.GetMTime()))
    if key not in _known:
        _known[key] = waiting.apart(partial(_compare, voxelsOf(node), file.voxels))
    return _known[key]


def _compare(voxels: np.ndarray, stored: np.ndarray) -> tuple[int, ...] | None:
    """Return how voxels (K, J, I) must be turned to be the stored ones, or None."""
    for turns in _TURNS:
        turned = voxels[tuple(slice(None, None, turn) for turn in turns)]
        # The first slice tells most pairs apart.
        if all(np.array_equal(turned[part], stored[part], equal_nan=True) for part in (slice(1), slice(None))):
            return turns
    return None


def _turned(grid: Grid, turns: tuple[int, ...]) -> Grid:
    """Return the same places, counted from the other end along the axes that are turned."""
    turn = np.diag([*turns[::-1], 1]).astype(float)
    turn[:3, 3] = [(size - 1) * (step < 0) for size, step in zip(grid.shape[::-1], turns[::-1], strict=True)]
    return Grid(grid.matrix @ turn, grid.shape)
