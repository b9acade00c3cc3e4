"""How far the annotation of each case is, kept beside ``dataset.json``: no matter of training."""

from __future__ import annotations

import json
from pathlib import Path

from SemiSegModule.bridge.scene_case import STATES

# Case ID to one of ``STATES``.
STATES_FILE = "states.json"


def readStates(folder: Path) -> dict[str, str]:
    """Return case ID to state as a study keeps it; empty if it keeps none that can be read."""
    try:
        data = json.loads((Path(folder) / STATES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # How far a person got is a help, not a condition: without the file everything else is there.
        return {}
    return {str(name): state for name, state in data.items() if state in STATES} if isinstance(data, dict) else {}
