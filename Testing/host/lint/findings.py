"""What the static check finds, and what it looked up."""

from dataclasses import dataclass, field
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


@dataclass
class Used:
    """What a module takes from Slicer.

    Attributes:
        names: "qt.QTimer", "slicer.app", "slicer.util.errorDisplay".
        members: C++ class and what is used of it; in forms as well.
        signals: signatures that something is connected to.
    """

    names: set[str] = field(default_factory=set)
    members: set[tuple[str, str]] = field(default_factory=set)
    signals: set[str] = field(default_factory=set)

    def add(self, other: "Used") -> None:
        """Take what another one holds."""
        self.names |= other.names
        self.members |= other.members
        self.signals |= other.signals
