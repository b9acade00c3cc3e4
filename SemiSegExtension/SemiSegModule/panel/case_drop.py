"""Files and folders that are dropped on the case table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import qt

from SemiSegLib.cases.formats import FILE_NAME
from SemiSegModule.aside import quickly
from SemiSegModule.bridge.dicom_files import isDicom
from SemiSegModule.bridge.folder_files import isImageFile


class DropFilter(qt.QObject):
    """Event filter that takes what can become cases; all else goes on to Slicer, which opens scenes and DICOM.

    Slicer's Python cannot override the drop events of a widget of a form, but it can filter them.

    Args:
        onDropped: called with the paths.
        isBusy: whether nothing can be dropped now; the pointer shows it.
    """

    def __init__(self, onDropped: Callable[[list[str]], None], isBusy: Callable[[], bool]) -> None:
        qt.QObject.__init__(self)
        self._onDropped, self._isBusy = onDropped, isBusy
        # What is being dragged, looked at once when it comes: the pointer moves often.
        self._paths: list[str] = []

    def eventFilter(self, _target: Any, event: Any) -> bool:
        """Accept files and folders; called by Qt with every event of the widget."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop):
            return False
        if kind == qt.QEvent.DragEnter:
            self._paths = _paths(event.mimeData())
        if not self._paths:
            return False
        if self._isBusy():
            event.ignore()
            return True
        event.acceptProposedAction()
        if kind == qt.QEvent.Drop:
            self._onDropped(self._paths)
        return True


def _paths(mimeData: Any) -> list[str]:
    """Return the files and folders in a drag, or nothing if one of them is no scan, dataset or folder of these."""
    if not mimeData.hasUrls():
        return []
    paths = [url.toLocalFile() for url in mimeData.urls() if url.isLocalFile()]
    isOurs = [_isFolder(path) or isImageFile(path) or path.lower().endswith(".json") for path in paths]
    return paths if paths and all(isOurs) else []


def _isFolder(path: str) -> bool:
    """Return whether a path is a folder that is not DICOM alone.

    A folder that does not answer at once is taken: its loading tells of DICOM too.
    """
    return qt.QFileInfo(path).isDir() and not quickly(partial(isDicom, Path(path), _isOurs), False)


def _isOurs(file: Path) -> bool:
    return isImageFile(file) or file.name == FILE_NAME
