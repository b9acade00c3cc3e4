"""Volumes keep their voxels, their type and their place through files and resampling."""

import gzip
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib import config
from SemiSegLib.cases.alignment import align, block_on
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.volume import (
    LARGEST_SHEAR,
    Geometry,
    Volume,
    read_image,
    read_labels,
    read_volume,
    resample_to,
    write_volume,
)
from SemiSegLib.errors import CaseError
from Testing.lib.cases.tiny import SHAPE, image, labels, moved, oblique, rotation

KINDS = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_volume_comes_back_as_it_was_written(tmp_path, ending, kind):
    volume = Volume((np.random.default_rng(0).random(SHAPE) * 200).astype(kind), oblique())
    write_volume(volume, tmp_path / f"scan{ending}")
    back = read_volume(tmp_path / f"scan{ending}")
    assert back.voxels.dtype == kind
    assert np.array_equal(back.voxels, volume.voxels)
    # NIfTI keeps its axes in single precision.
    assert back.geometry.displacement_mm(volume.geometry) < 1e-4
    assert back.voxels.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == [f"scan{ending}"]


def test_a_volume_is_written_over_one_that_a_virus_scanner_holds_for_a_moment(tmp_path, monkeypatch):
    refusals = iter((True, True, False))
    rename = os.replace

    def replace(source, target):
        if next(refusals):
            raise PermissionError(13, "held by another process", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(config, "RENAME_WAIT_SECONDS", 0.0)
    path = tmp_path / "scan.nrrd"
    write_volume(image(1), path)
    assert np.array_equal(read_volume(path).voxels, image(1).voxels)
    assert list(tmp_path.iterdir()) == [path]


def test_two_threads_that_write_one_volume_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    names = []
    both_wrote = threading.Barrier(2, timeout=30)

    def wait_for_the_other(source, target):
        names.append(source.name)
        both_wrote.wait()
        os.replace(source, target)

    monkeypatch.setattr("SemiSegLib.cases.volume.replace_file", wait_for_the_other)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda seed: write_volume(image(seed), tmp_path / "scan.nrrd"), (1, 2)):
            pass
    assert len(set(names)) == 2


def test_the_affine_maps_an_array_index_to_where_itk_puts_the_voxel(tmp_path):
    write_volume(image(1), tmp_path / "scan.nrrd")
    pixels = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
    geometry = read_volume(tmp_path / "scan.nrrd").geometry
    for d, h, w in [(0, 0, 0), (4, 6, 8), (1, 5, 2)]:
        expected = pixels.TransformIndexToPhysicalPoint((w, h, d))
        assert np.allclose((geometry.affine @ [d, h, w, 1])[:3], expected)
    assert geometry.spacing_mm == pytest.approx((3.0, 0.7, 0.9))


def test_the_affine_is_that_of_nibabel_in_the_other_convention(tmp_path):
    write_volume(image(1), tmp_path / "scan.nii.gz")
    ras = nibabel.load(tmp_path / "scan.nii.gz").affine
    lps = np.diag([-1, -1, 1, 1]) @ ras
    geometry = read_volume(tmp_path / "scan.nii.gz").geometry
    assert np.allclose(geometry.affine[:, [2, 1, 0, 3]], lps, atol=1e-4)


def test_scaled_and_big_endian_nifti_are_read_as_real_values(tmp_path):
    stored = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    header = nibabel.Nifti1Header(endianness=">")
    scan = nibabel.Nifti1Image(stored, np.diag([2.0, 1, 1, 1]), header)
    scan.header.set_slope_inter(0.5, -10)
    nibabel.save(scan, tmp_path / "scan.nii.gz")
    again = nibabel.load(tmp_path / "scan.nii.gz").get_fdata()
    back = read_volume(tmp_path / "scan.nii.gz")
    assert np.allclose(back.voxels, again.transpose())
    assert back.voxels.dtype == np.float32
    assert np.allclose(back.voxels, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scan.nii.gz"))))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_file_cut_short_is_an_error_and_never_zeros(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    write_volume(
        Volume(np.random.default_rng(0).integers(0, 999, (9, 20, 21)).astype(np.int16), oblique((9, 20, 21))), path
    )
    content = path.read_bytes()
    for length in (5, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match="cannot be read"):
            read_volume(path)


