"""The installation of missing packages, step by step on Slicer's event loop; no step waits for the next.

    look up  ->  (a person agrees)  ->  torch by the extension PyTorch  ->  the others by pip  ->  compare

Every step says what it does line by line and keeps it in a log. At the end the versions of everything installed are
compared with those before, and what changed is told: that nothing was replaced is looked at, not assumed.
"""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import DependencyError, explain
from SemiSegModule import dependencies
from SemiSegModule.jobs import workerPython
from SemiSegModule.packages import changes, installers
from SemiSegModule.packages.changes import Change
from SemiSegModule.packages.command import Command
from SemiSegModule.packages.failure import failure

LOOKUP = Path(__file__).resolve().parent / "lookup.py"
# A wheel and what it unpacks to are on the disk at the same time.
ROOM_PER_DOWNLOAD = 4.0
# What pip says of an option it does not know; it is older than its --report then (before 22.2).
_TOO_OLD_TO_ASK = "no such option"
# From here on the files of packages are being written: not a moment to end pip.
_WRITING = "Installing collected packages"


@dataclass(frozen=True)
class Outcome:
    """How an installation ended.

    Attributes:
        changes: every package whose version is another one than before.
        error: what went wrong, or None.
    """

    changes: tuple[Change, ...] = ()
    error: DependencyError | None = None

    @property
    def text(self) -> str:
        """What a person is told."""
        news = [change for change in self.changes if not change.isReplacement]
        replaced = [change for change in self.changes if change.isReplacement]
        lines = [_("Installed: {names}.").format(names=", ".join(f"{c.name} {c.new}" for c in news))] if news else []
        if replaced:
            lines.append(
                _("Changed: {names}. Restart Slicer before you go on.").format(
                    names="; ".join(change.text for change in replaced)
                )
            )
        else:
            lines.append(_("Compared with before: no package that was there has changed."))
        return "\n".join(lines)


