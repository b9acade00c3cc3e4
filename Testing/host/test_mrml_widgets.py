"""Stand-ins of Slicer's widgets follow the scene and change it."""

import numpy as np
import pytest
import qt
import slicer
import vtk

from Testing.host.interaction import choose, click_cell, process_events, tick_cell


@pytest.fixture
def window():
    top = slicer.qMRMLWidget()
    qt.QVBoxLayout(top)
    top.resize(400, 400)
    top.show()
    process_events()
    yield top
    top.hide()


def put(window, widget):
    window.layout().addWidget(widget)
    process_events()
    return widget


def add(class_name, name):
    return slicer.mrmlScene.AddNewNodeByClass(class_name, name)


def a_segmentation(*names):
    volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="scan")
    node = add("vtkMRMLSegmentationNode", "labels")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in names:
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


def selector(window, *kinds, **properties):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = kinds
    for name, value in properties.items():
        setattr(combo, name, value)
    combo.setMRMLScene(slicer.mrmlScene)
    return put(window, combo)


def test_a_selector_lists_nodes_of_its_types_and_follows_the_scene(window):
    scan = add("vtkMRMLScalarVolumeNode", "scan")
    add("vtkMRMLSegmentationNode", "labels")
    add("vtkMRMLLabelMapVolumeNode", "map")
    combo = selector(window, "vtkMRMLScalarVolumeNode", noneEnabled=True)
    assert combo.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert combo.nodeCount() == 2
    assert combo.currentNode() is None
    combo.showChildNodeTypes = False
    assert combo.nodeCount() == 1
    other = add("vtkMRMLScalarVolumeNode", "other")
    assert combo.nodeCount() == 2
    choose(combo, "other")
    assert combo.currentNode() is other
    scan.SetName("renamed")
    choose(combo, "renamed")
    assert combo.currentNodeID == scan.GetID()
    slicer.mrmlScene.RemoveNode(scan)
    assert combo.currentNode() is None


def test_a_selector_tells_each_change_once_in_all_its_signals(window):
    combo = selector(window, "vtkMRMLScalarVolumeNode", noneEnabled=True)
    nodes, flags, ids = [], [], []
    combo.connect("currentNodeChanged(vtkMRMLNode*)", nodes.append)
    combo.connect("currentNodeChanged(bool)", flags.append)
    combo.connect("currentNodeIDChanged(QString)", ids.append)
    scan = add("vtkMRMLScalarVolumeNode", "scan")
    combo.setCurrentNode(scan)
    combo.setCurrentNode(scan)
    combo.setCurrentNode(None)
    assert nodes == [scan, None]
    assert flags == [True, False]
    assert ids == [scan.GetID(), ""]


def test_a_selector_makes_renames_and_removes_nodes(window, host):
    combo = selector(window, "vtkMRMLSegmentationNode", renameEnabled=True, baseName="Result")
    choose(combo, "Create new...")
    assert combo.currentNode().GetName() == "Result"
    host.dialogs.enter_text("Better")
    choose(combo, "Rename current...")
    assert combo.currentNode().GetName() == "Better"
    choose(combo, "Delete current...")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_selector_shows_only_nodes_with_an_attribute(window):
    combo = selector(window, "vtkMRMLTableNode", noneEnabled=True)
    add("vtkMRMLTableNode", "plain")
    add("vtkMRMLTableNode", "marked").SetAttribute("SemiSeg", "1")
    combo.addAttribute("vtkMRMLTableNode", "SemiSeg", "1")
    assert [combo.nodeFromIndex(number).GetName() for number in range(combo.nodeCount())] == ["marked"]


def test_closing_the_scene_empties_a_selector(window):
    combo = selector(window, "vtkMRMLScalarVolumeNode")
    combo.setCurrentNode(add("vtkMRMLScalarVolumeNode", "scan"))
    slicer.mrmlScene.Clear(0)
    assert combo.currentNode() is None
    assert combo.nodeCount() == 0


def test_a_checkable_selector_knows_what_is_ticked(window):
    combo = slicer.qMRMLCheckableNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(slicer.mrmlScene)
    put(window, combo)
    first, second = add("vtkMRMLScalarVolumeNode", "1"), add("vtkMRMLScalarVolumeNode", "2")
    changes = []
    combo.checkedNodesChanged.connect(lambda: changes.append(len(combo.checkedNodes())))
    combo.check(second)
    assert combo.checkedNodes() == (second,)
    assert combo.uncheckedNodes() == (first,)
    combo.setCheckState(first, qt.Qt.Checked)
    assert combo.allChecked()
    slicer.mrmlScene.RemoveNode(second)
    assert combo.checkedNodes() == (first,)
    assert changes == [1, 2, 1]


