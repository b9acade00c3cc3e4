"""One run from request to model: the steps in their order, and what is done when one of them cannot go on."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.source import BatchSource, prefetch
from SemiSegLib.config import to_json, write_json
from SemiSegLib.errors import TrainingError, explain
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.methods.catalogue import graphs_at_once, maps_of
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.networks.presence import PresenceModel
from SemiSegLib.planning.memory import estimate_memory_gib, free_memory_gib, is_out_of_memory
from SemiSegLib.planning.planner import shrink
from SemiSegLib.prediction.model_file import Model, load_model
from SemiSegLib.preparation import Preparation, Prepared, StoppedEarlyError, answered_structures
from SemiSegLib.presence_stage import PresenceStage, settings_after_stage
from SemiSegLib.preview import Preview
from SemiSegLib.run_model import patient_mark, save_run_model
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import add_to_manifest, read_manifest
from SemiSegLib.runs.reporter import Pulse, Reporter
from SemiSegLib.training.checkpoints import load_latest, save_checkpoint
from SemiSegLib.training.distributed import RANK_SEED_STEP, Ranks, ShareOfRank
from SemiSegLib.training.events import (
    CheckpointDue,
    Event,
    Finished,
    Noticed,
    Started,
    Validated,
    WarmStarted,
    event_to_line,
)
from SemiSegLib.training.guards import NonFiniteError
from SemiSegLib.training.settling import determinism, find_bf16_support, settle
from SemiSegLib.training.trainer import Trainer
from SemiSegLib.training.validation import Scores, Validation
from SemiSegLib.training.warm_start import warm_start

T = TypeVar("T")
logger = logging.getLogger("SemiSegLib.worker")

# An unattended run must not shrink for ever.
MOST_SHRINKS = 3
# The first validation may take a quarter of what all validations of a time budget may take (a tenth).
FIRST_VALIDATION_SHARE = 0.1 / 4


class Session:
    """One session of work on a run: from its start, or from its last checkpoint, to its model.

    Args:
        folder: the run; locked by the caller.
        reporter: tells the state; None in the processes that do not tell.
        ranks: this process among several.
        device: what to compute on.
    """

    def __init__(self, folder: RunFolder, reporter: Reporter | None, ranks: Ranks, device: torch.device) -> None:
        self.folder, self.reporter, self.ranks, self.device = folder, reporter, ranks, device
        self.request = folder.request
        self.settings = folder.request.training
        self.presence: PresenceModel | None = None

    def run(self) -> str:
        """Do the work and return why it ended: "done", "time" or "stopped".

        Raises:
            SemiSegError: what a user can mend.
            StoppedEarlyError: a stop was asked for before the training began.
        """
        manifest = self.folder.environment_path
        with determinism(self.settings.deterministic), ThreadPoolExecutor(1) as pool:
            # The trial takes seconds in a process of its own; cases are prepared meanwhile.
            pending = pool.submit(find_bf16_support, self.settings, self.device, read_manifest(manifest).get("bf16"))
            prepared = self._prepare()
            support = pending.result()
            if support is not None and self.ranks.is_first:
                add_to_manifest(manifest, bf16=support)
            before = read_manifest(manifest).get("compute")
            self.settings = settle(self.settings, self.device, support=support, before=before)
            if PRESENCE.name in prepared.card.stages:
                prepared, self.presence = self._insist(prepared, self._get_presence)
                if self.presence is None:
                    return "done"
                self.settings = settings_after_stage(self.request, self.settings)
            return self._insist(prepared, self._train)[1]

    def _get_presence(self, prepared: Prepared) -> PresenceModel | None:
        stage = PresenceStage(self.folder, self.reporter, self.ranks, self.device, notice=self._notice)
        return stage.run(prepared, self.settings)

    def _insist(self, prepared: Prepared, work: Callable[[Prepared], T]) -> tuple[Prepared, T]:
        """Work, in fp32 or with a smaller plan where it cannot go on otherwise; return the plan and the result."""
        shrinks = 0
        while True:
            try:
                return prepared, work(prepared)
            except NonFiniteError as error:
                if self.settings.precision == "fp32" or self._recorded_precision() == "fp32":
                    raise
                notice = f"going on in fp32 from the last checkpoint: {str(error).splitlines()[0]}"
                self.settings = replace(self.settings, precision="fp32")
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                shrinks += 1
                self._require_another_try(prepared, shrinks, str(error).splitlines()[0])
                notice = ""
            # Outside the handlers: the traceback would keep the tensors of the failed step alive.
            if self.reporter is not None:
                # It would keep the whole failed trainer. A stop is a file, so the next one that listens hears of it.
                self.reporter.listen(None, None)
            gc.collect()
            torch.cuda.empty_cache()
            if not notice:
                prepared, notice = self._shrink(prepared)
            self._notice(notice)

    def _prepare(self) -> Prepared:
        """Prepare in rank 0 first; the others then find everything done. A stop in one of them stops all."""
        preparation = Preparation(self.folder, self.reporter, str(self.device))
        with self.ranks.together(StoppedEarlyError):
            first = preparation.run() if self.ranks.is_first else None
        with self.ranks.together(StoppedEarlyError):
            return preparation.run() if first is None else first

    def _train(self, prepared: Prepared) -> str:
        """Train from the last checkpoint, or from the start, and save the model; return why it ended."""
        checkpoint = load_latest(self.folder.checkpoints)
        method = self._build(prepared, is_new=checkpoint is None)
        validation = self._validation(prepared)
        latest: list[Scores] = []

        def validate(current: Method) -> Scores:
            latest[:] = [validation(current)]
            return latest[0]

        with torch.random.fork_rng():
            torch.manual_seed(self.request.seed + RANK_SEED_STEP * self.ranks.rank)
            trainer = Trainer(
                method,
                self._batches(prepared),
                self.settings,
                device=self.device,
                validate=validate if validation.case_ids else None,
                state=None if checkpoint is None else (checkpoint.tensors, checkpoint.data),
                ranks=self.ranks,
            )
        validation.should_stop = trainer.should_stop
        preview = Preview(self.folder, prepared.store)
        validation.on_predicted = preview.take
        del checkpoint
        if self.reporter is not None:
            self.reporter.listen(self._pulse(trainer, validation), trainer.stop)
        reason = ""
        for event in trainer.run():
            if self.ranks.is_first:
                for shown in preview.hear(event):
                    self._tell(shown)
                self._hear(event, trainer, validation, latest)
            if isinstance(event, Finished):
                reason = event.reason
        if self.ranks.is_first:
            model = Model(method, self._study(prepared), self.request.method, to_json(prepared.options), {})
            save_run_model(self.folder, prepared, model, trainer, self.settings)
        return reason

    def _study(self, prepared: Prepared) -> Study:
        vectors = prepared.embeddings
        embeddings = None if vectors is None else torch.from_numpy(vectors)
        return Study(
            prepared.dataset.scheme,
            prepared.plan,
            presence=self.presence,
            embeddings=embeddings,
            implied=prepared.implied,
            reach=prepared.reach,
        )

    def _build(self, prepared: Prepared, *, is_new: bool) -> Method:
        study = self._study(prepared)
        with torch.random.fork_rng():
            torch.manual_seed(self.request.seed)
            method = build_method(self.request.method, study, prepared.options)
        if is_new and self.request.warm_start is not None:
            donor = load_model(self.folder.warm_start)
            asked = self.request
            table = warm_start(method, study.scheme, donor, renamed=asked.renamed, merged=asked.merged)
            if self.ranks.is_first:
                add_to_manifest(self.folder.environment_path, warm_start=table, warm_start_words=table.structures())
                self._tell(WarmStarted(step=0, origins=table.origins, dropped=table.dropped_structures))
                for text in table.notices({patient_mark(c.patient) for c in prepared.validation}):
                    self._notice(text)
        return method

    def _batches(self, prepared: Prepared) -> Callable[[int], Iterator[Batch]]:
        source = BatchSource(
            prepared.store,
            prepared.training,
            prepared.plan,
            composition=prepared.composition,
            seed=self.request.seed,
            augmentation=self.settings.augmentation,
            mirror=self.settings.mirror,
            device=self.device,
            maps=maps_of(prepared.card, prepared.options),
            target_share=self.settings.target_share,
        )
        share = ShareOfRank(source, self.ranks)
        return lambda first: prefetch(share, first)

    def _validation(self, prepared: Prepared) -> Validation:
        known = read_manifest(self.folder.environment_path).get("validation_cases")
        ids = tuple(c.id for c in prepared.validation)
        limit = None
        if known is not None:
            ids = tuple(case_id for case_id in ids if case_id in known)
        elif self.settings.seconds is not None:
            limit = FIRST_VALIDATION_SHARE * self.settings.seconds
        return Validation(prepared.store, ids, str(self.device), limit_seconds=limit)

    def _pulse(self, trainer: Trainer, validation: Validation) -> Callable[[], Pulse]:
        def pulse() -> Pulse:
            changes = {
                "step": trainer.step,
                "total_steps": self.settings.steps,
                "fraction": trainer.clock.fraction(trainer.step),
                "eta_seconds": trainer.clock.eta_seconds(trainer.step),
            }
            usual = max(trainer.clock.step_seconds, trainer.clock.validation_seconds / 10)
            return Pulse((trainer.step, validation.judged), usual, changes)

        return pulse

    def _hear(self, event: Event, trainer: Trainer, validation: Validation, latest: list[Scores]) -> None:
        """Write what an event asks to be written: checkpoint, scores, status, and the event itself."""
        assert self.reporter is not None
        if isinstance(event, Started):
            add_to_manifest(self.folder.environment_path, compute=trainer.compute)
            self.reporter.update(state="training", message="training", device=event.device, step=event.step)
            logger.info("training from step %d on %s", event.step, event.device)
        elif isinstance(event, Validated):
            add_to_manifest(self.folder.environment_path, validation_cases=validation.case_ids)
            if event.is_best:
                scores = {"step": event.step, **to_json(latest[0])}
                write_json(self.folder.scores_path, scores)
            self.reporter.update(best_dice=trainer.best_dice, best_step=trainer.best_step)
            logger.info("step %d: mean validation Dice %s", event.step, event.mean_dice)
        elif isinstance(event, CheckpointDue):
            tensors, data = trainer.state()
            save_checkpoint(self.folder.checkpoints, tensors, data, step=event.step, is_best=event.is_best)
        elif isinstance(event, Noticed):
            logger.warning("%s", event.text)
        elif isinstance(event, Finished):
            self.reporter.update(
                step=event.step, fraction=trainer.clock.fraction(event.step), message="saving the model"
            )
        self._tell(event)

    def _recorded_precision(self) -> str:
        compute = read_manifest(self.folder.environment_path).get("compute", {})
        return str(compute.get("precision", ""))

    def _require_another_try(self, prepared: Prepared, shrinks: int, detail: str) -> None:
        if shrinks <= MOST_SHRINKS and self.ranks.count == 1:
            return
        plan = prepared.plan
        size = " x ".join(str(n) for n in plan.patch)
        needed = estimate_memory_gib(
            plan,
            structures=answered_structures(prepared.card, prepared.dataset),
            graphs=graphs_at_once(prepared.card, prepared.options),
        )
        raise TrainingError(
            explain(
                f"memory ran out with {plan.batch} rows of {size} voxels: a step needs about "
                f"{needed:.1f} GiB, {free_memory_gib(str(self.device)):.1f} GiB are free ({detail})",
                where=f"device {self.device}, after {shrinks - 1} smaller plans",
                remedy="close other programs, fix a smaller patch or batch in the plan, or use another device",
            )
        )

    def _shrink(self, prepared: Prepared) -> tuple[Prepared, str]:
        """Return the same with a smaller plan, and what to tell; weights and prepared cases carry over."""
        before = prepared.plan
        plan = shrink(before, least_rows=len(prepared.counts))
        write_json(self.folder.plan_path, plan)
        text = (
            f"memory ran out: going on from the last checkpoint with {plan.batch} rows of {plan.patch} voxels "
            f"instead of {before.batch} rows of {before.patch}"
        )
        return prepared.with_plan(plan), text

    def _notice(self, text: str) -> None:
        logger.warning("%s", text)
        if self.reporter is not None:
            self._tell(Noticed(step=self.reporter.status.step, text=text))

    def _tell(self, event: Event) -> None:
        self.folder.append_event(event_to_line(event, time=time.time()))