class Installation:
    """Installs what is missing.

    Args:
        withText: whether the names of structures are to be embedded as texts.
        onPlan: called with what pip would do (None: pip cannot say), once, after ``lookUp``.
        onLine: called with each line that an installer says.
        onEnd: called once, with the outcome.
    """

    def __init__(
        self,
        *,
        withText: bool = False,
        onPlan: Callable[[list[Change] | None], None],
        onLine: Callable[[str], None],
        onEnd: Callable[[Outcome], None],
    ) -> None:
        self._onPlan, self._onLine, self._onEnd = onPlan, onLine, onEnd
        self.folder = Path(mkdtemp(prefix="SemiSeg-packages-", dir=slicer.app.temporaryPath or None))
        self.log = self.folder / "log.txt"
        self._withText = withText
        self.names = self._missing()
        self._others = [name for name in self.names if name != dependencies.TORCH]
        self._before = changes.versions()
        self._constraints = self.folder / "constraints.txt"
        self._said: list[str] = []
        self._command: Command | None = None
        self._slicerPip: installers.SlicerPip | None = None
        self._isEnded = self._isCancelAsked = False
        self.canCancel = True

    def lookUp(self) -> None:
        """Begin to ask pip what it would do; nothing is changed."""
        self._writeConstraints(self.names)
        if not self._others:
            self._onPlan([])
            return
        answer = self.folder / "plan.json"
        asked = ["pip", "install", *installers.pipArguments(self._others, self._constraints), "--retries", "2"]
        self._run([workerPython(), str(LOOKUP), str(answer), *asked], lambda code: self._onLookedUp(code, answer))

    def install(self) -> None:
        """Begin to install; ``onEnd`` tells how it ended. Nothing happens if it was canceled while a person read."""
        if self._isEnded:
            return
        self._said.clear()
        if dependencies.TORCH in self.names:
            self._try(self._installTorch)
        else:
            self._installOthers()

    def cancel(self) -> bool:
        """End what is being done and everything it started; nothing is told any more.

        Returns:
            Whether it has ended. Where the files of packages are being written, that goes on to its end, which is
            told; nothing more is begun then.
        """
        # What was said a moment ago, and is not told yet, counts: a click comes between two looks at a program.
        if self._command is not None:
            self._command.hear()
        if self._slicerPip is not None and self._slicerPip.hasSaid(_WRITING):
            self.canCancel = False
        if not self.canCancel and not self._isEnded:
            self._isCancelAsked = True
            return False
        self._isEnded = True
        if self._command is not None:
            self._command.kill()
        if self._slicerPip is not None:
            self._slicerPip.kill()
        return True

    def letGo(self) -> None:
        """Listen no more; what is being done goes on."""
        self._isEnded = True
        if self._command is not None:
            self._command.letGo()

    def _missing(self) -> list[str]:
        return dependencies.missing(withText=self._withText)

    def _writeConstraints(self, asked: list[str]) -> None:
        lines = dependencies.constraints(asked)
        self._constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _onLookedUp(self, code: int, answer: Path) -> None:
        if code != 0 and _TOO_OLD_TO_ASK in "\n".join(self._said):
            self._onPlan(None)
        elif code != 0:
            self._end(failure("\n".join(self._said), self._others, str(self.log)))
        else:
            found = json.loads(answer.read_text(encoding="utf-8"))
            withTorch = dependencies.TORCH not in self.names
            plan = changes.planned(found, self._before, withTorch=withTorch)
            error = _noRoom(changes.downloadBytes(plan))
            if error is not None:
                self._end(error)
            else:
                self._onPlan(plan)

    def _installTorch(self) -> None:
        arguments = installers.torchArguments(self._constraints)
        # The extension may have let Slicer answer, and a person cancel, while it got its small installer.
        if self._isEnded:
            return
        if arguments is None:
            self._onLine(_("The extension PyTorch installs torch; Slicer does not answer meanwhile."))
            installers.installTorchWithExtension(self._constraints)
            self._installOthers()
            return
        self._run([workerPython(), "-m", *arguments], self._onTorch)

    def _onTorch(self, code: int) -> None:
        if code != 0:
            self._end(failure("\n".join(self._said), [dependencies.TORCH], str(self.log)))
            return
        self._said.clear()
        self._installOthers()

    def _installOthers(self) -> None:
        if self._isCancelAsked:
            self._end(None)
        if self._isEnded:
            return
        # torch is now one of the packages to keep.
        self._writeConstraints(self._others)
        if not self._others:
            self._verify()
        elif installers.hasSlicerPackaging():
            self.canCancel = True
            self._slicerPip = installers.SlicerPip(self._others, self._constraints)
            self._try(lambda: self._slicerPip.start(self._hear, self._onOthers))
        else:
            arguments = ["pip", "install", *installers.pipArguments(self._others, self._constraints)]
            self._run([workerPython(), "-m", *arguments], self._onOthers)

    def _onOthers(self, code: int) -> None:
        if self._isEnded:
            return
        if code != 0:
            self._end(failure("\n".join(self._said), self._others, str(self.log)))
        else:
            self._verify()

    def _verify(self) -> None:
        importlib.invalidate_caches()
        left = self._missing()
        if left:
            what = _("{names} cannot be found after the installation").format(names=", ".join(left))
            where = _("installation of packages; everything that was said is in {log}").format(log=self.log)
            self._end(DependencyError(explain(what, where=where, remedy=_("restart Slicer and try again"))))
        else:
            self._end(None)

    def _run(self, arguments: list[str], onEnd: Callable[[int], None]) -> None:
        self.canCancel = True
        self._command = Command(arguments, self.log, onLine=self._hear, onEnd=lambda code: onEnd(int(code or 0)))
        self._try(self._command.start)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DependencyError as error:
            self._end(error)
        except installers.INSTALLER_ERRORS as error:
            self._hear(str(error))
            self._end(failure("\n".join(self._said), self.names, str(self.log)))

    def _hear(self, line: str) -> None:
        if line.startswith(_WRITING):
            self.canCancel = False
        self._said.append(line)
        if self._command is None or not self._command.isRunning:
            # A command writes its own log.
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{line}\n")
        if not self._isEnded:
            self._onLine(line)

    def _end(self, error: DependencyError | None) -> None:
        if self._isEnded:
            return
        self._isEnded = True
        found = tuple(changes.compared(self._before, changes.versions()))
        logging.info("SemiSeg: packages changed: %s", "; ".join(change.text for change in found) or "none")
        self._onEnd(Outcome(found, error))


def _noRoom(count: int) -> DependencyError | None:
    """Return the error of a disk that is too full for a download, or None."""
    folder = sysconfig.get_paths()["purelib"]
    needed, free = count * ROOM_PER_DOWNLOAD / 1e9, shutil.disk_usage(folder).free / 1e9
    if free >= needed:
        return None
    what = _("the packages need about {needed} GB on the disk, and {free} GB are free").format(
        needed=f"{needed:.1f}", free=f"{free:.1f}"
    )
    return DependencyError(explain(what, where=folder, remedy=_("make room on this disk, then try again")))
