"""The model of a run, with where it comes from."""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

import torch

from SemiSegLib import __version__
from SemiSegLib.batches.augment import augmentation, flipped_axes
from SemiSegLib.config import read_json
from SemiSegLib.prediction.model_file import Model, save_model
from SemiSegLib.preparation import Prepared
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.checkpoints import load_best
from SemiSegLib.training.trainer import Trainer


def save_run_model(
    folder: RunFolder, prepared: Prepared, model: Model, trainer: Trainer, settings: TrainingSettings
) -> None:
    """Write the model of the best validation, or of the last step if there was none.

    Args:
        folder: the run.
        prepared: what it was trained on.
        model: as it was trained; its provenance is added here.
        trainer: that trained it.
        settings: how.
    """
    best = load_best(folder.checkpoints) if trainer.best_step is not None else None
    if best is not None:
        weights = {n.removeprefix("method."): t for n, t in best.tensors.items() if n.startswith("method.")}
        model.method.load_state_dict(weights)
    flips = flipped_axes(augmentation(settings.augmentation, mirror=settings.mirror), prepared.plan)
    provenance: dict[str, Any] = {
        **run_provenance(folder, prepared, trainer),
        "preset": folder.request.preset,
        "model_step": trainer.step if best is None else best.step,
        "validation_dice": trainer.best_dice,
        "structure_dice": _structure_dice(folder, trainer.best_step),
        "flipped_axes": [axis for axis, is_flipped in enumerate(flips) if is_flipped],
    }
    save_model(folder.model_path, replace(model, provenance=provenance))


def run_provenance(folder: RunFolder, prepared: Prepared, trainer: Trainer) -> dict[str, Any]:
    """Return where the weights of a training come from; nothing in it tells who a patient is."""
    return {
        "run": folder.request.id,
        "title": folder.request.title,
        "version": __version__,
        "torch": torch.__version__,
        "created": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seed": folder.request.seed,
        "steps": trainer.step,
        "seconds": trainer.clock.elapsed,
        "compute": trainer.compute.words,
        "training_cases": prepared.counts,
        "trained_on": sorted({patient_mark(c.patient) for c in prepared.training}),
    }


def _structure_dice(folder: RunFolder, best_step: int | None) -> dict[str, float]:
    """Return structure to mean Dice of the best validation; without the cases, which would name patients."""
    if best_step is None or not folder.scores_path.exists():
        return {}
    scores = read_json(folder.scores_path)
    return dict(scores["dice"]) if scores.get("step") == best_step else {}


def patient_mark(patient: str) -> str:
    """Return a mark of a patient that tells nothing about him, to notice him in another study's validation cases."""
    return sha256(patient.encode()).hexdigest()[:16]
