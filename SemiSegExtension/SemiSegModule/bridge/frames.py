"""Volumes that hold several images: sequences and 4-D scans. They are split by choice, never cut to one in silence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, explain
from SemiSegModule.bridge.segmentation_import import placeBeside


@dataclass(frozen=True)
class Frames:
    """A volume node that stands for several images.

    Attributes:
        node: what a person sees in the scene: the proxy of a sequence, or the volume of several components.
        count: images in it.
        sequence: vtkMRMLSequenceNode, or None if the images are the components of the volume.
    """

    node: Any
    count: int
    sequence: Any = None


def framedVolumes() -> list[Frames]:
    """Return the volumes of the scene that hold several images, in the scene's order."""
    found = [*_sequences(), *_manyComponents()]
    order = {node.GetID(): place for place, node in enumerate(slicer.util.getNodesByClass("vtkMRMLVolumeNode"))}
    return sorted(found, key=lambda frames: order.get(frames.node.GetID(), len(order)))


def splitFrames(frames: Frames, numbers: Sequence[int]) -> list[Any]:
    """Return new scalar volume nodes, one for each chosen image; the node itself is only read.

    Args:
        frames: from ``framedVolumes``.
        numbers: which images, counted from 1 as Slicer's sequence browser shows them.

    Raises:
        CaseError: there is no such image, or it holds no voxels.
    """
    digits = len(str(frames.count))
    return [_newVolume(frames, number, f"{frames.node.GetName()} {number:0{digits}d}") for number in numbers]


def parseFrames(text: str, count: int) -> tuple[int, ...]:
    """Return the numbers of a text such as "1-3, 7" or "all", counted from 1, each once and in order.

    Raises:
        CaseError: the text is something else, or names an image that is not there.
    """
    numbers: set[int] = set()
    for part in filter(None, (part.strip() for part in re.split(r"[,;]", text))):
        match = re.fullmatch(r"(\d+)(?:\s*[-\u2013:]\s*(\d+))?", part)
        first, last = (1, count) if part.casefold() == "all" else (0, 0)
        if match is not None:
            first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            raise CaseError(
                explain(
                    _("'{part}' names none of the {count} images").format(part=part, count=count),
                    where=_("images of a sequence"),
                    remedy=_("write numbers from 1 to {count}, for example 1, 5-7, or all").format(count=count),
                )
            )
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def _sequences() -> list[Frames]:
    found: dict[str, Frames] = {}
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        sequences = vtk.vtkCollection()
        browser.GetSynchronizedSequenceNodes(sequences, True)
        for index in range(sequences.GetNumberOfItems()):
            sequence = sequences.GetItemAsObject(index)
            proxy = browser.GetProxyNode(sequence)
            if proxy is not None and proxy.IsA("vtkMRMLScalarVolumeNode") and sequence.GetNumberOfDataNodes() > 1:
                found[proxy.GetID()] = Frames(proxy, int(sequence.GetNumberOfDataNodes()), sequence)
    return list(found.values())


def _manyComponents() -> list[Frames]:
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        image = node.GetImageData()
        count = image.GetNumberOfScalarComponents() if image is not None else 0
        if count > 1 and not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors():
            found.append(Frames(node, int(count)))
    return found


def _newVolume(frames: Frames, number: int, name: str) -> Any:
    if not 1 <= number <= frames.count:
        raise CaseError(
            explain(
                _("image {number} was asked for, it holds {count}").format(number=number, count=frames.count),
                where=_("volume '{name}'").format(name=frames.node.GetName()),
                remedy=_("count images from 1 to {count}").format(count=frames.count),
            )
        )
    source = frames.node if frames.sequence is None else frames.sequence.GetNthDataNode(number - 1)
    image = source.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise CaseError(
            explain(
                _("image {number} holds no voxels").format(number=number),
                where=_("volume '{name}'").format(name=frames.node.GetName()),
                remedy=_("load the sequence again, or choose other images of it"),
            )
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(_copy(image) if frames.sequence is not None else _component(image, number - 1))
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveTransformNodeID(frames.node.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    placeBeside(node, frames.node)
    return node


def _copy(image: Any) -> Any:
    copied = vtk.vtkImageData()
    copied.DeepCopy(image)
    return copied


def _component(image: Any, number: int) -> Any:
    extract = vtk.vtkImageExtractComponents()
    extract.SetInputData(image)
    extract.SetComponents(number)
    extract.Update()
    return _copy(extract.GetOutput())
