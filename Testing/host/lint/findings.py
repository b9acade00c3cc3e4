"""What the static check finds."""

from pathlib import Path
from typing import NamedTuple


class Finding(NamedTuple):
    """One name that Slicer does not have, or one use it would refuse.

    Attributes:
        path: file.
        line: line in it, 0 in a .ui file.
        what: what is wrong, in words.
    """

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line} {self.what}"