def test_a_wrong_checksum_is_an_error(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(image(1), path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileError, match="CRC"):
        read_volume(path)


def test_a_nifti_that_is_called_gz_and_is_not_compressed_is_read(tmp_path):
    write_volume(image(1), tmp_path / "scan.nii.gz")
    plain = gzip.decompress((tmp_path / "scan.nii.gz").read_bytes())
    (tmp_path / "other.nii.gz").write_bytes(plain)
    assert np.array_equal(read_volume(tmp_path / "other.nii.gz").voxels, image(1).voxels)


def test_a_flat_image_is_a_volume_of_one_slice(tmp_path):
    flat = np.random.default_rng(0).integers(0, 255, (6, 9)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(flat), str(tmp_path / "flat.png"))
    nibabel.save(nibabel.Nifti1Image(flat.T.copy(), np.diag([0.5, 0.7, 1, 1])), tmp_path / "flat.nii.gz")
    for name in ("flat.png", "flat.nii.gz"):
        volume = read_volume(tmp_path / name)
        assert volume.geometry.shape == (1, 6, 9)
        assert np.array_equal(volume.voxels[0], flat)
    assert volume.geometry.spacing_mm[1:] == pytest.approx((0.7, 0.5))


AXIAL = np.diag([0.8, 0.8, 8.0])
SAGITTAL = np.array([[0.0, 0.0, 8.0], [0.8, 0.0, 0.0], [0.0, 0.8, 0.0]])
OBLIQUE = rotation(25.0, -15.0) @ AXIAL


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, OBLIQUE], ids=["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("size", [(5, 7, 1), (5, 7, 1, 1)])
def test_a_single_slice_keeps_its_place_its_thickness_and_its_axes(tmp_path, axes, size):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (12.0, -30.0, -312.0)
    stored = np.arange(35, dtype=np.int16).reshape(size)
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "slice.nii.gz")
    volume = read_volume(tmp_path / "slice.nii.gz")
    assert np.array_equal(volume.voxels, stored.reshape(5, 7, 1).transpose())
    lps = np.diag([-1, -1, 1, 1]) @ nibabel.load(tmp_path / "slice.nii.gz").affine
    assert np.allclose(volume.geometry.affine[:, [2, 1, 0, 3]], lps, atol=1e-4)
    assert volume.geometry.spacing_mm == pytest.approx((8.0, 0.8, 0.8))


def test_voxels_begin_where_itk_says_and_never_inside_the_header(tmp_path):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "scan.nii")
    content = (tmp_path / "scan.nii").read_bytes() + bytes(16)
    for offset in (0.0, -5.0, 347.0, 348.0, 350.0, 352.0, 352.9, 360.0):
        (tmp_path / "other.nii").write_bytes(content[:108] + struct.pack("<f", offset) + content[112:])
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "other.nii")))
        assert np.array_equal(read_volume(tmp_path / "other.nii").voxels, expected), offset
    for offset, why in (
        (np.nan, "begin at byte nan"),
        (np.inf, "begin at byte inf"),
        (1e30, "bytes of voxels are missing"),
    ):
        (tmp_path / "other.nii").write_bytes(content[:108] + struct.pack("<f", offset) + content[112:])
        with pytest.raises(FileError, match=why):
            read_volume(tmp_path / "other.nii")


