"""From scalar volume nodes to image files that never change once written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform
from slicer.i18n import tr as _

from SemiSegLib.cases.checks import Finding
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.copies import VoxelCopies, imageVoxels
from SemiSegModule.bridge.geometry import (
    Grid,
    isSameGrid,
    straightened,
    straightFrame,
    toGeometry,
    worldGrid,
)
from SemiSegModule.bridge.scene_case import safeFileName
from SemiSegModule.waiting import Waiting


@dataclass(frozen=True)
class Channel:
    """One volume as it was when it was read.

    Attributes:
        voxels: (K, J, I), a copy.
        grid: where they are, in the frame of the case.
        name: of the volume node, for messages.
    """

    voxels: np.ndarray
    grid: Grid
    name: str


@dataclass(frozen=True)
class Scan:
    """The volumes of a case as they were when they were read: the scene may change while they are written.

    Attributes:
        channels: role to volume.
        grid: on which the case is written.
    """

    channels: Mapping[str, Channel]
    grid: Grid


def voxelsOf(volumeNode: Any) -> np.ndarray:
    """Return the voxels of a scalar volume node as a (K, J, I) view that must not be written to.

    Raises:
        CaseError: the node holds several components per voxel, or is a label map.
    """
    return imageVoxels(_scalarImage(volumeNode))


def _scalarImage(volumeNode: Any) -> Any:
    image = volumeNode.GetImageData()
    components = image.GetNumberOfScalarComponents()
    if components != 1 or volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        several = _("it has {count} components per voxel").format(count=components)
        what = _("it is a label map") if components == 1 else several
        raise CaseError(
            explain(
                _("the volume is not a scalar image: {what}").format(what=what),
                where=_("volume '{name}'").format(name=volumeNode.GetName()),
                remedy=_("import a label map into a segmentation; split a color or 4-D image into scalar volumes"),
            )
        )
    return image


def caseGrid(volumes: Mapping[str, Any]) -> tuple[Grid, np.ndarray]:
    """Return the grid on which a case is written, and its frame (world RAS to written RAS).

    The grid is that of the first channel in the world, with axes at right angles.

    Raises:
        CaseError: the volume is empty or under a transform that is not linear.
    """
    grid = worldGrid(next(iter(volumes.values())))
    frame = straightFrame(grid)
    return straightened(grid.moved(frame)), frame


def copyChannels(volumes: Mapping[str, Any], copies: VoxelCopies, waiting: Waiting) -> None:
    """Copy the voxels of the channels of a case, a part of one in a turn of Slicer's event loop; nodes are only read.

    Args:
        volumes: channel role to volume node.
        copies: keeps what was copied.
        waiting: lets Slicer answer before each.

    Raises:
        CaseError: see ``caseGrid`` and ``voxelsOf``.
    """
    for node in volumes.values():
        # Somebody may have removed it: then its voxels are not worth a copy.
        worldGrid(node)
        copies.prepare(_scalarImage(node), partial(_answer, waiting, node))


def _answer(waiting: Waiting, volumeNode: Any) -> None:
    waiting.answer()
    worldGrid(volumeNode)


def readScan(volumes: Mapping[str, Any], copies: VoxelCopies) -> Scan:
    """Return copies of the channels of a case and where they are; nodes are only read.

    Args:
        volumes: channel role to volume node.
        copies: channels that were copied already; the others are copied now.

    Raises:
        CaseError: see ``caseGrid`` and ``voxelsOf``.
    """
    grid, frame = caseGrid(volumes)
    channels = {
        role: Channel(copies.of(_scalarImage(node)), worldGrid(node).moved(frame), node.GetName())
        for role, node in volumes.items()
    }
    return Scan(channels, grid)


def writeScan(scan: Scan, caseId: str, folder: Path) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Write one file per channel, all on the grid of the first; touches no node.

    Returns:
        Channel role to file name, and a note for every channel that had another grid and was brought to the first
        one's by linear interpolation.

    Raises:
        CaseError: a file cannot be written.
    """
    names, findings = {}, []
    for number, (role, channel) in enumerate(scan.channels.items()):
        voxels = channel.voxels
        # The grid is that of the first: its voxels stay as they are, and by them a result finds its scan again.
        if number and not isSameGrid(channel.grid, scan.grid):
            voxels = _resampled(voxels, channel.grid, scan.grid)
            findings.append(_resamplingNote(caseId, role, channel.name))
        names[role] = writeOnce(folder, f"{safeFileName(caseId)}_{safeFileName(role)}", voxels, scan.grid)
    return names, tuple(findings)


def _resampled(voxels: np.ndarray, own: Grid, grid: Grid) -> np.ndarray:
    """Return float32 voxels on another grid; outside the image its lowest value."""
    toOwn = grid.indicesIn(own)
    return affine_transform(
        voxels.astype(np.float32),
        # scipy works in array order: reverse rows and columns of the index matrix.
        toOwn[2::-1, 2::-1],
        toOwn[2::-1, 3],
        grid.shape,
        order=1,
        mode="constant",
        cval=float(voxels.min()),
    )


def _resamplingNote(caseId: str, role: str, volumeName: str) -> Finding:
    return Finding(
        case=caseId,
        code="resampled",
        severity="note",
        what=_("channel '{role}' has another grid than the first one and was brought to it (linear)").format(role=role),
        where=_("volume '{name}'").format(name=volumeName),
        remedy=_("nothing to do if both volumes show the same place in the views"),
    )


def writeOnce(folder: Path, stem: str, voxels: np.ndarray, grid: Grid) -> str:
    """Write voxels under a name that holds their content's hash, unless the file is there; return the name.

    A training that reads the file is never disturbed by a later export, and an export that changes one label
    writes one file.

    Raises:
        CaseError: the file cannot be written.
    """
    path = Path(folder) / f"{stem}_{digestOf(voxels, grid)}.nrrd"
    if not path.exists():
        with writingTo(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(Volume(voxels, toGeometry(grid)), path)
    return path.name


def digestOf(voxels: np.ndarray, grid: Grid) -> str:
    """Return what tells voxels on a grid from any others; the name of a file of ``writeOnce`` ends in it."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((voxels.shape, voxels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(grid.matrix).tobytes())
    digest.update(np.ascontiguousarray(voxels).data)
    return digest.hexdigest()


@contextmanager
def writingTo(folder: Path) -> Iterator[None]:
    """Give what keeps a file from being written a text that says what to do.

    Raises:
        CaseError: in the place of the errors of the file system and of ITK.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # ITK's errors are RuntimeErrors of several lines, with the reason in the last.
        reason = getattr(error, "strerror", None) or str(error).strip().rpartition("\n")[2]
        raise CaseError(
            explain(
                _("a file cannot be written: {reason}").format(reason=reason),
                where=str(folder),
                remedy=_(
                    "check that this can be a folder, that you may write to it and that its disk has space "
                    "left, or choose another study folder"
                ),
            )
        ) from error
