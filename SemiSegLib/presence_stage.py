"""The stage of a run before the method: a network that tells which structures an image holds, trained or given.

Given a whole run (``semiseg train-presence``), it is all there is to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from SemiSegLib.batches.source import prefetch
from SemiSegLib.config import to_json, write_atomically
from SemiSegLib.errors import CheckpointError, explain
from SemiSegLib.labels.presence_classes import classes_of_rois
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.methods.parts.presence_learner import PresenceLearner
from SemiSegLib.networks.presence import PresenceModel
from SemiSegLib.prediction.presence_file import Presence, load_presence, save_presence
from SemiSegLib.preparation import Prepared, StoppedEarlyError
from SemiSegLib.presence_training import TARGET_SHARE, Lesson, calibrate, lesson_batches, lesson_of
from SemiSegLib.run_model import run_provenance
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import add_to_manifest
from SemiSegLib.runs.reporter import Pulse, Reporter
from SemiSegLib.runs.request import PresenceSettings, RunRequest, TrainingSettings
from SemiSegLib.training.checkpoints import load_latest, save_checkpoint
from SemiSegLib.training.distributed import RANK_SEED_STEP, Ranks, ShareOfRank
from SemiSegLib.training.events import CheckpointDue, Event, Finished, Noticed, Started, event_to_line
from SemiSegLib.training.trainer import Trainer

logger = logging.getLogger("SemiSegLib.worker")

# Of the stage's seconds; the calibration may take the rest.
TRAINING_SHARE = 0.9
# A spacing that differs more shows structures at another size than the given network has seen.
LARGEST_SPACING_RATIO = 1.5


def stage_settings(request: RunRequest, settings: TrainingSettings) -> TrainingSettings:
    """Return how a presence network is trained: with its share of the run's budget, or with all of it.

    Args:
        request: the run.
        settings: of the run, as settled on this computer.
    """
    share = 1.0 if request.method == PRESENCE.name else request.presence.share
    steps, seconds = settings.steps, settings.seconds
    return replace(
        settings,
        steps=None if steps is None else max(1, round(share * steps)),
        seconds=None if seconds is None else max(1.0, TRAINING_SHARE * share * seconds),
        **fixed_settings(request.presence),
    )


def fixed_settings(own: PresenceSettings) -> dict[str, Any]:
    """Return the training settings that a presence network has of its own, whatever those of the run are."""
    return {
        "optimizer": "adamw",
        "learning_rate": own.learning_rate,
        "weight_decay": own.weight_decay,
        "schedule": "cosine",
        "warmup_steps": 0,
        "accumulation": 1,
        "validate_every": None,
        "target_share": TARGET_SHARE,
    }


def settings_after_stage(request: RunRequest, settings: TrainingSettings) -> TrainingSettings:
    """Return the run's settings with the time that the stage leaves of its budget; given networks cost none."""
    if settings.seconds is None or request.presence_model is not None:
        return settings
    return replace(settings, seconds=max(1.0, (1 - request.presence.share) * settings.seconds))


