"""Scans in folders without a description: which images of them become cases, and what their files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.segments import is_segmentation
from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegModule.bridge.case_files import CaseFiles, Drawn
from SemiSegModule.bridge.folder_files import FoundFiles, channelGroups, stemOf
from SemiSegModule.bridge.frames import parseFrames, requireChosen
from SemiSegModule.bridge.geometry import Grid, fromGeometry, isSameGrid
from SemiSegModule.bridge.segmentation_file import FileSegment, readSegmentationFile

CHANNEL = "image"
# Colors of labels that nobody named, as far apart as five can be.
_COLORS = ((0.9, 0.3, 0.3), (0.3, 0.7, 0.4), (0.3, 0.5, 0.9), (0.9, 0.8, 0.3), (0.7, 0.4, 0.8))


@dataclass(frozen=True, kw_only=True)
class FoundScan:
    """One scan among files.

    Attributes:
        id: name of the case.
        images: channel role to file; the first channel gives the grid.
        labels: its label image or segmentation, or None.
        patient: by the folder's or file's name; "" if neither says so.
        frames: images in the file of the first channel; more than one is a 4-D file.
        frame: the one that is meant, counted from 0, or None as long as nobody has chosen.
        labelFrames: images in the label file.
        labelFrame: the one that is meant, or None if there is one.
    """

    id: str
    images: Mapping[str, Path]
    labels: Path | None = None
    patient: str = ""
    frames: int = 1
    frame: int | None = None
    labelFrames: int = 1
    labelFrame: int | None = None

    @property
    def image(self) -> Path:
        """File of the first channel."""
        return next(iter(self.images.values()))


def scansOf(files: FoundFiles, channels: Sequence[str] = ()) -> tuple[tuple[FoundScan, ...], tuple[Path, ...]]:
    """Return the scans among files, and the files that belong to none.

    Labels belong to the scan of the same name, or to the only scan beside them.

    Args:
        files: what was found.
        channels: roles of the files that differ only in the number at the end of their names (_0000, _0001, ...), in
            the order of the numbers; empty for names that end in a number by chance.
    """
    named = _asChannels(files.images, channels) if channels else _asScans(files.images)
    firsts = [next(iter(images.values())) for _name, images in named]
    names = [name for name, _images in named]
    scans: list[FoundScan] = []
    used: set[Path | None] = set()
    for first, (name, images) in zip(firsts, named, strict=True):
        labels = files.labelsOf(first, name, firsts)
        used.update((labels, *images.values()))
        scans.append(
            FoundScan(
                id=name if names.count(name) == 1 else f"{first.parent.name} {name}",
                images=images,
                labels=labels,
                patient=files.patientOf(first),
                frames=files.framesOf(first),
                labelFrames=1 if labels is None else files.framesOf(labels),
            )
        )
    return tuple(scans), tuple(file for file in (*files.images, *files.labels) if file not in used)


def chooseFrames(scans: Iterable[FoundScan], text: str, labelsOf: int | None = None) -> tuple[FoundScan, ...]:
    """Return scans with one for each chosen image of a 4-D file; all of one patient.

    Labels of as many images are those of each image; labels of one image are those of the only image that is chosen or
    of the one that somebody names. Others are left out: nobody knows to which of the images they belong.

    Args:
        scans: from ``scansOf``.
        text: numbers counted from 1, "all", or "" to leave 4-D files out.
        labelsOf: the image that labels of one image belong to, or None if nobody has said it.

    Raises:
        CaseError: the text is something else, names an image that is not there, or not the one with the labels.
    """
    result: list[FoundScan] = []
    for scan in scans:
        if scan.frames == 1:
            result.append(scan)
            continue
        digits = len(str(scan.frames))
        numbers = parseFrames(text, scan.frames)
        labeled = _labeledFrames(scan, numbers, labelsOf)
        for number in numbers:
            one = replace(
                scan,
                id=f"{scan.id} {number:0{digits}d}",
                labels=scan.labels if number in labeled else None,
                patient=scan.patient or scan.id,
                frame=number - 1,
                labelFrame=number - 1 if scan.labelFrames > 1 else None,
            )
            result.append(one)
    return tuple(result)


def readFound(scan: FoundScan) -> CaseFiles:
    """Return what the files of a scan hold; touches no object of the scene.

    Raises:
        CaseError: a file cannot be read, or it is a 4-D file and nobody has chosen an image of it.
    """
    volumes = {role: read_volume(file, frame=scan.frame) for role, file in scan.images.items()}
    grid = fromGeometry(next(iter(volumes.values())).geometry)
    drawn = None if scan.labels is None else _readDrawn(scan.labels, grid, scan.labelFrame)
    return CaseFiles(id=scan.id, volumes=volumes, drawn=drawn, patient=scan.patient)


def _asScans(images: Sequence[Path]) -> list[tuple[str, dict[str, Path]]]:
    """Return the name and the images of each scan; every file is one."""
    return [(stemOf(image), {CHANNEL: image}) for image in images]


def _asChannels(images: Sequence[Path], channels: Sequence[str]) -> list[tuple[str, dict[str, Path]]]:
    """Return the name and the images of each scan; files of one name and several numbers are its channels.

    A file without number is a scan of the first channel; files without the first channel are no scan.
    """
    groups = channelGroups(images)
    grouped = {image: key for key, group in groups.items() for image in group.values()}
    found: dict[object, tuple[str, dict[str, Path]]] = {}
    for image in images:
        key = grouped.get(image)
        if key is None:
            found[image] = (stemOf(image), {channels[0]: image})
        elif 0 in groups[key] and key not in found:
            numbers = sorted(number for number in groups[key] if number < len(channels))
            found[key] = (key[1], {channels[number]: groups[key][number] for number in numbers})
    return list(found.values())


def _labeledFrames(scan: FoundScan, numbers: Sequence[int], labelsOf: int | None) -> Sequence[int]:
    """Return the chosen images of a 4-D scan that have labels."""
    if scan.labels is None:
        return ()
    if scan.labelFrames == scan.frames:
        return numbers
    if scan.labelFrames > 1:
        return ()
    if labelsOf is None:
        return numbers if len(numbers) == 1 else ()
    requireChosen(labelsOf, numbers, where=scan.labels.name)
    return (labelsOf,)


def _readDrawn(path: Path, grid: Grid, frame: int | None) -> Drawn:
    if is_segmentation(path):
        file = readSegmentationFile(path)
        return Drawn(tuple((layer, file.grid) for layer in file.layers), file.segments)
    labels = read_labels(path, frame=frame)
    own = fromGeometry(labels.geometry)
    values = np.flatnonzero(np.bincount(labels.voxels.ravel()))
    segments = tuple(_unnamed(int(value)) for value in values if value)
    return Drawn(((labels.voxels, grid if isSameGrid(own, grid) else own),), segments)


def _unnamed(value: int) -> FileSegment:
    """Return a segment of which only a number is known; a person says what it is."""
    name = _("label {value}").format(value=value)
    return FileSegment(id=f"label {value}", name=name, layer=0, value=value, color=_COLORS[(value - 1) % len(_COLORS)])
