"""The training and plan settings that belong to a preset, under those that a person gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from SemiSegLib.config import check_choice
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import Card
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

# Two ways to say how long a training is: whoever says one of them says both.
BUDGET = frozenset({"steps", "seconds"})


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """Settings that belong to a preset, or to one line of a comparison.

    Attributes:
        training: fields of ``TrainingSettings`` with their values.
        plan: fields of ``PlanSettings`` with their values.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    def under(
        self, training: TrainingSettings, plan: PlanSettings, *, given: Collection[str]
    ) -> tuple[TrainingSettings, PlanSettings]:
        """Return the settings with these in place of whatever nobody gave.

        Args:
            training: what was given, and defaults for the rest.
            plan: likewise.
            given: names of the fields, of either, that somebody gave; they win.
        """
        fixed = {*given, *(BUDGET if BUDGET & set(given) else ())}
        own = {name: value for name, value in self.training.items() if name not in fixed}
        if BUDGET & own.keys():
            own = {"steps": None, "seconds": None, **own}
        planned = {name: value for name, value in self.plan.items() if name not in fixed}
        return replace(training, **own), replace(plan, **planned)


def preset_settings(card: Card, preset: str | None) -> OwnSettings:
    """Return what a preset asks for; nothing without one.

    Raises:
        ConfigError: the method has no such preset; the message names the nearest.
    """
    if preset is None:
        return OwnSettings()
    check_choice(f"preset of {card.name}", preset, card.presets)
    return OwnSettings(training=card.training.get(preset, {}), plan=card.plan.get(preset, {}))


def embeds_texts(request: RunRequest) -> bool:
    """Return whether a run has the names of its structures embedded as texts, for which it needs more packages.

    Raises:
        ConfigError: there is no such method.
    """
    card = card_of(request.method)
    own = {option.name: option.default for option in card.options}
    return {**own, **card.presets.get(request.preset or "", {}), **request.options}.get("embedding") == "text"
