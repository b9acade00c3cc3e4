"""Files and folders that are dropped on the case table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SemiSegModule.bridge.folder_import import isImageFile


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

    def eventFilter(self, _target: Any, event: Any) -> bool:
        """Accept files and folders; called by Qt with every event of the widget."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop):
            return False
        paths = _paths(event.mimeData())
        if not paths:
            return False
        if self._isBusy():
            event.ignore()
            return True
        event.acceptProposedAction()
        if kind == qt.QEvent.Drop:
            self._onDropped(paths)
        return True


def _paths(mimeData: Any) -> list[str]:
    """Return the files and folders in a drag, or nothing if one of them is no scan, dataset or folder."""
    if not mimeData.hasUrls():
        return []
    paths = [url.toLocalFile() for url in mimeData.urls() if url.isLocalFile()]
    isOurs = [qt.QFileInfo(path).isDir() or isImageFile(path) or path.lower().endswith(".json") for path in paths]
    return paths if paths and all(isOurs) else []
