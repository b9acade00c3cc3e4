"""The packages a training needs: which are missing, and their installation on demand, touching nothing of Slicer's.

torch comes through the PyTorch extension. The rest comes through pip with constraints that keep every package that
is installed at its version: pip then finds versions that fit, or says why it cannot, and never replaces a file that
Slicer has loaded. Nothing is imported or installed when the module is opened.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import DependencyError, explain

TORCH = "torch>=2.4.1"
# Name for pip to name for import, where they differ.
_IMPORT_NAMES = {"simpleitk": "SimpleITK"}
EXTENSION = "PyTorch"
# What pip, its process and the download raise; anything else is a mistake of ours and must not look like pip's.
INSTALLER_ERRORS = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)


def requirements() -> list[str]:
    """Return the requirements besides torch, from the module's resources."""
    lines = (Path(__file__).resolve().parents[1] / "Resources/requirements.txt").read_text(encoding="utf-8")
    return [line.strip() for line in lines.splitlines() if line.strip() and not line.startswith("#")]


def missing() -> list[str]:
    """Return the requirements that no installed package meets; nothing is imported."""
    return [requirement for requirement in (TORCH, *requirements()) if not _isMet(requirement)]


def constraints() -> list[str]:
    """Return one exact constraint for every installed package, so that pip keeps it."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            found.setdefault(_canonical(name), f"{name}=={distribution.version}")
    return sorted(found.values())


def describe(names: list[str]) -> str:
    """Return what will be installed and from where, to be shown before anything happens."""
    torch = TORCH in names
    others = [name for name in names if name != TORCH]
    lines = [_("Training and prediction need packages that are not installed yet:")]
    if torch:
        lines.append(_("- torch, through the extension PyTorch (about 200 MB to 3 GB, depending on the graphics card)"))
    if others:
        lines.append(_("- {names}, from the Python Package Index").format(names=", ".join(others)))
    lines.append(_("Packages that came with Slicer or other extensions are kept as they are."))
    return "\n".join(lines)


def install(
    *,
    torchInstaller: Callable[[], Any] | None = None,
    pipInstaller: Callable[[list[str], Path], None] | None = None,
) -> None:
    """Install what is missing; the caller has asked the user.

    Args:
        torchInstaller: returns the logic of the PyTorch extension; found in Slicer if None.
        pipInstaller: installs requirements under a constraints file; Slicer's own if None.

    Raises:
        DependencyError: the PyTorch extension is not there, or a package cannot be installed without replacing one
            of Slicer's; names the package and says where the log is.
    """
    names = missing()
    if TORCH in names:
        _installTorch(torchInstaller or _torchLogic)
    others = [name for name in names if name != TORCH]
    if others:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "constraints.txt"
            file.write_text("\n".join(constraints()) + "\n", encoding="utf-8")
            _installOthers(others, file, pipInstaller or _slicerPip)
    importlib.invalidate_caches()
    left = missing()
    if left:
        raise DependencyError(
            explain(
                f"{', '.join(left)} cannot be found after the installation",
                where="installation of packages",
                remedy="restart Slicer and try again",
            )
        )
    logging.info("SemiSeg: installed %s", ", ".join(names) or "nothing")


def _isMet(requirement: str) -> bool:
    name, least = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement).groups()
    if importlib.util.find_spec(_IMPORT_NAMES.get(_canonical(name), name)) is None:
        return False
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Slicer's own builds of SimpleITK up to 5.10 carry no metadata; they are new enough.
        return True
    return _numbers(version) >= _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.match(r"[0-9]+(\.[0-9]+)*", version).group().split("."))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _torchLogic() -> Any:
    try:
        module = importlib.import_module("PyTorchUtils")
    except ImportError:
        raise DependencyError(
            explain(
                "the extension PyTorch is not installed",
                where="installation of torch",
                remedy="install 'PyTorch' in the Extensions Manager, restart Slicer and try again",
            )
        ) from None
    return module.PyTorchUtilsLogic()


def _installTorch(torchLogic: Callable[[], Any]) -> None:
    version = re.sub(r"^torch", "", TORCH)
    logic, reason = torchLogic(), ""
    try:
        installed = logic.installTorch(askConfirmation=False, torchVersionRequirement=version)
    except INSTALLER_ERRORS as error:
        installed, reason = None, f": {error}"
    if installed is None:
        raise DependencyError(
            explain(
                f"torch could not be installed{reason}",
                where="extension PyTorch",
                remedy="open the module PyTorch Util, install torch there and read its messages in the Python console",
            )
        )


def _installOthers(names: list[str], constraintsFile: Path, pip: Callable[[list[str], Path], None]) -> None:
    try:
        pip(names, constraintsFile)
    except INSTALLER_ERRORS as error:
        raise DependencyError(
            explain(
                f"pip could not install {', '.join(names)} beside the packages that are there: {error}",
                where="installation of packages; the whole output is in the Python console and in Slicer's log",
                remedy="check the network or proxy and the free disk space; if a version conflict is named, update "
                "the package that it names",
            )
        ) from error


def _slicerPip(names: list[str], constraintsFile: Path) -> None:
    if importlib.util.find_spec("slicer.packaging") is not None:
        packaging = importlib.import_module("slicer.packaging")
        packaging.pip_install(names, constraints=str(constraintsFile), requester="SemiSeg")
    else:
        # Before Slicer 5.12, pip's arguments are one string.
        slicer.util.pip_install(f'{" ".join(names)} -c "{constraintsFile}"')