class PresenceStage:
    """Gets the presence network of a run: the one it has, the one that was given, or one that it trains.

    Args:
        folder: the run.
        reporter: tells the state; None in the processes that do not tell.
        ranks: this process among several.
        device: what to compute on.
        notice: tells a person something.
    """

    def __init__(
        self,
        folder: RunFolder,
        reporter: Reporter | None,
        ranks: Ranks,
        device: torch.device,
        *,
        notice: Callable[[str], None],
    ) -> None:
        self.folder, self.reporter, self.ranks, self.device, self.notice = folder, reporter, ranks, device, notice
        self.request = folder.request
        self.is_whole = self.request.method == PRESENCE.name

    def run(self, prepared: Prepared, settings: TrainingSettings) -> PresenceModel | None:
        """Return the network as it answers for the study's ROIs, frozen, on the CPU; None if it is all of the run.

        Raises:
            CheckpointError: the given network is for other images.
            LabelError: no class of it tells of a structure.
            StoppedEarlyError: a stop was asked for; what was learned is kept.
        """
        # Rank 0 says what is there: a slower process would find what this session has just made.
        (is_there,) = self.ranks.agree([float(self.folder.presence_path.exists())])
        if not is_there and self.request.presence_model is not None:
            with self.ranks.together(StoppedEarlyError):
                self._adopt(prepared)
        elif not is_there:
            self._train(prepared, stage_settings(self.request, settings))
        if self.is_whole:
            return None
        presence = load_presence(self.folder.presence_path)
        given = self.request.presence.classes
        return presence.model(classes_of_rois(prepared.dataset.scheme, presence.network.shape.classes, given=given))

    def _adopt(self, prepared: Prepared) -> None:
        """Copy the given network into the run, so that the run needs nothing else."""
        path = Path(str(self.request.presence_model))
        presence = load_presence(path)
        require_same_images(presence, prepared)
        classes_of_rois(prepared.dataset.scheme, presence.network.shape.classes, given=self.request.presence.classes)
        if self.ranks.is_first:
            for text in _differences(presence, prepared):
                self.notice(text)
            self._note(presence, source="given")
            write_atomically(self.folder.presence_path, path.read_bytes())

    def _train(self, prepared: Prepared, settings: TrainingSettings) -> None:
        lesson = lesson_of(prepared, self.request.presence, self.device)
        if not self.is_whole:
            # What it cannot tell would be found out only after the training.
            classes_of_rois(prepared.dataset.scheme, lesson.shape.classes, given=self.request.presence.classes)
        source = lesson_batches(
            prepared,
            lesson.cases,
            seed=self.request.seed,
            augmentation=settings.augmentation,
            mirror=settings.mirror,
            device=self.device,
        )
        checkpoint = load_latest(self._checkpoints)
        with torch.random.fork_rng():
            torch.manual_seed(self.request.seed)
            learner = lesson.learner()
            torch.manual_seed(self.request.seed + RANK_SEED_STEP * self.ranks.rank)
            trainer = Trainer(
                learner,
                lambda first: prefetch(ShareOfRank(source, self.ranks), first),
                settings,
                device=self.device,
                state=None if checkpoint is None else (checkpoint.tensors, checkpoint.data),
                ranks=self.ranks,
            )
        if self.reporter is not None:
            self.reporter.listen(self._pulse(trainer), trainer.stop)
        reason = ""
        for event in trainer.run():
            if self.ranks.is_first:
                self._hear(event, trainer)
            if isinstance(event, Finished):
                reason = event.reason
        if self.reporter is not None:
            self.reporter.listen(None, None)
        with self.ranks.together(StoppedEarlyError):
            # Only rank 0 was told of the stop.
            if reason == "stopped":
                raise StoppedEarlyError
            if self.ranks.is_first:
                self._finish(prepared, lesson, learner, trainer)

    def _finish(self, prepared: Prepared, lesson: Lesson, learner: PresenceLearner, trainer: Trainer) -> None:
        """Calibrate what was trained and write it."""
        done = {"step": trainer.step, "fraction": 1.0} if self.is_whole else {}
        self._tell("calibrating the presence network", **done)
        seconds = trainer.settings.seconds
        limit = None if seconds is None else (1 / TRAINING_SHARE - 1) * seconds
        facts = calibrate(learner, prepared, lesson.kept, trainer.compute, limit_seconds=limit)
        if lacking := [fact.name for fact in facts if fact.note]:
            self.notice(
                f"how sure the presence network is of {', '.join(lacking)} is not calibrated: too few labeled patches "
                "of cases that it did not learn from hold it, or do not"
            )
        presence = Presence(
            network=learner.network.cpu().eval(),
            temperature=torch.tensor([fact.temperature for fact in facts]),
            plan=prepared.plan,
            facts=facts,
            provenance=run_provenance(self.folder, prepared, trainer),
        )
        self._note(presence, source="trained")
        # Written last: a run that has it goes on with the method.
        save_presence(self.folder.presence_path, presence)

    def _note(self, presence: Presence, *, source: str) -> None:
        entry = {"source": source, "classes": presence.network.shape.classes, "facts": to_json(presence.facts)}
        add_to_manifest(self.folder.environment_path, presence=entry)
        for fact in presence.facts:
            error = (
                "unknown" if fact.error_after is None else f"{fact.error_before:.3f}, calibrated {fact.error_after:.3f}"
            )
            logger.info("presence of %s: calibration error %s %s", fact.name, error, fact.note)

    @property
    def _checkpoints(self) -> Path:
        return self.folder.checkpoints if self.is_whole else self.folder.presence_checkpoints

    def _tell(self, message: str, **changes: Any) -> None:
        if self.reporter is not None:
            self.reporter.update(message=message, **changes)

    def _pulse(self, trainer: Trainer) -> Callable[[], Pulse]:
        total = trainer.settings.steps

        def pulse() -> Pulse:
            fraction, left = trainer.clock.fraction(trainer.step), trainer.clock.eta_seconds(trainer.step)
            changes: dict[str, Any] = {"message": f"training the presence network first: {100 * fraction:.0f} %"}
            if self.is_whole:
                changes = {"step": trainer.step, "total_steps": total, "fraction": fraction, "eta_seconds": left}
            return Pulse(trainer.step, trainer.clock.step_seconds, changes)

        return pulse

    def _hear(self, event: Event, trainer: Trainer) -> None:
        """Write what an event asks to be written; those of a first stage are not mixed with the method's."""
        if isinstance(event, Started):
            state = "training" if self.is_whole else "preparing"
            self._tell(
                "training the presence network", state=state, device=event.device, step=trainer.step * self.is_whole
            )
            logger.info("training the presence network from step %d on %s", event.step, event.device)
        elif isinstance(event, CheckpointDue):
            tensors, data = trainer.state()
            save_checkpoint(self._checkpoints, tensors, data, step=event.step)
        elif isinstance(event, Noticed):
            logger.warning("presence network: %s", event.text)
        if self.is_whole:
            self.folder.append_event(event_to_line(event, time=time.time()))


