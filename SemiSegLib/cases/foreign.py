"""Datasets of other programs: the Medical Segmentation Decathlon, nnU-Net v1 and v2 raw, and plain folders.

Formats: http://medicaldecathlon.com (``dataset.json`` with ``training`` and ``modality``) and
https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md. Keys that are not understood are
left alone, since these files are not ours.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.named_values import NamedValues, read_named_values
from SemiSegLib.cases.segments import is_segmentation
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.annotation import Annotation

# Longest first, since one ending may end another.
ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".tiff", ".tif", ".png", ".bmp", ".jpg")
FLAT_ENDINGS = (".tiff", ".tif", ".png", ".bmp", ".jpg")
SIDES = {
    "train": Side.TRAIN,
    "training": Side.TRAIN,
    "val": Side.VALIDATION,
    "valid": Side.VALIDATION,
    "validation": Side.VALIDATION,
    "test": Side.TEST,
    "testing": Side.TEST,
}
# One patient's frames, slices or visits; the part before must hold a number, or it names the whole dataset.
_PARTS = re.compile(r"(?i)^(.*\d.*?)[-_](?:frame|slice|phase|time|visit)[-_]?\d+$")
# A subject of BIDS, and a channel of nnU-Net: what comes before its number.
BIDS_NAME = re.compile(r"^(sub-[A-Za-z0-9]+)_")
CHANNEL_NAME = re.compile(r"^(.+)_(\d{4})$")


@dataclass(frozen=True)
class Source:
    """What all readers need.

    Attributes:
        data: the parsed ``dataset.json``.
        root: the dataset's folder.
        channels: role names in order.
        meaning: scheme and values of the labels.
        ending: file ending that the dataset states, or None.
    """

    data: Mapping[str, Any]
    root: Path
    channels: tuple[str, ...]
    meaning: NamedValues
    ending: str | None

    def annotation(self, file: str) -> Annotation:
        """Return what a label file of this dataset means."""
        return Annotation(file=file, values=None if is_segmentation(file) else self.meaning.values)


def read_foreign(data: Mapping[str, Any], file: Path) -> Dataset:
    """Return the dataset of another program's ``dataset.json``.

    Raises:
        CaseError: the format is none of those known, or the file contradicts itself.
    """
    root, where = file.parent, str(file)
    if "labels" not in data:
        raise _error("there is no key 'labels'", where, 'list the structures: "labels": {"background": 0, "a": 1}')
    name = str(data.get("name") or root.name)
    channels, modality = _channels(data, where)
    meaning = read_named_values(name, data["labels"], data.get("hierarchy"), where=where)
    ending = data.get("file_ending")
    source = Source(data, root, channels, meaning, str(ending) if ending else None)
    if isinstance(data.get("training"), list):
        cases = _listed_cases(source, where)
    elif (root / "imagesTr").is_dir():
        cases = _folder_cases(source, "imagesTr", "labelsTr", None)
        cases += _folder_cases(source, "imagesTs", "labelsTs", Side.TEST)
    elif (root / "images").is_dir():
        cases = _folder_cases(source, "images", "labels", None)
    else:
        raise _error(
            "the format is not known: there is no 'training' list, no folder imagesTr and no folder images",
            where,
            "put the images into images/ and the labels into labels/ under the same names",
        )
    cases = _with_missing(_with_patients(cases, data), data)
    flat = source.ending in FLAT_ENDINGS or str(data.get("tensorImageSize")).upper() == "2D"
    return Dataset(
        name=name,
        scheme=meaning.scheme,
        channels=channels,
        cases=tuple(_in_order(_with_sides(cases, data, where), data)),
        root=root,
        modality=modality,
        dimensions=2 if flat else None,
    )


def _channels(data: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], dict[str, str]]:
    stated = next((data[key] for key in ("channel_names", "modality", "channels") if data.get(key)), "image")
    if isinstance(stated, Mapping):
        if not all(str(key).isdigit() for key in stated):
            raise _error(f"the channels are {stated!r:.80}", where, 'number them: {"0": "T1", "1": "FLAIR"}')
        names = [str(stated[key]) for key in sorted(stated, key=int)]
    else:
        names = [str(item) for item in stated] if isinstance(stated, list) else [str(stated)]
    roles = [name if names.index(name) == i else f"{name} {i}" for i, name in enumerate(names)]
    kinds = ["CT" if name.strip().upper() == "CT" else "MR" for name in names]
    return tuple(roles), dict(zip(roles, kinds, strict=True))


def _listed_cases(source: Source, where: str) -> list[Case]:
    """Return the cases of the Decathlon and of nnU-Net v1, whose file lists them."""
    cases = []
    for key, side in (("training", None), ("test", Side.TEST)):
        for entry in source.data.get(key) or []:
            image = entry.get("image") if isinstance(entry, Mapping) else entry
            if not isinstance(image, str):
                raise _error(f"{key}: {entry!r:.80} names no image", where, 'write {"image": "...", "label": "..."}')
            label = entry.get("label") if isinstance(entry, Mapping) else None
            image = posixpath.normpath(image)
            case_id = strip_ending(posixpath.basename(image))
            annotation = source.annotation(posixpath.normpath(label)) if isinstance(label, str) else None
            images = _images_of_listed(source, image)
            cases.append(Case(id=case_id, patient=case_id, images=images, annotation=annotation, split=side))
    return cases


def _images_of_listed(source: Source, image: str) -> dict[str, str]:
    stem, ending = strip_ending(image), image[len(strip_ending(image)) :]
    # nnU-Net v1 lists "a.nii.gz" and stores "a_0000.nii.gz"; the Decathlon stores channels as frames of one file.
    if not (source.root / image).exists() and (source.root / f"{stem}_0000{ending}").exists():
        files = {role: f"{stem}_{i:04d}{ending}" for i, role in enumerate(source.channels)}
        return {role: file for role, file in files.items() if (source.root / file).exists()}
    if len(source.channels) > 1:
        return {role: f"{image}#{i}" for i, role in enumerate(source.channels)}
    return {source.channels[0]: image}


def _folder_cases(source: Source, images: str, labels: str, side: Side | None) -> list[Case]:
    """Return the cases of two folders: an image without a label file of its name is a case without labels."""
    numbered = "channel_names" in source.data or len(source.channels) > 1
    found: dict[str, dict[str, str]] = {}
    for file in _image_files(source.root / images, source.ending):
        stem = strip_ending(file, source.ending)
        match = CHANNEL_NAME.match(stem) if numbered else None
        case_id, index = (match[1], int(match[2])) if match else (stem, 0)
        role = source.channels[index] if index < len(source.channels) else f"channel {index}"
        found.setdefault(case_id, {})[role] = f"{images}/{file}"
    label_of = {strip_ending(file, source.ending): file for file in _image_files(source.root / labels, source.ending)}
    cases = []
    for case_id in sorted(found):
        label = label_of.get(case_id)
        annotation = source.annotation(f"{labels}/{label}") if label else None
        cases.append(Case(id=case_id, patient=case_id, images=found[case_id], annotation=annotation, split=side))
    stated = source.data.get("dataset")
    return _stated_cases(source, stated) if isinstance(stated, Mapping) and side is None else cases


def _stated_cases(source: Source, stated: Mapping[str, Any]) -> list[Case]:
    """Return the cases of nnU-Net v2's optional key ``dataset``, which replaces the scan of folders."""
    cases = []
    for case_id, entry in stated.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("images"), list):
            raise _error(f"dataset: {entry!r:.80} lists no images", f"case '{case_id}'", 'write {"images": ["..."]}')
        files = dict(zip(source.channels, map(posixpath.normpath, entry["images"]), strict=False))
        label = entry.get("label")
        annotation = source.annotation(posixpath.normpath(label)) if label else None
        cases.append(Case(id=case_id, patient=case_id, images=files, annotation=annotation))
    return cases


