"""Small studies for the tests of this room: odd sizes, anisotropic spacing, oblique axes."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.labels.scheme import LabelScheme, Structure

SHAPE = (5, 7, 9)


def rotation(degrees_z: float = 20.0, degrees_x: float = -10.0) -> np.ndarray:
    """Rotation about z after rotation about x, columns are axes."""
    z, x = np.radians(degrees_z), np.radians(degrees_x)
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    return about_z @ about_x


def oblique(shape=SHAPE, spacing_mm=(3.0, 0.7, 0.9), origin_mm=(-12.5, 30.0, 4.0), degrees_z=20.0) -> Geometry:
    """A grid whose array axes D, H, W run roughly toward superior, posterior and left."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees_z)[:, ::-1] * np.array(spacing_mm)
    affine[:3, 3] = origin_mm
    return Geometry(shape, affine)


def moved(geometry: Geometry, millimeters=(0.0, 0.0, 0.0)) -> Geometry:
    affine = geometry.affine.copy()
    affine[:3, 3] += millimeters
    return Geometry(geometry.shape, affine)


def scheme() -> LabelScheme:
    """organ {head, tail} and vessel, which is its own superclass."""
    return LabelScheme(
        name="tiny",
        structures=(
            Structure(name="organ"),
            Structure(name="head", parent="organ", aliases=("caput",)),
            Structure(name="tail", parent="organ"),
            Structure(name="vessel"),
        ),
    )


MEANING = {"0": ["background"], "1": ["head"], "2": ["tail"], "3": ["vessel"]}


def image(seed: int, geometry: Geometry | None = None) -> Volume:
    geometry = geometry or oblique()
    return Volume(np.random.default_rng(seed).integers(-50, 900, geometry.shape).astype(np.int16), geometry)


def labels(seed: int, geometry: Geometry | None = None) -> Volume:
    """Every value from 0 to 3 occurs."""
    geometry = geometry or oblique()
    return Volume(np.random.default_rng(seed).integers(0, 4, geometry.shape).astype(np.uint8), geometry)


def put_case(folder: Path, case_id: str, seed: int, *, annotated: bool = True) -> dict:
    """Write image and labels of one case and return its entry in dataset.json."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_volume(image(seed), folder / "images" / f"{case_id}.nii.gz")
    entry = {"id": case_id, "patient": case_id, "images": {"T1": f"images/{case_id}.nii.gz"}}
    if annotated:
        write_volume(labels(seed), folder / "labels" / f"{case_id}.nii.gz")
        entry["annotation"] = {"file": f"labels/{case_id}.nii.gz", "values": MEANING}
    return entry


def put_dataset(folder: Path, entries: list[dict], **changes: object) -> Path:
    """Write dataset.json of a study of one T1 channel."""
    data = {
        "semiseg": 1,
        "name": "tiny study",
        "scheme": {
            "name": "tiny",
            "structures": [
                {"name": "organ"},
                {"name": "head", "parent": "organ"},
                {"name": "tail", "parent": "organ"},
                {"name": "vessel"},
            ],
        },
        "channels": ["T1"],
        "modality": {"T1": "MR"},
        "cases": entries,
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def put_segmentation(path: Path, layers: np.ndarray, segments: list[dict], geometry: Geometry, *, offset=True) -> None:
    """Write a .seg.nrrd as Slicer does: ``layers`` (L, D, H, W), segments with name, layer, value and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(layers) == 1:
        pixels = sitk.GetImageFromArray(layers[0])
    else:
        pixels = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1), isVector=True)
    spacing, origin, direction = geometry.to_sitk_meta()
    pixels.SetSpacing(spacing)
    pixels.SetOrigin(origin)
    pixels.SetDirection(direction)
    for number, segment in enumerate(segments):
        pixels.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        pixels.SetMetaData(f"Segment{number}_Name", segment["name"])
        pixels.SetMetaData(f"Segment{number}_Layer", str(segment.get("layer", 0)))
        pixels.SetMetaData(f"Segment{number}_LabelValue", str(segment["value"]))
        pixels.SetMetaData(f"Segment{number}_Tags", segment.get("tags", "Segmentation.Status:inprogress|"))
    if offset:
        pixels.SetMetaData("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    sitk.WriteImage(pixels, str(path), useCompression=True)
