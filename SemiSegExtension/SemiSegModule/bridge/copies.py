"""Copies of voxels, made part by part before a case is read as it is at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

# Copied in one turn of Slicer's event loop: a few hundredths of a second where memory is slow to come.
_TURN_BYTES = 1 << 24


class VoxelCopies:
    """Voxels of images as they were copied, kept as long as the images stay as they are.

    The copy of a large image takes tenths of a second: whoever must answer meanwhile has all images prepared, and
    reads them at one moment afterwards, when only those that have changed since are copied again.
    """

    def __init__(self) -> None:
        # Images cannot be keys. One wrapper stands for one image as long as it is held, which this does.
        self._kept: dict[int, tuple[Any, int, np.ndarray]] = {}

    def prepare(self, image: Any, answer: Callable[[], None]) -> None:
        """Copy the voxels of an image part by part; one that changes meanwhile is left to ``of``.

        Args:
            image: of one component.
            answer: called before each part; may raise what ends the copying.
        """
        moment, copied = int(image.GetMTime()), np.empty_like(imageVoxels(image))
        thickness = max(1, _TURN_BYTES // copied[0].nbytes)
        for start in range(0, len(copied), thickness):
            answer()
            if image.GetMTime() != moment:
                return
            _copy(image, copied, slice(start, start + thickness))
        self._kept[id(image)] = (image, moment, copied)

    def of(self, image: Any) -> np.ndarray:
        """Return a copy of the voxels of an image of one component, (K, J, I)."""
        moment = int(image.GetMTime())
        known = self._kept.get(id(image))
        if known is None or known[1] != moment:
            copied = np.empty_like(imageVoxels(image))
            _copy(image, copied, slice(None))
            known = self._kept[id(image)] = (image, moment, copied)
        return known[2]


def _copy(image: Any, target: np.ndarray, part: slice) -> None:
    # The image is asked anew for its voxels each time: others may have given it other memory since.
    target[part] = imageVoxels(image)[part]


def imageVoxels(image: Any) -> np.ndarray:
    """Return the voxels of an image of one component, (K, J, I), without a copy."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
