"""What the panel does with model files, as calls: say what one is, apply it, copy it; none needs torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.model_info import ModelInfo, read_model_info
from SemiSegModule import jobs
from SemiSegModule.bridge.images import writingTo
from SemiSegModule.bridge.pairing import drawnIn
from SemiSegModule.bridge.result_segments import schemeColors
from SemiSegModule.bridge.results import createJob
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.waiting import Waiting


class ModelLogic:
    """The calls of ``StudyLogic`` that are about model files."""

    def describeModel(self, model: str | Path | RunFolder) -> ModelInfo:
        """Return what a model segments, on which channels, and where it comes from; its weights are not read.

        Args:
            model: model file, from this or another computer, or a run whose model is meant.

        Raises:
            CheckpointError: there is no such file, or it is no model that this version can use.
        """
        return read_model_info(modelFile(model))

    def modelColors(self, info: ModelInfo) -> dict[str, tuple[float, float, float]]:
        """Return structure name to the color that results of a model show it in: red, green, blue, each 0 to 1."""
        scheme = info.scheme
        return schemeColors([(s.name, scheme.ancestors(s.name)[-1].name, s.color) for s in scheme.structures[1:]])

    def exportModel(
        self, model: str | Path | RunFolder, target: str | Path, *, waiting: Waiting | None = None
    ) -> tuple[Path, int]:
        """Copy a model to a file of its own, all that another computer needs; return the file and its bytes.

        Args:
            model: model file, or a run whose model is meant.
            target: file to write; an existing one is replaced once the copy is whole.
            waiting: has the file copied apart from the scene.

        Raises:
            CheckpointError: there is no such file, or it is no model.
            CaseError: the copy cannot be written.
        """
        source, path = modelFile(model), exportFile(target)
        read_model_info(source)
        with writingTo(path.parent):
            (waiting or Waiting()).apart(partial(_copy, source, path))
            return path, path.stat().st_size

    def applyModel(
        self,
        model: str | Path | RunFolder,
        volumes: Sequence[Any],
        *,
        folder: str | Path | None = None,
        device: str = "auto",
        uncertainty: bool = False,
        largestPiece: bool = False,
        cases: Sequence[SceneCase] = (),
        scheme: LabelScheme | None = None,
        waiting: Waiting | None = None,
    ) -> ApplyFolder:
        """Start to segment volumes of the scene in a process of its own and return the job at once.

        Args:
            model: model file, or a run whose model is meant.
            volumes: volume nodes, or for models of several channels dictionaries of channel role to node.
            folder: where the job is written; None: in the study if the model is of one of its trainings, where
                ``findJobs`` finds it, else beside the model.
            device: "auto", "cpu", "cuda" or "mps".
            uncertainty: make a map of uncertainty for each volume too.
            largestPiece: keep of each structure the largest piece alone.
            cases: cases of the study; what a person has drawn in the volume of one is not told as found by the model.
            scheme: theirs, where cases are given.
            waiting: is told how far the copies of the volumes are.

        Raises:
            CheckpointError: the file is no model that this version can use.
            CaseError: there is no model yet, or a volume lacks one of its channels or cannot be written.
            RunError: the worker cannot be started.
        """
        path = modelFile(model)
        if not path.is_file():
            raise CaseError(
                explain(
                    _("there is no model"),
                    where=str(path),
                    remedy=_("choose a model file, or wait until the training has written one"),
                )
            )
        info = read_model_info(path)
        scans = [channelsFor(info.channels, v if isinstance(v, Mapping) else {"image": v}) for v in volumes]
        drawn = None
        if scheme is not None:
            drawn = [drawnIn(next(iter(scan.values())), cases, scheme, info.scheme) for scan in scans]
        parent = Path(folder) if folder is not None else jobs.appliedFolderOf(path)
        job = createJob(
            parent,
            path,
            scans,
            device=device,
            uncertainty=uncertainty,
            largestPiece=largestPiece,
            drawn=drawn,
            waiting=waiting,
        )
        with writingTo(parent):
            jobs.startWorker(job)
        return job


def modelFile(model: str | Path | RunFolder) -> Path:
    """Return the file of a model."""
    return model.model_path if isinstance(model, RunFolder) else Path(model)


def exportFile(target: str | Path) -> Path:
    """Return the file that an export to a target writes: its name ends as that of a model."""
    path = Path(target)
    return path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")


def channelsFor(roles: Sequence[str], volumes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the volumes that a model takes, by its own channel roles; one channel needs no name.

    Raises:
        CaseError: a channel is missing.
    """
    if len(roles) == len(volumes) == 1:
        return dict(volumes)
    missing = [role for role in roles if role not in volumes]
    if missing:
        name = next(iter(volumes.values())).GetName()
        raise CaseError(
            explain(
                _("the model needs the channels {channels}; there is no {missing}").format(
                    channels=", ".join(roles), missing=", ".join(missing)
                ),
                where=_("volume '{name}'").format(name=name),
                remedy=_("name the channels in Cases as the model does, and choose a volume for each of them"),
            )
        )
    return {role: volumes[role] for role in roles}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and source.samefile(target):
        return
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
