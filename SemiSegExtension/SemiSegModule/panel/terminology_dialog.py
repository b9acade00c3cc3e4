"""Slicer's own terminology selector in a dialog of its own."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegLib.labels.scheme import Structure, Terminology
from SemiSegLib.labels.terminology import from_slicer_string, to_slicer_string


def chooseTerminology(structure: Structure, parent: Any) -> Terminology | None:
    """Return the term a person selects for a structure, or None if the dialog is canceled.

    Slicer's ready dialog takes and returns its selection in a C++ type that Python does not have; the widget in it, the
    navigator, does not.

    Args:
        structure: its term, if it has one, is selected at first.
        parent: widget above which the dialog opens.
    """
    logic = slicer.modules.terminologies.logic()
    dialog = qt.QDialog(parent)
    dialog.windowTitle = _("Standard term of {name}").format(name=structure.name)
    layout = qt.QVBoxLayout(dialog)
    navigator = slicer.qSlicerTerminologyNavigatorWidget()
    navigator.setMRMLScene(slicer.mrmlScene)
    layout.addWidget(navigator)
    buttons = qt.QDialogButtonBox()
    buttons.setStandardButtons(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    layout.addWidget(buttons)
    buttons.connect("accepted()", dialog.accept)
    buttons.connect("rejected()", dialog.reject)
    if structure.terminology is not None:
        entry = slicer.vtkSlicerTerminologyEntry()
        logic.DeserializeTerminologyEntry(to_slicer_string(structure.terminology), entry)
        navigator.setTerminologyEntry(entry)
    selected = None
    if dialog.exec() == qt.QDialog.Accepted:
        entry = slicer.vtkSlicerTerminologyEntry()
        if navigator.terminologyEntry(entry):
            selected = from_slicer_string(logic.SerializeTerminologyEntry(entry))
    dialog.deleteLater()
    return selected


def describeTerminology(terminology: Terminology | None) -> str:
    """Return a term in the words of its codes."""
    if terminology is None:
        return _("choose a standard term...")
    words = [terminology.type.meaning]
    words += [code.meaning for code in (terminology.type_modifier, terminology.region) if code is not None]
    return ", ".join(words)
