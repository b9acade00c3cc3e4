"""What an installation changes: package versions before and after, planned or found."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

MEGABYTE = 1_000_000
# What pip would choose for torch; the extension PyTorch chooses the build that fits the graphics card instead.
_OF_TORCH = re.compile(r"torch|torchvision|torchaudio|triton.*|nvidia-.*|cuda-.*|pytorch-.*")


@dataclass(frozen=True)
class Change:
    """One package that is installed, updated or removed.

    Attributes:
        name: as the package calls itself.
        old: version before, "" if it was not there.
        new: version afterwards, "" if it is not there any more.
        bytes: size of the download, or None if it is not known.
    """

    name: str
    old: str
    new: str
    bytes: int | None = None

    @property
    def isReplacement(self) -> bool:
        """Whether something that was there is another version now, or gone."""
        return bool(self.old)

    @property
    def text(self) -> str:
        """One line for a person."""
        megabytes = "" if self.bytes is None else _(", {megabytes} MB").format(megabytes=_megabytes(self.bytes))
        if not self.old:
            return _("{name} {new} (new{size})").format(name=self.name, new=self.new, size=megabytes)
        return _("{name} {old} -> {new}{size}").format(
            name=self.name, old=self.old, new=self.new or _("removed"), size=megabytes
        )


def canonical(name: str) -> str:
    """Return the name that pip takes for the same package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def isOfTorch(name: str) -> bool:
    """Return whether a package belongs to one version of torch, and comes and goes with it."""
    return _OF_TORCH.fullmatch(canonical(name)) is not None


def versions() -> dict[str, tuple[str, str]]:
    """Return canonical name to (name, version) of everything installed, read anew from disk."""
    importlib.invalidate_caches()
    found: dict[str, tuple[str, str]] = {}
    for distribution in importlib.metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        # The first one found is the one that Python imports.
        if name and version:
            found.setdefault(canonical(name), (name, version))
    return found


def planned(answer: Mapping[str, Any], before: Mapping[str, tuple[str, str]], *, withTorch: bool) -> list[Change]:
    """Return what pip says it would do.

    Args:
        answer: what ``lookup.py`` wrote.
        before: installed versions.
        withTorch: whether pip's own choice for torch counts.
    """
    items = [
        Change(item["name"], before.get(canonical(item["name"]), ("", ""))[1], item["version"], item["bytes"])
        for item in answer["changes"]
    ]
    kept = [item for item in items if withTorch or not isOfTorch(item.name)]
    return sorted(kept, key=lambda item: item.name.lower())


def compared(before: Mapping[str, tuple[str, str]], after: Mapping[str, tuple[str, str]]) -> list[Change]:
    """Return what is different after an installation."""
    names = sorted(set(before) | set(after))
    found = []
    for name in names:
        old, new = before.get(name, ("", ""))[1], after.get(name, ("", ""))[1]
        if old != new:
            found.append(Change((after.get(name) or before[name])[0], old, new))
    return found


def downloadBytes(changes: Iterable[Change]) -> int:
    """Return the size of all downloads whose size is known."""
    return sum(change.bytes or 0 for change in changes)


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.0f}" if count >= 10 * MEGABYTE else f"{count / MEGABYTE:.1f}"
