"""A dataset in which every case is damaged in its own way, for the tests and for trying ``semiseg check``."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from Testing.lib.cases.tiny import MEANING, moved, oblique, put_segmentation

GRID = oblique((6, 11, 9))


class Damager:
    """Writes whole cases of two channels, T1 and T2, and remembers what each damage must be called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = np.random.default_rng(20)
        self.entries: list[dict] = []
        self.expected: dict[str, str] = {}
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def case(self, case_id: str, code: str | None = None, **changes: object) -> dict:
        """Write a sound case, note the code of the damage that follows, and return its entry."""
        for role in ("T1", "T2"):
            voxels = self.random.integers(0, 900, GRID.shape).astype(np.int16)
            write_volume(Volume(voxels, GRID), self.folder / "images" / f"{case_id}_{role}.nii.gz")
        write_volume(Volume(self.drawn(), GRID), self.folder / "labels" / f"{case_id}.nii.gz")
        entry = {
            "id": case_id,
            "patient": case_id,
            "images": {role: f"images/{case_id}_{role}.nii.gz" for role in ("T1", "T2")},
            "annotation": {"file": f"labels/{case_id}.nii.gz", "values": dict(MEANING)},
            **changes,
        }
        self.entries.append(entry)
        if code is not None:
            self.expected[case_id] = code
        return entry

    def drawn(self) -> np.ndarray:
        voxels = np.zeros(GRID.shape, np.uint8)
        voxels[1:4, 2:6, 2:5], voxels[1:4, 6:9, 2:5], voxels[2:5, 3:8, 6:8] = 1, 2, 3
        return voxels

    def image(self, case_id: str, voxels: np.ndarray, geometry: Geometry = GRID, role: str = "T1") -> None:
        write_volume(Volume(voxels, geometry), self.folder / "images" / f"{case_id}_{role}.nii.gz")

    def label(self, case_id: str, voxels: np.ndarray | None = None, geometry: Geometry = GRID) -> None:
        voxels = self.drawn() if voxels is None else voxels
        write_volume(Volume(voxels, geometry), self.folder / "labels" / f"{case_id}.nii.gz")

    def intensities(self) -> np.ndarray:
        return self.random.normal(100, 20, GRID.shape).astype(np.float32)


def _damage_files(d: Damager) -> None:
    d.case("missing_image", "missing_file")
    (d.folder / "images" / "missing_image_T1.nii.gz").unlink()
    d.case("missing_label", "missing_file")
    (d.folder / "labels" / "missing_label.nii.gz").unlink()
    for case_id, keep in (("cut_image", 0.6), ("cut_label", 0.97)):
        d.case(case_id, "unreadable")
        path = d.folder / ("images/cut_image_T1.nii.gz" if case_id == "cut_image" else "labels/cut_label.nii.gz")
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
    d.case("garbage_image", "unreadable")
    (d.folder / "images" / "garbage_image_T1.nii.gz").write_bytes(b"this is no image")
    d.case("no_channel", "missing_channel")["images"].pop("T2")
    d.case("misnamed_channel", "unknown_channel")["images"]["T3"] = "images/misnamed_channel_T2.nii.gz"
    d.case("outside", "outside_folder")["images"]["T1"] = "../elsewhere/scan.nii.gz"
    d.case("absolute", "outside_folder")["annotation"]["file"] = "/etc/labels.nii.gz"


def _damage_grids(d: Damager) -> None:
    d.case("label_of_other_size", "label_size")
    d.label("label_of_other_size", np.zeros((6, 11, 8), np.uint8), replace(GRID, shape=(6, 11, 8)))
    d.case("label_of_other_origin", "label_origin")
    d.label("label_of_other_origin", geometry=moved(GRID, (2.0, -1.0, 0.0)))
    d.case("label_flipped", "label_flipped")
    flipped = GRID.affine.copy()
    flipped[:3, 3] += flipped[:3, 2] * (GRID.shape[2] - 1)
    flipped[:3, 2] *= -1
    d.label("label_flipped", geometry=Geometry(GRID.shape, flipped))
    d.case("label_of_other_spacing", "label_spacing")
    d.label("label_of_other_spacing", geometry=oblique(GRID.shape, spacing_mm=(3.0, 1.0, 1.0)))
    d.case("label_turned", "label_direction")
    d.label("label_turned", geometry=oblique(GRID.shape, degrees_z=35.0))
    d.case("channel_elsewhere", "channel_origin")
    d.image("channel_elsewhere", d.intensities(), moved(GRID, (0.0, 3.0, 0.0)), role="T2")
    d.case("channel_of_other_size", "channel_size")
    d.image("channel_of_other_size", d.intensities()[:, :, :7], replace(GRID, shape=(6, 11, 7)), role="T2")
    d.case("label_nearby", "resampled")
    d.label("label_nearby", geometry=moved(GRID, (0.2, 0.0, 0.1)))
    d.case("sheared", "sheared")
    affine = np.diag([0.9, 0.7, 3.0, 1.0])
    affine[1, 2] = 0.8
    sheared = nibabel.Nifti1Image(d.random.integers(0, 99, GRID.shape[::-1]).astype(np.int16), affine)
    nibabel.save(sheared, d.folder / "images" / "sheared_T1.nii.gz")


