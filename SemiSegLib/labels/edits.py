"""Edits of a label scheme, one at a time, each with what it did to names, so that labels can follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.name_steps import Step
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, Terminology, name_key, rest_name

# Characters that Slicer's tags and color tables cannot hold in a name.
_LOST_MARKS = '"|\n\r\t'
# Name of a scheme that begins with a structure.
NEW_SCHEME = "Study"
# Colors that are told apart on light and dark images, for structures that nobody gave a color.
_COLORS = (
    (0.90, 0.30, 0.24),
    (0.20, 0.60, 0.86),
    (0.18, 0.80, 0.44),
    (0.95, 0.77, 0.06),
    (0.61, 0.35, 0.71),
    (0.90, 0.49, 0.13),
    (0.10, 0.74, 0.61),
    (0.91, 0.44, 0.66),
)


@dataclass(frozen=True)
class Edit:
    """A scheme after an edit.

    Attributes:
        scheme: the new scheme; the old one is unchanged.
        steps: what became of names; empty if no name changed.
    """

    scheme: LabelScheme
    steps: tuple[Step, ...] = ()

    def name_now(self, name: str) -> str | None:
        """Return what a structure of the old scheme is called now, None if it was removed."""
        for step in self.steps:
            if step.kind != "split" and name_key(name) in {name_key(old) for old in step.before}:
                return step.after or None
        return name


def add_structure(
    scheme: LabelScheme | None,
    name: str,
    *,
    parent: str | None = None,
    color: tuple[float, float, float] | None = None,
) -> Edit:
    """Return the scheme with a new structure; inside a structure without parts it is the first of its parts.

    Without a scheme (None) the structure begins one.

    Raises:
        LabelError: the name is empty, taken or cannot be used, or there is no such parent.
    """
    if scheme is None:
        first = Structure(name=_usable_name(name), parent=parent, color=color or _COLORS[0])
        return Edit(LabelScheme(name=NEW_SCHEME, structures=(first,)), (Step(kind="add", before=(), after=first.name),))
    name = _checked_name(scheme, name)
    whole = scheme.find(parent) if parent else None
    step = Step(kind="add", before=(), after=name)
    if whole is not None:
        _check_not_background(whole, "get parts")
        step = Step(kind="split", before=(whole.name,), after=name)
    new = Structure(name=name, parent=whole.name if whole else None, color=color or _free_color(scheme))
    return Edit(_with(scheme, (*_without_alias(scheme.structures, name), new)), (step,))


def add_rest(scheme: LabelScheme, whole: str) -> Edit:
    """Return the scheme with a part for what is in a whole and in none of its parts.

    A whole with one part alone is the same as it: to a training, all that is drawn as the whole is that part.

    Raises:
        LabelError: there is no such whole, or it has the part already.
    """
    found = scheme.find(whole)
    return add_structure(scheme, rest_name(found.name), parent=found.name)


def rename_structure(scheme: LabelScheme, name: str, new_name: str) -> Edit:
    """Return the scheme with another name for a structure; the old name stays as an alias, so that labels still match.

    Raises:
        LabelError: the name is empty, taken or cannot be used.
    """
    old = scheme.find(name)
    _check_not_background(old, "be renamed")
    new_name = _checked_name(scheme, new_name, of=old)
    if new_name == old.name:
        return Edit(scheme)

    def changed(structure: Structure) -> Structure:
        if structure is old:
            return replace(structure, name=new_name, aliases=_aliases(structure, old.name, new_name))
        return _moved(scheme, structure, {old.name: new_name})

    structures = tuple(changed(s) for s in _without_alias(scheme.structures, new_name, keep=old.name))
    return Edit(_with(scheme, structures), (Step(kind="rename", before=(old.name,), after=new_name),))


def remove_structure(scheme: LabelScheme, name: str) -> Edit:
    """Return the scheme without a structure; its parts become parts of what it was part of.

    Raises:
        LabelError: it is background, or the last structure.
    """
    old = scheme.find(name)
    _check_not_background(old, "be removed")
    if len(scheme.structures) <= 2:
        raise _error(f"'{old.name}' is the only structure", "add another one first")
    structures = tuple(_moved(scheme, s, {old.name: old.parent}) for s in scheme.structures if s is not old)
    return Edit(_with(scheme, structures), (Step(kind="remove", before=(old.name,)),))


def move_structure(scheme: LabelScheme, name: str, parent: str | None) -> Edit:
    """Return the scheme with a structure, and all its parts, inside another one or (None) on its own.

    Raises:
        LabelError: it would lie inside itself or inside background.
    """
    moved = scheme.find(name)
    _check_not_background(moved, "be a part")
    whole = scheme.find(parent) if parent else None
    if whole is not None:
        _check_not_background(whole, "get parts")
        if moved in scheme.ancestors(whole.name):
            what = (
                f"'{moved.name}' cannot be part of itself"
                if whole is moved
                else f"'{whole.name}' is inside '{moved.name}', so '{moved.name}' cannot be part of it"
            )
            raise _error(what, f"move '{whole.name}' out of it first, or choose another whole")
    new = replace(moved, parent=whole.name if whole else None)
    return Edit(_with(scheme, tuple(new if s is moved else s for s in scheme.structures)))


def merge_structures(scheme: LabelScheme, names: Sequence[str], into: str) -> Edit:
    """Return the scheme with several structures as one; their names become aliases of it, their parts its parts.

    Args:
        scheme: is not changed.
        names: of the structures that end.
        into: name of the one that stays.

    Raises:
        LabelError: background is among them, or one of them contains the structure that stays.
    """
    kept = scheme.find(into)
    ended = [s for s in dict.fromkeys(scheme.find(name) for name in names) if s is not kept]
    for structure in (kept, *ended):
        _check_not_background(structure, "be merged")
        if structure is not kept and structure in scheme.ancestors(kept.name):
            raise _error(f"'{kept.name}' is a part of '{structure.name}'", f"remove '{kept.name}' instead")
    if not ended:
        return Edit(scheme)
    aliases = kept.aliases
    for structure in ended:
        aliases = (*aliases, structure.name, *structure.aliases)
    places = {structure.name: kept.name for structure in ended}

    def changed(structure: Structure) -> Structure:
        return replace(kept, aliases=aliases) if structure is kept else _moved(scheme, structure, places)

    structures = tuple(changed(s) for s in scheme.structures if s not in ended)
    before = (kept.name, *(s.name for s in ended))
    return Edit(_with(scheme, structures), (Step(kind="merge", before=before, after=kept.name),))


def recolor_structure(scheme: LabelScheme, name: str, color: tuple[float, float, float]) -> Edit:
    """Return the scheme with another color for a structure, each part 0 to 1."""
    return _changed(scheme, name, lambda structure: replace(structure, color=color))


def code_structure(scheme: LabelScheme, name: str, terminology: Terminology | None) -> Edit:
    """Return the scheme with another terminology entry for a structure, or none."""
    return _changed(scheme, name, lambda structure: replace(structure, terminology=terminology))


def add_structures(scheme: LabelScheme | None, more: LabelScheme) -> Edit:
    """Return the scheme with the structures of another one that it does not have, by codes, name and alias.

    A new structure also comes between a whole and its parts, or above structures without a whole, as in the other
    scheme: beside them it would be something else than they are.
    """
    if scheme is None:
        return Edit(more)
    known = {s.name: found.name for s in more.structures if (found := scheme.match(s.name, s.terminology))}
    new = []
    for structure in more.structures:
        if structure.name in known:
            continue
        parent = more.find(structure.parent).name if structure.parent else None
        aliases = tuple(alias for alias in structure.aliases if scheme.match(alias) is None)
        new.append(replace(structure, parent=known.get(parent, parent) if parent else None, aliases=aliases))
    wholes = _new_wholes(scheme, more, known)
    structures = (replace(s, parent=wholes[s.name]) if s.name in wholes else s for s in scheme.structures)
    return Edit(_with(scheme, (*structures, *new))) if new else Edit(scheme)


def _new_wholes(scheme: LabelScheme, more: LabelScheme, known: Mapping[str, str]) -> dict[str, str]:
    """Return structures of a scheme to the whole that another scheme puts them in and that comes in from there.

    Args:
        scheme: gets structures.
        more: the other one.
        known: its structures that the first one has, with their names there.
    """
    wholes: dict[str, str] = {}
    for structure in more.structures:
        if structure.name not in known or not structure.parent or more.find(structure.parent).name in known:
            continue
        around = [s.name for s in more.ancestors(structure.name)[1:]]
        above = next((known[name] for name in around if name in known), None)
        own = scheme.find(known[structure.name])
        # What a person put elsewhere stays there.
        if (scheme.find(own.parent).name if own.parent else None) == above:
            wholes.setdefault(own.name, around[0])
    return wholes


def _changed(scheme: LabelScheme, name: str, change: Callable[[Structure], Structure]) -> Edit:
    old = scheme.find(name)
    return Edit(_with(scheme, tuple(change(s) if s is old else s for s in scheme.structures)))


def _with(scheme: LabelScheme, structures: tuple[Structure, ...]) -> LabelScheme:
    return LabelScheme(name=scheme.name, structures=structures, description=scheme.description, source=scheme.source)


def _moved(scheme: LabelScheme, structure: Structure, places: dict[str, str | None] | dict[str, str]) -> Structure:
    """Return a structure whose parent has another name, or is another one, now."""
    if not structure.parent:
        return structure
    parent = scheme.find(structure.parent).name
    return replace(structure, parent=places[parent]) if parent in places else structure


def _aliases(structure: Structure, old: str, new: str) -> tuple[str, ...]:
    kept = [alias for alias in structure.aliases if name_key(alias) not in (name_key(old), name_key(new))]
    return tuple(kept) if name_key(old) == name_key(new) else (*kept, old)


def _without_alias(structures: Iterable[Structure], name: str, *, keep: str = "") -> tuple[Structure, ...]:
    """Return structures of which none has an alias that a structure is going to be called by.

    Args:
        structures: of the scheme.
        name: the new name.
        keep: structure that stays as it is: it gets the name.
    """

    def freed(structure: Structure) -> Structure:
        aliases = tuple(alias for alias in structure.aliases if name_key(alias) != name_key(name))
        return (
            structure if structure.name == keep or aliases == structure.aliases else replace(structure, aliases=aliases)
        )

    return tuple(freed(structure) for structure in structures)


def _checked_name(scheme: LabelScheme, name: str, *, of: Structure | None = None) -> str:
    name = _usable_name(name)
    for structure in scheme.structures:
        if structure is not of and name_key(structure.name) == name_key(name):
            raise _error(f"there is a structure '{structure.name}' already", "choose another name")
    return name


def _usable_name(name: str) -> str:
    name = " ".join(name.split(" ")).strip()
    if not name_key(name):
        raise _error("a structure needs a name", "type one")
    if name_key(name) == "*" or any(mark in name for mark in _LOST_MARKS):
        raise _error(f"'{name}' cannot be a name", 'leave out quotes, line breaks and |; "*" stands for anything')
    return name


def _check_not_background(structure: Structure, what: str) -> None:
    if name_key(structure.name) == BACKGROUND:
        raise _error(f"background cannot {what}", "it stands for everything that is no structure")


def _free_color(scheme: LabelScheme) -> tuple[float, float, float]:
    used = {structure.color for structure in scheme.structures}
    free = [color for color in _COLORS if color not in used]
    return free[0] if free else _COLORS[len(scheme.structures) % len(_COLORS)]


def _error(what: str, remedy: str) -> LabelError:
    return LabelError(explain(what, where="label scheme", remedy=remedy))
