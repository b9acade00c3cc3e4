"""Datasets as files: our ``dataset.json``, read strictly, and the folders of other programs, read as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.foreign import read_foreign
from SemiSegLib.cases.segments import match_segments, read_segments
from SemiSegLib.config import check_choice, from_json, read_json, to_json, write_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.schemes import ready_scheme

FILE_NAME = "dataset.json"
# Version of our format, the value of the key that marks it.
FORMAT_KEY = "semiseg"
FORMAT = 1


def load_dataset(path: Path) -> Dataset:
    """Return the dataset of a folder or of its ``dataset.json``.

    Read are our own format, the Medical Segmentation Decathlon, nnU-Net v1 and v2 raw folders, and a plain folder
    of ``images/``, ``labels/`` and a ``dataset.json`` with ``labels``. Image and label files are not opened, except
    the header of each ``.seg.nrrd`` whose segments are not listed. Outside the segments of such a file a voxel may also
    be what has no segment in it, unless the dataset says what it may be: nobody said that it was looked for.

    Args:
        path: the folder, or a JSON file in it.

    Raises:
        ConfigError: the file is missing, is not JSON or, in our own format, has an unknown key or a wrong type.
        CaseError: the file is none of these formats or contradicts itself.
        LabelError: the label scheme is wrong.
    """
    path = Path(path).expanduser().absolute()
    file = path / FILE_NAME if path.is_dir() else path
    data = read_json(file)
    if not isinstance(data, dict):
        raise CaseError(explain("not an object", where=str(file), remedy="see the page on datasets for its keys"))
    ours = FORMAT_KEY in data or "scheme" in data
    dataset = _read_own(data, file) if ours else read_foreign(data, file)
    said = {entry["id"] for entry in data["cases"] if "elsewhere" in (entry.get("annotation") or {})} if ours else set()
    cases = (_with_segments(dataset, case, says_elsewhere=case.id in said) for case in dataset.cases)
    return dataset.with_cases(tuple(cases))


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Write our ``dataset.json``, atomically.

    Args:
        dataset: its paths are relative to ``dataset.root``, so the file must lie there.
        path: the file, or the folder for ``dataset.json`` in it.

    Raises:
        CaseError: the file would lie outside the dataset's folder, or would replace a file of another program.
    """
    path = Path(path).expanduser().absolute()
    file = path / FILE_NAME if path.is_dir() else path
    if file.parent.resolve() != Path(dataset.root).resolve():
        raise CaseError(
            explain(
                "the paths in a dataset are relative to its folder, so its file must lie there",
                where=str(file),
                remedy=f"save it in {dataset.root}",
            )
        )
    if file.exists():
        known = read_json(file)
        if not isinstance(known, dict) or FORMAT_KEY not in known:
            raise CaseError(
                explain(
                    "the file belongs to another program and would be lost",
                    where=str(file),
                    remedy="save under another name in the same folder, for example semiseg.json",
                )
            )
    data = {key: item for key, item in to_json(dataset).items() if key != "root"}
    write_json(file, {FORMAT_KEY: FORMAT, **data})


def _read_own(data: Mapping[str, Any], file: Path) -> Dataset:
    version = data.get(FORMAT_KEY, FORMAT)
    if version != FORMAT:
        raise CaseError(
            explain(
                f"format {version!r}, this version of SemiSeg reads format {FORMAT}",
                where=str(file),
                remedy="update SemiSeg" if isinstance(version, int) and version > FORMAT else 'write "semiseg": 1',
            )
        )
    if "root" in data:
        remedy = "drop it: the folder of the file is the root"
        raise CaseError(explain("'root' is not a key of a dataset file", where=str(file), remedy=remedy))
    plain = {key: item for key, item in data.items() if key != FORMAT_KEY}
    if isinstance(plain.get("scheme"), str):
        plain["scheme"] = to_json(ready_scheme(plain["scheme"]))
    dataset = from_json(Dataset, {**plain, "root": str(file.parent)}, where=file.name)
    _check_header(dataset, file)
    return dataset


def _check_header(dataset: Dataset, file: Path) -> None:
    roles = dataset.channels
    if not roles or len(set(roles)) != len(roles):
        raise CaseError(
            explain(f"the channels are {list(roles)}", where=str(file), remedy="list each channel once, at least one")
        )
    if set(dataset.modality) != set(roles):
        raise CaseError(
            explain(
                f"'modality' is given for {sorted(dataset.modality)}, the channels are {sorted(roles)}",
                where=str(file),
                remedy='give each channel "CT" or "MR"',
            )
        )
    for role, modality in dataset.modality.items():
        check_choice(f"{file.name}: modality.{role}", modality, ("CT", "MR"))
    if dataset.dimensions not in (None, 2, 3):
        raise CaseError(explain(f"'dimensions' is {dataset.dimensions}", where=str(file), remedy="write 2, 3 or null"))


def _with_segments(dataset: Dataset, case: Case, *, says_elsewhere: bool) -> Case:
    """Return the case with its segments listed, so that its regime is known without opening the file again."""
    annotation = case.annotation
    if annotation is None or annotation.values is not None or annotation.segments is not None:
        return case
    try:
        path = dataset.path(annotation.file)
        matched = match_segments(read_segments(path), dataset.scheme, path)
    except (FileError, CaseError):
        # The checks name this damage with its case; here it would hide all the other cases.
        return case
    elsewhere = annotation.elsewhere
    if not says_elsewhere:
        scheme = dataset.scheme
        drawn = frozenset().union(*(scheme.leaf_set(names) for names in matched.values()))
        elsewhere = scheme.cover(scheme.leaf_set(elsewhere) | frozenset(range(len(scheme.leaves))) - drawn)
    return replace(case, annotation=replace(annotation, segments=matched, elsewhere=elsewhere))
