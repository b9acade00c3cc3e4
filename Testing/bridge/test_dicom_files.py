"""Which files and folders Slicer loads as DICOM."""

import pytest

from SemiSegModule.bridge.dicom_files import isDicom

FILE = bytes(128) + b"DICM" + bytes(20)


def put(path, content=FILE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.1", "slice.dcm", "SCAN.IMA", "DICOMDIR"])
def test_a_file_is_known_by_its_mark_or_its_name(tmp_path, name):
    isNamed = name.lower().endswith((".dcm", ".ima", "dir"))
    assert isDicom(put(tmp_path / name, b"" if isNamed else FILE))


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(128) + b"NIFT", bytes(200)])
def test_another_file_is_none(tmp_path, content):
    assert not isDicom(put(tmp_path / "IM0001", content))
    assert not isDicom(tmp_path)


def test_a_folder_is_looked_into_deeply_and_hidden_files_are_passed_by(tmp_path):
    put(tmp_path / "P1/study/series/IM0001")
    for name in (".a", ".b", ".c", ".d"):
        put(tmp_path / "P1/study/series" / name, b"")
    assert isDicom(tmp_path)


def test_a_folder_in_which_something_else_lies_is_none(tmp_path):
    put(tmp_path / "P1/IM0001")
    assert isDicom(tmp_path, lambda file: file.suffix == ".nrrd")
    put(tmp_path / "P2/deep/scan.nrrd", b"")
    assert not isDicom(tmp_path, lambda file: file.suffix == ".nrrd")


def test_what_is_not_there_is_none(tmp_path):
    assert not isDicom(tmp_path / "gone")
