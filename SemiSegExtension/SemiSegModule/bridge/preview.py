"""What an unfinished model predicts for a case, in one segmentation node that is used again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegModule.bridge.images import caseGrid
from SemiSegModule.bridge.pairing import scalarVolumes
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.segmentation_import import loadSegmentation, placeBeside
from SemiSegModule.waiting import Waiting

PREVIEW_ATTRIBUTE = "SemiSeg.Preview"


def loadPreview(path: Path, case: str, *, waiting: Waiting | None = None) -> Any:
    """Return the scene's preview node with what a file holds for a case; None if the scene has no such volume.

    The node is made if there is none. It is marked as a model's, so it is never taken for labels, and it is not saved
    with the scene. It names no source volume, so it is no result to review. What a person has set of its display is
    kept.

    Args:
        path: ``.seg.nrrd`` file.
        case: id of the case, which is the name of its volume in the scene.
        waiting: has the file read apart from the scene; None: nobody waits.

    Raises:
        CaseError: the file cannot be read, or the volume has changed since the training began.
    """
    volume = next((node for node in scalarVolumes() if node.GetName() == case), None)
    if volume is None:
        return None
    loaded = loadSegmentation(path, volume, writtenGrid=caseGrid({"": volume})[0], waiting=waiting)
    node = previewNode() or _newNode()
    wasModifying = node.StartModify()
    node.SetName(_("{case} preview").format(case=case))
    # Segments have the same IDs each time, by which the display node knows them.
    node.GetSegmentation().DeepCopy(loaded.GetSegmentation())
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    placeBeside(node, volume)
    node.EndModify(wasModifying)
    _remove(loaded)
    return node


def previewNode() -> Any:
    """Return the scene's preview node, or None."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next((node for node in nodes if node.GetAttribute(PREVIEW_ATTRIBUTE)), None)


def removePreview() -> None:
    """Take the preview out of the scene, if there is one."""
    node = previewNode()
    if node is not None:
        _remove(node)


def _newNode() -> Any:
    node = slicer.vtkMRMLSegmentationNode()
    node.SetAttribute(PREVIEW_ATTRIBUTE, "1")
    node.SetAttribute(RESULT_ATTRIBUTE, "preview")
    node.SetSaveWithScene(False)
    node = slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSaveWithScene(False)
    return node


def _remove(node: Any) -> None:
    for made in (node.GetDisplayNode(), node):
        if made is not None:
            slicer.mrmlScene.RemoveNode(made)
