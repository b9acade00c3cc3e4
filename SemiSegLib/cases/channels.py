"""The channels of a scan from files: a file for each, or frames of one file, all on the grid of the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import SimpleITK as sitk

from SemiSegLib.cases.alignment import align
from SemiSegLib.cases.dataset import file_of, frame_of
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.itk_files import header_with_itk
from SemiSegLib.cases.nifti import is_nifti, read_header
from SemiSegLib.cases.volume import Volume, read_image, to_volume


class FrameReader:
    """Reads images and frames of images; a file that holds several channels as frames is read once."""

    def __init__(self) -> None:
        self._last: tuple[Path, sitk.Image] | None = None

    def read(self, path: Path, frame: int | None) -> Volume:
        """Return a file, or one of its frames, as stored.

        Raises:
            CaseError: as ``read_volume``.
        """
        if self._last is None or self._last[0] != path:
            self._last = (path, read_image(path))
        return to_volume(self._last[1], path, frame=frame)


def align_channels(channels: Iterable[tuple[Volume, Path]]) -> list[Volume]:
    """Return channels on the grid of the first; one displaced by up to half a voxel is resampled linearly.

    Args:
        channels: each with its file, for messages.

    Raises:
        FileError: a channel lies on another grid.
    """
    volumes: list[Volume] = []
    for volume, path in channels:
        volumes.append(align(volume, volumes[0].geometry, path, kind="channel")[0] if volumes else volume)
    return volumes


def read_channels(images: Sequence[Path | str], roles: Sequence[str]) -> list[Volume]:
    """Return the channels of a scan that belongs to no dataset, placed as those of a case are (``read_images``).

    Args:
        images: one file per channel, in the order of the roles; "file#2" is frame 2, counted from 0, of a 4-D file.
            One 4-D file with as many frames as there are roles is those channels.
        roles: the model's channels.

    Returns:
        One volume per image, on the grid of the first. Whether they are as many as the roles is for the model to say.

    Raises:
        CaseError: a file cannot be used, holds another number of frames, or lies on another grid than the first.
    """
    reader = FrameReader()
    named = [str(image) for image in spread_frames(images, roles)]
    files = [Path(file_of(name)) for name in named]
    return align_channels((reader.read(path, frame_of(name)), path) for path, name in zip(files, named, strict=True))


def spread_frames(images: Sequence[Path | str], roles: Sequence[str]) -> list[Path]:
    """Return the images, or of a single 4-D file that stands for several channels its frames: "file#0", "file#1"...

    Raises:
        FileError: it has several frames, and not as many as there are roles.
    """
    paths = [Path(image) for image in images]
    if len(paths) != 1 or len(roles) == 1 or frame_of(str(paths[0])) is not None:
        return paths
    count = frame_count(paths[0])
    if count == 1:
        return paths
    if count != len(roles):
        raise FileError(
            "frames",
            f"the image has {count} frames (4-D), the model has {len(roles)} channels: {', '.join(roles)}",
            path=paths[0],
            remedy="name the frame of each channel: 'file#0', 'file#1', ..., in the order of the channels",
        )
    return [Path(f"{paths[0]}#{number}") for number in range(count)]


def frame_count(path: Path) -> int:
    """Return the number of frames by the header alone; 1 where it cannot be read, so that reading names the damage."""
    try:
        header = read_header(path) if is_nifti(path) else None
        size = header_with_itk(path).size if header is None else header.shape
    except (FileError, RuntimeError):
        return 1
    return int(size[3]) if len(size) == 4 else 1
