"""Where the voxels of a node are: matrices in mm, and the frame in which a case is written to files.

Slicer stores a 4x4 matrix from voxel indices (i, j, k) to RAS mm per node and a chain of parent transforms. Files
hold LPS mm and axes at right angles. A *frame* is the matrix from world RAS to the coordinates that are written;
it is the identity, except where the axes of a volume are not at right angles in the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from slicer.i18n import tr as _

from SemiSegLib.cases.volume import Geometry
from SemiSegLib.errors import CaseError, explain

# Cosine between two axes up to which a grid may be straightened in silence: 0.03 mm at 300 mm from the center.
LARGEST_SHEAR = 1e-4
# Share of a voxel by which two grids may differ and still be the same grid (rule of the dataset checks).
SAME_GRID_VOXELS = 0.01
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSE_AXES = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Grid:
    """Voxels of a node or file.

    Attributes:
        matrix: (4, 4), index (i, j, k, 1) to RAS mm.
        shape: array shape (K, J, I), the reverse of Slicer's dimensions.
    """

    matrix: np.ndarray
    shape: tuple[int, int, int]

    def indicesIn(self, other: Grid) -> np.ndarray:
        """Return the (4, 4) matrix from this grid's index (i, j, k, 1) to the other grid's."""
        return np.linalg.solve(other.matrix, self.matrix)

    def moved(self, transform: np.ndarray) -> Grid:
        """Return the grid after a (4, 4) transform of RAS mm."""
        return Grid(transform @ self.matrix, self.shape)


def matrixFromVtk(matrix: Any) -> np.ndarray:
    """Return a vtkMatrix4x4 as a (4, 4) array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrixToVtk(matrix: np.ndarray) -> Any:
    """Return a (4, 4) array as a vtkMatrix4x4."""
    result = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            result.SetElement(row, column, float(matrix[row, column]))
    return result


def volumeGrid(volumeNode: Any) -> Grid:
    """Return the grid of a volume node without its parent transform.

    Raises:
        CaseError: the node holds no voxels.
    """
    image = volumeNode.GetImageData()
    if image is None or 0 in image.GetDimensions():
        raise CaseError(
            explain(
                _("the volume holds no voxels"),
                where=_("volume '{name}'").format(name=volumeNode.GetName()),
                remedy=_("load the scan again or leave this volume out"),
            )
        )
    columns, rows, slices = image.GetDimensions()
    return Grid(ownMatrix(volumeNode), (slices, rows, columns))


def ownMatrix(volumeNode: Any) -> np.ndarray:
    """Return the (4, 4) matrix of a volume node from index (i, j, k, 1) to RAS mm, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrixFromVtk(matrix)


def turnSince(before: np.ndarray, now: Grid) -> np.ndarray:
    """Return the (4, 4) matrix from an index (i, j, k, 1) of a volume as it was to that of the same voxel now.

    Slicer turns the order of slices when it loads a scan again whose axes are left-handed; the voxels are where they
    were, but count the other way. It is the identity if the grids differ in anything else.

    Args:
        before: ``ownMatrix`` of the volume then.
        now: ``volumeGrid`` of the volume.
    """
    turned = Grid(before, now.shape).indicesIn(now)
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(now.shape[::-1]) - 1
    isFlip = np.abs(turned[:3, :3] - np.diag(np.sign(np.diag(turned)[:3]))).max() < SAME_GRID_VOXELS
    places = {tuple(np.rint(corner)) for corner in corners @ turned.T}
    return np.rint(turned) if isFlip and places == {tuple(corner) for corner in corners} else np.eye(4)


def transformToWorld(node: Any) -> np.ndarray:
    """Return the (4, 4) matrix from a node's own RAS mm to world RAS mm.

    Raises:
        CaseError: a parent transform bends space, so that no matrix describes it, or the node has left the scene, and
            with it its transform.
    """
    if node.GetScene() is None:
        raise CaseError(
            explain(
                _("'{name}' is no longer in the scene").format(name=node.GetName()),
                where=_("Slicer scene"),
                remedy=_("load it again, and leave the scene as it is until everything is written"),
            )
        )
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise CaseError(
            explain(
                _("'{name}' is under the transform '{transform}', which is not linear").format(
                    name=node.GetName(), transform=parent.GetName()
                ),
                where=_("Slicer scene, Transforms module"),
                remedy=_(
                    "resample a copy with this transform (module 'Resample Scalar/Vector/DWI Volume'), draw "
                    "on the copy, and use the copy instead"
                ),
            )
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return matrixFromVtk(matrix)


def worldGrid(volumeNode: Any) -> Grid:
    """Return the grid of a volume node as the views show it, under its parent transforms.

    Raises:
        CaseError: the node holds no voxels, or a parent transform is not linear.
    """
    return volumeGrid(volumeNode).moved(transformToWorld(volumeNode))


def shear(matrix: np.ndarray) -> float:
    """Return the largest cosine between two of the three axes of a matrix; 0 if all are at right angles."""
    directions = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def straightened(grid: Grid) -> Grid:
    """Return the grid with axes at right angles, as ITK's files demand it.

    The nearest rotation takes the place of the directions (polar decomposition); spacing and the place of the
    volume's center are kept. Rounding in a matrix is mended likewise, so a grid that is straight is returned as is
    up to 1e-12.
    """
    spacing = np.linalg.norm(grid.matrix[:3, :3], axis=0)
    left, _scale, right = np.linalg.svd(grid.matrix[:3, :3] / spacing)
    straight = np.eye(4)
    straight[:3, :3] = (left @ right) * spacing
    center = np.append((np.array(grid.shape[::-1]) - 1) / 2, 1.0)
    straight[:3, 3] = (grid.matrix @ center - straight @ center)[:3]
    return Grid(straight, grid.shape)


def straightFrame(grid: Grid) -> np.ndarray:
    """Return the (4, 4) frame in which a world grid has axes at right angles: the identity if they are already.

    No voxel is interpolated: labels follow the voxels of their scan, and results come back through the inverse.
    """
    if shear(grid.matrix) <= LARGEST_SHEAR:
        return np.eye(4)
    return straightened(grid).matrix @ np.linalg.inv(grid.matrix)


def toGeometry(grid: Grid) -> Geometry:
    """Return a grid as files know it: array index (k, j, i) to LPS mm."""
    return Geometry(grid.shape, _RAS_TO_LPS @ grid.matrix @ _REVERSE_AXES)


def fromGeometry(geometry: Geometry) -> Grid:
    """Return the grid of a file: index (i, j, k) to RAS mm."""
    return Grid(_RAS_TO_LPS @ geometry.affine @ _REVERSE_AXES, geometry.shape)


def fromLps(place: Sequence[float]) -> np.ndarray:
    """Return a place in LPS mm, as files hold it, as (x, y, z, 1) in RAS mm."""
    return _RAS_TO_LPS @ np.append(np.asarray(place, dtype=float), 1.0)


def isSameGrid(first: Grid, second: Grid) -> bool:
    """Return whether two grids have the same voxels, up to ``SAME_GRID_VOXELS``."""
    return first.shape == second.shape and displacementVoxels(first, second) <= SAME_GRID_VOXELS


def displacementVoxels(first: Grid, second: Grid) -> float:
    """Return how far the corners of one grid lie from those of another of the same shape, in voxels."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(first.shape[::-1]) - 1
    moved = corners @ first.indicesIn(second).T
    return float(np.abs(moved - corners)[:, :3].max())
