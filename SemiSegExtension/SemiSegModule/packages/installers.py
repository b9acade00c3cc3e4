"""Who installs: the PyTorch extension torch, Slicer's packaging (5.12 and newer) or pip (5.10) the rest."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import DependencyError, explain
from SemiSegModule import dependencies

# What pip, its process and the download raise; anything else is a mistake of ours and must not look like pip's.
INSTALLER_ERRORS = (OSError, RuntimeError, ValueError, subprocess.SubprocessError)
# Ready-made packages only: nobody who trains a model has a compiler.
_PIP_OPTIONS = ("--only-binary=:all:", "--no-input", "--disable-pip-version-check")


def pipArguments(names: list[str], constraintsFile: Path) -> list[str]:
    """Return what follows `pip install`."""
    return [*names, *_PIP_OPTIONS, "-c", str(constraintsFile)]


def hasSlicerPackaging() -> bool:
    """Return whether this Slicer installs packages without blocking (5.12 and newer)."""
    return importlib.util.find_spec("slicer.packaging") is not None


def slicerPip(
    names: list[str], constraintsFile: Path, onLine: Callable[[str], None], onEnd: Callable[[int], None]
) -> None:
    """Install by Slicer's own function, which returns at once; in a testing Slicer it returns when all is done.

    Raises:
        RuntimeError: somebody else is installing.
    """
    if importlib.util.find_spec("slicer.packaging") is None:
        raise RuntimeError("this Slicer has no slicer.packaging")
    packaging = importlib.import_module("slicer.packaging")
    asked = [*names, *_PIP_OPTIONS]
    options = {"constraints": str(constraintsFile), "requester": "SemiSeg"}
    if slicer.app.testingEnabled():
        try:
            packaging.pip_install(asked, **options)
        except subprocess.CalledProcessError as error:
            onLine(str(error))
            onEnd(error.returncode)
        else:
            onEnd(0)
        return
    packaging.pip_install(
        asked, blocking=False, show_progress=False, logCallback=onLine, completedCallback=onEnd, **options
    )


def torchLogic() -> Any:
    """Return the logic of the PyTorch extension.

    Raises:
        DependencyError: the extension is not installed.
    """
    reason = dependencies.whyNoTorch()
    if reason:
        remedy = _("train on another computer; labels can be drawn and results looked at here")
        raise DependencyError(explain(reason, where=_("installation of torch"), remedy=remedy))
    try:
        module = importlib.import_module("PyTorchUtils")
    except ImportError:
        raise DependencyError(
            explain(
                _("the extension PyTorch is not installed"),
                where=_("installation of torch"),
                remedy=_("install 'PyTorch' in the Extensions Manager, restart Slicer and try again"),
            )
        ) from None
    return module.PyTorchUtilsLogic()


def isExtensionThere() -> bool:
    """Return whether the PyTorch extension can be used."""
    return importlib.util.find_spec("PyTorchUtils") is not None


def canGetExtension() -> bool:
    """Return whether this Slicer has an extensions manager to get the PyTorch extension from."""
    return slicer.app.extensionsManagerModel() is not None


def getExtension() -> None:
    """Install the PyTorch extension from Slicer's server; it is loaded at the next start.

    Raises:
        DependencyError: it cannot be downloaded.
    """
    manager = slicer.app.extensionsManagerModel()
    # It would ask once more, in words that say nothing of why.
    wasInteractive, manager.interactive = manager.interactive, False
    try:
        isDone = manager.installExtensionFromServer(dependencies.EXTENSION, False)
    finally:
        manager.interactive = wasInteractive
    if not isDone:
        raise DependencyError(
            explain(
                _("the extension PyTorch could not be installed"),
                where=_("Extensions Manager"),
                remedy=_("check the network, then open the Extensions Manager and install 'PyTorch' there"),
            )
        )


def torchArguments(constraintsFile: Path) -> list[str] | None:
    """Return what Slicer's Python is told after `-m` to install torch as the PyTorch extension does.

    The extension's own call does the same and keeps Slicer from answering for the minutes of the download. Its logic
    is asked which builds fit this computer, which also brings its small installer (light-the-torch) where that is
    missing; the installer is then run beside Slicer.

    Returns:
        Module and arguments; None if this version of the extension works in another way.

    Raises:
        DependencyError: the extension is not installed, or no torch fits this computer.
    """
    logic = torchLogic()
    logic.getCompatibleComputationBackends(torchVersionRequirement=dependencies.torchRange())
    importlib.invalidate_caches()
    if importlib.util.find_spec("light_the_torch") is None:
        return None
    # torchvision belongs to one torch only: without it here, the next extension that needs it would replace torch.
    wanted = [f"torch{dependencies.torchRange()}", "torchvision"]
    return ["light_the_torch", "install", *wanted, "-c", str(constraintsFile)]


def installTorchWithExtension() -> None:
    """Install torch by the extension's own call; returns when it is done.

    Raises:
        DependencyError: it is not installed afterwards.
    """
    installed, reason = None, ""
    try:
        installed = torchLogic().installTorch(askConfirmation=False, torchVersionRequirement=dependencies.torchRange())
    except INSTALLER_ERRORS as error:
        reason = f": {error}"
    if installed is None:
        raise DependencyError(
            explain(
                _("torch could not be installed") + reason,
                where=_("extension PyTorch"),
                remedy=_("open the module PyTorch Util, install torch there and read its messages in the console"),
            )
        )
