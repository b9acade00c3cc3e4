"""Voxels with their place in space: read, write, compare and resample, in array order and LPS millimeters."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SemiSegLib.cases.detached import data_files
from SemiSegLib.cases.file_error import FileError, in_voxels
from SemiSegLib.cases.itk_files import read_with_itk, write_with_itk
from SemiSegLib.cases.nifti import is_nifti, largest_cosine, read_header, read_nifti
from SemiSegLib.config import replace_file
from SemiSegLib.errors import CaseError, explain

# Cosine between two image axes above which a file is refused instead of being read with right angles.
LARGEST_SHEAR = 1e-3
# Label values are stored in at most two bytes by every tool that writes them; more is another kind of image.
LARGEST_LABEL = 65535


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume.

    Attributes:
        shape: voxels along the array axes (D, H, W), which are (k, j, i) of the file.
        affine: (4, 4) float64, maps the array index (d, h, w, 1) of a voxel's center to LPS millimeters.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.affine, other.affine))

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Geometry:
        """Return the grid of a 3-D SimpleITK image."""
        axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine = np.eye(4)
        affine[:3, :3] = axes[:, ::-1]
        affine[:3, 3] = image.GetOrigin()
        i, j, k = image.GetSize()
        return cls((k, j, i), affine)

    def to_sitk_meta(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Return spacing (i, j, k), origin (LPS mm) and direction (9 values, rows) as SimpleITK takes them."""
        direction = self.direction[:, ::-1]
        return (
            tuple(float(s) for s in self.spacing_mm[::-1]),
            tuple(float(v) for v in self.affine[:3, 3]),
            tuple(float(v) for v in direction.flatten()),
        )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighboring voxel centers along the array axes, each above 0."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    @property
    def direction(self) -> np.ndarray:
        """(3, 3): the unit vector of each array axis, as columns, in LPS."""
        unit: np.ndarray = self.affine[:3, :3] / np.array(self.spacing_mm)
        return unit

    def displacement_mm(self, other: Geometry) -> float:
        """Return the largest distance between corresponding corners of two grids of one shape.

        Corners are those of the voxel block, half a voxel outside the outer centers, so that a thin slab
        whose spacing differs is seen too. Grids of different shape have no corresponding corners: infinity.
        """
        if self.shape != other.shape:
            return float("inf")
        index = np.array(list(product(*((-0.5, n - 0.5) for n in self.shape))), dtype=np.float64)
        difference = np.c_[index, np.ones(8)] @ (self.affine - other.affine).T
        return float(np.linalg.norm(difference[:, :3], axis=1).max())

    def displacement_voxels(self, other: Geometry) -> float:
        """Return ``displacement_mm`` in units of this grid's smallest spacing."""
        return self.displacement_mm(other) / min(self.spacing_mm)


@dataclass(frozen=True)
class Volume:
    """An image on a grid.

    Attributes:
        voxels: (D, H, W) in any numeric type.
        geometry: its grid, of the same shape.
    """

    voxels: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if tuple(self.voxels.shape) != self.geometry.shape:
            raise CaseError(
                explain(
                    f"voxels of shape {self.voxels.shape} on a grid of shape {self.geometry.shape}",
                    where="volume",
                    remedy="pass the geometry that belongs to these voxels",
                )
            )

    def to_sitk(self) -> sitk.Image:
        """Return a SimpleITK image; bool becomes uint8 and float16 float32, which ITK does not know."""
        known = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}
        voxels = self.voxels.astype(known.get(self.voxels.dtype, self.voxels.dtype), copy=False)
        image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
        spacing, origin, direction = self.geometry.to_sitk_meta()
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
        return image


def read_volume(path: Path, *, frame: int | None = None) -> Volume:
    """Return a scalar image as stored, with its native type.

    A 2-D file becomes a volume of one slice; a 4-D file of one frame is that frame.

    Args:
        path: any format SimpleITK reads (NIfTI, NRRD, MetaImage, PNG and others).
        frame: the frame to take of a 4-D file, or None if the file must hold one.

    Raises:
        CaseError: the file is missing or damaged, holds colors or several frames, or its axes are not at right
            angles.
    """
    return to_volume(read_image(path), path, frame=frame)


def to_volume(image: sitk.Image, path: Path, *, frame: int | None = None) -> Volume:
    """Return one frame of an image that was read from ``path``; see ``read_volume``."""
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise FileError(
            "colors",
            f"a voxel holds a {image.GetPixelIDTypeAsString()} of {image.GetNumberOfComponentsPerPixel()} components, "
            "expected one number",
            path=path,
            remedy="save each color or component as an image of its own and name each as a channel",
        )
    image = _to_three_dimensions(image, path, frame)
    return Volume(sitk.GetArrayFromImage(image), Geometry.from_sitk(image))


def read_labels(path: Path, *, frame: int | None = None) -> Volume:
    """Return a label image as integers.

    Values that a file stores as floating point are accepted when they are whole numbers.

    Args:
        path: as ``read_volume``.
        frame: the frame to take of a 4-D file, or None if the file must hold one.

    Raises:
        CaseError: as ``read_volume``, or a value is not a whole number, negative or above 65535.
    """
    volume = read_volume(path, frame=frame)
    voxels = volume.voxels
    if voxels.dtype.kind == "f":
        broken = ~np.isfinite(voxels) | (voxels != np.round(voxels))
        if broken.any():
            raise _value_error("not_integer", "is not a whole number", voxels, broken, path)
    if voxels.min() < 0 or voxels.max() > LARGEST_LABEL:
        wrong = (voxels < 0) | (voxels > LARGEST_LABEL)
        raise _value_error("value_range", f"is not between 0 and {LARGEST_LABEL}", voxels, wrong, path)
    kind = np.uint16 if voxels.dtype.kind == "f" or voxels.dtype.itemsize > 2 else voxels.dtype
    return Volume(voxels.astype(kind, copy=False), volume.geometry)


