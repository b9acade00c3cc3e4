"""Errors a user can cause: each says what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SemiSegError(Exception):
    """Base of every error that a user can cause; its text is meant to be shown as it is."""


class ConfigError(SemiSegError):
    """A setting, option or request is unknown, of the wrong type or out of range."""


class LabelError(SemiSegError):
    """A label scheme, a label set or the meaning of a label value is wrong."""


class CaseError(SemiSegError):
    """A case or dataset cannot be used as it is."""


class ShapeError(SemiSegError):
    """An image has a shape or channel count that does not fit."""


class CheckpointError(SemiSegError):
    """A checkpoint or model file cannot be read or does not fit."""


class RunError(SemiSegError):
    """A run cannot be started, stopped, resumed or found."""


class TrainingError(SemiSegError):
    """A training cannot go on, for example after repeated non-finite losses."""


class DependencyError(SemiSegError):
    """An optional package that this step needs is not installed."""


def explain(what: str, *, where: str, remedy: str) -> str:
    """Return the text of an error: what was wrong (found and expected), where, and what to do."""
    return f"{what}\n  where:  {where}\n  remedy: {remedy}"


def take_apart(text: str) -> tuple[str, str, str]:
    """Return what was wrong, where, and the remedy of a text that ``explain`` made; "" for what is not in it."""
    rest, _, remedy = text.partition("\n  remedy: ")
    what, _, where = rest.partition("\n  where:  ")
    return what, where, remedy


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest known name, if one is near, and lists all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    start = f"did you mean '{near[0]}'? " if near else ""
    return f"{start}known names are: {', '.join(names) or 'none'}"
