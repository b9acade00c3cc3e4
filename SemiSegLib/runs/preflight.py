"""What a run will need before it starts, against what there is: plain data, and the judgement of it. Without torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from SemiSegLib.cases.finding import Severity

# What a training imports; the rest makes pictures and tables.
NEEDED_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "safetensors", "edt")
# Other programs write too, and a full disk ends more than the run.
COMFORTABLE_SHARE = 0.8
# A run of more hours than this surprises.
LONG_HOURS = 24.0


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that a person should know before the start.

    Attributes:
        code: short name of the kind: "packages", "disk", "memory", "device" or "time".
        severity: an error will end the run, a warning may, a note is only worth knowing.
        what: what is needed and what there is.
        where: which disk, device or computer.
        remedy: what to do, or "" for a note.
    """

    code: str
    severity: Severity
    what: str
    where: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run will need, and what there is.

    Attributes:
        cases: that will be prepared.
        device: "cpu", "cuda:0" or "mps".
        patch: voxels of a sample.
        batch: samples of a step.
        weights: numbers that are trained.
        memory_gib: of one training step, estimated.
        memory_free_gib: on the device.
        prepared_gib: of the prepared cases, if none of them is there yet.
        checkpoints_gib: of the states that are kept to go on from.
        model_gib: of the finished model.
        disk_free_gib: where runs are written.
        step_seconds: of a training step, a rough guess, or None where it is not known.
    """

    cases: int
    device: str
    patch: tuple[int, ...]
    batch: int
    weights: int
    memory_gib: float
    memory_free_gib: float
    prepared_gib: float
    checkpoints_gib: float
    model_gib: float
    disk_free_gib: float
    step_seconds: float | None = None

    @property
    def disk_gib(self) -> float:
        """All that a run writes."""
        return self.prepared_gib + self.checkpoints_gib + self.model_gib


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found before the start.

    Attributes:
        requirements: worst first.
        needs: the numbers, or None where packages are missing to find them.
    """

    requirements: tuple[Requirement, ...]
    needs: Needs | None = None

    @property
    def can_start(self) -> bool:
        """Nothing was found that will end the run."""
        return all(requirement.severity != "error" for requirement in self.requirements)


def in_order(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return requirements, errors first, then warnings, then notes."""
    return tuple(sorted(requirements, key=lambda r: ("error", "warning", "note").index(r.severity)))


def missing_packages(names: Iterable[str] = NEEDED_PACKAGES) -> tuple[str, ...]:
    """Return the packages that are not installed for this Python; none is imported."""
    return tuple(name for name in names if not _is_installed(name))


def packages_requirement(missing: Iterable[str]) -> Requirement | None:
    """Return what to do about missing packages, or None if there are none."""
    names = list(missing)
    if not names:
        return None
    return Requirement(
        code="packages",
        severity="error",
        what=f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not installed",
        where="the Python that trains",
        remedy="install the packages in the section Computer of the module, or with pip",
    )


def disk_requirement(needed_gib: float, free_gib: float, folder: Path) -> Requirement | None:
    """Return what to do about the disk of a folder, or None if there is room enough."""
    if needed_gib <= COMFORTABLE_SHARE * free_gib:
        return None
    return Requirement(
        code="disk",
        severity="error" if needed_gib > free_gib else "warning",
        what=f"the run will write about {needed_gib:.2g} GiB, {free_gib:.2g} GiB are free",
        where=f"the disk of the folder '{Path(folder).name}'",
        remedy="free some space, or choose a folder on another disk",
    )


def memory_requirement(needed_gib: float, free_gib: float, device: str) -> Requirement | None:
    """Return what to do about the memory of a device, or None if there is enough."""
    if needed_gib <= free_gib:
        return None
    return Requirement(
        code="memory",
        # A graphics card says when it is full, and the run goes on with smaller samples; the system ends the process.
        severity="error" if device == "cpu" else "warning",
        what=f"a training step needs about {needed_gib:.1f} GiB of memory, {free_gib:.1f} GiB are free",
        where=f"device {device}",
        remedy="close other programs, or choose a smaller patch or batch, or another device",
    )


def time_requirement(needs: Needs, steps: int | None) -> Requirement | None:
    """Return that so many steps take long, or None if they do not or it is not known."""
    if steps is None or needs.step_seconds is None or steps * needs.step_seconds < 3600 * LONG_HOURS:
        return None
    hours = steps * needs.step_seconds / 3600
    return Requirement(
        code="time",
        severity="warning",
        what=f"{steps} steps will take about {hours:.0f} hours",
        where=f"device {needs.device}",
        remedy="give a time budget instead of steps, or train on a GPU",
    )


def free_disk_gib(folder: Path) -> float:
    """Return what is free on the disk of a folder that may not exist yet."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free / 2**30


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Slicer's own builds of SimpleITK up to 5.10 carry no metadata.
        return importlib.util.find_spec(name) is not None
    return True
