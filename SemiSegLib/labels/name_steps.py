"""What edits of a label scheme made of names, and where names of today lead back to: so trained weights can follow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from SemiSegLib.labels.scheme import name_key


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one edit made of names.

    Attributes:
        kind: "add", "rename", "merge", "split" or "remove".
        before: names that are gone; none for an addition, for a split the whole, which stays.
        after: name that took their place; empty for a removal.
    """

    kind: str
    before: tuple[str, ...]
    after: str = ""


def origins(
    steps: Iterable[Step], known: Collection[str] | None = None
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return, for names of today, which one or which several earlier names stand for them.

    Args:
        steps: what edits did, oldest first.
        known: names of a trained model; going back ends at them. None: back to the first names there were.

    Returns:
        {name: earlier name} for renamed structures, {name: earlier names} for merged ones, as ``RunRequest`` takes
        them with ``warm_start``. Parts of a split structure are not listed: they begin as their whole.
    """
    stop = {name_key(name) for name in known or ()}
    before: dict[str, tuple[str, ...]] = {}
    for step in steps:
        if step.kind in ("add", "split"):
            # A new structure: whatever had this name before has nothing to do with it.
            before[step.after] = ()
            continue
        found: list[str] = []
        for name in step.before:
            earlier = before.pop(name, (name,))
            found += [name] if name_key(name) in stop else earlier
        if step.after:
            before[step.after] = tuple(dict.fromkeys(found))
    renamed = {name: old[0] for name, old in before.items() if len(old) == 1 and old[0] != name}
    return renamed, {name: old for name, old in before.items() if len(old) > 1}
