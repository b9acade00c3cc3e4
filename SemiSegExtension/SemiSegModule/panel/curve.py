"""The training curve as a small picture: loss on the left axis, validation Dice on the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegModule.history import TrainingHistory

LOSS_COLOR = "#3a8fd9"
DICE_COLOR = "#e08a2e"
HEIGHT = 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 30, 16, 14
# More points than this are thinned out before they are drawn; a curve is some hundred pixels wide.
_LARGEST_COUNT = 400


def drawCurve(data: TrainingHistory, width: int, text: Any, background: Any) -> Any:
    """Return a pixmap of the two curves.

    Args:
        data: at least one point of either curve.
        width: in pixels.
        text: qt.QColor of axes and numbers.
        background: qt.QColor.
    """
    pixmap = qt.QPixmap(max(width, 160), HEIGHT)
    pixmap.fill(background)
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setBrush(qt.QBrush(qt.Qt.NoBrush))
    font = painter.font()
    font.setPixelSize(10)
    painter.setFont(font)
    plot = (_LEFT, _TOP, pixmap.width() - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM)
    _drawFrame(painter, plot, text)
    if data.losses:
        low, high = _range([value for _share, value in data.losses])
        _drawLine(painter, plot, [(x, (y - low) / (high - low)) for x, y in _thinned(data.losses)], LOSS_COLOR)
        painter.setPen(qt.QPen(qt.QColor(LOSS_COLOR)))
        painter.drawText(2, _TOP + 8, f"{high:.3g}")
        painter.drawText(2, HEIGHT - _BOTTOM, f"{low:.3g}")
        painter.drawText(_LEFT, _TOP - 5, _("loss"))
    if data.dice:
        _drawLine(painter, plot, _thinned(data.dice), DICE_COLOR, marks=True)
        painter.setPen(qt.QPen(qt.QColor(DICE_COLOR)))
        right = pixmap.width() - _RIGHT + 4
        painter.drawText(right, _TOP + 8, "1")
        painter.drawText(right, HEIGHT - _BOTTOM, "0")
        words = _("validation Dice")
        painter.drawText(pixmap.width() - _RIGHT - painter.fontMetrics().boundingRect(words).width(), _TOP - 5, words)
    painter.end()
    return pixmap


def _drawFrame(painter: Any, plot: tuple[int, int, int, int], text: Any) -> None:
    x, y, width, height = plot
    pen = qt.QPen(text)
    pen.setWidth(1)
    painter.setPen(pen)
    painter.setOpacity(0.35)
    painter.drawLine(x, y, x, y + height)
    painter.drawLine(x + width, y, x + width, y + height)
    for share in (0.0, 0.5, 1.0):
        line = round(y + height * share)
        painter.drawLine(x, line, x + width, line)
    painter.setOpacity(1.0)


def _drawLine(
    painter: Any,
    plot: tuple[int, int, int, int],
    points: Sequence[tuple[float, float]],
    color: str,
    marks: bool = False,
) -> None:
    x, y, width, height = plot
    pen = qt.QPen(qt.QColor(color))
    pen.setWidth(2)
    painter.setPen(pen)
    places = [(x + width * share, y + height * (1 - value)) for share, value in points]
    path = qt.QPainterPath()
    path.moveTo(*places[0])
    for place in places[1:]:
        path.lineTo(*place)
    painter.drawPath(path)
    if marks or len(places) == 1:
        for place in places:
            painter.drawEllipse(round(place[0]) - 2, round(place[1]) - 2, 4, 4)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, len(points) // _LARGEST_COUNT)
    return [*points[::step], points[-1]]
