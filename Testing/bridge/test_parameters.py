"""What the panel remembers survives saving the scene."""

import json
from dataclasses import replace

import numpy as np
import pytest

from SemiSegModule.parameters import CaseRow, StudyParameters
from Testing.bridge import scenes


def a_node(scene):
    return scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "SemiSeg")


def test_everything_comes_back_from_a_saved_scene(scene, tmp_path):
    generator = np.random.default_rng(0)
    one, two = scenes.a_volume(generator, name="one"), scenes.a_volume(generator, name="two")
    drawn = scenes.a_segmentation(one, scenes.blobs(generator))
    parameters = StudyParameters(a_node(scene))
    parameters.studyFolder, parameters.schemeSource = "/studies/José 中", "hippocampus"
    parameters.channels, parameters.editedScheme = ["T1", "FLAIR"], {"name": "mine", "structures": []}
    parameters.schemeSteps, parameters.schemeUndo = [{"kind": "remove", "before": ["a"]}], {"source": "scene"}
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    parameters.minutes, parameters.method, parameters.device = 7, "marginal", "cpu"
    parameters.runFolder, parameters.modelPath, parameters.applyFolder = "/r", "/m", "/a"
    parameters.applyVolumes = [two, one]
    parameters.setRows(
        [
            CaseRow(
                {"T1": one, "FLAIR": two},
                drawn,
                True,
                {"id head": "head"},
                ["head"],
                "validation",
                region={"kind": "box", "axis": 2, "ranges": [], "segment": ""},
                regionBox=box,
                overlapRules=[["head", "vessel", "head"]],
            ),
            CaseRow({"T1": two}, None, isChosen=False, isWithoutLabels=True),
        ]
    )
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(path))
    back = StudyParameters(scene.GetFirstNodeByName("SemiSeg"))
    assert (back.studyFolder, back.schemeSource) == ("/studies/José 中", "hippocampus")
    assert (back.channels, back.editedScheme) == (["T1", "FLAIR"], {"name": "mine", "structures": []})
    assert (back.schemeSteps, back.schemeUndo) == ([{"kind": "remove", "before": ["a"]}], {"source": "scene"})
    assert (back.minutes, back.method, back.device) == (7, "marginal", "cpu")
    assert (back.runFolder, back.modelPath, back.applyFolder) == ("/r", "/m", "/a")
    assert [node.GetName() for node in back.applyVolumes] == ["two", "one"]
    first, second = back.rows()
    assert {role: node.GetName() for role, node in first.volumes.items()} == {"T1": "one", "FLAIR": "two"}
    assert first.segmentation.GetName() == "labels"
    assert (first.meanings, first.lookedFor, first.side) == ({"id head": "head"}, ["head"], "validation")
    assert (first.region["kind"], first.regionBox.GetName()) == ("box", "box")
    assert first.overlapRules == [["head", "vessel", "head"]]
    assert (second.region, second.regionBox, second.overlapRules) == (None, None, [])
    assert (second.isChosen, second.isWithoutLabels, second.lookedFor) == (False, True, None)


def test_the_labels_before_those_of_a_result_come_back_from_a_saved_scene(scene, tmp_path):
    generator = np.random.default_rng(1)
    one = scenes.a_volume(generator, name="one")
    drawn, made = (scenes.a_segmentation(one, scenes.blobs(generator), name=name) for name in ("drawn", "made"))
    box = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    before = CaseRow(
        {},
        drawn,
        False,
        {"id head": "head"},
        ["head"],
        region={"kind": "box", "axis": 2, "ranges": [], "segment": ""},
        regionBox=box,
        overlapRules=[["head", "vessel", "head"]],
        state="partial",
    )
    parameters = StudyParameters(a_node(scene))
    row = CaseRow({"image": one}, made, side="train", before=before)
    parameters.setRows([row])
    assert parameters.rows() == [row]
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(path))
    (back,) = StudyParameters(scene.GetFirstNodeByName("SemiSeg")).rows()
    assert (back.segmentation.GetName(), back.regionBox, back.before.before) == ("made", None, None)
    assert (back.before.segmentation.GetName(), back.before.regionBox.GetName()) == ("drawn", "box")
    assert replace(back.before, segmentation=drawn, regionBox=box) == before
    # Without it nothing of it is left in the node.
    parameters = StudyParameters(scene.GetFirstNodeByName("SemiSeg"))
    parameters.setRows([replace(back, before=None)])
    assert parameters.node.GetNodeReference("SemiSeg.case0.segmentationBefore") is None
    assert parameters.rows()[0].before is None


