"""The cards of the methods: what each is for and needs, readable without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from SemiSegLib.config import NO_DATA

DECISIONS = ("superclass_first", "leaf")
BALANCES = ("fixed", "cube_root", "root", "cases")
# Whose paper a preset such as "paper_000" is of, for people.
PAPER_AUTHORS = {"000": "Dai et al.", "001": "Luque et al.", "002": "Zhao et al.", "003": "Zhang and Zhang"}
# A pass without a graph, as a share of one forward and back: the way back is twice as much work as the way forward.
FORWARD = 1 / 3


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a method, as the panel and the command line show it.

    Attributes:
        name: field name of the method's options.
        default: value if nothing is said.
        text: one sentence.
        low, high: range of a number, or None.
        choices: allowed words, or empty.
        needs: word to the regimes that a method of this choice cannot be trained without (any one of them suffices),
            for words that need others than the card says.
    """

    name: str
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def one_network(options: Mapping[str, Any]) -> float:
    """Return the work of a step in which one network goes forward and back once, whatever the options: 1."""
    return 1.0


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a person must know to choose a method.

    Attributes:
        name: registered name.
        title: name on screen.
        summary: what it does, in a sentence or two.
        family: "supervised", "subclass", "teacher", "cross supervision", "partial labels", "dual task"
            or "adversarial".
        paper: where it was published.
        needs: regimes without which it cannot be trained (any one of them suffices); see ``needs_of``.
        uses: regimes it learns from.
        composition: share of each regime in a batch, used where the regime is present; see ``batch_shares``.
        options: options with ranges.
        presets: preset name to option values; "ours" is the default, "paper" and "code" are what was published.
        training: preset name to the training settings that belong to it (fields of ``TrainingSettings``).
        plan: preset name to the plan settings that belong to it (fields of ``PlanSettings``).
        maps: extra maps it asks of a batch, unless its options say otherwise; see ``maps_of``.
        without_maps: option name to those of its values with which it asks for none.
        reach: option name to those of its values with which, all together, a training must know how far structures
            reach in the labels; see ``needs_reach``.
        stages: what must be trained first and goes into its ``Study``: "presence" (a network that tells which
            structures an image holds).
        answers: "leaves" (their probabilities sum to 1) or "structures" (each by itself, with maps of its own).
        graphs: option name to those of its values with which a step holds the activations of several networks at once,
            and to how many; see ``graphs_at_once``.
        work: value of every option to how much work a step is; see ``work_of``.
    """

    name: str
    title: str
    summary: str
    family: str
    paper: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    composition: Mapping[str, float]
    options: tuple[Option, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plan: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    without_maps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reach: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    answers: str = "leaves"
    graphs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    work: Callable[[Mapping[str, Any]], float] = field(default=one_network, metadata={NO_DATA: True})


def needs_of(card: Card, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the regimes without which a method with these options cannot be trained; any one of them suffices.

    Args:
        card: of the method.
        options: values that differ from the defaults; a preset's, or all of them.
    """
    for option in card.options:
        chosen = options.get(option.name, option.default)
        if chosen in option.needs:
            return option.needs[chosen]
    return card.needs


def graphs_at_once(card: Card, options: Mapping[str, Any]) -> int:
    """Return how many networks' activations a training step holds at once.

    A teacher looks without a graph and does not count, nor does the smaller network that judges another.

    Args:
        card: of the method.
        options: value of every option.
    """
    return max([counts.get(options[name], 1) for name, counts in card.graphs.items()], default=1)


def work_of(card: Card, options: Mapping[str, Any]) -> float:
    """Return how much work a training step is, relative to one network that goes forward and back over all rows.

    That is another matter than ``graphs_at_once``: two networks one after the other are two networks' work, and what a
    teacher looks at costs time although it holds no graph. A pass over some of the rows counts as one over all, as
    their share is not known here; networks that judge another or tell what an image holds are small and do not count.

    Args:
        card: of the method.
        options: value of every option.
    """
    return card.work(options)


def maps_of(card: Card, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the extra maps that a method with these options asks of a batch.

    Args:
        card: of the method.
        options: value of every option.
    """
    return () if any(options[name] in values for name, values in card.without_maps.items()) else card.maps


def needs_reach(card: Card, options: Mapping[str, Any]) -> bool:
    """Return whether a method with these options is built with the reach of each structure, see ``batches.reach``.

    Args:
        card: of the method.
        options: value of every option.
    """
    return bool(card.reach) and all(options[name] in values for name, values in card.reach.items())


def batch_shares(card: Card, options: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, float]:
    """Return how often each regime has a row in a batch, up to a common factor.

    The card's shares are what they are for a half of full rows; with the option ``full_share`` f, the full rows' is
    multiplied by 2 f and that of the others by 2 (1 - f), so that beside one other kind f of the rows are full.

    Six full scans that fill half of every batch are known by heart long before a hundred coarse ones have been seen,
    and a structure's outline is learned from both. With w that share and n the number of cases:

        "fixed": w,    "cube_root": w n^(1/3),    "root": w sqrt(n),    "cases": w n

    Args:
        card: of the method.
        options: value of every option: ``balance`` is one of ``BALANCES``; methods may lack ``full_share``.
        counts: regime to number of training cases; regimes without cases get no rows.
    """
    power = {"fixed": 0.0, "cube_root": 1 / 3, "root": 0.5, "cases": 1.0}[options.get("balance", "fixed")]
    full = float(options.get("full_share", 0.5))
    return {
        name: 2 * (full if name == "full" else 1 - full) * share * math.pow(counts[name], power)
        for name, share in card.composition.items()
        if counts.get(name)
    }
