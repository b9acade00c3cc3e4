"""From the label tables of other programs to a label scheme: name to value, value to name, or name to values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from SemiSegLib.errors import CaseError, did_you_mean, explain
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key, rest_name

# nnU-Net v2 gives voxels to be left out the value of this name.
IGNORED = "ignore"
# Okabe and Ito's colors, which color-blind people can tell apart; files of other programs name no colors.
PALETTE = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)


@dataclass(frozen=True)
class NamedValues:
    """A label scheme and what each stored value means in it.

    Attributes:
        scheme: structures, nested where the table or the hierarchy says so.
        values: stored integer to structure names, as an annotation takes them.
    """

    scheme: LabelScheme
    values: Mapping[int, tuple[str, ...]]


def read_named_values(name: str, labels: object, hierarchy: object, *, where: str) -> NamedValues:
    """Return the scheme of a label table.

    Args:
        name: of the data set.
        labels: {"liver": 1}, {"1": "liver"} or, for regions that contain each other, {"tumor": [1, 2], "core": 2}.
        hierarchy: superclass to the names inside it, or None.
        where: the file, for messages.

    Raises:
        CaseError: the table is empty or contradicts itself, regions overlap without containing each other, or
            the hierarchy names an unknown structure.
    """
    table = _by_name(labels, where)
    ignored = {value for key, values in table.items() if name_key(key) == IGNORED for value in values}
    background = _background(table)
    regions = {
        key: values
        for key, values in table.items()
        if name_key(key) != IGNORED and name_key(key) != BACKGROUND and values != background
    }
    _check_nesting(regions, where)
    regions = _with_rests(regions)
    parents = {key: _smallest_around(key, regions) for key in regions}
    groups = _read_hierarchy(hierarchy, regions, where)
    for group, members in groups.items():
        for member in members:
            parents[member] = group
    names = [*groups, *regions]
    first_value = {key: min(regions[key]) if key in regions else _first_value(key, groups, regions) for key in names}
    parents |= {group: parents.get(group) for group in groups}
    ordered = sorted(names, key=lambda key: (first_value[key], _depth(key, parents)))
    structures = [
        Structure(name=key, parent=parents[key], color=PALETTE[i % len(PALETTE)]) for i, key in enumerate(ordered)
    ]
    values: dict[int, tuple[str, ...]] = dict.fromkeys(sorted(background), (BACKGROUND,))
    for key in sorted(regions, key=lambda key: -len(regions[key])):
        values |= dict.fromkeys(sorted(regions[key]), (key,))
    values |= dict.fromkeys(sorted(ignored), ("*",))
    return NamedValues(LabelScheme(name=name, structures=tuple(structures)), dict(sorted(values.items())))


def _by_name(labels: object, where: str) -> dict[str, frozenset[int]]:
    if not isinstance(labels, Mapping) or not labels:
        raise _error(
            f"'labels' is {labels!r:.60}, expected a table", where, 'write for example {"background": 0, "a": 1}'
        )
    by_value = all(_whole(key) is not None and isinstance(item, str) for key, item in labels.items())
    table: dict[str, frozenset[int]] = {}
    for key, item in labels.items():
        name, stored = (str(item), key) if by_value else (str(key), item)
        listed = list(stored) if isinstance(stored, list | tuple) else [stored]
        numbers = [_whole(number) for number in listed]
        if not numbers or any(number is None for number in numbers):
            raise _error(
                f"the label '{name}' has the value {stored!r:.60}",
                where,
                "give each name a whole number, or a list of them for a region",
            )
        if name in table:
            raise _error(f"the label '{name}' is listed twice", where, "give each value a name of its own")
        table[name] = frozenset(number for number in numbers if number is not None)
    return table


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _background(table: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """Return the values of background: those under its name, else 0, whatever its name is."""
    named = [values for key, values in table.items() if name_key(key) == BACKGROUND]
    return named[0] if named else frozenset({0})


def _check_nesting(regions: Mapping[str, frozenset[int]], where: str) -> None:
    if not regions:
        raise _error("no label besides background", where, "add the structures to 'labels'")
    listed = list(regions.items())
    for i, (first, inside) in enumerate(listed):
        for second, other in listed[i + 1 :]:
            if inside == other:
                raise _error(f"'{first}' and '{second}' stand for the same values", where, "drop one of them")
            if inside & other and not (inside < other or other < inside):
                raise _error(
                    f"the regions '{first}' and '{second}' overlap and neither contains the other",
                    where,
                    "list the values one by one in 'labels' and put regions that contain each other in 'hierarchy'",
                )


def _with_rests(regions: Mapping[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    """Return the regions with a leaf for the part of each region that none of the regions inside it covers."""
    result = dict(regions)
    for key, values in regions.items():
        inner = [other for other in regions.values() if other < values]
        rest = values - frozenset().union(*inner)
        if inner and rest:
            result[rest_name(key)] = rest
    return result


def _smallest_around(key: str, regions: Mapping[str, frozenset[int]]) -> str | None:
    around = [other for other, values in regions.items() if regions[key] < values]
    return min(around, key=lambda other: len(regions[other])) if around else None


def _read_hierarchy(hierarchy: object, regions: Mapping[str, frozenset[int]], where: str) -> dict[str, list[str]]:
    if hierarchy is None:
        return {}
    if not isinstance(hierarchy, Mapping) or not all(isinstance(members, list) for members in hierarchy.values()):
        raise _error("'hierarchy' is not a table", where, 'write for example {"organ": ["head", "tail"]}')
    groups: dict[str, list[str]] = {}
    known = {name_key(key): key for key in (*regions, *hierarchy)}
    for group, members in hierarchy.items():
        for member in members:
            if name_key(str(member)) not in known:
                names = did_you_mean(str(member), list(known.values()))
                raise _error(f"the hierarchy of '{group}' names '{member}', which is no label", where, names)
        # A superclass that is its only leaf is that leaf.
        if [name_key(str(member)) for member in members] != [name_key(group)]:
            groups[group] = [known[name_key(str(member))] for member in members]
    return groups


def _first_value(group: str, groups: Mapping[str, list[str]], regions: Mapping[str, frozenset[int]]) -> int:
    # The scheme reports a circle; here a group is only looked at once.
    seen: set[str] = set()
    waiting, values = [group], [1 << 30]
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        values += regions.get(key, ())
        waiting += groups.get(key, [])
    return min(values)


def _depth(key: str, parents: Mapping[str, str | None]) -> int:
    chain = [key]
    while (parent := parents.get(chain[-1])) is not None and parent not in chain:
        chain.append(parent)
    return len(chain)


def _error(what: str, where: str, remedy: str) -> CaseError:
    return CaseError(explain(what, where=where, remedy=remedy))
