"""Memory, device and disk of a training before anything of it is written: worked out by the library beside Slicer.

The library reads a request, a dataset and the headers of its images. Those are written to a temporary folder, without a
single voxel, so a check takes seconds whatever the size of the study.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from slicer.i18n import tr as _

import SemiSegLib
from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.config import write_json
from SemiSegLib.errors import RunError, explain
from SemiSegLib.methods.presets import embeds_texts
from SemiSegLib.runs.request import RunRequest
from SemiSegModule import dependencies
from SemiSegModule.bridge.geometry import Grid
from SemiSegModule.jobs import workerPython
from SemiSegModule.packages.command import Command, NoTimer
from SemiSegModule.preflight import Remark

# Importing torch from a slow disk takes long; more than this is no check any more.
MOST_SECONDS = 180.0
# A start is kept waiting for no longer than this, for example where no torch can be imported sooner.
PATIENCE_SECONDS = 60.0
_TO_LPS = np.diag([-1.0, -1.0, 1.0])


class WouldFailError(RunError):
    """A training would fail; it can be started all the same.

    Args:
        remarks: why.
    """

    def __init__(self, remarks: Sequence[Remark]) -> None:
        self.remarks = tuple(remarks)
        remedy = _("see to it, or start it all the same by startTraining(..., regardless=True)")
        what = _("the training would fail: {reasons}").format(reasons=" ".join(remark.text for remark in remarks))
        super().__init__(explain(what, where=_("look ahead before its start"), remedy=remedy))


def writeSketch(folder: Path, sketch: Dataset, grids: Sequence[Grid]) -> Path:
    """Write a dataset whose images are headers alone; return its file.

    Args:
        folder: an empty folder.
        sketch: what an export would write.
        grids: of its cases, in their order.
    """
    cases = []
    for number, (case, grid) in enumerate(zip(sketch.cases, grids, strict=True)):
        name = f"{number}.nrrd"
        (folder / name).write_bytes(_header(grid))
        annotation = None if case.annotation is None else replace(case.annotation, file=f"{number}.seg.nrrd")
        cases.append(replace(case, images=dict.fromkeys(case.images, name), annotation=annotation))
    modality = {role: sketch.modality.get(role, "MR") for role in sketch.channels}
    path = folder / "dataset.json"
    save_dataset(replace(sketch, cases=tuple(cases), root=folder, modality=modality), path)
    return path


def startLookAhead(folder: Path, request: RunRequest, runs: Path, onEnd: Callable[[list[Remark]], None]) -> Command:
    """Let the library work out what a run will need; returns at once.

    Args:
        folder: where the request and the answer are written.
        request: as it would be started, on the dataset of ``writeSketch``.
        runs: where its folder would be made.
        onEnd: called with what is to be known.

    Raises:
        OSError: the program cannot be started.
    """
    lines: list[str] = []
    command = _command(folder, request, runs, lines, onEnd=lambda _code: onEnd(remarksOf(lines)))
    command.start()
    return command


def lookAheadNow(request: RunRequest, runs: Path) -> list[Remark]:
    """Return what a run will need, warnings first; takes some seconds, in any thread.

    Args:
        request: as it would be started.
        runs: where its folder would be made.
    """
    lines: list[str] = []
    # A worker that was ended a moment ago may still hold its log.
    with TemporaryDirectory(prefix="SemiSeg-preflight-", ignore_cleanup_errors=True) as folder:
        command = _command(
            Path(folder), request, runs, lines, onEnd=_doNothing, seconds=PATIENCE_SECONDS, makeTimer=NoTimer
        )
        try:
            command.run()
        except OSError as error:
            lines.append(str(error))
    return remarksOf(lines)


def requireFit(request: RunRequest, runs: Path) -> None:
    """See to it that a run can come to its end, as far as can be said before it.

    Takes some seconds, in any thread. Warnings, and what cannot be worked out, keep nothing from being started.

    Args:
        request: as it would be started.
        runs: where its folder would be made.

    Raises:
        WouldFailError: packages, memory or disk are missing, or the dataset cannot be used.
    """
    missing = dependencies.missing(withText=embeds_texts(request))
    if missing:
        text = _("Packages are missing: {names}. Install them by the panel or by logic.installPackages().")
        remarks = [Remark(True, text.format(names=", ".join(missing)), isError=True, code="packages")]
    else:
        remarks = lookAheadNow(request, runs)
    # Behind others it begins when they have ended, with the memory that they hold now.
    errors = [remark for remark in remarks if remark.isError and not (remark.code == "memory" and request.after)]
    if errors:
        raise WouldFailError(errors)


def remarksOf(lines: Sequence[str]) -> list[Remark]:
    """Return what the library has said; its answer is the last line that is an object."""
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "requirements" in found:
            return [_remark(requirement) for requirement in found["requirements"]] + _numbers(found.get("needs"))
    reason = lines[-1] if lines else _("no answer")
    return [Remark(True, _("What the training needs could not be worked out: {reason}").format(reason=reason))]


def _command(
    folder: Path, request: RunRequest, runs: Path, lines: list[str], *, onEnd: Callable[[int | None], None], **more: Any
) -> Command:
    """Return the program that works it out, told what to do by a file in a folder; it is not started yet."""
    write_json(folder / "request.json", request)
    library = str(Path(SemiSegLib.__file__).resolve().parents[1])
    return Command(
        [workerPython(), "-m", "SemiSegLib.preflight", str(folder / "request.json"), "--runs", str(runs)],
        folder / "log.txt",
        onLine=lines.append,
        onEnd=onEnd,
        environment={"PYTHONPATH": library},
        **{"seconds": MOST_SECONDS, **more},
    )


def _doNothing(_code: int | None) -> None:
    """Take note of nothing: what counts is what was said."""


def _remark(requirement: dict[str, Any]) -> Remark:
    text = str(requirement["what"])
    parts = [f"{text[:1].upper()}{text[1:]} ({requirement['where']}).", str(requirement.get("remedy") or "")]
    parts[1] = f"{parts[1][:1].upper()}{parts[1][1:]}." if parts[1] else ""
    severity, text = requirement["severity"], " ".join(filter(None, parts))
    return Remark(severity != "note", text, isError=severity == "error", code=str(requirement.get("code", "")))


def _numbers(needs: dict[str, Any] | None) -> list[Remark]:
    if needs is None:
        return []
    disk = needs["prepared_gib"] + needs["checkpoints_gib"] + needs["model_gib"]
    text = _("Memory: about {memory} GB of {free} GB free. Disk: about {disk} GB of {diskFree} GB free.").format(
        memory=f"{needs['memory_gib']:.1f}",
        free=f"{needs['memory_free_gib']:.1f}",
        # The smallest study takes something.
        disk=f"{max(disk, 0.1):.1f}",
        diskFree=f"{needs['disk_free_gib']:.0f}",
    )
    return [Remark(False, text)]


def _header(grid: Grid) -> bytes:
    axes = _TO_LPS @ grid.matrix[:3, :3]
    origin = _TO_LPS @ grid.matrix[:3, 3]

    def vector(values: np.ndarray) -> str:
        return "(" + ",".join(repr(float(value)) for value in values) + ")"

    lines = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in grid.shape[::-1])}",
        f"space directions: {' '.join(vector(axes[:, axis]) for axis in range(3))}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: {vector(origin)}",
    ]
    return ("\n".join(lines) + "\n\n").encode()
