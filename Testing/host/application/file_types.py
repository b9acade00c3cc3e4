"""Which reader serves a file, as the readers that Slicer's modules register."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import slicer


class Reader(NamedTuple):
    """A file type: the endings of its files and what loads one into the scene."""

    endings: tuple[str, ...]
    load: Callable[[str, dict[str, Any]], Any]


def _logic(module: str) -> Any:
    return getattr(slicer.modules, module).logic()


def _load_volume(path: str, properties: dict[str, Any]) -> Any:
    options = 1 if properties.get("labelmap") else 0
    options |= 8 if properties.get("singleFile") else 0
    node = _logic("volumes").AddArchetypeVolume(path, properties.get("name") or stem(path), options)
    if node is not None and properties.get("show", True):
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if properties.get("labelmap"):
            selection.SetActiveLabelVolumeID(node.GetID())
        else:
            selection.SetActiveVolumeID(node.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection()
    return node


def _load_segmentation(path: str, properties: dict[str, Any]) -> Any:
    return _logic("segmentations").LoadSegmentationFromFile(path, True, properties.get("name") or stem(path))


def _load_markups(path: str, properties: dict[str, Any]) -> Any:
    return slicer.mrmlScene.GetNodeByID(_logic("markups").LoadMarkups(path, stem(path)) or "")


READERS = {
    "VolumeFile": Reader((".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd"), _load_volume),
    "SegmentationFile": Reader((".seg.nrrd", ".seg.nhdr"), _load_segmentation),
    "TableFile": Reader((".csv", ".tsv"), lambda path, _: _logic("tables").AddTable(path, stem(path))),
    "ModelFile": Reader((".vtk", ".vtp", ".stl", ".ply", ".obj"), lambda path, _: _logic("models").AddModel(path)),
    "MarkupsFile": Reader((".mrk.json", ".fcsv"), _load_markups),
    "TransformFile": Reader((".h5", ".tfm"), lambda path, _: _logic("transforms").AddTransform(path, slicer.mrmlScene)),
    "ColorTableFile": Reader((".ctbl",), lambda path, _: _logic("colors").LoadColorFile(path, stem(path))),
}
_SCENES = (".mrml", ".mrb")
_WRITERS = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLColorTableNode": "ColorTableFile",
}


def known_ending(path: str) -> str:
    """Return the longest ending of a file name that some reader knows, "" if none does."""
    endings = [ending for reader in READERS.values() for ending in reader.endings]
    fitting = [ending for ending in endings if path.lower().endswith(ending)]
    return max(fitting, key=len, default="")


def stem(path: str) -> str:
    """Return a file name without folder and known ending: the name that Slicer gives a loaded node."""
    name = Path(path).name
    return name[: len(name) - len(known_ending(path))] or name


def file_type(path: str) -> str:
    """Return the type of the reader with the most specific ending."""
    if path.lower().endswith(_SCENES):
        return "SceneFile"
    ending = known_ending(path)
    return next((name for name, reader in READERS.items() if ending and ending in reader.endings), "NoFile")


def writer_type(node: Any) -> str:
    """Return the type of the writer for a node."""
    return _WRITERS.get(node.GetClassName(), "VolumeFile")
