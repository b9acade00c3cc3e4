"""The lines of a comparison: a method with a preset and options on some labels, written as one word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SemiSegLib.config import YOUNGER, check_choice
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.presets import OwnSettings, preset_settings


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of the table: a method on some labels.

    Attributes:
        title: the line's name.
        method, preset: what is trained.
        options: option values that differ from preset or default.
        fine: number of fine cases, or None for all.
        own: training and plan settings that belong to it.
        key: a short name for its folders; "" makes one of method, preset and options.
        labels: "" as they are, "drawn" with one structure a patient, or "naive", the same where what was not drawn
            counts as background.
    """

    title: str
    method: str
    preset: str | None
    fine: int | None
    options: Mapping[str, Any] = field(default_factory=dict)
    own: OwnSettings = field(default_factory=OwnSettings)
    key: str = ""
    labels: str = field(default="", metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        check_choice("labels", self.labels, ("", "drawn", "naive"))

    @property
    def name(self) -> str:
        """A name for its folders, without the seed."""
        ending = self.labels or ("all" if self.fine is None else str(self.fine))
        if self.key:
            return f"{self.key}_{ending}"
        parts = [self.method, *([self.preset] if self.preset else [])]
        parts += [f"{name}-{value}" for name, value in self.options.items()]
        return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{'-'.join(parts)}_{ending}")


def read_arm(text: str, *, fine: int | None, with_settings: bool = False) -> Arm:
    """Return the arm of ``method[:preset][+option=value]...``, for example ``marginal:ours+dice_weight=0.5``.

    Args:
        text: as above; values are JSON, and words need no quotes.
        fine: number of fine cases, or None for all.
        with_settings: whether it is trained with the settings that its preset asks for.

    Raises:
        ConfigError: the method, the preset or an option is unknown, or a value is out of range.
    """
    head, *pairs = text.split("+")
    method, _, preset = head.partition(":")
    options = dict(_option(pair, text) for pair in pairs)
    card = card_of(method)
    resolve_options(card, preset or None, options)
    own = preset_settings(card, preset or None) if with_settings else OwnSettings()
    title = f"{text}, {'all' if fine is None else fine} fine"
    return Arm(title=title, method=method, preset=preset or None, options=options, fine=fine, own=own)


def _option(pair: str, text: str) -> tuple[str, Any]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise ConfigError(
            explain(f"'{pair}' sets nothing", where=f"method '{text}'", remedy="write +option=value after the method")
        )
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