def test_the_segments_table_shows_and_changes_segments(window, screenshot):
    node = a_segmentation("head", "tail")
    table = put(window, slicer.qMRMLSegmentsTableView())
    table.setSegmentationNode(node)
    assert table.segmentCount == 2
    assert table.displayedSegmentIDs() == ("head", "tail")
    node.GetSegmentation().AddEmptySegment("vessel", "vessel")
    assert table.rowForSegmentID("vessel") == 2
    tick_cell(table.tableWidget(), 1, 0)
    assert not node.GetDisplayNode().GetSegmentVisibility("tail")
    click_cell(table.tableWidget(), 2, 3)
    assert table.selectedSegmentIDs() == ("vessel",)
    table.tableWidget().item(0, 3).setText("caput")
    assert node.GetSegmentation().GetSegment("head").GetName() == "caput"
    screenshot("segments_table", window)
    table.textFilter = "capu"
    assert table.displayedSegmentIDs() == ("head",)


def test_the_segments_table_shows_and_sets_the_review_status(window):
    node = a_segmentation("head", "tail")
    table = put(window, slicer.qMRMLSegmentsTableView())
    table.setSegmentationNode(node)
    table.statusColumnVisible = True
    table.setSelectedSegmentIDs(["tail"])
    table.setSelectedSegmentsStatus(slicer.vtkSlicerSegmentationsModuleLogic.Completed)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentStatus(node.GetSegmentation().GetSegment("tail")) == logic.Completed
    assert table.tableWidget().item(1, 4).text() == "Completed"
    table.setStatusShown(logic.Completed, False)
    assert table.displayedSegmentIDs() == ("head",)


def test_the_tree_shows_items_by_type_and_name_and_follows_the_scene(window, screenshot):
    tree = put(window, slicer.qMRMLSubjectHierarchyTreeView())
    tree.setMRMLScene(slicer.mrmlScene)
    tree.multiSelection = True
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Study")
    scan, labels = add("vtkMRMLScalarVolumeNode", "scan"), add("vtkMRMLSegmentationNode", "labels")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(scan), folder)
    assert tree.displayedItemCount() == 3
    nodes = []
    tree.connect("currentNodeChanged(vtkMRMLNode*)", nodes.append)
    tree.setCurrentNode(scan)
    tree.setCurrentNode(labels)
    assert nodes == [scan, labels]
    ids = vtk.vtkIdList()
    ids.InsertNextId(hierarchy.GetItemByDataNode(scan))
    ids.InsertNextId(hierarchy.GetItemByDataNode(labels))
    tree.setCurrentItems(ids)
    found = vtk.vtkIdList()
    tree.currentItems(found)
    assert found.GetNumberOfIds() == 2
    screenshot("subject_hierarchy", window)
    tree.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert tree.displayedItemCount() == 2
    tree.nodeTypes = []
    tree.nameFilter = "lab"
    assert tree.displayedItemCount() == 1
    tree.nameFilter = ""
    slicer.mrmlScene.RemoveNode(scan)
    assert tree.displayedItemCount() == 2


def test_the_tree_lives_through_the_closing_of_the_scene(window):
    tree = put(window, slicer.qMRMLSubjectHierarchyTreeView())
    tree.setMRMLScene(slicer.mrmlScene)
    add("vtkMRMLScalarVolumeNode", "before")
    slicer.mrmlScene.Clear(0)
    assert tree.displayedItemCount() == 0
    tree.setCurrentNode(add("vtkMRMLScalarVolumeNode", "after"))
    assert tree.currentNode().GetName() == "after"


@pytest.mark.parametrize(
    ("class_name", "count"),
    [("qMRMLNodeComboBox", "nodeCount"), ("qMRMLSubjectHierarchyTreeView", "displayedItemCount")],
)
def test_a_widget_follows_the_scene_it_was_given_last_and_no_other(window, class_name, count):
    widget = put(window, getattr(slicer, class_name)())
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(slicer.mrmlScene)
    assert widget.mrmlScene() is slicer.mrmlScene
    add("vtkMRMLScalarVolumeNode", "one")
    assert getattr(widget, count)() == 1
    slicer.mrmlScene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    add("vtkMRMLScalarVolumeNode", "two")
    assert getattr(widget, count)() == 1
    slicer.mrmlScene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    assert getattr(widget, count)() == 2
    widget.setMRMLScene(None)
    add("vtkMRMLScalarVolumeNode", "three")
    assert widget.mrmlScene() is None
    widget.setMRMLScene(slicer.mrmlScene)
    assert getattr(widget, count)() == 3


def test_a_segments_table_lets_go_of_a_node_of_another_scene(window):
    node = a_segmentation("head")
    table = put(window, slicer.qMRMLSegmentsTableView())
    table.setMRMLScene(slicer.mrmlScene)
    table.setSegmentationNode(node)
    table.setMRMLScene(None)
    assert table.segmentationNode() is None
