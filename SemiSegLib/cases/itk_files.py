"""Files through SimpleITK, one thread at a time.

SimpleITK lets go of Python's lock while it reads, but ITK's readers are not made for two threads: strings that they
share are freed twice, which ends the process then or much later. Every file that is read or written by ITK goes through
here; what is done to images in memory needs no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import SimpleITK as sitk

_LOCK = Lock()


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Attributes:
        size: voxels along (i, j, k, ...).
        spacing: mm along each axis.
        origin: LPS mm of the first voxel.
        direction: n x n axes, row by row.
        metadata: key to text.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    metadata: dict[str, str]


def read_with_itk(path: Path) -> sitk.Image:
    """Return the image of a file.

    Raises:
        RuntimeError: ITK cannot read it.
    """
    with _LOCK:
        return sitk.ReadImage(str(path))


def header_with_itk(path: Path, image_io: str = "") -> ImageHeader:
    """Return the header of a file; voxels are not read.

    Args:
        path: of the file.
        image_io: ITK's name of the format, such as "NrrdImageIO"; "" for what the file is found to be.

    Raises:
        RuntimeError: ITK cannot read it.
    """
    with _LOCK:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO(image_io)
        reader.ReadImageInformation()
        return ImageHeader(
            size=reader.GetSize(),
            spacing=reader.GetSpacing(),
            origin=reader.GetOrigin(),
            direction=reader.GetDirection(),
            metadata={key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()},
        )


def write_with_itk(image: sitk.Image, path: Path) -> None:
    """Write an image compressed, in the format of the file's ending.

    Raises:
        RuntimeError: ITK cannot write it.
    """
    with _LOCK:
        sitk.WriteImage(image, str(path), useCompression=True)
