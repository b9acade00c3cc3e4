"""What watches a training: losses that are not numbers, classes that vanish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from SemiSegLib.batches.batch import Batch
from SemiSegLib.errors import TrainingError, explain

# Need N20: skip the step; after 20 in a row fall back to fp32 from the last good checkpoint.
NON_FINITE_IN_A_ROW = 20
# Need N21.
EMPTY_IN_A_ROW = 5
# Intensities are normalized to about -10 to 10; more than this overflows fp16 and drowns everything else.
LARGEST_INTENSITY = 1e4


class NonFiniteError(TrainingError):
    """Too many losses or gradients in a row were infinite or not a number.

    Attributes:
        case_ids: cases in the batches they came from, the suspects first.
    """

    def __init__(self, step: int, case_ids: tuple[str, ...], precision: str) -> None:
        self.case_ids = case_ids
        shown = ", ".join(case_ids[:8]) + (f" and {len(case_ids) - 8} more" if len(case_ids) > 8 else "")
        super().__init__(
            explain(
                f"{NON_FINITE_IN_A_ROW} steps in a row gave no finite loss or gradient ({precision})",
                where=f"step {step}, cases: {shown}",
                remedy="look at these cases for extreme or damaged intensities, or lower the learning rate",
            )
        )


class NonFiniteGuard:
    """Counts steps whose loss or gradient is not finite and remembers the cases they came from."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._suspects: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def skip(self, batches: Iterable[Batch], *, step: int, precision: str) -> str:
        """Note a skipped step and return what to tell.

        Raises:
            NonFiniteError: too many in a row.
        """
        self.in_a_row += 1
        for batch in batches:
            largest = batch.image.detach().abs().flatten(1).amax(1)
            for case_id, value in zip(batch.case_ids, largest.tolist(), strict=True):
                is_suspect = not value <= LARGEST_INTENSITY
                (self._suspects if is_suspect else self._others)[case_id] += 1
        if self.in_a_row >= NON_FINITE_IN_A_ROW:
            raise NonFiniteError(step, self.case_ids(), precision)
        return (
            f"step {step} was skipped: its loss or gradient is not a finite number ({', '.join(self.case_ids()[:4])})"
        )

    def passed(self) -> None:
        """Note a good step."""
        self.in_a_row = 0
        self._suspects.clear()
        self._others.clear()

    def case_ids(self) -> tuple[str, ...]:
        """Return the cases with extreme intensities, or all if there are none, the most frequent first."""
        return tuple(case_id for case_id, _ in (self._suspects or self._others).most_common())


class CollapseGuard:
    """Counts, per class, validations in which nothing was predicted although the class was there.

    Args:
        counts: class name to validations in a row so far (from a checkpoint).
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self.counts = dict(counts or {})

    def look(self, predicted: Mapping[str, int]) -> list[str]:
        """Note one validation and return the alarms.

        Args:
            predicted: class that occurs in the validation cases to the number of voxels predicted as it.
        """
        alarms = []
        for name, voxels in predicted.items():
            self.counts[name] = 0 if voxels else self.counts.get(name, 0) + 1
            if self.counts[name] and self.counts[name] % EMPTY_IN_A_ROW == 0:
                alarms.append(
                    f"class '{name}' was predicted empty in {self.counts[name]} validations in a row although it is "
                    "in the validation cases: it may need more fine labels or a longer training"
                )
        return alarms
