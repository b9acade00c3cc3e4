"""How the views show a result: its scan and itself, its place of doubt, beside the result before, in Segment Editor."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SemiSegModule.bridge.geometry import matrixFromVtk, matrixToVtk
from SemiSegModule.bridge.pairing import segmentations
from SemiSegModule.bridge.result import Result, resultsInScene
from SemiSegModule.bridge.segmentation_import import standBeside
from SemiSegModule.bridge.uncertainty import isUncertainty, overlaid, overlay

# What the layout node remembers while two results are side by side.
_BEFORE = "SemiSeg.ViewsBeforeComparison"
_LEFT, _RIGHT = "vtkMRMLSliceNodeRed", "vtkMRMLSliceNodeYellow"
_EDITOR = "SegmentEditor"


def showResult(result: Result, foreground: Any = None) -> None:
    """Show a scan with its result, where the model is least sure; segmentations of other scans are hidden.

    What a person has drawn on this scan stays as it is. A map of uncertainty that another case shows gives way to this
    one's. While the views show this scan already, what a person has laid over it stays too; else it would lie over
    another patient's.

    Args:
        result: the result.
        foreground: volume to lay over the scan, such as the case's second channel; None for none.
    """
    endComparison()
    hadOverlay = overlaid() is not None
    showUncertainty(None)
    if _isBehindAllViews(result.volume):
        slicer.util.setSliceViewerLayers(background=result.volume, fit=True)
    else:
        slicer.util.setSliceViewerLayers(background=result.volume, foreground=foreground, label=None, fit=True)
    for other in resultsInScene():
        _setVisible(other.node, other == result and other.correction is None)
        _setVisible(other.correction, other == result)
    source = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in segmentations(withResults=False):
        scan = node.GetNodeReference(source)
        if scan is not None and scan is not result.volume:
            _setVisible(node, False)
    if hadOverlay:
        showUncertainty(result)
    jumpToDoubt(result)


def showUncertainty(result: Result | None) -> None:
    """Lay the uncertainty of a result over the views, its structures as outlines; None shows the views without."""
    overlay(None)
    hasMap = result is not None and isUncertainty(result.uncertainty)
    for other in resultsInScene():
        for node in (other.node, other.correction):
            display = node.GetDisplayNode() if node is not None else None
            # Slicer draws segments over every volume: filled ones would hide what the map shows below them.
            isFilled = not (hasMap and other == result)
            if display is not None and bool(display.GetVisibility2DFill()) != isFilled:
                display.SetVisibility2DFill(isFilled)
    if hasMap:
        overlay(result.uncertainty)


def hideResult(result: Result) -> None:
    """Take a result, its correction and its uncertainty from the views; the nodes are kept."""
    for node in (result.node, result.correction):
        _setVisible(node, False)
    if result.uncertainty is not None and overlaid() is result.uncertainty:
        showUncertainty(None)


def jumpToDoubt(result: Result) -> bool:
    """Bring all slice views to the place where the model is least sure; return whether there is one."""
    place = result.placeInWorld()
    if place is None:
        return False
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *place, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    return True


def compareSideBySide(result: Result, before: Result) -> None:
    """Show a result in the left and an earlier one in the right of two linked views of one plane."""
    layout, left, right = _layout(), _view(_LEFT), _view(_RIGHT)
    if not layout.GetAttribute(_BEFORE):
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        memory = {
            "layout": layout.GetViewArrangement(),
            "plane": matrixFromVtk(right.GetSliceToRAS()).tolist(),
            "linked": {node.GetID(): node.GetLinkedControl() for node in composites},
            "hidden": [n.GetID() for n in (result.shown, before.shown) if not n.GetDisplayNode().GetVisibility()],
        }
        layout.SetAttribute(_BEFORE, json.dumps(memory))
        for node in composites:
            node.SetLinkedControl(1)
    for node, view in ((result.shown, left), (before.shown, right)):
        display = node.GetDisplayNode()
        display.RemoveAllViewNodeIDs()
        display.AddViewNodeID(view.GetID())
        display.SetVisibility(True)
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
    _turn(right, matrixFromVtk(left.GetSliceToRAS()))
    right.JumpSliceByCentering(*_center(left))
    jumpToDoubt(result)


def isComparing() -> bool:
    """Return whether two results are side by side."""
    return bool(_layout() is not None and _layout().GetAttribute(_BEFORE))


def endComparison() -> None:
    """Show the views as they were before two results were compared."""
    if not isComparing():
        return
    layout = _layout()
    before = json.loads(layout.GetAttribute(_BEFORE))
    layout.RemoveAttribute(_BEFORE)
    for result in resultsInScene():
        for node in (result.node, result.correction):
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().RemoveAllViewNodeIDs()
                if node.GetID() in before["hidden"]:
                    _setVisible(node, False)
    for nodeId, isLinked in before["linked"].items():
        composite = slicer.mrmlScene.GetNodeByID(nodeId)
        if composite is not None:
            composite.SetLinkedControl(isLinked)
    _turn(_view(_RIGHT), np.array(before["plane"]))
    # A person may have chosen another layout meanwhile.
    if layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView:
        layout.SetViewArrangement(before["layout"])


def _isBehindAllViews(volume: Any) -> bool:
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return all(composite.GetBackgroundVolumeID() == volume.GetID() for composite in composites)


def _turn(sliceNode: Any, plane: np.ndarray) -> None:
    """Give a view the plane of another; a view that was turned freely has no orientation that could be named."""
    sliceNode.GetSliceToRAS().DeepCopy(matrixToVtk(plane))
    sliceNode.UpdateMatrices()


def correctionOf(result: Result) -> Any:
    """Return the copy of a result that a person corrects; made once, named after the case."""
    if result.correction is not None:
        return result.correction
    name = slicer.mrmlScene.GetUniqueNameByString(_("{case} corrected").format(case=result.name))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.GetSegmentation().DeepCopy(result.node.GetSegmentation())
    standBeside(node, result.volume)
    result.correctedBy(node, result.job)
    return node


def openSegmentEditor(segmentationNode: Any, volumeNode: Any) -> None:
    """Let Slicer's Segment Editor edit a segmentation on a volume, and switch to it where Slicer has a window."""
    editor = slicer.mrmlScene.GetSingletonNode(_EDITOR, "vtkMRMLSegmentEditorNode")
    if editor is None:
        # What the module would do when it is opened for the first time.
        editor = slicer.vtkMRMLSegmentEditorNode()
        editor.SetSingletonTag(_EDITOR)
        editor = slicer.mrmlScene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(segmentationNode)
    editor.SetAndObserveSourceVolumeNode(volumeNode)
    if slicer.util.mainWindow() is not None:
        slicer.util.selectModule(_EDITOR)


def _setVisible(node: Any, isVisible: bool) -> None:
    display = node.GetDisplayNode() if node is not None else None
    if display is not None and bool(display.GetVisibility()) != isVisible:
        display.SetVisibility(isVisible)


def _layout() -> Any:
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _view(nodeId: str) -> Any:
    return slicer.mrmlScene.GetNodeByID(nodeId)


def _center(sliceNode: Any) -> tuple[float, float, float]:
    matrix = sliceNode.GetSliceToRAS()
    return matrix.GetElement(0, 3), matrix.GetElement(1, 3), matrix.GetElement(2, 3)
