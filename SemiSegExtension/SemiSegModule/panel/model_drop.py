"""A model file that is dropped on the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

MODEL_ENDING = ".safetensors"


class ModelDropFilter(qt.QObject):
    """Event filter that takes one model file; all else goes on to Slicer.

    Args:
        onDropped: called with its path.
    """

    def __init__(self, onDropped: Callable[[str], None]) -> None:
        qt.QObject.__init__(self)
        self._onDropped = onDropped

    def eventFilter(self, _target: Any, event: Any) -> bool:
        """Accept a model file; called by Qt with every event of the widget."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop):
            return False
        mime = event.mimeData()
        paths = [url.toLocalFile() for url in mime.urls() if url.isLocalFile()] if mime.hasUrls() else []
        if len(paths) != 1 or not paths[0].lower().endswith(MODEL_ENDING):
            return False
        event.acceptProposedAction()
        if kind == qt.QEvent.Drop:
            self._onDropped(paths[0])
        return True