@pytest.mark.parametrize(
    "names",
    [["T1, DWI & ADC", "T1 <post>"], ['the "new" one', "it's"], ["a: b; c", "]]>", "José 中"], ["a=b", "a\\b%20"]],
)
def test_a_scene_can_be_opened_again_whatever_its_channels_are_called(scene, tmp_path, names):
    generator = np.random.default_rng(3)
    parameters = StudyParameters(a_node(scene))
    parameters.channels = names
    volumes = {name: scenes.a_volume(generator, name=f"scan {place}") for place, name in enumerate(names)}
    parameters.setRows([CaseRow(dict(reversed(volumes.items())), state="done")])
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear(0)
    assert scene.ReadFromMRB(str(path))
    back = StudyParameters(scene.GetFirstNodeByName("SemiSeg"))
    assert back.channels == names
    (row,) = back.rows()
    assert row.state == "done"
    assert [(name, node.GetName()) for name, node in row.volumes.items()] == [
        (name, f"scan {place}") for place, name in enumerate(names)
    ]


def test_a_case_table_of_an_earlier_version_is_read_and_written_anew(scene):
    generator = np.random.default_rng(4)
    one, two = scenes.a_volume(generator, name="one"), scenes.a_volume(generator, name="two")
    parameters = StudyParameters(a_node(scene))
    parameters.channels = ["T1", "T2"]
    parameters.setRows([CaseRow({"T1": one, "T2": two})])
    node, stored = parameters.node, json.loads(parameters.node.GetParameter("SemiSeg.cases"))
    del stored[0]["channels"]
    node.SetParameter("SemiSeg.cases", json.dumps(stored))
    for place, name in enumerate(("T1", "T2")):
        node.RemoveNodeReferenceIDs(f"SemiSeg.case0.channel{place}")
        node.SetNodeReferenceID(f"SemiSeg.case0.{name}", (one, two)[place].GetID())
    assert parameters.isOfEarlierVersion
    rows = parameters.rows()
    assert rows[0].volumes == {"T1": one, "T2": two}
    parameters.setRows(rows)
    assert not parameters.isOfEarlierVersion
    assert parameters.rows() == rows
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    used = {role for role in roles if node.GetNodeReference(role) is not None}
    assert used == {"SemiSeg.case0.channel0", "SemiSeg.case0.channel1"}


def test_defaults_are_what_a_newcomer_needs(scene):
    parameters = StudyParameters(a_node(scene))
    assert (parameters.schemeSource, parameters.channels, parameters.minutes) == ("scene", ["image"], 30)
    assert (parameters.method, parameters.device, parameters.rows()) == ("", "auto", [])


def test_the_row_of_a_removed_volume_goes_and_a_removed_segmentation_leaves_its_row(scene):
    generator = np.random.default_rng(1)
    one, two = scenes.a_volume(generator, name="one"), scenes.a_volume(generator, name="two")
    drawn = scenes.a_segmentation(two, scenes.blobs(generator))
    parameters = StudyParameters(a_node(scene))
    parameters.setRows([CaseRow({"image": one}), CaseRow({"image": two}, drawn)])
    scene.RemoveNode(one)
    scene.RemoveNode(drawn)
    (row,) = parameters.rows()
    assert row.volumes["image"] is two
    assert row.segmentation is None


def test_a_table_of_many_rows_is_one_change(scene):
    generator = np.random.default_rng(2)
    node = a_node(scene)
    changes = []
    node.AddObserver("ModifiedEvent", lambda *_: changes.append(1))
    volumes = [scenes.a_volume(generator, name=str(i)) for i in range(5)]
    StudyParameters(node).setRows([CaseRow({"image": volume}) for volume in volumes])
    assert len(changes) == 1
