"""Hands for tests of the review: apply a model without a worker, look at what is shown."""

import numpy as np
import slicer

from SemiSegLib.runs.status import RunStatus
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from Testing.bridge.results import write_results
from Testing.host.interaction import click, process_events


def apply_to_all(panel, started, **results):
    """Press Apply to all and let the worker be done; return the job."""
    click(panel.ui.applyAllButton)
    job = started[-1]
    write_results(job, **results)
    job.write_status(RunStatus(state="finished", fraction=1.0, message="done"))
    panel.panel.apply.watcher.look()
    process_events()
    return job


def reviewed(panel):
    return panel.panel.review.current.name


def row_of(panel, name):
    """The row of the case table whose first channel is the volume of this name."""
    rows = panel.panel.parameters.rows()
    return next(row for row in rows if next(iter(row.volumes.values())).GetName() == name)


def slice_center(name="Red"):
    matrix = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
    return np.array([matrix.GetElement(row, 3) for row in range(3)])


def visible():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    made = [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]
    return [node.GetName() for node in made if node.GetDisplayNode().GetVisibility()]