def four_dimensional(path: Path) -> list[np.ndarray]:
    frames = [image(seed).voxels for seed in range(3)]
    joined = sitk.JoinSeries([Volume(frame, oblique()).to_sitk() for frame in frames])
    sitk.WriteImage(joined, str(path))
    return frames


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd"])
def test_a_frame_must_be_named_and_keeps_its_place(tmp_path, name):
    frames = four_dimensional(tmp_path / name)
    with pytest.raises(FileError, match="3 frames"):
        read_volume(tmp_path / name)
    with pytest.raises(FileError, match="frame 3 was asked for"):
        read_volume(tmp_path / name, frame=3)
    for number, frame in enumerate(frames):
        volume = read_volume(tmp_path / name, frame=number)
        assert np.array_equal(volume.voxels, frame)
        assert volume.geometry.displacement_mm(oblique()) < 1e-4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CaseError, match=r"does not exist(.|\n)*nowhere\.nii"):
        read_volume(tmp_path / "nowhere.nii")


@pytest.mark.parametrize(("shear", "is_read"), [(0.0, True), (1e-5, True), (5e-4, True), (2e-3, False), (0.3, False)])
def test_axes_almost_at_right_angles_are_read_and_others_are_explained(tmp_path, shear, is_read):
    affine = np.diag([0.8, 0.9, 3.0, 1.0])
    affine[1, 2] = 3.0 * shear
    stored = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    scan = nibabel.Nifti1Image(stored, affine)
    scan.set_qform(None, code=0)
    nibabel.save(scan, tmp_path / "scan.nii.gz")
    if not is_read:
        with pytest.raises(FileError, match="right angles"):
            read_volume(tmp_path / "scan.nii.gz")
        return
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert np.array_equal(volume.voxels, stored.transpose())
    axes = volume.geometry.direction
    assert np.allclose(axes.T @ axes, np.eye(3), atol=2e-5)  # what ITK itself tolerates
    exact = Geometry((7, 6, 5), (np.diag([-1, -1, 1, 1]) @ affine)[:, [2, 1, 0, 3]])
    assert volume.geometry.displacement_mm(exact) <= 2 * shear * 21 + 1e-4


@pytest.mark.parametrize("kind", ["volume", "plane", "frames", "layers"])
@pytest.mark.parametrize("ending", ["nrrd", "mha"])
@pytest.mark.parametrize("shear", [5e-4, 2e-3, 0.3])
def test_sheared_files_of_other_formats_are_explained_too(tmp_path, ending, kind, shear):
    """ITK reads them: their voxels would be taken for those of a grid with right angles."""
    shape = {"plane": (3, 4), "frames": (2, 3, 4, 5)}.get(kind, (3, 4, 5))
    image = sitk.GetImageFromArray(np.zeros((*shape, 2) if kind == "layers" else shape, np.int16), kind == "layers")
    count = image.GetDimension()
    axes = np.eye(count)
    axes[0, 1] = np.tan(np.arcsin(shear))
    image.SetSpacing([0.8, 0.9, 3.0, 1.0][:count])
    image.SetDirection(axes.ravel())
    path = tmp_path / f"scan.{ending}"
    sitk.WriteImage(image, str(path))
    if shear < LARGEST_SHEAR:
        assert read_image(path).GetSize() == image.GetSize()
        return
    with pytest.raises(FileError, match=f"right angles .cosine {shear:.2g}") as told:
        read_image(path)
    assert told.value.code == "sheared"


def test_labels_of_whole_floats_are_integers_and_others_are_refused(tmp_path):
    drawn = labels(2)
    write_volume(Volume(drawn.voxels.astype(np.float64), drawn.geometry), tmp_path / "float.nii.gz")
    back = read_labels(tmp_path / "float.nii.gz")
    assert back.voxels.dtype == np.uint16
    assert np.array_equal(back.voxels, drawn.voxels)
    voxels = drawn.voxels.astype(np.float32)
    voxels[1, 2, 3] = np.nan
    write_volume(Volume(voxels, drawn.geometry), tmp_path / "nan.nii.gz")
    with pytest.raises(FileError, match="i, j, k = 3, 2, 1"):
        read_labels(tmp_path / "nan.nii.gz")


