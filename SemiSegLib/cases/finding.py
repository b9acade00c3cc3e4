"""What a check found: which case, what is wrong, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a person should know before training.

    Attributes:
        case: id of the case, or "" for the dataset as a whole.
        code: short name of the kind, for example "label_origin".
        severity: an error stops training, a warning is doubtful, a note is only worth knowing.
        what: what was found and what was expected.
        where: file relative to the dataset, with voxel or slice (file order i, j, k) where that makes sense.
        remedy: what to do.
    """

    case: str
    code: str
    severity: Severity
    what: str
    where: str
    remedy: str
