"""Files are read by two threads at once; ITK must never be in two of them."""

import gzip
import math
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.cases.channels import frame_count
from SemiSegLib.cases.itk_files import header_with_itk, read_with_itk, write_with_itk
from SemiSegLib.cases.volume import Volume, read_volume, write_volume
from SemiSegLib.errors import CaseError
from Testing.lib.cases.tiny import oblique

GRID = oblique((6, 11, 9))
ENDINGS = (".nii.gz", ".nrrd", ".mha")


class Entrances:
    """Stands before functions of ITK and counts how many threads are in them at once."""

    def __init__(self) -> None:
        self.inside = self.most = self.calls = 0

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **named: Any) -> Any:
            self.inside += 1
            self.calls += 1
            self.most = max(self.most, self.inside)
            # Long enough for another thread to come in.
            time.sleep(0.02)
            try:
                return function(*given, **named)
            finally:
                self.inside -= 1

        return watched


def volume(seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 900, GRID.shape).astype(np.int16), GRID)


def test_only_one_thread_at_a_time_is_in_itk(tmp_path, monkeypatch):
    entrances = Entrances()
    for owner, part in (
        (sitk.ImageFileReader, "ReadImageInformation"),
        (sitk, "ReadImage"),
        (sitk, "WriteImage"),
    ):
        monkeypatch.setattr(owner, part, entrances.watch(getattr(owner, part)))

    def work(number: int) -> None:
        write_volume(volume(number), tmp_path / f"{number}.nii.gz")
        write_volume(volume(number), tmp_path / f"{number}.nrrd")
        for ending in (".nii.gz", ".nrrd"):
            found = read_volume(tmp_path / f"{number}{ending}")
            assert np.array_equal(found.voxels, volume(number).voxels)
            assert frame_count(tmp_path / f"{number}{ending}") == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    # Of each scan: two files written, two read, and one header of a file that is not NIfTI.
    assert entrances.calls == 4 * 5
    assert entrances.most == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_header_says_what_the_image_says(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    image = volume().to_sitk()
    write_with_itk(image, path)
    header, read = header_with_itk(path), read_with_itk(path)
    assert header.size == read.GetSize() == (9, 11, 6)
    for stated, held in (
        (header.spacing, read.GetSpacing()),
        (header.origin, read.GetOrigin()),
        (header.direction, read.GetDirection()),
    ):
        assert stated == pytest.approx(held)
    assert header.direction == pytest.approx(image.GetDirection(), abs=1e-5)
    # The image has what ITK computed while reading, too.
    assert header.metadata
    assert header.metadata.items() <= {key: read.GetMetaData(key) for key in read.GetMetaDataKeys()}.items()


def test_frames_of_a_damaged_file_are_counted_as_one_so_that_reading_it_tells_the_damage(tmp_path):
    write_volume(volume(), tmp_path / "sound.nii")
    sound = bytearray((tmp_path / "sound.nii").read_bytes())
    # The byte at which the voxels begin is not a number.
    sound[108:112] = struct.pack("<f", math.nan)
    damaged = {
        "endless.nii": bytes(sound),
        "garbage.nii.gz": b"this is no image",
        "empty.nii.gz": b"",
        "cut.nii.gz": gzip.compress(bytes(sound))[:60],
        "garbage.nrrd": b"this is no image",
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        assert frame_count(tmp_path / name) == 1, name
        with pytest.raises(CaseError):
            read_volume(tmp_path / name)
    assert frame_count(tmp_path / "gone.nii.gz") == 1


def test_a_file_that_is_no_image_raises_and_leaves_the_next_one_readable(tmp_path):
    bad, good = tmp_path / "bad.nii.gz", tmp_path / "good.nrrd"
    bad.write_bytes(b"this is no image")
    write_volume(volume(), good)
    for work in (read_with_itk, header_with_itk):
        with pytest.raises(RuntimeError):
            work(bad)
    assert header_with_itk(good).size == (9, 11, 6)
