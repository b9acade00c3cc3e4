"""Which files belong to an image whose header stands alone."""

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.cases.detached import data_files
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.volume import read_volume
from Testing.lib.cases.tiny import image

# By itself: three slices of 2 x 2 voxels of one byte each.
META = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 3\nElementType = MET_UCHAR\nElementDataFile = {}\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 3\nencoding: raw\n{}\n"
SLICES = [bytes([4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]) for n in range(3)]


def put_slices(folder, names):
    folder.mkdir(exist_ok=True)
    for name, content in zip(names, SLICES, strict=True):
        (folder / name).write_bytes(content)
    return tuple(folder / name for name in names)


@pytest.mark.parametrize(
    ("ending", "beside"),
    [(".mhd", ".raw"), (".nhdr", ".raw"), (".hdr", ".img"), (".mha", None), (".nrrd", None), (".nii.gz", None)],
)
def test_the_files_beside_a_header_are_those_that_its_writer_made(tmp_path, ending, beside):
    path = tmp_path / f"scan{ending}"
    sitk.WriteImage(image(1).to_sitk(), str(path))
    assert data_files(path) == (() if beside is None else (tmp_path / f"scan{beside}",))
    assert np.array_equal(read_volume(path).voxels, image(1).voxels)
    assert set(tmp_path.iterdir()) == {path, *data_files(path)}


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ("scan.mhd", META.format("LIST\nparts/a.raw\nparts/b.raw\nparts/c.raw")),
        ("scan.mhd", META.format("parts/slice%02d.raw 7 11 2")),
        ("scan.nhdr", NRRD.format("data file: LIST\nparts/a.raw\nparts/b.raw\nparts/c.raw")),
        ("scan.nhdr", NRRD.format("data file: ./parts/slice%02d.raw 7 11 2")),
    ],
)
def test_lists_and_numbered_files_are_followed_as_itk_does(tmp_path, header, content):
    numbered = "%" in content
    names = ["slice07.raw", "slice09.raw", "slice11.raw"] if numbered else ["a.raw", "b.raw", "c.raw"]
    expected = put_slices(tmp_path / "parts", names)
    (tmp_path / header).write_text(content)
    assert data_files(tmp_path / header) == expected
    assert np.array_equal(read_volume(tmp_path / header).voxels.ravel(), np.arange(12))


def test_numbers_may_run_down(tmp_path):
    first, second, third = put_slices(tmp_path, ["s1.raw", "s2.raw", "s3.raw"])
    (tmp_path / "scan.nhdr").write_text(NRRD.format("Data File: s%d.raw 3 1 -1 2"))
    assert data_files(tmp_path / "scan.nhdr") == (third, second, first)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/scan.raw", "outside its own folder"),
        ("../scan.raw", "outside its own folder"),
        ("parts/../../scan.raw", "outside its own folder"),
        ("C:\\scans\\scan.raw", "outside its own folder"),
        ("slice%03d.raw", "cannot be followed"),
        ("slice%03d_%03d.raw 1 3 1", "cannot be followed"),
        ("slice%s.raw 1 3 1", "cannot be followed"),
        ("slice%d.raw 1 3 0", "in steps of 0"),
        ("nowhere.raw", "'nowhere.raw', does not exist"),
    ],
)
@pytest.mark.parametrize("header", ["scan.mhd", "scan.nhdr"])
def test_what_cannot_be_followed_is_refused_with_a_remedy_and_not_read(tmp_path, header, name, why):
    (tmp_path / "study").mkdir()
    (tmp_path / "scan.raw").write_bytes(bytes(12))
    path = tmp_path / "study" / header
    path.write_text(META.format(name) if header.endswith(".mhd") else NRRD.format(f"data file: {name}"))
    for read in (data_files, read_volume):
        with pytest.raises(FileError, match=why) as caught:
            read(path)
        assert caught.value.path == path
        assert "one file (.nrrd, .mha or .nii.gz)" in caught.value.remedy


def test_words_behind_the_header_are_voxels_and_name_nothing(tmp_path):
    path = tmp_path / "scan.nrrd"
    path.write_bytes(NRRD.format("").encode() + b"data file: x")
    assert data_files(path) == ()
    assert read_volume(path).voxels.tobytes() == b"data file: x"
