"""The whole window: the module's panel on the left, slice views on the right, as Slicer lays them out."""

from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui

from Testing.host.application.scene import SLICE_VIEWS
from Testing.host.rendering.pictures import to_image
from Testing.host.rendering.views import SliceView, ThreeDView

_COLORS = {"Red": "#f34a33", "Green": "#6eb04b", "Yellow": "#edd54c"}
_BAR, _GAP = 22, 4


def slice_picture(name: str, size: tuple[int, int] = (400, 400), *, offset_share: float | None = 0.5) -> np.ndarray:
    """Return a picture of a slice view, fitted to its background volume, (height, width, 3) bytes."""
    view = SliceView(name, size)
    if view.logic.GetBackgroundLayer().GetVolumeNode() is not None:
        view.fit(offset_share)
    picture = view.array()
    view.close()
    return picture


def three_d_picture(size: tuple[int, int] = (400, 400)) -> np.ndarray:
    """Return a picture of the closed surfaces in the scene, (height, width, 3) bytes."""
    view = ThreeDView(size)
    view.array()
    view.fit()
    picture = view.array()
    view.close()
    return picture


def window_picture(
    panel: Any, *, view_width: int = 480, view_height: int | None = None, with_3d: bool = False
) -> QtGui.QImage:
    """Return a picture of a panel beside the slice views.

    Args:
        panel: the widget; its `parent` if it is a scripted module's Python widget.
        view_width: of each view in pixels.
        view_height: of each view in pixels; None shares the panel's height among the views, as a window does.
        with_3d: fill the fourth place with the 3-D view.
    """
    widget = getattr(panel, "parent", None) if not hasattr(panel, "grab") else panel
    left = to_image(widget)
    rows = (len(SLICE_VIEWS) + int(with_3d) + 1) // 2
    width, height = view_width, view_height or (left.height() + _GAP) // rows - _BAR - _GAP
    cells = [(name, slice_picture(name, (width, height))) for name in SLICE_VIEWS]
    if with_3d:
        cells.insert(1, ("3D", three_d_picture((width, height))))
    full_height = max(left.height(), rows * (height + _BAR + _GAP) - _GAP)
    result = QtGui.QImage(left.width() + 2 * (width + _GAP), full_height, QtGui.QImage.Format.Format_RGB888)
    result.fill(QtGui.QColor("#303030"))
    painter = QtGui.QPainter(result)
    painter.drawImage(0, 0, left)
    for number, (name, picture) in enumerate(cells):
        x = left.width() + _GAP + (number % 2) * (width + _GAP)
        y = (number // 2) * (height + _BAR + _GAP)
        painter.fillRect(x, y, width, _BAR, QtGui.QColor(_COLORS.get(name, "#7a7fbd")))
        painter.drawText(
            QtCore.QPoint(x + 6, y + 16), f"{name[0]}: {SLICE_VIEWS[name]}" if name in SLICE_VIEWS else name
        )
        painter.drawImage(x, y + _BAR, to_image(picture))
    painter.end()
    return result
