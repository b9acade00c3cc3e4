"""Packages and computer: what is missing, its installation with progress and log, and the check of the computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule import dependencies
from SemiSegModule.packages import installers
from SemiSegModule.packages.changes import Change
from SemiSegModule.packages.command import Command
from SemiSegModule.packages.computer import startCheck
from SemiSegModule.packages.installation import Installation, Outcome


class PackagesSection:
    """The notice above the sections and the section about this computer.

    Args:
        ui: widgets of the form by name.
        panel: the panel it belongs to.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.installation: Installation | None = None
        # What is missing, as it was when the module was entered or packages were installed; looking takes some 10 ms.
        self.missing: list[str] = []
        self._then: Callable[[], None] | None = None
        self._check: Command | None = None
        self._news = ""
        ui.installButton.connect("clicked()", lambda: self.install())
        ui.installCancelButton.connect("clicked()", self.cancel)
        ui.checkComputerButton.connect("clicked()", self.checkComputer)

    @property
    def isInstalling(self) -> bool:
        """Whether an installation, or the look-up before it, is going on."""
        return self.installation is not None

    def refresh(self) -> None:
        """Show what is missing, if anything is, or what was just installed."""
        names = self.missing = dependencies.missing()
        self.ui.packagesFrame.visible = bool(names) or self.isInstalling or bool(self._news)
        self.ui.installButton.visible = bool(names) and not self.isInstalling
        self.ui.installCancelButton.visible = self.isInstalling
        # As of the last one, it may still be disabled.
        self.ui.installCancelButton.enabled = self.isInstalling and self.installation.canCancel
        self.ui.installProgressBar.visible = self.isInstalling
        if self.isInstalling:
            return
        short = ", ".join(dependencies.nameOf(name) for name in names)
        missing = _("Not installed yet: {names}. Needed to train and to apply models.").format(names=short)
        self.ui.packagesLabel.text = missing if names else self._news

    def ensure(self, then: Callable[[], None] | None = None, *, withText: bool = False) -> bool:
        """Return whether everything needed is installed; if not, begin to install it, after asking.

        Args:
            then: called when it has been installed; what the person wanted to do in the first place.
            withText: whether the names of structures are to be embedded as texts.
        """
        if not dependencies.missing(withText=withText):
            return True
        self._then = then
        if not self.isInstalling:
            self.install(withText=withText)
        return False

    def install(self, *, withText: bool = False) -> None:
        """Look up what would be installed, ask, and install; returns at once."""
        if self.isInstalling:
            return
        if dependencies.TORCH in dependencies.missing() and not self._hasExtension():
            return
        self._news = ""
        self.ui.installLog.clear()
        self.ui.packagesLabel.text = _("Looking up what would be installed...")
        self.installation = Installation(withText=withText, onPlan=self._onPlan, onLine=self._onLine, onEnd=self._onEnd)
        self.refresh()
        self.installation.lookUp()

    def cancel(self) -> None:
        """End the installation; where that would leave files half written, let it come to its end and no further."""
        self._then = None
        if self.installation is not None and not self.installation.cancel():
            self.ui.installCancelButton.enabled = False
            self.ui.packagesLabel.text = _("Files are being written; the installation ends after them.")
            return
        self.installation = None
        self.refresh()

    def checkComputer(self) -> None:
        """Try devices, packages, memory and disk beside Slicer and show one line of advice per finding."""
        if self._check is not None:
            return
        study = self.panel.parameters.studyPath if self.panel.parameters is not None else None
        self.ui.checkComputerButton.enabled = False
        self.ui.computerLabel.text = _("Trying the devices of this computer...")
        check = startCheck(study, self._onChecked)
        self._check = check if check.isRunning else None

    def close(self) -> None:
        """Let go: a look-up or check ends, an installation that is writing files goes on."""
        self.cancel()
        if self.installation is not None:
            self.installation.letGo()
            self.installation = None
        if self._check is not None:
            self._check.kill()
            self._check = None

    def _hasExtension(self) -> bool:
        """Return whether the PyTorch extension is there, after offering to install it."""
        if installers.isExtensionThere() or dependencies.whyNoTorch() or not installers.canGetExtension():
            return self._canAskExtension()
        title = _("Install packages")
        text = _(
            "torch is installed by the extension PyTorch, which is not there yet. Install this extension now? Slicer "
            "must then be restarted; press Install... once more after that."
        )
        if not slicer.util.confirmOkCancelDisplay(text, windowTitle=title):
            return False
        try:
            with slicer.util.WaitCursor():
                installers.getExtension()
        except SemiSegError as error:
            self.panel.showError(_("The packages could not be installed."), str(error))
            return False
        text = _("The extension PyTorch is installed. Restart Slicer now? Save your scene first if it holds changes.")
        if slicer.util.confirmYesNoDisplay(text, windowTitle=title):
            slicer.util.restart()
        return False

    def _canAskExtension(self) -> bool:
        try:
            installers.torchLogic()
        except SemiSegError as error:
            self.panel.showError(_("The packages could not be installed."), str(error))
            return False
        return True

    def _onPlan(self, plan: list[Change] | None) -> None:
        installation = self.installation
        if installation is None:
            return
        text = dependencies.describe(installation.names, plan)
        if not slicer.util.confirmOkCancelDisplay(text, windowTitle=_("Install packages")):
            self.cancel()
            return
        if self.installation is not installation:
            # The module was unloaded while the question was on the screen.
            return
        self.ui.packagesLabel.text = _("Installing...")
        self.ui.installLog.visible = True
        installation.install()

    def _onLine(self, line: str) -> None:
        self.ui.installLog.appendPlainText(line)
        if self.installation is not None:
            # One line of it tells that something happens; the rest is in the log.
            self.ui.packagesLabel.text = line if len(line) < 120 else f"{line[:117]}..."
            self.ui.installCancelButton.enabled = self.installation.canCancel

    def _onEnd(self, outcome: Outcome) -> None:
        self.installation = None
        then, self._then = self._then, None
        self._news = "" if outcome.error is not None else outcome.text
        self.refresh()
        if outcome.error is not None:
            self.panel.showError(_("The packages could not be installed."), f"{outcome.error}\n\n{outcome.text}")
        elif then is not None and self.panel.parameters is not None:
            then()

    def _onChecked(self, lines: list[str]) -> None:
        self._check = None
        self.ui.checkComputerButton.enabled = True
        self.ui.computerLabel.text = "\n".join(lines)
