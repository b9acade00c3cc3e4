"""What only a script needs: to wait for what runs beside Slicer, and packages without a panel."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import RunError, explain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import dependencies
from SemiSegModule.jobs import ENDED_STATES
from SemiSegModule.packages.computer import startCheck
from SemiSegModule.packages.installation import Installation, Outcome

# Slicer stays usable while a script waits, and the wait costs next to nothing.
TURN_SECONDS = 0.05
LOOK_SECONDS = 0.5


class ConsoleLogic:
    """Calls that return when something is done; Slicer answers meanwhile, with and without a main window."""

    def waitFor(
        self, run: RunFolder, *, seconds: float | None = None, tell: Callable[[str], object] | None = None
    ) -> RunStatus:
        """Return the status of a training or job when it has ended.

        Args:
            run: what ``startTraining`` or ``applyModel`` returned.
            seconds: how long to wait at most; as long as it takes if None.
            tell: called with each new message of the run, for example ``print``.

        Raises:
            RunError: it failed, or it has not ended in this time (it goes on).
        """
        end = None if seconds is None else time.monotonic() + seconds
        said = ""
        while (status := observe(run)).state not in ENDED_STATES:
            if tell is not None and status.message and status.message != said:
                said = status.message
                tell(said)
            if end is not None and time.monotonic() > end:
                what = _("it has not ended within {seconds} s and goes on").format(seconds=f"{seconds:.0f}")
                remedy = _("wait longer, or stop it by SemiSegLogic().stop(run)")
                raise RunError(explain(what, where=_("run '{run}'").format(run=run.path.name), remedy=remedy))
            _turn(LOOK_SECONDS)
        if status.state == "failed":
            raise RunError(explain(status.message, where=status.where or str(run.path), remedy=status.remedy))
        return status

    def missingPackages(self) -> list[str]:
        """Return what training and prediction need and this Slicer does not have; nothing is imported."""
        return dependencies.missing()

    def installPackages(self, tell: Callable[[str], object] = logging.info) -> str:
        """Install what is missing, without asking, and return what has changed; see ``missingPackages``.

        Args:
            tell: called with each line that the installers say.

        Raises:
            DependencyError: a package cannot be installed beside those that are there; names it, cause and log.
        """
        outcomes: list[Outcome] = []
        installation = Installation(onPlan=lambda _plan: installation.install(), onLine=tell, onEnd=outcomes.append)
        installation.lookUp()
        while not outcomes:
            _turn(TURN_SECONDS)
        if outcomes[0].error is not None:
            raise outcomes[0].error
        return outcomes[0].text

    def checkComputer(self, studyFolder: str | Path | None = None) -> list[str]:
        """Return one line of advice per finding on devices, packages, memory and disk; takes some seconds.

        Args:
            studyFolder: where studies are written; its disk is looked at.
        """
        found: list[list[str]] = []
        check = startCheck(Path(studyFolder) if studyFolder else None, found.append)
        while not found:
            _turn(TURN_SECONDS)
        check.letGo()
        return found[0]


def _turn(seconds: float) -> None:
    """Let Slicer do what it has to for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.02)
