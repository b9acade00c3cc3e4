"""Pictures as files."""

from pathlib import Path
from typing import Any

import numpy as np
from PySide6 import QtGui, QtWidgets


def to_image(subject: Any) -> QtGui.QImage:
    """Return a picture of a widget or of a (height, width, 3) array of bytes."""
    if isinstance(subject, QtWidgets.QWidget):
        return subject.grab().toImage()
    if isinstance(subject, QtGui.QImage):
        return subject
    pixels = np.ascontiguousarray(subject[..., :3], dtype=np.uint8)
    height, width, _ = pixels.shape
    return QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()


def to_array(image: QtGui.QImage) -> np.ndarray:
    """Return a picture as a (height, width, 3) array of bytes."""
    plain = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    rows = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return rows[:, : 3 * plain.width()].reshape(plain.height(), plain.width(), 3).copy()


def save_picture(subject: Any, path: Path) -> Path:
    """Write a picture of a widget, an image or an array as PNG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not to_image(subject).save(str(path)):
        raise OSError(f"{path} can not be written")
    return path
