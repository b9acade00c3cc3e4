"""What a presence network can learn from a study, and how well its answers are calibrated on cases it did not see."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SemiSegLib.batches.sizes import usual_sizes
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.dataset import Case
from SemiSegLib.cases.split import draw_order
from SemiSegLib.errors import RunError, explain
from SemiSegLib.evaluation.calibration import LEAST_ANSWERS, expected_calibration_error, fit_temperature
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.losses.presence import presence_targets
from SemiSegLib.methods.parts.presence_learner import PresenceLearner
from SemiSegLib.networks.presence import PresenceShape
from SemiSegLib.prediction.presence_file import ClassFacts
from SemiSegLib.preparation import Prepared
from SemiSegLib.runs.request import PresenceSettings
from SemiSegLib.training.precision import Compute

# Half of a structure is enough to be there, however small it is.
LARGEST_SHARE = 0.5
# Of cases that it did not see; the error of a proportion is then at most 0.035.
CALIBRATION_PATCHES = 200
# Of the patches, those that are centered on a structure (nnU-Net's).
TARGET_SHARE = 1 / 3
# Of cases that were annotated in part, to find out whether any patch of them can say no.
DENIAL_PATCHES = 64
# Without validation cases, one of so many patients who show the same structures is kept for the calibration. Fewer than
# these all teach, so no structure is lost.
PATIENTS_PER_KEPT = 6


@dataclass(frozen=True)
class Lesson:
    """What a presence network can learn from a study.

    Attributes:
        shape: of the network.
        members: (C, L) bool, the leaves of each class.
        minimum: (C,) voxels from which on a class is in a patch.
        cases: training cases whose labels tell something.
        kept: cases for the calibration: labeled validation cases, or without any, training cases that do not teach.
    """

    shape: PresenceShape
    members: np.ndarray
    minimum: np.ndarray
    cases: tuple[Case, ...]
    kept: tuple[Case, ...]

    def learner(self) -> PresenceLearner:
        """Return what learns it, freshly initialized."""
        return PresenceLearner(self.shape, torch.from_numpy(self.members), torch.from_numpy(self.minimum))


def lesson_of(prepared: Prepared, settings: PresenceSettings, device: torch.device) -> Lesson:
    """Return what there is to learn: a class for every ROI that decides for itself and that some case shows.

    No patch of an implied ROI would ever say no.

    Raises:
        RunError: no training case shows any structure, or no patch can say of one that it is not there.
    """
    table = RoiTable.of(prepared.dataset.scheme, prepared.implied)
    cases, kept = (_labeled(prepared, side) for side in (prepared.training, prepared.validation))
    if not kept:
        kept = kept_for_calibration(prepared.store, cases)
        cases = tuple(case for case in cases if case not in kept)
    sizes = usual_sizes(prepared.store, [c.id for c in cases], table.members)
    decides = [k for k, decider in enumerate(table.deciders) if decider == k and k not in table.implied]
    taught = [k for k in decides if sizes[k] > 0]
    if not taught:
        raise RunError(
            explain(
                "no training case shows a structure that surely is there",
                where=f"dataset '{prepared.dataset.name}', training side",
                remedy="draw each structure in at least one training case, or give a presence network",
            )
        )
    members, minimum = table.members[taught].copy(), minimum_voxels(sizes[taught], settings)
    if affirmed := [table.names[taught[c]] for c in _never_denied(prepared, cases, table, taught, minimum)]:
        raise RunError(
            explain(
                f"no patch says of {', '.join(affirmed)} that it is not there, so nobody could learn to tell: the "
                "cases that show it were annotated in some slices or places only",
                where=f"dataset '{prepared.dataset.name}', training side",
                remedy="look for it in one case as a whole, choose roi_mean_teacher, which asks no presence network, "
                "or give a presence network",
            )
        )
    is_gpu = device.type == "cuda"
    shape = PresenceShape(
        classes=tuple(table.names[k] for k in taught),
        channels=len(prepared.plan.channels),
        dimensions=prepared.plan.dimensions,
        width=settings.width or (1.0 if is_gpu else 0.25),
        stem_stride=settings.stem_stride or (1 if is_gpu else 2),
        norm=settings.norm,
    )
    return Lesson(shape, members, minimum, cases, kept)


def _never_denied(
    prepared: Prepared, cases: Sequence[Case], table: RoiTable, taught: Sequence[int], minimum: np.ndarray
) -> list[int]:
    """Return the classes of which no patch would say that they are not there.

    A patch says so where all of it was annotated. Of a case that was annotated as a whole any patch may; of the others,
    some are looked at.
    """
    summaries = {case.id: prepared.store.summary(case.id) for case in cases}
    told = np.zeros(len(taught), dtype=bool)
    for summary in summaries.values():
        if not summary.is_in_part:
            told |= table.shown(summary.table.array)[:, taught].any(0) | (summary.regime is Regime.FULL)
    in_part = [case for case in cases if summaries[case.id].is_in_part]
    if in_part and not told.all():
        source = lesson_batches(prepared, in_part, seed=0, augmentation="none", mirror=None, device=torch.device("cpu"))
        members = torch.from_numpy(table.members[taught].copy())
        for step in range(math.ceil(DENIAL_PATCHES / prepared.plan.batch)):
            batch = source.batch(step)
            target, known = presence_targets(batch.codes, batch.label_sets, members, torch.from_numpy(minimum))
            told |= (known & ~target).any(0).numpy()
            if told.all():
                break
    return np.flatnonzero(~told).tolist()


def kept_for_calibration(store: PreparedStore, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases of one in ``PATIENTS_PER_KEPT`` patients of those who show the same structures, always the same.

    Args:
        store: knows what cases show.
        cases: labeled training cases.
    """
    shown: dict[str, set[str]] = {}
    for case in cases:
        shown.setdefault(case.patient, set()).update(store.summary(case.id).classes)
    alike: dict[frozenset[str], list[str]] = {}
    for patient in sorted(shown, key=lambda name: draw_order(0, name)):
        alike.setdefault(frozenset(shown[patient]), []).append(patient)
    chosen = {name for names in alike.values() for name in names[: len(names) // PATIENTS_PER_KEPT]}
    return tuple(case for case in cases if case.patient in chosen)


def _labeled(prepared: Prepared, cases: Sequence[Case]) -> tuple[Case, ...]:
    return tuple(case for case in cases if prepared.store.summary(case.id).regime is not Regime.NONE)


def minimum_voxels(sizes: np.ndarray, settings: PresenceSettings) -> np.ndarray:
    """Return from how many voxels on a structure is in a patch: max(50, 0.1 % of it), at most half of it.

    Args:
        sizes: (C,) usual voxels of each structure, above 0.
        settings: the two numbers.

    Returns:
        (C,) voxels, at least 1.
    """
    wanted = np.maximum(settings.minimum_voxels, settings.minimum_share * sizes)
    return np.maximum(np.minimum(wanted, LARGEST_SHARE * sizes), 1.0)


def lesson_batches(
    prepared: Prepared,
    cases: Sequence[Case],
    *,
    seed: int,
    augmentation: str,
    mirror: bool | None,
    device: torch.device,
) -> BatchSource:
    """Return the batches of cases with labels, each as often as any other; beyond a volume there is nothing."""
    counts = Counter(prepared.store.summary(c.id).regime.value for c in cases)
    return BatchSource(
        prepared.store,
        cases,
        prepared.plan,
        composition=counts,
        seed=seed,
        augmentation=augmentation,
        mirror=mirror,
        device=device,
        target_share=TARGET_SHARE,
        outside_is_background=True,
    )


def calibrate(
    learner: PresenceLearner,
    prepared: Prepared,
    cases: Sequence[Case],
    compute: Compute,
    *,
    limit_seconds: float | None,
) -> tuple[ClassFacts, ...]:
    """Return for each class its temperature and how good its answers are, from patches of cases it did not see.

    Args:
        learner: trained, on the device.
        prepared: the study.
        cases: whose patches are looked at.
        compute: how numbers are computed.
        limit_seconds: patches are looked at for so long, or None for as many as there should be.
    """
    answers = _answers(learner, prepared, cases, compute, limit_seconds)
    names, minimum = learner.network.shape.classes, learner.minimum.tolist()
    return tuple(
        class_facts(name, minimum[index], *(part[:, index] for part in answers)) for index, name in enumerate(names)
    )


@torch.no_grad()
def _answers(
    learner: PresenceLearner, prepared: Prepared, cases: Sequence[Case], compute: Compute, limit_seconds: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (N, C) logits, targets, and which targets are known."""
    classes = len(learner.network.shape.classes)
    found = [(torch.zeros(0, classes), torch.zeros(0, classes).bool(), torch.zeros(0, classes).bool())]
    if cases:
        device = torch.device(compute.device)
        source = lesson_batches(prepared, cases, seed=0, augmentation="none", mirror=None, device=device)
        begin = time.monotonic()
        learner.eval()
        for step in range(math.ceil(CALIBRATION_PATCHES / prepared.plan.batch)):
            if limit_seconds is not None and time.monotonic() - begin > limit_seconds:
                break
            with compute.autocast():
                logits, target, known = learner.answers(compute.place(source.batch(step)))
            found.append((logits.float().cpu(), target.cpu(), known.cpu()))
    scores, truth, is_known = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return scores, truth, is_known


def class_facts(name: str, minimum: float, logits: np.ndarray, target: np.ndarray, known: np.ndarray) -> ClassFacts:
    """Return what patches of cases it did not see say of a class.

    Args:
        name: of the class.
        minimum: voxels from which on it is in a patch.
        logits: (N,).
        target: (N,) bool.
        known: (N,) bool, patches whose labels tell.
    """
    scores, truth = logits[known].astype(float), target[known]
    present, absent = int(truth.sum()), int((~truth).sum())
    temperature = fit_temperature(scores, truth)
    note = ""
    if temperature is None:
        note = f"not calibrated: {present} patches hold it and {absent} do not, {LEAST_ANSWERS} are needed"
    before = after = None
    if truth.size:
        before, after = (expected_calibration_error(_sigmoid(scores / t), truth) for t in (1.0, temperature or 1.0))
    return ClassFacts(
        name=name,
        minimum_voxels=minimum,
        present=present,
        absent=absent,
        temperature=temperature or 1.0,
        error_before=before,
        error_after=after,
        note=note,
    )


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
