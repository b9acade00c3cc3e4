"""What watches a training: losses that are not numbers, classes that vanish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.errors import TrainingError, explain

# Skip the step; after 20 in a row fall back to fp32 from the last good checkpoint.
NON_FINITE_IN_A_ROW = 20
# Validations in a row in which a structure was predicted empty before a person is told.
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


@dataclass(frozen=True)
class Extremes:
    """What tells which case of a batch is to blame, kept in its place: it may be one of many of a step.

    Attributes:
        case_ids: of the rows.
        largest: (B,) largest absolute intensity of each row, on the batch's device; nobody waits for it until a step
            is skipped.
    """

    case_ids: tuple[str, ...]
    largest: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Extremes:
        """Return those of a batch."""
        axes = tuple(range(1, batch.image.ndim))
        image = batch.image.detach()
        return cls(batch.case_ids, torch.maximum(image.amax(axes), -image.amin(axes)))


class KeptBuffers:
    """The buffers of a method as they are now, to be put back if the step that comes has to be skipped.

    A forward pass writes what it sees into the running statistics of batch norms before anybody knows that the loss is
    not finite, and nothing would ever take an infinite or missing number out of a running mean again.

    Args:
        method: whose buffers; a few kB are copied.
    """

    def __init__(self, method: nn.Module) -> None:
        # Methods also put new tensors in the place of buffers, and one tensor in two places.
        self._kept = [
            (part, name, buffer, buffer.detach().clone())
            for part in method.modules()
            for name, buffer in part.named_buffers(recurse=False, remove_duplicate=False)
        ]

    @torch.no_grad()
    def put_back(self) -> None:
        """Give every buffer the tensor and the values that it had."""
        for part, name, buffer, values in self._kept:
            setattr(part, name, buffer.copy_(values))


class NonFiniteGuard:
    """Counts steps whose loss or gradient is not finite and remembers the cases they came from."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self._suspects: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def skip(self, seen: Iterable[Extremes], *, step: int, precision: str) -> str:
        """Note a skipped step and return what to tell.

        Args:
            seen: of the step's batches.
            step: its number.
            precision: it was computed in.

        Raises:
            NonFiniteError: too many in a row.
        """
        self.in_a_row += 1
        for batch in seen:
            for case_id, value in zip(batch.case_ids, batch.largest.tolist(), strict=True):
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
