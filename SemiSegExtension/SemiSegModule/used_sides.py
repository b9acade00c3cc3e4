"""On which side of the split a run has used whom: what was used never changes its side again."""

from __future__ import annotations

from pathlib import Path

from SemiSegLib.cases.split import Split
from SemiSegLib.config import from_json, read_json
from SemiSegLib.errors import SemiSegError

_splits: dict[tuple[str, int], dict[str, str]] = {}


def splitOf(path: Path) -> dict[str, str]:
    """Return patient to side of a run by its split file; read once, as long as the file is not written again."""
    try:
        key = (str(path), path.stat().st_mtime_ns)
        if key not in _splits:
            stored = from_json(Split, read_json(path), where=path.name)
            _splits[key] = {patient: side.value for patient, side in stored.patients.items()}
    except (OSError, SemiSegError):
        # A run that has not been split yet, or whose drive is away: it locks nothing now.
        return {}
    return _splits[key]
