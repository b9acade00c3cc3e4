"""What a training tells: one frozen record, one JSON line each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from SemiSegLib.config import from_json, to_json
from SemiSegLib.errors import ConfigError, did_you_mean, explain


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; ``kind`` is the word written to the event file."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The loop begins or goes on.

    Attributes:
        step: first step to do.
        total_steps: planned steps, or None when a time budget ends the run.
        device: device, precision, memory format and threads, in words.
    """

    kind: ClassVar[str] = "started"
    step: int
    total_steps: int | None
    device: str


@dataclass(frozen=True, kw_only=True)
class Tuned(Event):
    """The timed trials at the start of a run.

    Attributes:
        seconds: setting in words to seconds of its fastest step.
        chosen: the setting used.
    """

    kind: ClassVar[str] = "tuned"
    seconds: Mapping[str, float]
    chosen: str


@dataclass(frozen=True, kw_only=True)
class Stepped(Event):
    """Means over the steps since the last such event.

    Attributes:
        step: optimizer steps done.
        fraction: share of the training done, 0 to 1.
        losses: term name to mean value.
        weights: term name to current weight.
        learning_rate: current.
        seconds_per_step: mean wall time of a step.
        data_seconds: mean share of it spent waiting for and augmenting data.
        eta_seconds: estimated time to the end.
    """

    kind: ClassVar[str] = "stepped"
    step: int
    fraction: float
    losses: Mapping[str, float]
    weights: Mapping[str, float]
    learning_rate: float
    seconds_per_step: float
    data_seconds: float
    eta_seconds: float


@dataclass(frozen=True, kw_only=True)
class Validated(Event):
    """Whole-volume validation.

    Attributes:
        step: optimizer steps done.
        dice: class name to mean Dice over the cases in which the class was looked for.
        cases: class name to the number of those cases.
        mean_dice: mean over foreground leaves that occur, or None if no case has any.
        is_best: whether this is the best so far.
        seconds: wall time.
    """

    kind: ClassVar[str] = "validated"
    step: int
    dice: Mapping[str, float]
    cases: Mapping[str, int]
    mean_dice: float | None
    is_best: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Previewed(Event):
    """What the unfinished model predicts for one case can be looked at.

    Attributes:
        step: optimizer steps done.
        case: its id.
        file: segmentation on the grid of the scan, relative to the run folder; the next preview replaces it.
    """

    kind: ClassVar[str] = "previewed"
    step: int
    case: str
    file: str


@dataclass(frozen=True, kw_only=True)
class CheckpointDue(Event):
    """The listener should save the trainer's state now."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Noticed(Event):
    """Something the user should know: a skipped step, a fallback, a class that is never predicted."""

    kind: ClassVar[str] = "noticed"
    step: int
    text: str


@dataclass(frozen=True, kw_only=True)
class WarmStarted(Event):
    """The networks begin with weights of an earlier model.

    Attributes:
        step: optimizer steps done.
        origins: structure of the study to those of the earlier model that it starts from, itself if it is kept; none
            if it starts anew. A structure that the networks have no output for is left out.
        dropped: structures of the earlier model that nothing starts from.
    """

    kind: ClassVar[str] = "warm_started"
    step: int
    origins: Mapping[str, tuple[str, ...]]
    dropped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The loop ended. ``reason`` is "done", "stopped" or "time"."""

    kind: ClassVar[str] = "finished"
    step: int
    reason: str


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (Started, Tuned, Stepped, Validated, Previewed, CheckpointDue, Noticed, WarmStarted, Finished)
}


def event_to_line(event: Event, *, time: float) -> str:
    """Return one JSON line (without the newline) for an event; ``time`` is seconds since 1970."""
    return json.dumps({"kind": event.kind, "time": time, **to_json(event)}, ensure_ascii=False)


def event_from_data(data: Mapping[str, Any], *, where: str) -> Event:
    """Return the event that one parsed JSON line holds.

    Raises:
        ConfigError: the kind is unknown or a field does not fit.
    """
    kind = str(data.get("kind"))
    if kind not in KINDS:
        raise ConfigError(explain(f"'{kind}' is not an event", where=where, remedy=did_you_mean(kind, KINDS)))
    cls = KINDS[kind]
    names = {f.name for f in dataclasses.fields(cls)}
    return from_json(cls, {key: value for key, value in data.items() if key in names}, where=where)
