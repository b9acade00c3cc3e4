"""Scenes that are read while the panel is there: into an empty scene, or added to one that has a study."""

import numpy as np
import slicer

from SemiSegModule.parameters import SCHEME_EDITED, CaseRow
from Testing.bridge import scenes
from Testing.host.interaction import click, click_cell, process_events
from Testing.panel.studies import a_drawn_scan, a_small_study, column

ALL = ["Ann", "Bob", "Cid", "Dan"]


def said(parameters):
    """What was said of each case, by the name of its first volume."""
    return {
        next(iter(row.volumes.values())).GetName(): (row.isChosen, row.meanings, row.lookedFor, row.side, row.patient)
        for row in parameters.rows()
    }


def say(parameters, **values):
    rows = parameters.rows()
    for row in rows:
        for name, value in values.items():
            setattr(row, name, value)
    parameters.setRows(rows)
    process_events()


def save_and_close(path):
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear(0)
    process_events()


def a_saved_study(panel, path, channels=("image",)):
    """A scene of one case Eve with everything said of it, saved and closed."""
    generator = np.random.default_rng(5)
    eve, drawn = a_drawn_scan(generator, "Eve", ("head", "vessel"))
    parameters = panel.panel.parameters
    parameters.studyFolder, parameters.schemeSource = str(path.parent / "theirs"), "hippocampus"
    parameters.channels = list(channels)
    volumes = {channels[0]: eve}
    for channel in channels[1:]:
        volumes[channel] = scenes.a_volume(generator, name=f"Eve {channel}")
    meanings = {"id head": "vessel", "id vessel": "left out"}
    parameters.setRows([CaseRow(volumes, drawn, meanings=meanings, lookedFor=["vessel"], side="validation")])
    process_events()
    save_and_close(path)


def an_own_study(panel, folder):
    a_small_study()
    parameters = panel.panel.parameters
    parameters.studyFolder, parameters.schemeSource = str(folder / "ours"), SCHEME_EDITED
    parameters.editedScheme = {"name": "mine", "structures": [{"name": "head"}, {"name": "tail"}, {"name": "vessel"}]}
    parameters.minutes = 7
    say(parameters, lookedFor=["head"], patient="P1")
    return parameters


def test_the_panel_stores_nothing_while_a_scene_is_read(panel, tmp_path):
    a_small_study()
    say(panel.panel.parameters, lookedFor=["head"], side="train")
    before = said(panel.panel.parameters)
    assert list(before) == ALL
    save_and_close(tmp_path / "scene.mrb")
    # Slicer's window of progress does so while it reads.
    answered = []
    scene = slicer.mrmlScene
    tag = scene.AddObserver(scene.NodeAddedEvent, lambda *_: answered.append(panel.panel.refresh()) or process_events())
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    scene.RemoveObserver(tag)
    process_events()
    assert len(answered) > len(ALL)
    assert said(panel.panel.parameters) == before
    assert column(panel.ui.casesTable, 0) == ALL


def test_a_scene_that_is_loaded_in_place_of_another_is_shown(panel, tmp_path):
    a_saved_study(panel, tmp_path / "theirs.mrb")
    a_small_study()
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"), True)
    process_events()
    assert column(panel.ui.casesTable, 0) == ["Eve"]
    assert panel.panel.parameters.studyFolder == str(tmp_path / "theirs")


def test_a_scene_that_is_added_to_a_study_brings_its_cases_and_changes_nothing_that_was_said(host, panel, tmp_path):
    a_saved_study(panel, tmp_path / "theirs.mrb")
    parameters = an_own_study(panel, tmp_path)
    before = said(parameters)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"))
    process_events()
    parameters = panel.panel.parameters
    assert list(said(parameters)) == [*ALL, "Eve"]
    assert said(parameters) == {
        **before,
        "Eve": (True, {"id head": "vessel", "id vessel": "left out"}, ["vessel"], "validation", ""),
    }
    assert (parameters.studyFolder, parameters.schemeSource) == (str(tmp_path / "ours"), SCHEME_EDITED)
    assert (parameters.editedScheme["name"], parameters.minutes) == ("mine", 7)
    assert [row.segmentation.GetName() for row in parameters.rows() if row.segmentation] == [
        f"{name} drawn" for name in ("Ann", "Bob", "Cid", "Eve")
    ]
    assert column(panel.ui.casesTable, 0) == [*ALL, "Eve"]
    (text,) = host.dialogs.shown("info")
    assert "behind those of your study: 1." in text


