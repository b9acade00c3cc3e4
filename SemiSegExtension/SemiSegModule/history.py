"""What the events of a training tell, gathered for curve, plot and table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SemiSegLib.errors import ConfigError
from SemiSegLib.training.events import Noticed, Previewed, Stepped, Validated, WarmStarted, event_from_data


@dataclass
class TrainingHistory:
    """The course of a training so far.

    Attributes:
        losses: (share of the training done, total loss).
        lossSteps: optimizer step of each of them.
        dice: (share of the training done, mean validation Dice).
        structureDice: structure to (optimizer step, validation Dice), where it was looked for.
        best: the best validation.
        notices: what a person should know, in the order in which it was told.
        warmStart: what the structures start from; None if the run has begun with a new model.
        preview: the last prediction that can be looked at, or None.
    """

    losses: list[tuple[float, float]] = field(default_factory=list)
    lossSteps: list[int] = field(default_factory=list)
    dice: list[tuple[float, float]] = field(default_factory=list)
    structureDice: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    best: Validated | None = None
    notices: list[Noticed] = field(default_factory=list)
    warmStart: WarmStarted | None = None
    preview: Previewed | None = None
    _share: float = 0.0

    @property
    def notice(self) -> str:
        """The last thing that a person should know, or the empty string."""
        return self.notices[-1].text if self.notices else ""

    def take(self, data: Mapping[str, Any]) -> None:
        """Add one event as it was read from a file; what a newer worker tells besides is passed over."""
        try:
            event = event_from_data(data, where="events.jsonl")
        except ConfigError:
            return
        if isinstance(event, Stepped):
            self._share = event.fraction
            total = sum(event.weights.get(name, 1.0) * value for name, value in event.losses.items())
            if math.isfinite(total):
                self.losses.append((event.fraction, total))
                self.lossSteps.append(event.step)
        elif isinstance(event, Validated):
            self._takeValidation(event)
        elif isinstance(event, Previewed):
            self.preview = event
        elif isinstance(event, Noticed):
            self.notices.append(event)
        elif isinstance(event, WarmStarted):
            self.warmStart = event

    def _takeValidation(self, event: Validated) -> None:
        if event.mean_dice is not None:
            self.dice.append((self._share, event.mean_dice))
        for name, value in event.dice.items():
            if event.cases.get(name, 0) and math.isfinite(value):
                self.structureDice.setdefault(name, []).append((event.step, value))
        if event.is_best or self.best is None:
            self.best = event
