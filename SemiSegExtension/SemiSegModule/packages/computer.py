"""The check of this computer, beside Slicer: one line of advice per finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import slicer
from slicer.i18n import tr as _

import SemiSegLib
from SemiSegModule.jobs import workerPython
from SemiSegModule.packages.command import Command

# It takes some seconds; a driver that hangs would keep it forever.
CHECK_SECONDS = 60.0
_MARKS = {"good": "\u2713", "note": "\u2022", "warning": "\u26a0"}


def startCheck(studyFolder: Path | None, onEnd: Callable[[list[str]], None]) -> Command:
    """Begin to try devices, packages, memory and disk; return the program that does it.

    Args:
        studyFolder: where studies are written; its disk is looked at.
        onEnd: called once, with one line per finding; it may be called before this returns.
    """
    folder = Path(mkdtemp(prefix="SemiSeg-check-", dir=slicer.app.temporaryPath or None))
    answer, log = folder / "answer.json", folder / "log.txt"
    where = [str(studyFolder)] if studyFolder is not None else []
    check = Command(
        [workerPython(), "-m", "SemiSegLib.computer_check", str(answer), *where],
        log,
        onLine=lambda line: None,
        onEnd=lambda code: onEnd(_lines(code, answer, log)),
        environment={"PYTHONPATH": str(Path(SemiSegLib.__file__).resolve().parents[1])},
        seconds=CHECK_SECONDS,
    )
    try:
        check.start()
    except OSError as error:
        onEnd([_failed(str(error), log)])
    return check


def _lines(code: int | None, answer: Path, log: Path) -> list[str]:
    if code == 0:
        found = json.loads(answer.read_text(encoding="utf-8"))
        return [f"{_MARKS[item['severity']]} {item['text']}" for item in found]
    if code is not None:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return [_failed(said[-1] if said else _("it ended without a word"), log)]
    return [
        _(
            "The check did not end within {seconds} s: a device or its driver hangs. Update the driver of the "
            "graphics card, or choose the device cpu."
        ).format(seconds=f"{CHECK_SECONDS:.0f}")
    ]


def _failed(reason: str, log: Path) -> str:
    return _("The check failed: {reason}. All it said is in {log}.").format(reason=reason, log=log)