def _image_files(folder: Path, ending: str | None) -> list[str]:
    if not folder.is_dir():
        return []
    endings = (ending,) if ending else ENDINGS
    # macOS leaves "._name" beside each file of an archive.
    return sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(endings) and not p.name.startswith("."))


def strip_ending(name: str, ending: str | None = None) -> str:
    """Return a file name without the ending of its image format."""
    for known in (ending, *ENDINGS):
        if known and name.lower().endswith(known.lower()):
            return name[: -len(known)]
    return name


def _with_missing(cases: list[Case], data: Mapping[str, Any]) -> list[Case]:
    """Return the cases and, for each one that is listed under ``cases`` without an image, one that lacks it."""
    listed = data.get("cases")
    known = {case.id for case in cases}
    if not isinstance(listed, list):
        return cases
    missing = [str(item) for item in listed if isinstance(item, str) and strip_ending(item) not in known]
    return cases + [Case(id=case_id, patient=_patient_of(case_id), images={}) for case_id in missing]


def _patient_of(case_id: str) -> str:
    found = BIDS_NAME.match(case_id) or _PARTS.match(case_id)
    return found[1] if found else case_id


def _with_patients(cases: Iterable[Case], data: Mapping[str, Any]) -> list[Case]:
    stated = data.get("patients")
    patients = stated if isinstance(stated, Mapping) else {}
    return [replace(case, patient=str(patients.get(case.id, _patient_of(case.id)))) for case in cases]


def _with_sides(cases: list[Case], data: Mapping[str, Any], where: str) -> list[Case]:
    stated = data.get("split")
    sides: dict[str, Side] = {}
    for key, members in stated.items() if isinstance(stated, Mapping) else ():
        side = SIDES.get(str(key).lower())
        for member in members if side and isinstance(members, list) else ():
            case_id = strip_ending(str(member))
            if side and sides.setdefault(case_id, side) is not side:
                raise _error(
                    f"'{case_id}' is on two sides of 'split': {sides[case_id].value} and {side.value}",
                    where,
                    "list each case once",
                )
    return [replace(case, split=sides.get(case.id, case.split)) for case in cases]


def _in_order(cases: list[Case], data: Mapping[str, Any]) -> list[Case]:
    """Return the cases in the published order where the file states one, for "the first 16 scans"."""
    order = data.get("split_order")
    place = {strip_ending(str(item)): i for i, item in enumerate(order)} if isinstance(order, list) else {}
    return sorted(cases, key=lambda case: place.get(case.id, len(place)))


def _error(what: str, where: str, remedy: str) -> CaseError:
    return CaseError(explain(what, where=where, remedy=remedy))
