"""The checks of one case: its channels, its label file, and how they fit together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SemiSegLib.cases.alignment import Shift, align
from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.file_error import FileError, in_voxels
from SemiSegLib.cases.finding import Finding
from SemiSegLib.cases.reading import AnnotationReading, ChannelReader, read_annotation
from SemiSegLib.cases.segments import is_segmentation
from SemiSegLib.cases.volume import Geometry, Volume, first_voxel
from SemiSegLib.errors import CaseError, LabelError, did_you_mean


@dataclass(frozen=True)
class CaseReport:
    """What the checks of one case found, small enough to keep for every case.

    Attributes:
        findings: in the order in which they were met.
        image_digest: digest of each channel's voxels, by role, to find the same scan under two names.
        voxels_of: voxels drawn for each tuple of structure names that the annotation declares, or None when the
            annotation could not be read.
    """

    findings: tuple[Finding, ...]
    image_digest: Mapping[str, bytes] = field(default_factory=dict)
    voxels_of: Mapping[tuple[str, ...], int] | None = None


def check_case(dataset: Dataset, case: Case) -> CaseReport:
    """Return what is wrong with one case; its images and labels are read once and let go."""
    findings: list[Finding] = []
    digests: dict[str, bytes] = {}
    geometry: Geometry | None = None
    reader = ChannelReader(dataset, case)
    for role in dataset.channels:
        try:
            volume = reader.read(role)
        except CaseError as error:
            code = "missing_channel" if role not in case.images else "outside_folder"
            findings.append(_from_error(dataset, case, error, code=code))
            continue
        digests[role] = hashlib.blake2b(np.ascontiguousarray(volume.voxels).data, digest_size=16).digest()
        findings += _intensity_findings(dataset, case, role, volume)
        if geometry is None:
            geometry = volume.geometry
        else:
            findings += _channel_findings(dataset, case, volume, geometry, reader.path(role))
    findings += [_extra_channel(dataset, case, role) for role in case.images if role not in dataset.channels]
    if case.annotation is None:
        return CaseReport(tuple(findings), digests)
    reading = _read(dataset, case, geometry, findings)
    if reading is None:
        return CaseReport(tuple(findings), digests)
    findings += _label_findings(dataset, case, reading)
    return CaseReport(tuple(findings), digests, reading.named_voxels)


def _read(dataset: Dataset, case: Case, geometry: Geometry | None, findings: list[Finding]) -> AnnotationReading | None:
    """Return the annotation, or add what is wrong with it."""
    assert case.annotation is not None
    try:
        case.annotation.sets(dataset.scheme)
        if geometry is not None:
            return read_annotation(dataset, case, geometry)
        if not dataset.path(case.annotation.file).is_file():
            remedy = "check the path and the spelling of the name"
            path = dataset.path(case.annotation.file)
            raise FileError("missing_file", "the file does not exist", path=path, remedy=remedy)
    except CaseError as error:
        findings.append(_from_error(dataset, case, error, code="outside_folder"))
    except LabelError as error:
        nameless = case.annotation.values is None and not is_segmentation(case.annotation.file)
        findings.append(_from_error(dataset, case, error, code="no_meaning" if nameless else "unknown_structure"))
    return None


def _intensity_findings(dataset: Dataset, case: Case, role: str, volume: Volume) -> Iterator[Finding]:
    low, high = volume.voxels.min(), volume.voxels.max()
    where = case.images[role]
    if not (np.isfinite(low) and np.isfinite(high)):
        broken = ~np.isfinite(volume.voxels)
        kind = "not a number (NaN)" if np.isnan(volume.voxels).any() else "infinite"
        yield Finding(
            case=case.id,
            code="not_finite",
            severity="error",
            what=f"channel '{role}' holds {in_voxels(int(broken.sum()))} that are {kind}",
            where=f"{where}, first at {first_voxel(broken)}",
            remedy="replace them, for example by the background's intensity, or export the image again",
        )
    elif low == high:
        alone = len(dataset.channels) == 1
        yield Finding(
            case=case.id,
            code="constant",
            severity="error" if alone else "warning",
            what=f"every voxel of channel '{role}' is {low:g}",
            where=where,
            remedy="the image holds nothing: export it again or leave the case out",
        )
    if role in dataset.modality and dataset.modality[role] == "CT" and np.isfinite(low) and low >= 0 and high <= 255:
        yield Finding(
            case=case.id,
            code="not_hounsfield",
            severity="warning",
            what=f"channel '{role}' is CT, its intensities are {low:g} to {high:g}",
            where=where,
            remedy="CT is normalized by Hounsfield units: use the original scan, or call the channel MR",
        )


def _channel_findings(
    dataset: Dataset, case: Case, volume: Volume, geometry: Geometry, path: Path
) -> Iterator[Finding]:
    try:
        shift = align(volume, geometry, path, kind="channel")[1]
    except FileError as error:
        yield _from_error(dataset, case, error, code=error.code)
        return
    if shift is not None:
        yield _shifted(dataset, case, shift)


def _label_findings(dataset: Dataset, case: Case, reading: AnnotationReading) -> Iterator[Finding]:
    assert case.annotation is not None
    where = case.annotation.file
    for shift in reading.shifts:
        yield _shifted(dataset, case, shift)
    for (first, second), count in reading.overlaps.items():
        yield Finding(
            case=case.id,
            code="overlap",
            severity="warning",
            what=f"the segments '{first}' and '{second}' exclude each other and share {in_voxels(count)}",
            where=where + _place_of_overlap(reading, case.annotation.sets(dataset.scheme)),
            remedy="these voxels count as either of the two; correct the segments if one of them is wrong",
        )
    for name, count in reading.cropped_voxels.items():
        yield Finding(
            case=case.id,
            code="outside_image",
            severity="warning",
            what=f"segment '{name}' has {in_voxels(count)} outside the image, which are not used",
            where=where,
            remedy="check that the segmentation belongs to this image",
        )
    yield from _missing_segments(dataset, case, reading)
    structures = {names: n for names, n in reading.named_voxels.items() if names not in (("background",), ("*",))}
    if structures and not any(structures.values()):
        names = ", ".join(" or ".join(name) for name in structures)
        yield Finding(
            case=case.id,
            code="empty_label",
            severity="warning",
            what=f"annotated for {names}, and all of them have 0 voxels",
            where=where,
            remedy="if nothing was drawn yet, drop the annotation: as it is, everything here is background",
        )


def _missing_segments(dataset: Dataset, case: Case, reading: AnnotationReading) -> Iterator[Finding]:
    """Tell of the listed segments that the file lacks where their structures count as not there because of it."""
    assert case.annotation is not None
    scheme = dataset.scheme
    elsewhere = scheme.leaf_set(case.annotation.elsewhere)
    for name in reading.missing_segments:
        meant = scheme.leaf_set((case.annotation.segments or {})[name])
        # What may be anything where it is drawn takes nothing away where it is not.
        if meant <= elsewhere or len(meant) == len(scheme.leaves):
            continue
        yield Finding(
            case=case.id,
            code="missing_segment",
            severity="warning",
            what=f"the segment '{name}' is listed and is not in the file, so outside the other segments every voxel "
            f"counts as {scheme.describe(elsewhere)} and not as {scheme.describe(meant)}",
            where=case.annotation.file,
            remedy="correct its name; or if it was not drawn in this case, drop it from 'segments' and add its "
            "structures to 'elsewhere'",
        )


def _place_of_overlap(reading: AnnotationReading, declared: frozenset[frozenset[int]]) -> str:
    """Return where the first voxel lies whose set only an overlap can give, or nothing if none can be told."""
    for code, leaf_set in enumerate(reading.table.sets):
        if code and leaf_set not in declared:
            mask = reading.codes == code
            if mask.any():
                return f", first at {first_voxel(mask)}"
    return ""


def _shifted(dataset: Dataset, case: Case, shift: Shift) -> Finding:
    return Finding(
        case=case.id,
        code="resampled",
        severity="note",
        what=f"displaced by {shift.displacement_mm:.3g} mm ({shift.voxels:.2g} voxels) against the image",
        where=_relative(dataset, shift.path),
        remedy="nothing to do: it is resampled to the grid of the image when it is read",
    )


def _extra_channel(dataset: Dataset, case: Case, role: str) -> Finding:
    return Finding(
        case=case.id,
        code="unknown_channel",
        severity="warning",
        what=f"'{role}' is not a channel of the dataset and is not used",
        where=case.images[role],
        remedy=did_you_mean(role, dataset.channels),
    )


def _from_error(dataset: Dataset, case: Case, error: CaseError | LabelError, *, code: str) -> Finding:
    """Return the finding for an error; ``code`` is for errors that carry none themselves."""
    if isinstance(error, FileError):
        where = _relative(dataset, error.path) + (f", {error.place}" if error.place else "")
        return Finding(
            case=case.id, code=error.code, severity="error", what=error.what, where=where, remedy=error.remedy
        )
    what, _, rest = str(error).partition("\n  where:  ")
    where, _, remedy = rest.partition("\n  remedy: ")
    if case.annotation is not None and isinstance(error, LabelError):
        where = f"{case.annotation.file}, {where}"
    return Finding(case=case.id, code=code, severity="error", what=what, where=where, remedy=remedy)


def _relative(dataset: Dataset, path: Path) -> str:
    root = Path(dataset.root)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
