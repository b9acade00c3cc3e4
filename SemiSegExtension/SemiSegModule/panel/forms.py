"""The forms that the panel is made of, one file a section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from SemiSegModule.panel.wheel import letWheelPass

# From top to bottom.
SECTIONS = ("Cases", "Labels", "Structures", "Training", "Model", "Review", "Packages")


def addSections(form: Any, resourcePath: Callable[[str], str]) -> None:
    """Put every section's form into the panel's, below the notice about packages.

    Args:
        form: the panel's form.
        resourcePath: path inside the module's resources to a whole path.
    """
    for place, name in enumerate(SECTIONS, start=1):
        form.layout().insertWidget(place, slicer.util.loadUI(resourcePath(f"UI/{name}.ui")))


def comboBox() -> Any:
    """Return a list to choose from as those of the forms: a turn of the wheel over it scrolls the panel.

    It must not choose what the pointer happens to pass, such as another meaning of a segment.
    """
    combo = ctk.ctkComboBox()
    letWheelPass(combo)
    combo.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    return combo
