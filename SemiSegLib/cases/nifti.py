"""NIfTI files read with care: ITK fills the missing end of a cut file with zeros and accepts wrong checksums."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import SimpleITK as sitk

from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.itk_files import header_with_itk

# The NIfTI-1 header; https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
HEADER_BYTES = 348
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a NIfTI-1 header that place and type the voxels.

    Attributes:
        shape: voxels along (i, j, k, ...).
        kind: numpy type of the stored values.
        offset: byte at which voxels start, not inside the header.
        slope, intercept: real value = stored * slope + intercept; slope 0 means none.
        sform: (4, 4) index (i, j, k, 1) to RAS mm, or None where the file has none.
    """

    shape: tuple[int, ...]
    kind: np.dtype
    offset: int
    slope: float
    intercept: float
    sform: np.ndarray | None

    @property
    def shear(self) -> float:
        """The largest cosine between two image axes; 0 if the file states none."""
        if self.sform is None:
            return 0.0
        return largest_cosine(self.sform[:3, :3])


def largest_cosine(axes: np.ndarray) -> float:
    """Return the largest cosine, without sign, between two columns of (n, n); 0 if one has no length or no number."""
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(axes).all() or not lengths.all():
        return 0.0
    cosines = (axes / lengths).T @ (axes / lengths)
    return float(np.abs(cosines - np.diag(np.diag(cosines))).max())


def is_nifti(path: Path) -> bool:
    """Return whether the name ends as a single-file NIfTI image does."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read_header(path: Path) -> NiftiHeader | None:
    """Return the header of a NIfTI-1 file of plain numbers, or None if it is anything else.

    Raises:
        FileError: the place of the voxels is not a number.
    """
    try:
        with _content(path) as file:
            raw = file.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return None
    if len(raw) < HEADER_BYTES:
        return None
    order = "<" if struct.unpack("<i", raw[:4])[0] == HEADER_BYTES else ">"
    if struct.unpack(f"{order}i", raw[:4])[0] != HEADER_BYTES:
        return None
    dimensions = struct.unpack(f"{order}8h", raw[40:56])
    kind = TYPES.get(struct.unpack(f"{order}h", raw[70:72])[0])
    offset, slope, intercept = struct.unpack(f"{order}3f", raw[108:120])
    _, sform_code = struct.unpack(f"{order}2h", raw[252:256])
    shape = dimensions[1 : dimensions[0] + 1] if 1 <= dimensions[0] <= 7 else ()
    # As ITK does: a volume of one slice stays a volume, which has a place, a thickness and axes.
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if kind is None or not 2 <= len(shape) <= 4 or min(shape) < 1:
        return None
    if not math.isfinite(offset):
        raise _damaged(path, f"its header says that the voxels begin at byte {offset}")
    rows = np.array(struct.unpack(f"{order}12f", raw[280:328]), dtype=np.float64).reshape(3, 4)
    sform = np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]) if sform_code > 0 else None
    # Some programs write 0; ITK begins after the header too then.
    start = max(int(offset), HEADER_BYTES)
    return NiftiHeader(shape, np.dtype(f"{order}{kind}"), start, slope, intercept, sform)


def read_nifti(path: Path, header: NiftiHeader) -> sitk.Image:
    """Return the image of a NIfTI-1 file in its native type, every byte accounted for.

    The grid is what ITK makes of the header. Where ITK rejects the axes for their rounding, the nearest axes at
    right angles are taken; the caller has refused axes that are really oblique to each other.

    Raises:
        FileError: the file is cut short or its checksum is wrong.
    """
    voxels = _read_voxels(path, header)
    image = sitk.GetImageFromArray(voxels, isVector=False)
    try:
        stated = header_with_itk(path, "NiftiImageIO")
    except RuntimeError:
        if header.sform is None:
            raise
        return _place_almost_orthogonal(image, header.sform)
    stored, kept = len(stated.size), image.GetDimension()
    if stored < kept:
        raise _damaged(path, "its header contradicts itself")
    direction = np.array(stated.direction).reshape(stored, stored)[:kept, :kept]
    image.SetSpacing(stated.spacing[:kept])
    image.SetOrigin(stated.origin[:kept])
    # A 2-D image keeps what fits of a 3-D direction; ITK refuses a singular one.
    image.SetDirection((direction if abs(np.linalg.det(direction)) > 0.5 else np.eye(kept)).flatten())
    return image


def _read_voxels(path: Path, header: NiftiHeader) -> np.ndarray:
    voxels = np.empty(header.shape[::-1], header.kind)
    target, filled = memoryview(voxels.data).cast("B"), 0
    try:
        with _content(path) as file:
            before = header.offset
            # By parts: a damaged header may name a place far behind the end.
            while before and (part := len(file.read(min(before, 1 << 20)))):
                before -= part
            while filled < len(target):
                count = file.readinto(target[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise _damaged(path, f"{len(target) - filled} of {len(target)} bytes of voxels are missing")
                filled += count
            # Reading on to the end is what compares the checksum.
            while file.read(1 << 20):
                continue
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    voxels = voxels.astype(header.kind.newbyteorder("="), copy=False)
    scaled = np.isfinite(header.slope) and header.slope != 0 and (header.slope, header.intercept) != (1.0, 0.0)
    if scaled:
        wide = np.float64 if voxels.dtype.itemsize > 4 else np.float32
        real: np.ndarray = np.multiply(voxels, header.slope, dtype=wide) + header.intercept
        return real
    return voxels


def _place_almost_orthogonal(image: sitk.Image, sform: np.ndarray) -> sitk.Image:
    axes = np.diag([-1.0, -1.0, 1.0]) @ sform[:3]
    spacing = np.linalg.norm(axes[:, :3], axis=0)
    # Polar decomposition: the rotation nearest to the stored axes.
    left, _, right = np.linalg.svd(axes[:, :3] / spacing)
    count = image.GetDimension()
    direction = np.eye(max(count, 3))
    direction[:3, :3] = left @ right
    image.SetSpacing([*spacing, 1.0][:count])
    image.SetOrigin([*axes[:, 3], 0.0][:count])
    image.SetDirection(direction[:count, :count].flatten())
    return image


@contextmanager
def _content(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:
        # A name may end in .gz and the content still be plain, so the content decides.
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # type: ignore[misc]


def _damaged(path: Path, why: str) -> FileError:
    return FileError(
        "unreadable",
        f"the file cannot be read: {why}",
        path=path,
        remedy="it is damaged: copy it again from its source",
    )
