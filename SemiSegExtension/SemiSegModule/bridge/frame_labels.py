"""Segmentations of sequences and 4-D scans: one for each image, or one that was drawn on a single image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from SemiSegModule.bridge.frames import Frames
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.segmentation_import import standBeside


@dataclass(frozen=True)
class FrameLabels:
    """What was drawn on a volume that holds several images.

    Attributes:
        node: vtkMRMLSegmentationNode that a person sees in the scene.
        sequence: vtkMRMLSequenceNode of segmentations, or None: then the node is of one image, and it says not which.
    """

    node: Any
    sequence: Any = None

    @property
    def count(self) -> int:
        """Images that have labels."""
        return 1 if self.sequence is None else int(self.sequence.GetNumberOfDataNodes())


def labelsOfFrames(frames: Frames) -> FrameLabels | None:
    """Return the segmentation that was drawn on a volume of several images, or None."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    sequences = _sequencesBeside(frames)
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetHideFromEditors() or node.GetAttribute(RESULT_ATTRIBUTE):
            continue
        sequence = sequences.get(node.GetID())
        if sequence is not None or node.GetNodeReferenceID(role) == frames.node.GetID():
            return FrameLabels(node, sequence)
    return None


def copyLabels(
    labels: FrameLabels, frames: Frames, numbers: Sequence[int], volumes: Sequence[Any], labelsOf: int | None
) -> list[Any]:
    """Return new segmentation nodes of images that were split off; the labels themselves are only read.

    Args:
        labels: from ``labelsOfFrames``; a sequence that is not as long as that of the images is left out, as nobody
            knows which of it belongs to which image.
        frames: what was split.
        numbers: the images, counted from 1.
        volumes: the new volume node of each.
        labelsOf: the image on which labels without a sequence were drawn; None for the only image in ``numbers``, and
            for none of several.
    """
    if labels.sequence is None:
        only = numbers[0] if len(numbers) == 1 else None
        sources = {labelsOf or only: labels.node}
    elif labels.count == frames.count:
        sources = {number: labels.sequence.GetNthDataNode(number - 1) for number in numbers}
    else:
        sources = {}
    pairs = zip(numbers, volumes, strict=True)
    return [_copy(sources[number], volume, labels.node) for number, volume in pairs if sources.get(number) is not None]


def _sequencesBeside(frames: Frames) -> dict[str, Any]:
    """Return the ID of each segmentation that is played with a sequence to its own sequence."""
    found: dict[str, Any] = {}
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode") if frames.sequence is not None else ():
        sequences = vtk.vtkCollection()
        browser.GetSynchronizedSequenceNodes(sequences, True)
        played = [sequences.GetItemAsObject(index) for index in range(sequences.GetNumberOfItems())]
        if not any(sequence is frames.sequence for sequence in played):
            continue
        for sequence in played:
            proxy = browser.GetProxyNode(sequence)
            if proxy is not None and proxy.IsA("vtkMRMLSegmentationNode"):
                found[proxy.GetID()] = sequence
    return found


def _copy(source: Any, volume: Any, shown: Any) -> Any:
    name = _("{case} labels").format(case=volume.GetName())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.GetSegmentation().DeepCopy(source.GetSegmentation())
    standBeside(node, volume)
    # They may have been moved apart from the scan.
    node.SetAndObserveTransformNodeID(shown.GetTransformNodeID())
    return node
