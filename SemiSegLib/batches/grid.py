"""The way from a scan's own grid to the plan's grid and exactly back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from SemiSegLib.cases.orientation import Orientation, closest_orientation
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.planning.plan import Plan

# Along an axis this much thicker than the finest one, neighboring slices show different anatomy: a value between two
# of them is no anatomy at all, so the nearest is taken (nnU-Net's rule and number).
THICK = 3.0


@dataclass(frozen=True)
class PlanGrid:
    """Where the voxels of a prepared array come from.

    Plan axes are the canonical axes in the plan's order. The plan grid covers the same block of space as the scan, so
    its spacing differs from the plan's by less than half a voxel over the whole block.

    Attributes:
        source: the scan's grid.
        orientation: from the scan's axes to the canonical ones.
        axis_order: for each plan axis the canonical axis it is.
        native_shape: the scan's voxels along the plan axes, before resampling.
        shape: the prepared voxels along the plan axes.
        nearest: plan axes along which the nearest slice is taken instead of an interpolated one.
    """

    source: Geometry
    orientation: Orientation
    axis_order: tuple[int, int, int]
    native_shape: tuple[int, int, int]
    shape: tuple[int, int, int]
    nearest: tuple[bool, bool, bool]

    @classmethod
    def of(cls, geometry: Geometry, plan: Plan) -> PlanGrid:
        """Return the plan's grid for a scan."""
        orientation = closest_orientation(geometry)
        canonical = orientation.apply_geometry(geometry)
        native = _three([canonical.shape[axis] for axis in plan.axis_order])
        spacing = np.array([canonical.spacing_mm[axis] for axis in plan.axis_order])
        wanted = np.where(np.array(plan.spacing_mm) > 0, plan.spacing_mm, spacing)
        shape = _three([max(1, round(float(n))) for n in np.array(native) * spacing / wanted])
        d, h, w = _is_thick(spacing) | _is_thick(wanted)
        return cls(geometry, orientation, plan.axis_order, native, shape, (bool(d), bool(h), bool(w)))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the prepared voxels along the plan axes."""
        canonical = self.orientation.apply_geometry(self.source).spacing_mm
        d, h, w = (
            canonical[axis] * native / prepared
            for axis, native, prepared in zip(self.axis_order, self.native_shape, self.shape, strict=True)
        )
        return d, h, w

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Return an array (*, D, H, W) of the scan's grid along the plan axes, not resampled."""
        canonical = self.orientation.apply(array)
        lead = array.ndim - 3
        return np.ascontiguousarray(canonical.transpose(*range(lead), *(lead + axis for axis in self.axis_order)))

    def resample_image(self, image: np.ndarray) -> np.ndarray:
        """Return (D, H, W) float32 on the plan grid: cubic, widened where voxels get coarser."""
        return resample(image, self.shape, kind="cubic", nearest=self.nearest)

    def resample_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return (D, H, W) uint8 on the plan grid: of the codes around a voxel the one with most linear weight."""
        return resample_codes(codes, self.shape, nearest=self.nearest)

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Return (L, D, H, W) float32 on the scan's grid for an array of the plan grid, linearly interpolated.

        Without resampling this is exact. Values that sum to 1 over L still do.
        """
        if self.shape != self.native_shape:
            array = np.stack([resample(a, self.native_shape, kind="linear", nearest=self.nearest) for a in array])
        return self._turn_back(array)

    def restore_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return (D, H, W) on the scan's grid for integers of the plan grid, as ``resample_codes`` chooses them."""
        if self.shape != self.native_shape:
            labels = resample_codes(labels, self.native_shape, nearest=self.nearest)
        return self._turn_back(labels)

    def restore_nearest(self, labels: np.ndarray) -> np.ndarray:
        """Return (D, H, W) on the scan's grid for integers of the plan grid, the nearest each: quick, for a look."""
        for axis, (size, native) in enumerate(zip(self.shape, self.native_shape, strict=True)):
            if size != native:
                places = np.minimum((np.arange(native) + 0.5) * size / native, size - 1).astype(int)
                # Axis by axis this copies runs of voxels, three times faster than an index of three axes.
                labels = labels.take(places, axis=axis)
        return self._turn_back(labels)

    def _turn_back(self, array: np.ndarray) -> np.ndarray:
        lead = array.ndim - 3
        back = np.argsort(self.axis_order)
        return self.orientation.undo(array.transpose(*range(lead), *(lead + int(axis) for axis in back)))


