"""The lines of a comparison: a method with a preset and options on some labels, written as one word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of the table: a method on some labels.

    Attributes:
        title: the line's name.
        method, preset: what is trained.
        options: option values that differ from preset or default.
        fine: number of fine cases, or None for all.
    """

    title: str
    method: str
    preset: str | None
    fine: int | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for its folders, without the seed."""
        parts = [self.method, *([self.preset] if self.preset else [])]
        parts += [f"{name}-{value}" for name, value in self.options.items()]
        return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{'-'.join(parts)}_{self.fine or 'all'}")


def read_arm(text: str, *, fine: int | None) -> Arm:
    """Return the arm of ``method[:preset][+option=value]...``, for example ``marginal:ours+dice_weight=0.5``.

    Args:
        text: as above; values are JSON, and words need no quotes.
        fine: number of fine cases, or None for all.

    Raises:
        ConfigError: the method, the preset or an option is unknown, or a value is out of range.
    """
    head, *pairs = text.split("+")
    method, _, preset = head.partition(":")
    options = dict(_option(pair, text) for pair in pairs)
    resolve_options(card_of(method), preset or None, options)
    title = f"{text}, {'all' if fine is None else fine} fine"
    return Arm(title=title, method=method, preset=preset or None, options=options, fine=fine)


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