def test_the_same_scene_added_once_more_brings_copies(host, panel, tmp_path):
    a_small_study()
    say(panel.panel.parameters, patient="P1")
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "ours.mrb"))
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "ours.mrb"))
    process_events()
    assert [row.patient for row in panel.panel.parameters.rows()] == ["P1"] * 8
    assert len(host.dialogs.shown("info")) == 1


def test_an_added_scene_without_a_study_is_no_news(host, panel, tmp_path):
    scenes.a_volume(np.random.default_rng(6), name="Eve")
    parameters = slicer.mrmlScene.GetSingletonNode("SemiSeg", "vtkMRMLScriptedModuleNode")
    parameters.SetSaveWithScene(False)
    save_and_close(tmp_path / "plain.mrb")
    before = said(an_own_study(panel, tmp_path))
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "plain.mrb"))
    process_events()
    now = said(panel.panel.parameters)
    assert now.pop("Eve") == (True, {}, None, None, "")
    assert now == before
    assert host.dialogs.messages == []


def test_a_study_is_kept_too_while_another_module_is_shown_and_that_is_told_later(host, module, panel, tmp_path):
    a_saved_study(panel, tmp_path / "theirs.mrb")
    before = said(an_own_study(panel, tmp_path))
    representation = module.widgetRepresentation()
    representation.exit()
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"))
    process_events()
    assert host.dialogs.messages == []
    representation.enter()
    process_events()
    assert said(panel.panel.parameters).items() >= before.items()
    assert len(host.dialogs.shown("info")) == 1


def test_channels_of_an_added_study_are_taken_by_name_and_a_case_without_the_first_one_is_left_out(
    host, panel, tmp_path
):
    a_saved_study(panel, tmp_path / "theirs.mrb", channels=("T2", "T1"))
    parameters = an_own_study(panel, tmp_path)
    rows = parameters.rows()
    parameters.channels = ["T1"]
    for row in rows:
        row.volumes = {"T1": row.volumes["image"]}
    parameters.setRows(rows)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"))
    process_events()
    assert list(said(panel.panel.parameters)) == [*ALL, "Eve T1"]
    assert [node.GetName() for node in panel.panel.parameters.removedVolumes] == ["Eve"]

    panel.panel.parameters.channels = ["T1", "T2"]
    slicer.mrmlScene.Clear(0)
    process_events()
    a_saved_study(panel, tmp_path / "theirs.mrb", channels=("T2",))
    parameters = an_own_study(panel, tmp_path)
    rows = parameters.rows()
    parameters.channels = ["T1", "T2"]
    for row in rows:
        row.volumes = {"T1": row.volumes["image"]}
    parameters.setRows(rows)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"))
    process_events()
    assert list(said(panel.panel.parameters)) == ALL
    assert "no image of channel T1: 1" in host.dialogs.shown("info")[-1]


def test_what_was_said_of_a_removed_case_comes_with_its_scene(panel, tmp_path):
    a_drawn_scan(np.random.default_rng(5), "Eve", ("head", "vessel"))
    process_events()
    say(panel.panel.parameters, side="validation", patient="P 5")
    click_cell(panel.ui.casesTable, 0, 0)
    click(panel.ui.removeCasesButton)
    save_and_close(tmp_path / "theirs.mrb")
    an_own_study(panel, tmp_path)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "theirs.mrb"))
    process_events()
    parameters = panel.panel.parameters
    assert list(said(parameters)) == ALL
    (removed,) = parameters.removedRows()
    assert (removed.volumes["image"].GetName(), removed.side, removed.patient) == ("Eve", "validation", "P 5")
    click(panel.ui.addVolumesButton)
    assert [row.patient for row in parameters.rows()] == ["P1"] * len(ALL) + ["P 5"]
