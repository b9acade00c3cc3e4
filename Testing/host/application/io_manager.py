"""qSlicerCoreIOManager: loading and saving nodes and scenes, on the real storage nodes."""

from pathlib import Path
from typing import Any

import slicer

from Testing.host.application.file_types import READERS, file_type, known_ending, writer_type
from Testing.host.widgets.factory import behavior


@behavior
class qSlicerCoreIOManager:
    """Readers and writers by file type."""

    def fileType(self, path: str) -> str:
        return file_type(path)

    def loadNodes(self, kind: str, properties: dict[str, Any], nodes: Any = None, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return _load_scene(path, bool(properties.get("clear")))
        if kind not in READERS or not Path(path).exists():
            return False
        node = READERS[kind].load(path, properties)
        if node is not None and nodes is not None:
            nodes.AddItem(node)
        return node is not None

    def loadScene(self, path: str, is_clearing: bool = True, messages: Any = None) -> bool:
        return _load_scene(path, is_clearing)

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None, scene: Any = None) -> bool:
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return _save_scene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))

    def exportNodes(self, *arguments: Any) -> bool:
        if len(arguments) != 5:
            raise NotImplementedError("qSlicerCoreIOManager.exportNodes(QList<IOProperties>, ...)")
        ids, paths, properties, is_hardening, _ = arguments
        return all(_export(node_id, path, properties, is_hardening) for node_id, path in zip(ids, paths, strict=True))

    def fileWriterFileType(self, node: Any, name: str = "") -> str:
        return writer_type(node)

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(slicer.mrmlScene)
        types = storage.GetSupportedWriteFileTypes()
        storage.UnRegister(None)
        return tuple(types.GetValue(number) for number in range(types.GetNumberOfValues()))

    def extractKnownExtension(self, path: str, node: Any = None) -> str:
        return known_ending(path)

    def stripKnownExtension(self, path: str, node: Any = None) -> str:
        return path[: len(path) - len(known_ending(path))]

    def registeredFileReaderCount(self, kind: str) -> int:
        return int(kind in READERS)

    def addDefaultStorageNodes(self) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            node.AddDefaultStorageNode()


def _load_scene(path: str, is_clearing: bool) -> bool:
    scene = slicer.mrmlScene
    scene.SetURL(path)
    if path.endswith(".mrb"):
        return bool(scene.ReadFromMRB(path, is_clearing))
    return bool(scene.Connect() if is_clearing else scene.Import())


def _save_scene(path: str) -> bool:
    scene = slicer.mrmlScene
    scene.SetURL(path)
    scene.SetRootDirectory(str(Path(path).parent))
    return bool(scene.WriteToMRB(path) if path.endswith(".mrb") else scene.Commit())


def _export(node_id: str, path: str, properties: dict[str, Any], is_hardening: bool) -> bool:
    """Write a node through a storage node of its own, so that the scene does not change."""
    node = slicer.mrmlScene.GetNodeByID(node_id)
    if is_hardening and node.IsA("vtkMRMLTransformableNode") and node.GetParentTransformNode() is not None:
        raise NotImplementedError("slicer.util.exportNode(world=True) of a transformed node")
    storage = node.CreateDefaultStorageNode()
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(path))
    storage.SetUseCompression(int(properties.get("useCompression", 1)))
    is_written = bool(storage.WriteData(node))
    storage.UnRegister(None)
    return is_written