def require_same_images(presence: Presence, prepared: Prepared) -> None:
    """Raise CheckpointError unless a presence network was trained on images like those of a study."""
    theirs, ours = presence.plan, prepared.plan
    roles, own = [c.role for c in theirs.channels], [c.role for c in ours.channels]
    # One channel needs no name.
    if len(roles) != len(own) or (len(roles) > 1 and roles != own):
        what = f"it was trained on the channels {', '.join(roles)}, the study has {', '.join(own)}"
    elif theirs.dimensions != ours.dimensions:
        what = f"it was trained in {theirs.dimensions} dimensions, the run trains in {ours.dimensions}"
    elif theirs.axis_order != ours.axis_order:
        # Slices across another axis of the patient show other images.
        across = [("bottom to top", "front to back", "right to left")[plan.axis_order[0]] for plan in (theirs, ours)]
        what = f"its slices follow each other from {across[0]}, those of this study from {across[1]}"
    else:
        return
    raise CheckpointError(
        explain(what, where="presence network", remedy="choose another one, or none, so that the run trains its own")
    )


def _differences(presence: Presence, prepared: Prepared) -> list[str]:
    """Return what a person should know of a network that was trained elsewhere."""
    theirs, ours = presence.plan, prepared.plan
    texts = []
    ratios = [max(a / b, b / a) for a, b in zip(theirs.spacing_mm, ours.spacing_mm, strict=True) if a > 0 and b > 0]
    if ratios and max(ratios) > LARGEST_SPACING_RATIO:
        texts.append(
            f"the presence network was trained at a spacing of {theirs.spacing_mm} mm, this is {ours.spacing_mm}"
        )
    if [c.normalization for c in theirs.channels] != [c.normalization for c in ours.channels]:
        texts.append("the presence network was trained on intensities that were normalized in another way")
    elif [(c.low, c.high) for c in theirs.channels] != [(c.low, c.high) for c in ours.channels]:
        windows = (", ".join(f"{c.low:g} to {c.high:g}" for c in plan.channels) for plan in (theirs, ours))
        texts.append("the presence network was trained on intensities of {}, these are {}".format(*windows))
    if any(t < o for t, o in zip(theirs.patch, ours.patch, strict=True)):
        texts.append(f"the presence network was trained on patches of {theirs.patch} voxels, these are {ours.patch}")
    return texts