def _damage_intensities(d: Damager) -> None:
    d.case("four_dimensional", "frames")
    frames = [sitk.GetImageFromArray(d.random.integers(0, 99, GRID.shape).astype(np.int16)) for _ in range(3)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(d.folder / "images" / "four_dimensional_T1.nii.gz"))
    d.case("colored", "colors")["images"]["T1"] = "images/colored_T1.mha"
    colors = sitk.GetImageFromArray(d.random.integers(0, 255, (*GRID.shape, 3)).astype(np.uint8), isVector=True)
    sitk.WriteImage(colors, str(d.folder / "images" / "colored_T1.mha"))
    for case_id, value in (("with_nan", np.nan), ("with_infinity", np.inf)):
        d.case(case_id, "not_finite")
        voxels = d.intensities()
        voxels[2, 3, 4] = value
        d.image(case_id, voxels)
    d.case("constant_image", "constant")
    d.image("constant_image", np.full(GRID.shape, 7, np.int16))


def _damage_labels(d: Damager) -> None:
    def with_value(value: float, kind: type) -> np.ndarray:
        voxels = d.drawn().astype(kind)
        voxels[4, 5, 6] = value
        return voxels

    for case_id, code, value, kind in (
        ("unknown_value", "unknown_value", 9, np.uint8),
        ("label_of_fractions", "not_integer", 1.5, np.float32),
        ("label_below_zero", "value_range", -1, np.int16),
        ("label_too_large", "value_range", 70000, np.int32),
    ):
        d.case(case_id, code)
        d.label(case_id, with_value(value, kind))
    d.case("mask_of_255", "unknown_value")
    d.label("mask_of_255", (d.drawn() > 0).astype(np.uint8) * 255)
    d.case("nothing_drawn", "empty_label")
    d.label("nothing_drawn", np.zeros(GRID.shape, np.uint8))
    d.case("misspelled_structure", "unknown_structure")["annotation"]["values"]["3"] = ["vesel"]
    d.case("bad_extent", "extent")["annotation"]["extent"] = {"slices": [0, 40]}
    d.case("misnamed_segment", "unknown_structure")["annotation"] = {"file": "labels/misnamed_segment.seg.nrrd"}
    d.case("overlapping", "overlap")["annotation"] = {"file": "labels/overlapping.seg.nrrd"}
    layers = np.stack([(d.drawn() == 1), (d.drawn() == 2)]).astype(np.uint8)
    layers[1, 2, 3, 3] = 1
    segments = [{"name": "head", "layer": 0, "value": 1}, {"name": "tail", "layer": 1, "value": 1}]
    put_segmentation(d.folder / "labels" / "overlapping.seg.nrrd", layers, segments, GRID)
    lacking = {"file": "labels/lacking_segment.seg.nrrd", "segments": {"head": ["head"], "Caudal": ["tail"]}}
    d.case("lacking_segment", "missing_segment")["annotation"] = lacking
    put_segmentation(d.folder / "labels" / "lacking_segment.seg.nrrd", layers[:1], segments[:1], GRID)
    segments[1] = {**segments[1], "name": "tial"}
    put_segmentation(d.folder / "labels" / "misnamed_segment.seg.nrrd", layers, segments, GRID)


def _damage_identities(d: Damager) -> None:
    d.case("twice", "duplicate_id")
    d.entries.append(dict(d.entries[-1]))
    d.case("left_side", "patient_on_two_sides", patient="one person", split="train")
    d.case("right_side", patient="one person", split="validation")
    d.case("copied", "same_image")
    d.entries.append({**d.case("plain name"), "id": "aux:con", "patient": "aux:con"})
    d.expected["aux:con"] = "unsafe_id"
    copy = (d.folder / "images" / "left_side_T1.nii.gz").read_bytes()
    (d.folder / "images" / "copied_T1.nii.gz").write_bytes(copy)


def write_damaged_dataset(folder: Path) -> dict[str, str]:
    """Write a dataset whose cases are damaged, each in one way, beside sound ones.

    Args:
        folder: is made; holds dataset.json, images and labels afterward.

    Returns:
        case id to the code of the finding that ``check_dataset`` must give for it.
    """
    damager = Damager(Path(folder))
    damager.case("sound")
    damager.case("sound_without_labels").pop("annotation")
    noisy = damager.case("sound_with_rounded_header")
    affine = GRID.affine.copy()
    affine[:3, :3] += 1e-8
    damager.label(noisy["id"], geometry=Geometry(GRID.shape, affine))
    groups: tuple[Callable[[Damager], None], ...] = (
        _damage_files,
        _damage_grids,
        _damage_intensities,
        _damage_labels,
        _damage_identities,
    )
    for damage in groups:
        damage(damager)
    structures = [{"name": "organ"}, {"name": "head", "parent": "organ"}, {"name": "tail", "parent": "organ"}]
    data = {
        "semiseg": 1,
        "name": "damaged study",
        "scheme": {"name": "tiny", "structures": [*structures, {"name": "vessel"}]},
        "channels": ["T1", "T2"],
        "modality": {"T1": "MR", "T2": "MR"},
        "cases": damager.entries,
    }
    (damager.folder / "dataset.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    return damager.expected
