"""The packages a training needs: which are missing, and the rule that nothing of Slicer's is replaced for them.

torch comes through the PyTorch extension. The rest comes through pip with constraints that keep every package that
is installed at its version: pip then finds versions that fit, or says why it cannot, and never replaces a file that
Slicer has loaded. Nothing is imported or installed when the module is opened; ``packages.installation`` does it when
a person asks for it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from slicer.i18n import tr as _

from SemiSegModule.packages.changes import Change, canonical, downloadBytes, isOfTorch, versions

TORCH = "torch>=2.4.1"
EXTENSION = "PyTorch"
# They come with Slicer and are never replaced, also where a newer one is asked for.
BUNDLED = ("numpy", "scipy", "simpleitk", "vtk", "pydicom", "requests", "packaging", "pillow", "certifi")
# Name for pip to name for import, where they differ.
_IMPORT_NAMES = {"simpleitk": "SimpleITK", "open-clip-torch": "open_clip"}


def requirements() -> list[str]:
    """Return the requirements besides torch, from the module's resources."""
    return _listed("requirements.txt")


def textRequirements() -> list[str]:
    """Return what is needed besides them to embed the names of structures as texts."""
    return _listed("requirements-text.txt")


def missing(*, withText: bool = False) -> list[str]:
    """Return the requirements that no installed package meets; nothing is imported.

    Args:
        withText: whether the names of structures are to be embedded as texts.
    """
    texts = textRequirements() if withText else []
    return [requirement for requirement in (TORCH, *requirements(), *texts) if not _isMet(requirement)]


def torchRange() -> str:
    """Return the versions of torch that fit, as the PyTorch extension is asked for them."""
    # torch 2.13 cannot be installed by the extension's installer on Windows (Slicer/light-the-torch#176).
    return re.sub(r"^torch", "", TORCH) + (",<2.13" if sys.platform == "win32" else "")


def whyNoTorch() -> str:
    """Return why no torch of these versions exists for this computer, or the empty string."""
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return _("torch is not made for Macs with Intel processors since version 2.3")
    return ""


def companions() -> list[str]:
    """Return what is to be installed with torch, as it belongs to one version of it.

    Without torchvision the next extension that needs it would replace torch; torchaudio is updated where it is there.
    """
    return ["torchvision", *(["torchaudio"] if "torchaudio" in versions() else [])]


def ofOldTorch(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return name and version of what is there of a torch that has to be replaced; nothing if torch is not asked for.

    Args:
        names: requirements to be installed.
    """
    return sorted(found for found in versions().values() if TORCH in names and isOfTorch(found[0]))


def constraints(asked: Iterable[str] = ()) -> list[str]:
    """Return one exact constraint for every installed package, so that pip keeps it.

    Args:
        asked: requirements to be installed: packages that are too old for them may be updated, unless they came with
            Slicer. What belongs to one version of torch may be with torch: kept, it would keep the old torch.
    """
    asked = list(asked)
    free = {canonical(nameOf(requirement)) for requirement in asked} - set(BUNDLED)
    free |= {canonical(name) for name, _version in ofOldTorch(asked)}
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version and canonical(name) not in free:
            found.setdefault(canonical(name), f"{name}=={distribution.version}")
    return sorted(found.values())


def nameOf(requirement: str) -> str:
    """Return the package's name in a requirement."""
    return re.match(r"[A-Za-z0-9_.-]+", requirement).group()


def describe(names: list[str], changes: list[Change] | None = None) -> str:
    """Return what will be installed and from where, to be shown before anything happens.

    Args:
        names: missing requirements.
        changes: what pip would do, if it could be asked.
    """
    others = [name for name in names if name != TORCH]
    lines = [_("Packages are needed that are not installed yet:")]
    if TORCH in names:
        lines.append(_("- torch, through the extension PyTorch (about 200 MB to 3 GB, depending on the graphics card)"))
    old = ofOldTorch(names)
    if old:
        there = ", ".join(f"{name} {version}" for name, version in old)
        lines.append(_("    {torch}, with what belongs to it, in place of {names}").format(torch=TORCH, names=there))
    if others and changes is None:
        lines.append(_("- {names}, from the Python Package Index").format(names=", ".join(others)))
    if changes:
        megabytes = f"{downloadBytes(changes) / 1e6:.0f}"
        lines.append(_("- from the Python Package Index (about {megabytes} MB):").format(megabytes=megabytes))
        lines += [f"    {change.text}" for change in changes]
    lines.append(_("Packages that came with Slicer or other extensions are kept as they are."))
    updated = [name for name, _version in old] + [change.name for change in changes or [] if change.isReplacement]
    if updated:
        lines.append(_("Only these are updated: {names}.").format(names=", ".join(updated)))
    return "\n".join(lines)


def _listed(name: str) -> list[str]:
    lines = (Path(__file__).resolve().parents[1] / "Resources" / name).read_text(encoding="utf-8")
    return [line.strip() for line in lines.splitlines() if line.strip() and not line.startswith("#")]


def _isMet(requirement: str) -> bool:
    name, least = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement).groups()
    if importlib.util.find_spec(_IMPORT_NAMES.get(canonical(name), name)) is None:
        return False
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Slicer's own builds of SimpleITK up to 5.10 carry no metadata; they are new enough.
        return True
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.match(r"[0-9]+(\.[0-9]+)*", version).group().split("."))