def is_square(spacing_mm: Sequence[float], plane: tuple[int, int] = (-2, -1)) -> bool:
    """Return whether voxels are as long along the one axis of a plane as along the other, so that it can be turned.

    But for the rounding of headers.

    Args:
        spacing_mm: along each axis.
        plane: the two axes.
    """
    first, second = (spacing_mm[axis] for axis in plane)
    return bool(np.isclose(first, second, rtol=0.01))


def resample(array: np.ndarray, shape: Sequence[int], *, kind: str, nearest: Sequence[bool]) -> np.ndarray:
    """Return an array on another number of voxels over the same block of space.

    Each axis is resampled by itself. Outside the block the edge voxel is repeated. Where voxels get coarser the
    kernel is widened by the same factor, so that fine texture is averaged instead of sampled.

    Args:
        array: (D, H, W), any numeric type.
        shape: wanted voxels along each axis.
        kind: "cubic" (Keys 1981, a = -0.5) or "linear".
        nearest: axes along which the nearest voxel is taken.

    Returns:
        float32 array of ``shape``.
    """
    result: np.ndarray = np.asarray(array, dtype=np.float32)
    # Axes that shrink most come first: the later ones have less to do.
    for axis in sorted(range(3), key=lambda a: shape[a] / array.shape[a]):
        if result.shape[axis] == shape[axis]:
            continue
        weights = _weights(result.shape[axis], shape[axis], kind="nearest" if nearest[axis] else kind)
        moved = np.moveaxis(result, axis, 0)
        product = weights @ np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        result = np.moveaxis(product.reshape(shape[axis], *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


def resample_codes(codes: np.ndarray, shape: Sequence[int], *, nearest: Sequence[bool]) -> np.ndarray:
    """Return integers on another number of voxels: each becomes the value with most linear weight around it.

    Values are never averaged, so no label set appears that was not drawn. Ties go to the smaller value, which makes
    "anything" (0) win them.
    """
    if tuple(codes.shape) == tuple(shape):
        return codes
    result = np.zeros(tuple(shape), dtype=codes.dtype)
    best = np.full(tuple(shape), -1.0, dtype=np.float32)
    for value in np.unique(codes):
        weight = resample(codes == value, shape, kind="linear", nearest=nearest)
        # Sums of float32 weights differ in the last bits with their order: a tie must not hang on those.
        wins = weight > best + 1e-5
        result[wins] = value
        best[wins] = weight[wins]
    return result


def _weights(size: int, wanted: int, *, kind: str) -> csr_matrix:
    """Return the (wanted, size) matrix that resamples one axis, rows summing to 1."""
    scale = size / wanted
    centers = (np.arange(wanted) + 0.5) * scale - 0.5
    if kind == "nearest":
        columns = np.clip(np.floor(centers + 0.5).astype(int), 0, size - 1)[:, None]
        values = np.ones_like(columns, dtype=np.float64)
    else:
        width = max(1.0, scale)
        reach = (2 if kind == "cubic" else 1) * width
        taps = int(np.ceil(2 * reach)) + 1
        columns = np.floor(centers - reach).astype(int)[:, None] + 1 + np.arange(taps)
        values = _KERNELS[kind](np.abs(columns - centers[:, None]) / width)
        values /= values.sum(axis=1, keepdims=True)
        columns = np.clip(columns, 0, size - 1)
    rows = np.repeat(np.arange(wanted), columns.shape[1])
    return csr_matrix((values.ravel().astype(np.float32), (rows, columns.ravel())), shape=(wanted, size))


def _cubic(distance: np.ndarray) -> np.ndarray:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    kernel: np.ndarray = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return kernel


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - distance)


_KERNELS = {"cubic": _cubic, "linear": _linear}


def _is_thick(spacing_mm: np.ndarray) -> np.ndarray:
    thick: np.ndarray = spacing_mm > THICK * spacing_mm.min()
    return thick


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    d, h, w = (int(v) for v in values)
    return d, h, w
