"""Which classes of a presence network tell of which structure of a study."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from SemiSegLib.config import read_json
from SemiSegLib.errors import ConfigError, LabelError, did_you_mean, explain
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure, name_key
from SemiSegLib.labels.schemes import resource_folder

FILE = "presence_classes.json"


def classes_of_rois(
    scheme: LabelScheme, classes: Collection[str], *, given: Mapping[str, Collection[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """Return for each ROI, in the order of ``RoiTable``, the classes of which the likeliest decides if it is there.

    The first that is found: what was given; what its organ has, for a lesion; the class of its name or of an alias;
    what ``Resources/presence_classes.json`` lists; what all its parts have; what the nearest structure around it has.

    Args:
        scheme: of the study.
        classes: names of the network's classes.
        given: structure to classes, where a person said so.

    Raises:
        ConfigError: a given structure or class does not exist.
        LabelError: no class tells of a ROI.
    """
    table = RoiTable.of(scheme)
    by_key = {name_key(name): name for name in classes}
    chosen = _checked(given or {}, table, by_key)
    listed = _listed(by_key)
    found = [_find(index, table, scheme, (chosen, by_key, listed)) for index in range(len(table))]
    lacking = [name for name, own in zip(table.names, found, strict=True) if not own]
    if lacking:
        example = f'{{"{lacking[0]}": ["{next(iter(classes), "")}"]}}'
        raise LabelError(
            explain(
                f"no class tells whether an image holds: {', '.join(lacking)}",
                where=f"presence network with the classes {_shortened(classes)}",
                remedy=f"name its classes as 'classes' of the request's 'presence', for example {example}; or give no "
                "presence network and draw it in a training case, so that the run trains one that knows it",
            )
        )
    return dict(zip(table.names, found, strict=True))


def _find(
    index: int,
    table: RoiTable,
    scheme: LabelScheme,
    known: tuple[Mapping[str, tuple[str, ...]], Mapping[str, str], Mapping[str, tuple[str, ...]]],
) -> tuple[str, ...]:
    chosen, by_key, listed = known
    own, decider = table.names[index], table.names[table.deciders[index]]
    if own in chosen:
        return chosen[own]
    # A lesion whose organ has no class stands for itself.
    for structure in (*scheme.ancestors(decider), scheme.find(own)):
        if structure.name in chosen:
            return chosen[structure.name]
        keys = _keys(structure)
        direct = [by_key[key] for key in keys if key in by_key]
        if direct:
            return (direct[0],)
        indirect = [listed[key] for key in keys if key in listed]
        if indirect:
            return indirect[0]
        parts = [_find(part, table, scheme, known) for part in table.children[index]] if structure.name == own else []
        if parts and all(parts):
            return tuple(dict.fromkeys(name for names in parts for name in names))
    return ()


def _keys(structure: Structure) -> list[str]:
    return [name_key(name) for name in (structure.name, *structure.aliases)]


def _listed(by_key: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return name key of a structure to those of its listed classes that the network has."""
    entries = read_json(resource_folder(".") / FILE)["structures"]
    found = {
        name_key(structure): tuple(by_key[name_key(name)] for name in names if name_key(name) in by_key)
        for structure, names in entries.items()
    }
    return {key: names for key, names in found.items() if names}


def _checked(
    given: Mapping[str, Collection[str]], table: RoiTable, by_key: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    names = {name_key(name): name for name in table.names}
    found = {}
    for structure, classes in given.items():
        if name_key(structure) not in names:
            raise _unknown(structure, "a structure of the study", names.values())
        for name in classes:
            if name_key(name) not in by_key:
                raise _unknown(name, "a class of the presence network", by_key.values())
        found[names[name_key(structure)]] = tuple(by_key[name_key(name)] for name in classes)
    return found


def _unknown(name: str, what: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(explain(f"'{name}' is not {what}", where="presence: classes", remedy=did_you_mean(name, known)))


def _shortened(classes: Collection[str]) -> str:
    names = list(classes)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
