"""What an unfinished model predicts for a case, in one segmentation node that is used again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.segment_images import addSegments
from SemiSegModule.bridge.segmentation_import import placeBeside, readPlaced
from SemiSegModule.bridge.study_scan import findScan
from SemiSegModule.waiting import Waiting

PREVIEW_ATTRIBUTE = "SemiSeg.Preview"


def loadPreview(path: Path, case: str, dataset: Path, *, waiting: Waiting | None = None) -> Any:
    """Return the scene's preview node with what a file holds for a case; None if the scene does not have its scan.

    The node is made if there is none. It is marked as a model's, so it is never taken for labels, and it is not saved
    with the scene. It names no source volume, so it is no result to review. What a person has set of its display is
    kept.

    Args:
        path: ``.seg.nrrd`` file.
        case: id of the case in the dataset.
        dataset: folder or file of the dataset that the run trains on; its images say which volume is the case's,
            whatever it is called and wherever it was moved.
        waiting: has files read apart from the scene; None: nobody waits.

    Raises:
        CaseError: a file cannot be read, or the scene has another volume of the case's name only, for example because
            its voxels have changed since the training began.
        ConfigError: the dataset's file is damaged.
    """
    found = findScan(dataset, case, waiting or Waiting())
    if found is None:
        return None
    volume = found.volume
    images, segments = readPlaced(path, volume, writtenGrid=found.written, waiting=waiting)
    node = previewNode() or _newNode()
    wasModifying = node.StartModify()
    node.SetName(_("{case} preview").format(case=case))
    # Segments have the same IDs each time, by which the display node knows them.
    node.GetSegmentation().RemoveAllSegments()
    addSegments(node, images, segments)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    placeBeside(node, volume)
    node.EndModify(wasModifying)
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
