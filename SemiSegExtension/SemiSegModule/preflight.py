"""What to know before a training begins: are the packages there, is the disk large enough. Nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SemiSegModule import dependencies
from SemiSegModule.bridge.scene_case import SceneCase

GIB = 2**30
# Prepared cases: float16 for each channel, and one byte of codes.
PREPARED_BYTES, CODES_BYTES = 2, 1
# Checkpoints, model and report of a run: three states of a network with its optimizer, measured on the largest plan.
RUN_BYTES = GIB // 2


@dataclass(frozen=True)
class Remark:
    """One thing to know.

    Attributes:
        isWarning: whether the training would, or may, fail.
        text: a sentence.
        isError: whether it would fail, so that it is not started unless a person says so.
        code: what it is about: "packages", "disk", "memory", "device", "time", "dataset", or "".
    """

    isWarning: bool
    text: str
    isError: bool = False
    code: str = ""


def preflight(cases: Sequence[SceneCase], folder: Path) -> list[Remark]:
    """Return what to know before a training on cases of the scene, warnings first.

    Args:
        cases: those that will be written.
        folder: of the study; need not exist.
    """
    return remarks(neededBytes(cases), freeBytes(folder))


def remarks(needed: int, free: int | None, *, withText: bool = False) -> list[Remark]:
    """Return what to know, warnings first.

    Args:
        needed: what the training will write.
        free: what is free on the disk of the study; None if that cannot be told.
        withText: whether the names of structures are to be embedded as texts.
    """
    found = []
    missing = dependencies.missing(withText=withText)
    if missing:
        text = _("{count} packages are missing; Train offers to install them.")
        found.append(Remark(True, text.format(count=len(missing))))
    if free is None:
        found.append(Remark(True, _("The study folder cannot be reached.")))
    elif free < needed:
        text = _("The disk is too full: about {needed} are needed, {free} are free. Choose another study folder.")
        found.append(Remark(True, text.format(needed=sizeText(needed), free=sizeText(free))))
    else:
        text = _("Needs about {needed} of disk; {free} are free.")
        found.append(Remark(False, text.format(needed=sizeText(needed), free=sizeText(free))))
    return found


def neededBytes(cases: Sequence[SceneCase]) -> int:
    """Return how much a training on cases writes, not compressed: scans, labels, prepared cases, checkpoints."""
    return RUN_BYTES + sum(_caseBytes(case) for case in cases)


def freeBytes(folder: Path) -> int | None:
    """Return what is free on the disk of a folder that may not exist yet; None if it cannot be told."""
    try:
        existing = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None


def sizeText(size: int) -> str:
    """Return a size as a person reads it."""
    if size >= 10 * GIB:
        return _("{n} GB").format(n=round(size / GIB))
    return _("{n} GB").format(n=f"{max(size / GIB, 0.1):.1f}")


def _caseBytes(case: SceneCase) -> int:
    images = [node.GetImageData() for node in case.volumes.values()]
    voxels = [_voxels(image) for image in images]
    own = sum(count * image.GetScalarSize() for count, image in zip(voxels, images, strict=True) if image is not None)
    # Channels are brought to the grid of the first; labels are two bytes a voxel.
    first = voxels[0] if voxels else 0
    return own + first * (2 + PREPARED_BYTES * len(images) + CODES_BYTES)


def _voxels(image: Any) -> int:
    return int(image.GetNumberOfPoints()) if image is not None else 0
