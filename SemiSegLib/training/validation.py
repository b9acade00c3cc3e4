"""Dice of whole volumes, class by class, over the validation cases in which the class was looked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from SemiSegLib.batches.store import PreparedCase, PreparedStore
from SemiSegLib.evaluation.counts import count_voxels, joint_histogram, judged_structures
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.methods.method import Method
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.window import WindowSettings, predict_slabs


class ValidationStoppedError(Exception):
    """A validation was given up because the run is to stop."""


@dataclass(frozen=True)
class Scores:
    """What one validation found.

    Attributes:
        dice: class name to mean Dice over the cases in which the class was looked for and occurs or is predicted.
        cases: class name to the number of those cases.
        predicted: class that occurs in the cases to the number of voxels predicted as it.
        mean_dice: mean over the leaves that occur; over the superclasses if no leaf can be judged; None if none.
        by_case: case id to class name to Dice.
    """

    dice: Mapping[str, float]
    cases: Mapping[str, int]
    predicted: Mapping[str, int]
    mean_dice: float | None
    by_case: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class CaseResult:
    """Dice of one case, and the voxels predicted as each class that the case has."""

    dice: Mapping[str, float]
    predicted: Mapping[str, int]


@dataclass
class Validation:
    """Validates a method on whole prepared volumes.

    The number of cases is settled by the first validation: when it takes longer than its limit, the cases that were
    done by then are the validation cases of this run, so that all its scores can be compared.

    Attributes:
        store: prepared cases; holds plan and scheme.
        case_ids: validation cases.
        device: torch device.
        limit_seconds: longest first validation, or None.
        should_stop: asked before each batch of windows: a large scan takes minutes on a CPU.
        on_predicted: given id and (D, H, W) uint8 leaves on the plan grid of each case, for others to look at.
        judged: cases judged so far, over all validations.
    """

    store: PreparedStore
    case_ids: Sequence[str]
    device: str
    limit_seconds: float | None = None
    should_stop: Callable[[], bool] = field(default=lambda: False)
    on_predicted: Callable[[str, np.ndarray], None] = field(default=lambda _case_id, _leaves: None)
    judged: int = 0

    def __call__(self, method: Method) -> Scores:
        """Return the scores of a method, which keeps its training mode.

        Raises:
            ValidationStoppedError: the run is to stop.
        """
        start = time.monotonic()
        scheme = self.store.dataset.scheme
        results: dict[str, CaseResult] = {}
        for case_id in self.case_ids:
            self._require_going_on()
            results[case_id] = self._judge(method, self.store.get(case_id), scheme)
            self.judged += 1
            if self.limit_seconds is not None and time.monotonic() - start > self.limit_seconds:
                break
        self.case_ids, self.limit_seconds = tuple(results), None
        return summarize(results, scheme)

    def _judge(self, method: Method, case: PreparedCase, scheme: LabelScheme) -> CaseResult:
        leaves = np.empty(case.codes.shape, dtype=np.uint8)
        settings, decision = WindowSettings(), Decision.of(method, scheme)
        for slab in predict_slabs(
            method,
            case.image,
            self.store.plan,
            device=self.device,
            settings=settings,
            before_batch=self._require_going_on,
        ):
            found = decision(slab.probabilities).cpu().numpy()
            leaves[slab.start : slab.start + len(found)] = found
        self.on_predicted(case.id, leaves)
        return judge_case(leaves, case, scheme)

    def _require_going_on(self) -> None:
        if self.should_stop():
            raise ValidationStoppedError


def judge_case(leaves: np.ndarray, case: PreparedCase, scheme: LabelScheme) -> CaseResult:
    """Return the Dice of one case over what its labels know.

    A class counts if it surely occurs in the case, or if every voxel says that it does not and it was predicted
    (Dice 0). A class that is neither there nor predicted is not counted, nor is one that some voxels leave open and
    no voxel confirms.

    Args:
        leaves: (D, H, W) uint8 predicted leaf indices.
        case: its codes and their table.
        scheme: names the classes.
    """
    joint = joint_histogram(leaves, case.codes, len(scheme.leaves), len(case.table))
    dice, predicted = {}, {}
    for structure in judged_structures(scheme, case.table):
        counts = count_voxels(joint, structure)
        is_settled = counts.known == counts.voxels
        if counts.reference > 0:
            predicted[structure.name] = int(joint[structure.leaves].sum())
        if counts.reference > 0 or (is_settled and counts.prediction > 0):
            dice[structure.name] = 2 * counts.both / (counts.prediction + counts.reference)
    return CaseResult(dice, predicted)


def summarize(results: Mapping[str, CaseResult], scheme: LabelScheme) -> Scores:
    """Return means over cases, in the order of the scheme."""
    names = [structure.name for structure in scheme.structures]
    values = {name: [r.dice[name] for r in results.values() if name in r.dice] for name in names}
    dice = {name: float(np.mean(found)) for name, found in values.items() if found}
    totals = {name: [r.predicted[name] for r in results.values() if name in r.predicted] for name in names}
    return Scores(
        dice=dice,
        cases={name: len(values[name]) for name in dice},
        predicted={name: sum(found) for name, found in totals.items() if found},
        mean_dice=_mean(dice, scheme),
        by_case={case_id: dict(result.dice) for case_id, result in results.items()},
    )


def _mean(dice: Mapping[str, float], scheme: LabelScheme) -> float | None:
    for group in (scheme.leaf_names, scheme.superclass_names):
        found = [dice[name] for name in group if name in dice]
        if found:
            return float(np.mean(found))
    return None
