"""The stand-in of Slicer's terminology navigator: it shows what is loaded and gives back what is selected."""

import slicer

from Testing.host.interaction import process_events

ENTRY = (
    "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~"
    "SCT^24028007^Right~Anatomic codes - DICOM master list~^^~^^"
)


def shown(host):
    widget = slicer.qSlicerTerminologyNavigatorWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    widget.show()
    process_events()
    return widget


def test_it_gives_back_the_entry_that_was_set(host):
    logic = slicer.modules.terminologies.logic()
    widget, entry, back = shown(host), slicer.vtkSlicerTerminologyEntry(), slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(ENTRY, entry)
    assert widget.setTerminologyEntry(entry)
    assert widget.terminologyEntry(back)
    assert back.GetTypeObject().GetCodeValue() == "64033007"
    assert back.GetCategoryObject().GetCodeValue() == "123037004"
    assert widget.nameFromTerminology(back)


def test_nothing_is_selected_at_first_and_a_selection_is_told(host):
    widget, told = shown(host), []
    widget.connect("selectionValidityChanged(bool)", told.append)
    assert not widget.terminologyEntry(slicer.vtkSlicerTerminologyEntry())
    widget._categories.setCurrentRow(0)
    widget._types.setCurrentRow(0)
    assert told[-1] is True
    assert widget.terminologyEntry(slicer.vtkSlicerTerminologyEntry())
