"""Label schemes as files, and those that come with SemiSeg."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from SemiSegLib.config import from_json, read_json, to_json, write_json
from SemiSegLib.errors import LabelError, did_you_mean, explain
from SemiSegLib.labels.scheme import LabelScheme


def resource_folder(name: str = "schemes") -> Path:
    """Return a folder of ``Resources``, wherever this copy of SemiSeg keeps it.

    A pip package holds ``Resources`` inside ``SemiSegLib``; the source tree and a built Slicer extension hold it
    beside ``SemiSegLib``. The first wins, because a stranger's ``Resources`` may lie beside an installed package.

    Args:
        name: "schemes", "terminology" or "." for ``Resources`` itself.

    Raises:
        LabelError: this copy of SemiSeg was installed without its resources.
    """
    package = Path(__file__).resolve().parents[1]
    tried = [package / "Resources" / name, package.parent / "Resources" / name]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise LabelError(
        explain(
            f"the folder Resources/{name} is missing",
            where=" and ".join(str(folder) for folder in tried),
            remedy="install SemiSeg again",
        )
    )


def ready_schemes() -> tuple[str, ...]:
    """Return the names of the schemes that come with SemiSeg, in alphabetical order."""
    return tuple(sorted(path.stem for path in resource_folder().glob("*.json")))


def ready_scheme(name: str) -> LabelScheme:
    """Return a scheme that comes with SemiSeg.

    Raises:
        LabelError: there is none of this name; the message names the nearest.
    """
    known = ready_schemes()
    if name not in known:
        raise LabelError(
            explain(f"there is no ready scheme '{name}'", where="label schemes", remedy=did_you_mean(name, known))
        )
    return read_scheme(resource_folder() / f"{name}.json")


def fitting_scheme(scheme: LabelScheme) -> str | None:
    """Return the name of the one ready scheme that knows all structures of a flat one and what is part of what.

    None where the scheme has wholes and parts already, or where no ready scheme or more than one fits.
    """
    drawn = scheme.structures[1:]
    if not drawn or any(structure.parent is not None for structure in drawn):
        return None
    return _fitting(tuple(structure.name for structure in drawn))


@cache
def _fitting(names: tuple[str, ...]) -> str | None:
    found = []
    for ready in ready_schemes():
        scheme = ready_scheme(ready)
        matched = [scheme.match(name) for name in names]
        if all(matched) and any(structure is not None and structure.parent is not None for structure in matched):
            found.append(ready)
    return found[0] if len(found) == 1 else None


def read_scheme(path: Path) -> LabelScheme:
    """Return the label scheme of a JSON file.

    Raises:
        ConfigError: the file is missing, is not JSON, or has an unknown key or a wrong type.
        LabelError: a structure or the tree is wrong.
    """
    return from_json(LabelScheme, read_json(path), where=Path(path).name)


def write_scheme(scheme: LabelScheme, path: Path) -> None:
    """Write a label scheme as JSON; what has its default value is left out, so that people can read it."""
    write_json(path, _without_empty(to_json(scheme)))


def _without_empty(data: object) -> object:
    # None, "" and empty lists are the defaults of every field that may hold them.
    if isinstance(data, dict):
        kept = {key: _without_empty(item) for key, item in data.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [])}
    if isinstance(data, list):
        return [_without_empty(item) for item in data]
    return data
