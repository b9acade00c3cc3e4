"""Small pictures of structures."""

from __future__ import annotations

from typing import Any

import qt


def colorIcon(color: tuple[float, ...]) -> Any:
    """Return a small square of a color, each part 0 to 1."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*(round(255 * float(part)) for part in color[:3])))
    return qt.QIcon(pixmap)
