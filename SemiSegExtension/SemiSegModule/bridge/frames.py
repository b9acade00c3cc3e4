"""Volumes that are no scan by themselves: sequences, 4-D scans and color images.

They are split or made gray by choice, never cut to one image in silence.
"""

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
    """A volume node that stands for several images, or for one in color.

    Attributes:
        node: what a person sees in the scene: the proxy of a sequence, or the volume of several components.
        count: images in it, or colors.
        sequence: vtkMRMLSequenceNode, or None if the images are the components of the volume.
        isColor: whether the components are the colors of one image.
    """

    node: Any
    count: int
    sequence: Any = None
    isColor: bool = False


def framedVolumes() -> list[Frames]:
    """Return the volumes of the scene that hold several images or colors, in the scene's order."""
    sequences = _sequences()
    proxies = {frames.node.GetID() for frames in sequences}
    found = [*sequences, *(frames for frames in _manyComponents() if frames.node.GetID() not in proxies)]
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
    # The colors of an image may be split too: each is then a channel.
    digits = len(str(frames.count))
    return [_newVolume(frames, number, f"{frames.node.GetName()} {number:0{digits}d}") for number in numbers]


def makeGray(frames: Frames) -> Any:
    """Return a new scalar volume node with the brightness of a color image, which is only read.

    Raises:
        CaseError: it is no color image.
    """
    if not frames.isColor:
        raise CaseError(
            explain(
                _("it is no color image"),
                where=_("volume '{name}'").format(name=frames.node.GetName()),
                remedy=_("choose images of it instead"),
            )
        )
    luminance = vtk.vtkImageLuminance()
    # What is seen through (RGBA) says nothing of the tissue.
    luminance.SetInputData(_components(frames.node.GetImageData(), 0, 1, 2))
    luminance.Update()
    name = _("{image} gray").format(image=frames.node.GetName())
    return _addVolume(_copy(luminance.GetOutput()), frames.node, frames.node, name)


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


def parseFrame(text: str, count: int) -> int | None:
    """Return the one number of a text, counted from 1, or None if it is empty.

    Raises:
        CaseError: the text is something else, or names several images or one that is not there.
    """
    numbers = parseFrames(text, count)
    if len(numbers) > 1:
        raise CaseError(
            explain(
                _("'{text}' names {number} images").format(text=text, number=len(numbers)),
                where=_("labels of one image"),
                remedy=_("write one number from 1 to {count}, or nothing").format(count=count),
            )
        )
    return numbers[0] if numbers else None


def requireChosen(labelsOf: int | None, numbers: Sequence[int], where: str) -> None:
    """Refuse labels of an image that was not chosen.

    Raises:
        CaseError: ``labelsOf`` is none of the numbers.
    """
    if labelsOf is not None and labelsOf not in numbers:
        raise CaseError(
            explain(
                _("image {number} was not chosen, and the labels are said to be of it").format(number=labelsOf),
                where=where,
                remedy=_("choose that image too, or say of which other one the labels are"),
            )
        )


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
            found.append(Frames(node, int(count), isColor=_isColor(node, image)))
    return found


def _isColor(node: Any, image: Any) -> bool:
    """Return whether the components are colors: as the file said, or by their kind where nobody has said it."""
    kind, volume = node.GetVoxelVectorType(), slicer.vtkMRMLVolumeNode
    if kind != volume.VoxelVectorTypeUndefined:
        return kind in (volume.VoxelVectorTypeColorRGB, volume.VoxelVectorTypeColorRGBA)
    return image.GetNumberOfScalarComponents() in (3, 4) and image.GetScalarSize() == 1


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
    voxels = _copy(image) if frames.sequence is not None else _components(image, number - 1)
    return _addVolume(voxels, source, frames.node, name)


def _addVolume(voxels: Any, source: Any, shown: Any, name: str) -> Any:
    """Return a new volume node.

    Args:
        voxels: image data of its own.
        source: volume node with its place in space.
        shown: node of the scene whose transform it shares and beside which it stands.
        name: of the new node.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(voxels)
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveTransformNodeID(shown.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    placeBeside(node, shown)
    return node


def _copy(image: Any) -> Any:
    copied = vtk.vtkImageData()
    copied.DeepCopy(image)
    return copied


def _components(image: Any, *numbers: int) -> Any:
    extract = vtk.vtkImageExtractComponents()
    extract.SetInputData(image)
    extract.SetComponents(*numbers)
    extract.Update()
    return _copy(extract.GetOutput())
