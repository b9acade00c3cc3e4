"""Where files are that a request names by absolute paths: also after the study was moved, with its runs, as a whole."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath


def is_there(path: Path) -> bool:
    """Return whether something is at a path; False as well where nobody can look, because a drive is away."""
    try:
        return path.exists()
    except OSError:
        # Path answers False for a missing file; a stale mount or a name that is too long may be an error.
        return False


def where_is(path: str, run: Path) -> Path:
    """Return a path that a request names; if it is gone, what lies as it did beside the run or the folder of the runs.

    Args:
        path: absolute, perhaps of another computer and system.
        run: folder of the run that asked.
    """
    named = Path(path)
    if is_there(named):
        return named
    parts = PureWindowsPath(path).parts
    # Beside the run: other runs. Beside their folder: the dataset. The last: a dataset that is the folder of the runs.
    places = (folder.joinpath(*tail) for tail in (parts[-2:], parts[-1:]) for folder in run.parents[:3])
    return next((place for place in places if is_there(place)), named)
