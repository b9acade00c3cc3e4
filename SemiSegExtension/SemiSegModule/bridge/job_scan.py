"""A scan as it was when a job got it, found again in the scene by its voxels.

Names and node IDs come again: the scan of the next patient, loaded into a new scene by the same protocol, has those of
the last one. The job's copy of a scan is named by a digest of its voxels, and that decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import slicer

from SemiSegLib.runs.apply_folder import ApplyCase
from SemiSegModule.bridge.geometry import Grid, ownMatrix, turnSince, volumeGrid
from SemiSegModule.bridge.images import digestOf, voxelsOf
from SemiSegModule.waiting import Waiting

# Modification time of the voxels, turns of their axes and digest that they should have, to whether they have it.
_known: dict[tuple[int, bytes, str], bool] = {}


@dataclass(frozen=True)
class JobScan:
    """A scan as it was when it was written for a job; of several channels the first, beside which results lie.

    Attributes:
        name: of its volume node.
        nodeId: of that node.
        written: grid of the file.
        own: (4, 4), index to RAS mm of the node without its transform; None in jobs of an early version.
        digest: of the voxels and the grid in the file.
    """

    name: str
    nodeId: str
    written: Grid
    own: np.ndarray | None
    digest: str

    @classmethod
    def of(cls, case: ApplyCase, place: Mapping[str, Any]) -> JobScan:
        """Return the scan of a case by what ``asPlace`` gave."""
        file = next(iter(case.images.values()))
        return cls(
            name=place["name"],
            nodeId=place["node"],
            written=Grid(np.array(place["matrix"]), tuple(place["shape"])),
            own=np.array(place["own"]) if "own" in place else None,
            digest=file.removesuffix(".nrrd").rpartition("_")[2],
        )

    def find(self, waiting: Waiting) -> Any:
        """Return the volume of the scene that has the scan's voxels, or None; its name or node ID is the scan's.

        Args:
            waiting: has the voxels of candidates read apart from the scene.
        """
        return next((node for node in self._namesakes() if self._fits(node, waiting)), None)

    @property
    def hasNamesake(self) -> bool:
        """Whether the scene has a volume with the scan's name or node ID."""
        return bool(self._namesakes())

    def gridIn(self, volume: Any) -> Grid:
        """Return the grid on which the scan was written, by the voxels as the volume counts them now.

        A scan that was moved since is followed by its voxels.
        """
        return Grid(self.written.matrix @ np.linalg.inv(self._turn(volume)), self.written.shape)

    def _namesakes(self) -> list[Any]:
        nodes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if self.name == node.GetName() or self.nodeId == node.GetID()
        ]
        return sorted(nodes, key=lambda node: node.GetID() != self.nodeId)

    def _fits(self, node: Any, waiting: Waiting) -> bool:
        image = node.GetImageData()
        isScalar = image is not None and image.GetNumberOfScalarComponents() == 1
        if not isScalar or node.IsA("vtkMRMLLabelMapVolumeNode") or image.GetDimensions()[::-1] != self.written.shape:
            return False
        # Along (k, j, i), as arrays are.
        turns = np.diag(self._turn(node))[2::-1].astype(int)
        key = (int(image.GetMTime()), turns.tobytes(), self.digest)
        if key not in _known:
            asWritten = voxelsOf(node)[tuple(slice(None, None, int(step)) for step in turns)]
            _known[key] = waiting.apart(partial(digestOf, asWritten, self.written)) == self.digest
        # Somebody may have closed the scene meanwhile.
        return _known[key] and node.GetScene() is not None

    def _turn(self, volume: Any) -> np.ndarray:
        """Return the (4, 4) matrix from an index (i, j, k, 1) then to that of the same voxel now."""
        now = volumeGrid(volume)
        if self.own is None or now.shape != self.written.shape:
            return np.eye(4)
        return turnSince(self.own, now)


def asPlace(node: Any, written: Grid) -> dict[str, Any]:
    """Return what a job notes of a scan beside its file: the node, the grid of the file and the node's own matrix."""
    return {
        "node": node.GetID(),
        "name": node.GetName(),
        "matrix": written.matrix.tolist(),
        "shape": list(written.shape),
        "own": ownMatrix(node).tolist(),
    }