def test_three_hundred_classes_keep_their_values(tmp_path):
    voxels = np.arange(315, dtype=np.int32).reshape(SHAPE) + 40000
    write_volume(Volume(voxels, oblique()), tmp_path / "many.nii.gz")
    assert np.array_equal(read_labels(tmp_path / "many.nii.gz").voxels, voxels)


def test_a_displacement_is_that_of_the_farthest_corner():
    grid = oblique()
    assert grid.displacement_mm(grid) == 0
    assert grid.displacement_mm(moved(grid, (3.0, 0.0, 4.0))) == pytest.approx(5.0)
    # Twice the spacing along w: the corners at -0.5 and 8.5 move by 0.5 and 8.5 times 0.9 mm.
    assert grid.displacement_mm(oblique(spacing_mm=(3.0, 0.7, 1.8))) == pytest.approx(8.5 * 0.9)
    assert grid.displacement_mm(oblique((5, 7, 8))) == np.inf


def test_resampling_to_the_same_grid_changes_nothing_and_to_a_shifted_one_moves_voxels():
    scan = image(3)
    assert np.array_equal(resample_to(scan, scan.geometry, linear=False).voxels, scan.voxels)
    one_slice = Geometry(SHAPE, scan.geometry.affine @ translation(d=1))
    shifted = resample_to(scan, one_slice, linear=True, fill=-7)
    assert np.allclose(shifted.voxels[:-1], scan.voxels[1:], atol=1e-2)
    assert (shifted.voxels[-1] == -7).all()


def translation(d=0.0, h=0.0, w=0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = d, h, w
    return matrix


@pytest.mark.parametrize(
    ("shift_voxels", "answer"), [(0.0, "same"), (0.009, "same"), (0.1, "near"), (0.49, "near"), (0.51, "far")]
)
def test_one_hundredth_of_a_voxel_is_the_same_grid_and_half_a_voxel_the_limit(shift_voxels, answer):
    grid = oblique()
    drawn = labels(1, moved(grid, (shift_voxels * 0.7, 0, 0)))
    if answer == "far":
        with pytest.raises(FileError) as caught:
            align(drawn, grid, Path("labels.nii"), kind="label")
        assert caught.value.code == "label_origin"
        return
    aligned, shift = align(drawn, grid, Path("labels.nii"), kind="label")
    assert aligned.geometry == grid
    assert (shift is None) == (answer == "same")
    if shift is not None:
        assert shift.voxels == pytest.approx(shift_voxels)
        assert aligned.voxels.dtype == drawn.voxels.dtype


def test_a_direction_with_rounding_noise_is_the_same_grid():
    grid = oblique((5, 300, 400))
    noisy = grid.affine.copy()
    noisy[:3, :3] += 1e-8
    _, shift = align(Volume(np.zeros(grid.shape, np.uint8), Geometry(grid.shape, noisy)), grid, Path("x"), kind="label")
    assert shift is None


def test_a_block_is_put_where_its_origin_says_and_cut_at_the_border():
    grid = oblique()
    block_voxels = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3)
    for corner in [(1, 2, 3), (4, 0, 0), (-1, 6, 7)]:
        block = Volume(block_voxels, Geometry((2, 2, 3), grid.affine @ translation(*corner)))
        placed, shift = block_on(block, grid, Path("x"))
        expected = np.zeros(SHAPE, np.uint8)
        for index in np.ndindex(2, 2, 3):
            target = tuple(np.add(index, corner))
            if all(0 <= n < size for n, size in zip(target, SHAPE, strict=True)):
                expected[target] = block_voxels[index]
        assert shift is None
        assert np.array_equal(placed.voxels, expected)


def test_voxels_on_a_grid_of_another_shape_are_refused():
    with pytest.raises(CaseError, match="on a grid of shape"):
        Volume(np.zeros((2, 3, 4)), oblique())
