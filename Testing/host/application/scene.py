"""The scene and the logics around it, as qSlicerCoreApplication and the loadable modules set them up in C++."""

from pathlib import Path
from typing import Any

import slicer
import vtk

# Module name -> its logic in slicer-core; the order matters where one logic asks for another.
LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Data": "vtkSlicerDataModuleLogic",
}
# Nodes that Slicer's subject hierarchy plugins give an item of their own.
_WITH_ITEM = (
    "vtkMRMLDisplayableNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLPlotSeriesNode",
    "vtkMRMLColorTableNode",
)
SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class SceneSetup:
    """The scene, its application logic and everything that must live as long as they do.

    Args:
        temporary_folder: where the scene may write temporary files.
        share_folder: folder with `terminologies/*.json`.
    """

    def __init__(self, temporary_folder: Path, share_folder: Path) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.logics: dict[str, Any] = {}
        slicer.mrmlScene = self.scene
        self._start_application_logic(temporary_folder)
        self._start_module_logics(share_folder)
        self._start_io(temporary_folder)
        self._start_views()
        self._observe()
        self._own_ids = set(self._ids())

    def clear(self) -> None:
        """Close the scene and remove what closing leaves: the parameter nodes of modules, which are singletons."""
        self.scene.Clear(0)
        for node_id in self._ids():
            node = self.scene.GetNodeByID(node_id)
            if node_id not in self._own_ids and node is not None and not node.IsA("vtkMRMLSubjectHierarchyNode"):
                self.scene.RemoveNode(node)
        # Slice nodes outlive the scene with the plane that they were turned to.
        for name, logic in self.slice_logics.items():
            logic.GetSliceNode().SetOrientation(SLICE_VIEWS[name])

    def _ids(self) -> list[str]:
        return [self.scene.GetNthNode(number).GetID() for number in range(self.scene.GetNumberOfNodes())]

    def _start_application_logic(self, temporary_folder: Path) -> None:
        logic = self.application_logic
        # The scene must come first: it creates the selection node that the markups logic asks for.
        logic.SetMRMLScene(self.scene)
        logic.SetTemporaryPath(str(temporary_folder))
        logic.GetColorLogic().SetMRMLScene(self.scene)
        logic.GetColorLogic().AddDefaultColorNodes()
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _start_module_logics(self, share_folder: Path) -> None:
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            if name == "Terminologies":
                # Before the scene is set, or six lines on the error output say that no file was found.
                logic.SetModuleShareDirectory(str(share_folder))
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.scene)
            self.application_logic.SetModuleLogic(name, logic)
            self.logics[name] = logic

    def _start_io(self, temporary_folder: Path) -> None:
        """Without these two `scene.ReadFromMRB` and the list of writable file types of a volume fail."""
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._data_io = slicer.vtkDataIOManagerLogic()
        for logic in (self._remote_io, self._data_io):
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.application_logic)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(str(temporary_folder))
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()

    def _start_views(self) -> None:
        """Give the scene the nodes of three slice views, a 3-D view and the layout, which Slicer makes in C++."""
        self.slice_logics: dict[str, Any] = {}
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.application_logic)
            self.application_logic.GetSliceLogics().AddItem(logic)
            logic.SetMRMLScene(self.scene)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            node.SetMappedInLayout(1)
            self.slice_logics[name] = logic
        # Before the layout: it would make a view node of its own.
        self.view_logic = slicer.vtkMRMLViewLogic()
        self.view_logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.GetViewLogics().AddItem(self.view_logic)
        self.view_logic.SetMRMLScene(self.scene)
        self.view_logic.AddViewNode("1").SetMappedInLayout(1)
        self.layout_logic = slicer.vtkMRMLLayoutLogic()
        self.layout_logic.SetMRMLApplicationLogic(self.application_logic)
        self.layout_logic.SetMRMLScene(self.scene)

    def _observe(self) -> None:
        """Make subject hierarchy items, which Qt code does in Slicer (qSlicerSubjectHierarchyPluginLogic)."""
        kinds = slicer.vtkMRMLScene
        for event, function in (
            (kinds.NodeAddedEvent, self._on_node_added),
            (kinds.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed),
        ):
            self.scene.AddObserver(event, _with_call_data(function))
        self.scene.AddObserver(kinds.EndImportEvent, lambda caller, event: self._on_import())
        self.scene.AddObserver(kinds.EndCloseEvent, lambda caller, event: self._resolve_hierarchy())

    def _on_node_added(self, node: Any) -> None:
        if not self.scene.IsImporting():
            self._give_item(node)

    def _resolve_hierarchy(self) -> None:
        """Make a new hierarchy node after a close, or merge an imported one; the scene would keep a dead one."""
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)

    def _on_import(self) -> None:
        self._resolve_hierarchy()
        for number in range(self.scene.GetNumberOfNodes()):
            self._give_item(self.scene.GetNthNode(number))

    def _give_item(self, node: Any) -> None:
        if node is None or node.GetHideFromEditors() or not any(node.IsA(kind) for kind in _WITH_ITEM):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _on_node_about_to_be_removed(self, node: Any) -> None:
        hierarchy = None if node is None or self.scene.IsClosing() else self.scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None and hierarchy is not node else 0
        if item:
            # Without this VTK reports "DataNodeCache inconsistency" at the next look-up.
            hierarchy.RemoveItem(item, False, False)


def _with_call_data(function: Any) -> Any:
    def call(caller: Any, event: str, node: Any) -> None:
        function(node)

    call.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    return call
