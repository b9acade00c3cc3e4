"""Settings as they are typed: NAME=VALUE, of the training or of the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from SemiSegLib.config import from_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.request import PlanSettings, TrainingSettings


@dataclass(frozen=True)
class Given:
    """What a person typed, with the defaults of the rest.

    Attributes:
        training: how long and with what.
        plan: what is fixed of the plan.
        names: the fields of either that were typed.
    """

    training: TrainingSettings
    plan: PlanSettings
    names: tuple[str, ...]


def read_settings(
    texts: Iterable[str],
    *,
    seconds: float | None = None,
    steps: int | None = None,
    usual_seconds: float | None = None,
) -> Given:
    """Return the settings of NAME=VALUE texts.

    Args:
        texts: values are JSON, and words need no quotes.
        seconds: time budget of a training, or None.
        steps: optimizer steps of a training, where there is no time budget, or None.
        usual_seconds: time budget where nothing says how long the training is; it does not count as typed.

    Raises:
        ConfigError: a text is not NAME=VALUE, a name is unknown, a value is of the wrong type or out of range, or more
            than one thing says how long the training is.
    """
    training: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    for name, value in map(assignment, texts):
        target = plan if name in PlanSettings.__dataclass_fields__ else training
        target[name] = value
    budgets = {"a time budget": seconds, "optimizer steps": steps}
    budgets |= {f"--setting {name}": training.get(name) for name in ("seconds", "steps")}
    given = [words for words, value in budgets.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(
            explain(
                f"{' and '.join(given)} both say how long the training is",
                where="command line",
                remedy="give one of them: --minutes, --steps or a setting",
            )
        )
    if seconds is not None or steps is not None:
        training |= {"steps": steps, "seconds": seconds}
    names = (*training, *plan)
    if training.get("seconds") is not None:
        training.setdefault("steps", None)
    if not given and usual_seconds is not None:
        training |= {"steps": None, "seconds": usual_seconds}
    return Given(
        from_json(TrainingSettings, training, where="--setting"),
        from_json(PlanSettings, plan, where="--setting"),
        names,
    )


def assignment(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE.

    Raises:
        ConfigError: it is not of that form.
    """
    name, value = named(text)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def named(text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE, the value as it is typed.

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(
            explain(f"'{text}' is not NAME=VALUE", where="command line", remedy="write for example seed=1")
        )
    return name, value
