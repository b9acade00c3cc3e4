"""The time of a training: how far it is, when it ends, when to validate, to save and to tell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from SemiSegLib.runs.request import TrainingSettings

VALIDATIONS = 12
# Validation may take this share of the run (beyond one validation, which always takes place).
VALIDATION_SHARE = 0.1
TELL_SECONDS = 1.0
# So that a run of days does not write an event every second.
TELL_SHARE = 1 / 500
MOST_TELL_SECONDS = 30.0
AVERAGED_STEPS = 50
# Sums of twelfths are not exact.
ROUNDING = 1e-9


class Clock:
    """Measures one training over all its sessions.

    Args:
        settings: end by steps or seconds, validation and checkpoint intervals.
        state: what ``state`` returned in an earlier session.
        now: seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        *,
        state: Mapping[str, float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        known = dict(state or {})
        self.settings = settings
        self.step_seconds = known.get("step_seconds", 0.0)
        self.validation_seconds = known.get("validation_seconds", 0.0)
        self.validated_step = int(known.get("validated_step", -1))
        self._validated_fraction = known.get("validated_fraction", 0.0)
        self._fraction = known.get("fraction", 0.0)
        self._steps = 0
        self._now = now
        self._begin = now() - known.get("elapsed", 0.0)
        self._saved = self._told = now()

    @property
    def elapsed(self) -> float:
        """Seconds of training and validation so far, over all sessions."""
        return self._now() - self._begin

    def fraction(self, step: int) -> float:
        """Return the share of the training done, 0 to 1, never less than before."""
        if self.settings.steps is not None:
            return min(1.0, step / self.settings.steps)
        usable = max(self._budget - self.validation_seconds, 1e-9)
        self._fraction = max(self._fraction, min(1.0, self.elapsed / usable))
        return self._fraction

    def is_over(self, step: int) -> bool:
        """Return whether no further step fits: the last validation still has to end in time."""
        if self.settings.steps is not None:
            return step >= self.settings.steps
        return self.elapsed + self.step_seconds / 2 + self.validation_seconds >= self._budget

    def eta_seconds(self, step: int) -> float:
        """Return the estimated seconds to the end."""
        if self.settings.steps is None:
            return max(0.0, self._budget - self.elapsed)
        left = max(0, self.settings.steps - step)
        validations = max(1.0, left / max(self._interval_steps(), 1)) if left else 0.0
        return left * self.step_seconds + validations * self.validation_seconds

    def validation_due(self, step: int) -> bool:
        """Return whether to validate now: not before the first step; the end of a run is a separate matter."""
        if step == 0:
            return False
        every = self._fixed_interval()
        if every is not None:
            return step % every == 0 and step != self.validated_step
        return self.fraction(step) >= self._validated_fraction + self._interval() - ROUNDING

    def checkpoint_due(self) -> bool:
        """Return whether the last checkpoint is too old."""
        return self._now() - self._saved >= self.settings.checkpoint_seconds

    def tell_due(self) -> bool:
        """Return whether to tell how the training goes: every second at first, every 30 s in a long run."""
        pause = min(max(TELL_SECONDS, self.elapsed * TELL_SHARE), MOST_TELL_SECONDS)
        return self._now() - self._told >= pause

    def note_step(self, seconds: float) -> None:
        """Take note of a step."""
        self._steps += 1
        # The first step of a session compiles kernels; it counts only until the second is known.
        weight = 1.0 if self._steps <= 2 else 1 / min(self._steps - 1, AVERAGED_STEPS)
        self.step_seconds += (seconds - self.step_seconds) * weight

    def note_validation(self, step: int, seconds: float) -> None:
        """Take note of a validation."""
        self.validation_seconds = seconds
        self.validated_step = step
        self._validated_fraction = self.fraction(step)

    def note_checkpoint(self) -> None:
        """Take note that the state was saved."""
        self._saved = self._now()

    def note_told(self) -> None:
        """Take note that an event was told."""
        self._told = self._now()

    def state(self) -> dict[str, float]:
        """Return what a later session must know."""
        return {
            "elapsed": self.elapsed,
            "step_seconds": self.step_seconds,
            "validation_seconds": self.validation_seconds,
            "validated_step": self.validated_step,
            "validated_fraction": self._validated_fraction,
            "fraction": self._fraction,
        }

    @property
    def _budget(self) -> float:
        return self.settings.seconds if self.settings.seconds is not None else math.inf

    def _fixed_interval(self) -> int | None:
        """Return steps between validations where they must not depend on the speed of the computer."""
        if self.settings.validate_every is not None:
            return self.settings.validate_every
        if self.settings.deterministic and self.settings.steps is not None:
            return math.ceil(self.settings.steps / VALIDATIONS)
        return None

    def _interval(self) -> float:
        """Return the share of the run between validations: fewer of them if they are slow."""
        total = self._budget
        if self.settings.steps is not None:
            total = self.settings.steps * self.step_seconds
        share = self.validation_seconds / (VALIDATION_SHARE * total) if total > 0 else 0.0
        return max(1 / VALIDATIONS, share)

    def _interval_steps(self) -> float:
        every = self._fixed_interval()
        return every if every is not None else self._interval() * (self.settings.steps or 0)
