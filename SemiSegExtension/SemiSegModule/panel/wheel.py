"""The wheel scrolls the panel: it changes no number, path or node that the pointer happens to pass."""

from __future__ import annotations

from typing import Any

import ctk
import qt
import slicer


class WheelFilter(qt.QObject):
    """Event filter that keeps turns of the wheel from fields without the focus; one that was clicked follows it.

    Qt's fields for numbers and CTK's for paths have no choice of their own for this. The filter lives as long as its
    Python object, so whoever makes one keeps it.
    """

    def __init__(self) -> None:
        qt.QObject.__init__(self)

    def watch(self, *fields: Any) -> None:
        """Let the wheel pass over some fields."""
        for field in fields:
            # Otherwise the wheel itself gives them the focus.
            field.focusPolicy = qt.Qt.StrongFocus
            field.installEventFilter(self)

    def eventFilter(self, target: Any, event: Any) -> bool:
        """Hand a turn of the wheel to what lies behind the field; called by Qt with every event of it."""
        if event.type() != qt.QEvent.Wheel or target.hasFocus():
            return False
        event.ignore()
        return True


def letWheelPass(combo: Any) -> None:
    """Let a turn of the wheel over a list to choose from scroll the panel, unless it was clicked before."""
    combo.scrollWheelEffect = ctk.ctkComboBox.ScrollWithFocus
    # A list takes the focus from the wheel otherwise.
    combo.focusPolicy = qt.Qt.StrongFocus


def letWheelPassNodes(selector: Any) -> None:
    """The same for a list of nodes, whose list is a part of it."""
    for combo in slicer.util.findChildren(selector, className="ctkComboBox"):
        letWheelPass(combo)


def letWheelPassForms(ui: Any) -> WheelFilter:
    """Let the wheel pass over the fields of the forms that do not say so in the form itself.

    Returns:
        What does it, as long as it is kept.
    """
    for selector in (ui.caseSegmentationSelector, ui.regionBoxComboBox):
        letWheelPassNodes(selector)
    paths = (ui.studyFolderEdit, ui.embeddingFileEdit, ui.modelEdit)
    wheel = WheelFilter()
    wheel.watch(ui.minutesSpinBox, *(edit.comboBox() for edit in paths))
    return wheel
