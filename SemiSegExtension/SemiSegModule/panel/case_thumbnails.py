"""Small pictures of the scans, made one at a time while nothing else is to be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from SemiSegModule.bridge.thumbnail import thumbnail, toPortableGraymap

SIZE = 32


class Thumbnails:
    """Icons of volume nodes, kept as long as their voxels stay as they are.

    Args:
        onMade: called when a picture was made, with the ID of its volume node.
    """

    def __init__(self, onMade: Callable[[str], None]) -> None:
        self._onMade = onMade
        # Node ID to the moment of the voxels' last change, and their icon.
        self._icons: dict[str, tuple[int, Any]] = {}
        self._wanted: dict[str, Any] = {}
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._makeOne)

    def icon(self, volumeNode: Any) -> Any:
        """Return the icon of a volume, or None if it will be made in a later turn of the event loop."""
        moment, icon = self._icons.get(volumeNode.GetID(), (-1, None))
        if moment != _moment(volumeNode):
            self._wanted[volumeNode.GetID()] = volumeNode
            self._timer.start()
        # The picture of before is shown until there is a new one: an empty place would flicker.
        return icon

    def close(self) -> None:
        """Make no further picture, and forget those of a scene that is gone."""
        self._timer.stop()
        self._wanted.clear()
        self._icons.clear()

    def _makeOne(self) -> None:
        if not self._wanted:
            return
        nodeId = next(iter(self._wanted))
        node = self._wanted.pop(nodeId)
        if node.GetScene() is not None:
            self._icons[nodeId] = (_moment(node), _iconOf(node))
            self._onMade(nodeId)
        if self._wanted:
            self._timer.start()


def _moment(volumeNode: Any) -> int:
    image = volumeNode.GetImageData()
    return int(image.GetMTime()) if image is not None else 0


def _iconOf(volumeNode: Any) -> Any:
    pixmap = qt.QPixmap()
    picture = thumbnail(volumeNode, SIZE)
    if picture is None:
        pixmap = qt.QPixmap(SIZE, SIZE)
        pixmap.fill(qt.QColor(0, 0, 0, 0))
    else:
        pixmap.loadFromData(qt.QByteArray(toPortableGraymap(picture)))
    return qt.QIcon(pixmap)
