"""Where a file is to be written, as a person says: with the ending of its kind, and over no other file unasked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegLib.runs.places import is_there


def askWhereToSave(parent: Any, title: str, endings: Mapping[str, str]) -> Path | None:
    """Return the file that a person has chosen to write to, or None.

    Args:
        parent: widget before which the dialog stands.
        title: of the dialog.
        endings: kind of file as the dialog names it to the ending of its files; the first is proposed.
    """
    # Not the static call of Qt: in Python it does not tell which kind was chosen.
    dialog = qt.QFileDialog(parent, title, "", ";;".join(endings))
    dialog.acceptMode = qt.QFileDialog.AcceptSave
    isAccepted = dialog.exec() == qt.QDialog.Accepted
    chosen, kind = dialog.selectedFiles(), dialog.selectedNameFilter()
    dialog.deleteLater()
    if not isAccepted or not chosen:
        return None
    path = Path(chosen[0])
    if path.suffix.lower() not in endings.values():
        path = path.with_name(f"{path.name}{endings.get(kind) or next(iter(endings.values()))}")
    return path if mayWrite(path, chosen[0], title) else None


def mayWrite(path: Path, chosen: str, title: str) -> bool:
    """Return whether a file may be written; asks where the dialog has asked of another name.

    Args:
        path: of the file.
        chosen: what the dialog returned; a file of that name may be replaced.
        title: of the question.
    """
    if path == Path(chosen) or not is_there(path):
        return True
    text = _("{name} exists already. Replace it?").format(name=path.name)
    return bool(slicer.util.confirmYesNoDisplay(text, windowTitle=title))
