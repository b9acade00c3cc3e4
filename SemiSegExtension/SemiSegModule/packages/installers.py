"""Who installs: the PyTorch extension torch, Slicer's packaging (5.12 and newer) or pip (5.10) the rest."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import DependencyError, explain
from SemiSegLib.runs.process_table import end_processes
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


class SlicerPip:
    """Installs by Slicer's own function, which returns at once; in a testing Slicer it returns when all is done.

    Args:
        names: requirements.
        constraintsFile: of this installation alone; its name tells this pip from others.
    """

    def __init__(self, names: list[str], constraintsFile: Path) -> None:
        self._names, self._constraints = names, constraintsFile
        self._log = constraintsFile.with_suffix(".log")

    def start(self, onLine: Callable[[str], None], onEnd: Callable[[int], None]) -> None:
        """Begin.

        Args:
            onLine: called with each line that pip says.
            onEnd: called with its exit code, also after ``kill``.

        Raises:
            RuntimeError: somebody else is installing.
        """
        if importlib.util.find_spec("slicer.packaging") is None:
            raise RuntimeError("this Slicer has no slicer.packaging")
        packaging = importlib.import_module("slicer.packaging")
        asked = [*self._names, *_PIP_OPTIONS, "--log", str(self._log)]
        options = {"constraints": str(self._constraints), "requester": "SemiSeg"}
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

    def hasSaid(self, words: str) -> bool:
        """Return whether pip has said something by now, also where Slicer has not handed it on yet."""
        try:
            return words in self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            # It has not begun to say anything.
            return False

    def kill(self) -> None:
        """End it with everything it started; Slicer hands out no handle of it, so it is known by what it was told."""
        constraints = str(self._constraints)
        # The exact type: to ask some other objects what they are would wake them.
        processes = [thing for thing in gc.get_objects() if type(thing) is subprocess.Popen]
        for process in processes:
            if isinstance(process.args, list) and constraints in process.args and process.poll() is None:
                # It has no process group of its own: its group is Slicer's.
                end_processes({process.pid}, set(), is_final=True)


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
    with _constrained(constraintsFile):
        logic.getCompatibleComputationBackends(torchVersionRequirement=dependencies.torchRange())
    importlib.invalidate_caches()
    if importlib.util.find_spec("light_the_torch") is None:
        return None
    wanted = [f"torch{dependencies.torchRange()}", *dependencies.companions()]
    return ["light_the_torch", "install", *wanted, "-c", str(constraintsFile)]


def installTorchWithExtension(constraintsFile: Path) -> None:
    """Install torch by the extension's own call; returns when it is done.

    Args:
        constraintsFile: what pip keeps; the call takes none, so pip finds it in its environment.

    Raises:
        DependencyError: it is not installed afterwards.
    """
    installed, reason = None, ""
    try:
        with _constrained(constraintsFile):
            installed = torchLogic().installTorch(
                askConfirmation=False, torchVersionRequirement=dependencies.torchRange()
            )
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


@contextmanager
def _constrained(constraintsFile: Path) -> Iterator[None]:
    """Let every pip that is started meanwhile keep to constraints, besides those that are asked for already."""
    name = "PIP_CONSTRAINT"
    before = os.environ.get(name)
    # As an address: pip takes a space for the end of a path here.
    os.environ[name] = " ".join(filter(None, [before, constraintsFile.resolve().as_uri()]))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
