"""Channels from files come to the grid of the first, whether each is a file or all are frames of one."""

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib.cases.channels import read_channels, spread_frames
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.reading import read_images
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.errors import CaseError
from Testing.lib.cases.test_reading import study
from Testing.lib.cases.tiny import SHAPE, image, moved, oblique

ROLES = ("T1", "T2")


def put(folder, second):
    write_volume(image(1), folder / "T1.nrrd")
    write_volume(second, folder / "T2.nrrd")
    return [folder / "T1.nrrd", folder / "T2.nrrd"]


def put_frames(path, count):
    frames = [image(seed) for seed in range(count)]
    sitk.WriteImage(sitk.JoinSeries([frame.to_sitk() for frame in frames]), str(path))
    return frames


def test_channels_are_placed_as_those_of_a_case_are(tmp_path):
    files = put(tmp_path, image(2, moved(oblique(), (0.2, 0.0, 0.0))))
    dataset = study(tmp_path, None)
    for found, expected in zip(read_channels(files, ROLES), read_images(dataset, dataset.cases[0]), strict=True):
        assert found.geometry == expected.geometry
        assert np.array_equal(found.voxels, expected.voxels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_channel_that_runs_the_other_way_is_refused(tmp_path, axis):
    flipped = oblique().affine.copy()
    flipped[:3, 3] += flipped[:3, axis] * (SHAPE[axis] - 1)
    flipped[:3, axis] *= -1
    files = put(tmp_path, image(2, Geometry(SHAPE, flipped)))
    with pytest.raises(FileError, match=f"the channel runs the other way along {'kji'[axis]}(.|\n)*T2.nrrd"):
        read_channels(files, ROLES)


def test_a_channel_with_other_axes_and_one_at_another_place_are_refused(tmp_path):
    cube = oblique((7, 7, 7), spacing_mm=(1.0, 1.0, 1.0))
    write_volume(image(1, cube), tmp_path / "T1.nrrd")
    turned = cube.affine[:, [1, 2, 0, 3]]
    write_volume(image(2, Geometry(cube.shape, turned)), tmp_path / "T2.nrrd")
    with pytest.raises(FileError, match="the axes point elsewhere"):
        read_channels([tmp_path / "T1.nrrd", tmp_path / "T2.nrrd"], ROLES)
    write_volume(image(2, moved(cube, (0.0, 2.0, 0.0))), tmp_path / "T2.nrrd")
    with pytest.raises(FileError, match="the origin is displaced by 0, 2, 0 mm"):
        read_channels([tmp_path / "T1.nrrd", tmp_path / "T2.nrrd"], ROLES)


@pytest.mark.parametrize("name", ["both.nii.gz", "both.nrrd"])
def test_frames_are_channels_whole_or_by_number(tmp_path, name):
    frames = put_frames(tmp_path / name, 2)
    path = tmp_path / name
    for images, order in (([path], (0, 1)), ([f"{path}#0", f"{path}#1"], (0, 1)), ([f"{path}#1", f"{path}#0"], (1, 0))):
        found = read_channels(images, ROLES)
        assert [np.array_equal(v.voxels, frames[n].voxels) for v, n in zip(found, order, strict=True)] == [True] * 2
        assert found[0].geometry.displacement_mm(oblique()) < 1e-4
    (only,) = read_channels([f"{path}#1"], ["T2"])
    assert np.array_equal(only.voxels, frames[1].voxels)


def test_frames_that_do_not_fit_the_model_are_refused(tmp_path):
    put_frames(tmp_path / "scan.nii.gz", 3)
    with pytest.raises(FileError, match=r"3 frames \(4-D\), the model has 2 channels: T1, T2"):
        read_channels([tmp_path / "scan.nii.gz"], ROLES)
    with pytest.raises(FileError, match="3 frames"):
        read_channels([tmp_path / "scan.nii.gz"], ["T1"])
    with pytest.raises(FileError, match="frame 3 was asked for"):
        read_channels([f"{tmp_path / 'scan.nii.gz'}#3"], ["T1"])


def test_what_is_no_4d_file_stays_one_image(tmp_path):
    write_volume(image(1), tmp_path / "T1.nrrd")
    assert spread_frames([tmp_path / "T1.nrrd"], ROLES) == [tmp_path / "T1.nrrd"]
    with pytest.raises(CaseError, match="does not exist"):
        read_channels([tmp_path / "nowhere.nii.gz"], ROLES)
    with pytest.raises(CaseError, match=r"does not exist(.|\n)*nowhere.nrrd\n"):
        read_channels([f"{tmp_path / 'nowhere.nrrd'}#0"], ["T1"])
    flat = Volume(np.zeros((1, 4, 5), np.float32), oblique((1, 4, 5)))
    write_volume(flat, tmp_path / "flat.nii.gz")
    assert spread_frames([tmp_path / "flat.nii.gz"], ROLES) == [tmp_path / "flat.nii.gz"]
