"""A study of many coded structures in many cases: looking at it takes no longer than a click may take."""

import time

import pytest
import slicer

from SemiSegLib.labels.scheme import Code, Terminology
from SemiSegLib.labels.terminology import to_slicer_string
from SemiSegModule.panel.study_view import viewOf
from Testing.host.interaction import process_events

CASES, STRUCTURES = 20, 104
# Processor time of one look at the whole study; it was over a second when each segment was compared with each
# structure.
LOOK_SECONDS = 0.35


def a_code(number):
    category = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")
    return Terminology(category=category, type=Code(scheme="99TEST", value=f"T{number}", meaning=f"structure {number}"))


@pytest.fixture
def many(panel):
    """The panel with 20 small scans of which each has 104 coded segments, in another spelling in every second case."""
    entries = [to_slicer_string(a_code(number)) for number in range(STRUCTURES)]
    for case in range(CASES):
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"scan {case:02}")
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(2, 2, 2)
        image.AllocateScalars(4, 1)
        volume.SetAndObserveImageData(image)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"scan {case:02} drawn")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for number, entry in enumerate(entries):
            segment = slicer.vtkSegment()
            segment.SetName(f"structure {number}" if case % 2 == 0 else f"Structure_{number}")
            segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
            node.GetSegmentation().AddSegment(segment, f"s{number}")
    process_events()
    panel.panel.refresh()
    return panel.panel


def test_looking_at_two_thousand_coded_segments_takes_no_second(many):
    view = viewOf(many.parameters, many.logic.readScheme, {})
    assert len(view.cases) == CASES
    assert len(view.scheme.structures) == STRUCTURES + 1
    assert all(len(case.meanings) == STRUCTURES and all(case.meanings.values()) for case in view.cases)
    took = []
    for _again in range(3):
        begin = time.process_time()
        viewOf(many.parameters, many.logic.readScheme, {})
        took.append(time.process_time() - begin)
    assert min(took) < LOOK_SECONDS
