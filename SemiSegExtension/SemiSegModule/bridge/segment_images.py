"""Label images of segments, and segments of label images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from vtk.util.numpy_support import numpy_to_vtk

from SemiSegModule.bridge.geometry import matrixToVtk
from SemiSegModule.bridge.layers import BINARY
from SemiSegModule.bridge.segmentation_file import FileSegment


def labelImage(voxels: np.ndarray, matrix: np.ndarray) -> Any:
    """Return integer voxels (K, J, I) as a label image of segments; ``matrix`` takes indices (i, j, k) to RAS mm."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*voxels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True))
    image.SetImageToWorldMatrix(matrixToVtk(matrix))
    return image


def addSegments(node: Any, images: Sequence[Any], segments: Sequence[FileSegment]) -> None:
    """Add segments to a new segmentation node; those of one layer share its label image.

    Args:
        node: segmentation node of this module.
        images: of the layers.
        segments: which value of which layer is which segment.
    """
    for described in segments:
        segment = slicer.vtkSegment()
        segment.SetName(described.name)
        segment.SetColor(*described.color)
        for tag, text in described.tags.items():
            segment.SetTag(tag, text)
        # Segments that share one image are told apart by their label value.
        segment.AddRepresentation(BINARY, images[described.layer])
        segment.SetLabelValue(described.value)
        node.GetSegmentation().AddSegment(segment, described.id)