def write_volume(volume: Volume, path: Path) -> None:
    """Write an image compressed, under a temporary name first, so that no reader sees half of it."""
    with _atomic(Path(path)) as temporary:
        write_with_itk(volume.to_sitk(), temporary)


def resample_to(volume: Volume, geometry: Geometry, *, linear: bool, fill: float = 0) -> Volume:
    """Return a volume on another grid.

    Args:
        volume: what to resample.
        geometry: the grid to fill.
        linear: linear interpolation (the result is float32), or the nearest voxel (the type is kept).
        fill: value of voxels whose center lies outside the volume.
    """
    image = volume.to_sitk()
    if linear:
        image = sitk.Cast(image, sitk.sitkFloat32)
    spacing, origin, direction = geometry.to_sitk_meta()
    resampled = sitk.Resample(
        image,
        tuple(reversed(geometry.shape)),
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.sitkLinear if linear else sitk.sitkNearestNeighbor,
        origin,
        spacing,
        direction,
        fill,
    )
    return Volume(sitk.GetArrayFromImage(resampled), geometry)


def read_image(path: Path) -> sitk.Image:
    """Return a file as SimpleITK reads it, colors, frames and metadata included.

    Raises:
        CaseError: the file is missing or damaged, its axes are not at right angles, or its voxels lie in files that
            are missing or outside its folder.
    """
    path = Path(path)
    if not path.is_file():
        remedy = "check the path and the spelling of the name"
        raise FileError("missing_file", "the file does not exist", path=path, remedy=remedy)
    # Only what can be followed is read: prepared cases are found again by the bytes of all these files.
    data_files(path)
    header = read_header(path) if is_nifti(path) else None
    try:
        if header is not None:
            _require_right_angles(header.shear, path)
            return read_nifti(path, header)
        image = read_with_itk(path)
    except RuntimeError as error:
        # ITK ends some reports with the text of an unrelated errno.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = [line for line in lines if not line.startswith("Reason:")][-1]
        if "Unable to determine ImageIO" in reason:
            reason = "it is in no image format that is known"
        raise FileError(
            "unreadable",
            f"the file cannot be read: {reason[:200]}",
            path=path,
            remedy="it may be cut short or not an image: copy it again from its source and open it in a viewer",
        ) from error
    # ITK refuses such a NIfTI file itself, but neither an NRRD nor a MetaImage file.
    count = image.GetDimension()
    axes = np.array(image.GetDirection()).reshape(count, count)[:3, :3]
    _require_right_angles(largest_cosine(axes), path)
    return image


def _require_right_angles(cosine: float, path: Path) -> None:
    if cosine > LARGEST_SHEAR:
        raise FileError(
            "sheared",
            f"the image axes are not at right angles (cosine {cosine:.2g}), as after a gantry tilt or an "
            "affine registration",
            path=path,
            remedy="resample the image to a right-angled grid, for example with Slicer's Resample Scalar/Vector/DWI "
            "Volume, or convert the original scan again with tilt correction",
        )


def _to_three_dimensions(image: sitk.Image, path: Path, frame: int | None) -> sitk.Image:
    if image.GetDimension() == 2:
        image = sitk.JoinSeries([image])
    count = image.GetSize()[3] if image.GetDimension() == 4 else 1
    if frame is None and count > 1:
        raise FileError(
            "frames",
            f"the image has {count} frames (4-D), expected one",
            path=path,
            remedy="save each frame as a file, or name the frames as channels: 'file#0', 'file#1', ...",
        )
    if not 0 <= (frame or 0) < count:
        what = f"frame {frame} was asked for, the image has {count}"
        raise FileError("frames", what, path=path, remedy="count frames from 0")
    if image.GetDimension() == 4:
        size = [*image.GetSize()[:3], 0]
        return sitk.Extract(image, size, [0, 0, 0, frame or 0], sitk.ExtractImageFilter.DIRECTIONCOLLAPSETOSUBMATRIX)
    return image


def first_voxel(mask: np.ndarray) -> str:
    """Return the place of the first true voxel of a (D, H, W) mask in words, in file order."""
    k, j, i = np.unravel_index(int(np.argmax(mask)), mask.shape)
    return f"i, j, k = {i}, {j}, {k}"


def _value_error(code: str, what: str, voxels: np.ndarray, wrong: np.ndarray, path: Path) -> FileError:
    return FileError(
        code,
        f"the label value {voxels[wrong][0]:g} {what} ({in_voxels(int(wrong.sum()))} like it)",
        path=path,
        place=first_voxel(wrong),
        remedy="a label image holds whole numbers that name structures; check that this is not the image or a "
        "probability map, and save labels without interpolation",
    )


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    # The ending decides the format, so the mark of a temporary file stands in front of the name.
    temporary = path.with_name(f".tmp{os.getpid()}.{threading.get_ident()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        replace_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
