"""Loss and validation Dice of a training as a plot of Slicer's: one chart of the module's own, used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from SemiSegModule.history import TrainingHistory

# Attribute that tells the module's own nodes from others'; its value says what each is.
PLOT_ATTRIBUTE = "SemiSeg.TrainingPlot"
# A plot is some thousand pixels wide; more points take time and show nothing.
LARGEST_COUNT = 2000
LOSS_COLOR = (0.23, 0.56, 0.85)
# Colors that stay apart for people who see red and green alike (Okabe and Ito).
DICE_COLORS = (
    (0.90, 0.62, 0.0),
    (0.0, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.0),
    (0.34, 0.71, 0.91),
    (0.94, 0.89, 0.26),
)


def showPlot(title: str, history: TrainingHistory) -> Any:
    """Show the course of a training in a plot view, in a layout that has one; return the chart node."""
    chart = _node("chart", "vtkMRMLPlotChartNode", _("SemiSeg training"))
    _fill(chart, title, history)
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    return chart


def updatePlot(title: str, history: TrainingHistory) -> None:
    """Bring the chart up to date; nothing happens if it was never shown, or was deleted."""
    chart = _find("chart")
    if chart is not None:
        _fill(chart, title, history)


def _fill(chart: Any, title: str, history: TrainingHistory) -> None:
    wasModifying = chart.StartModify()
    curves = [(_("Loss"), list(zip(history.lossSteps, (loss for _share, loss in history.losses), strict=True)))]
    curves += [(_("Dice {structure}").format(structure=n), points) for n, points in history.structureDice.items()]
    wanted = []
    for number, (name, points) in enumerate(curves):
        if points:
            series = _series(number, name, points)
            series.SetColor(*(DICE_COLORS[(number - 1) % len(DICE_COLORS)] if number else LOSS_COLOR))
            wanted.append(series.GetID())
    if wanted != [chart.GetNthPlotSeriesNodeID(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]:
        chart.RemoveAllPlotSeriesNodeIDs()
        for identifier in wanted:
            chart.AddAndObservePlotSeriesNodeID(identifier)
    chart.SetTitle(title)
    chart.SetXAxisTitle(_("Step"))
    chart.SetYAxisTitle(_("Loss; Dice of validation scans"))
    chart.SetLegendVisibility(True)
    chart.EndModify(wasModifying)


def _series(number: int, name: str, points: Sequence[tuple[int, float]]) -> Any:
    table = _node(f"table {number}", "vtkMRMLTableNode", _("SemiSeg training: {curve}").format(curve=name))
    values = np.array(_thinned(points), dtype=np.float64)
    wasModifying = table.StartModify()
    table.RemoveAllColumns()
    for column, label in enumerate((_("Step"), name)):
        # The array stays alive with VTK's copy of it.
        data = numpy_to_vtk(np.ascontiguousarray(values[:, column]), deep=True)
        data.SetName(label)
        table.AddColumn(data)
    table.EndModify(wasModifying)
    series = _node(f"series {number}", "vtkMRMLPlotSeriesNode", name)
    series.SetName(name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName(_("Step"))
    series.SetYColumnName(name)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleCircle if number else series.MarkerStyleNone)
    return series


def _node(role: str, className: str, name: str) -> Any:
    """Return the module's node of a role, made if it is not there: hidden from selectors, not saved with the scene."""
    node = _find(role)
    if node is None:
        node = getattr(slicer, className)()
        node.SetName(name)
        node.SetAttribute(PLOT_ATTRIBUTE, role)
        node.SetSaveWithScene(False)
        # The chart itself must stay in the selector of the plot view, which would drop it otherwise.
        node.SetHideFromEditors(role != "chart")
        node = slicer.mrmlScene.AddNode(node)
    return node


def _find(role: str) -> Any:
    for className in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in slicer.util.getNodesByClass(className):
            if node.GetAttribute(PLOT_ATTRIBUTE) == role:
                return node
    return None


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    step = -(-len(points) // LARGEST_COUNT)
    # The last point is kept, whatever the step.
    return [*points[:-1:step], points[-1]]
