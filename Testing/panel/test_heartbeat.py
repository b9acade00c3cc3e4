"""Slicer's event loop goes on while large scans are written, a training is followed and results are loaded.

A timer of 20 ms beats. What counts is the processor time of Slicer's thread between two beats: another program cannot
lengthen it. A usual run takes a case of 10 million voxels, `make test-slow` one of 512 x 512 x 300, where the pauses
themselves count too if the machine has two processors to spare, for Slicer's thread and the one that writes and reads.
"""

import gc
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk

from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Previewed, event_to_line
from SemiSegModule import jobs
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from Testing.bridge import scenes
from Testing.bridge.results import write_results
from Testing.host.heartbeat import Heartbeat
from Testing.host.interaction import click, click_cell, process_events, tick_cell, type_text, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import alive
from Testing.panel.test_training_views import stepped, validated, write_preview

BEAT_MILLISECONDS = 20
# What a person notices.
LONGEST_SECONDS = 0.2
# Columns, rows, slices.
WHOLE = (512, 512, 300)
# An eighth of it, for the usual run.
PART = (256, 256, 150)
# A panel that looks so often sees so many steps each time: an hour of training at two steps a second.
LOOKS, STEPS_A_LOOK = 12, 600
# So many fill the scan without touching, each of 20,000 triangles: together they take several times LONGEST_SECONDS.
SPHERES, RESOLUTION = (3, 3, 2), 100
# A sphere of this resolution has 180,000 triangles.
LARGE_RESOLUTION = 302


@pytest.fixture(autouse=True)
def nothing_of_other_tests():
    """Python looks for garbage among all there is, now and then; what tests before have left is no part of Slicer."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def started(monkeypatch):
    """Runs and jobs whose worker was asked for; nothing runs."""
    asked = []

    def start(job):
        asked.append(job)
        job.write_status(alive(RunStatus(state="preparing")))

    monkeypatch.setattr(jobs, "startWorker", start)
    return asked


def a_large_study(shape):
    """One scan with two structures, made of a gradient and its halves."""
    columns, rows, slices = shape
    voxels = np.zeros((slices, rows, columns), np.int16)
    voxels += np.arange(columns, dtype=np.int16)
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([0.7, 0.7, 1.0, 1.0]), name="Ann")
    masks = {name: np.zeros(voxels.shape, bool) for name in ("head", "tail")}
    masks["head"][slices // 4 : slices // 2, rows // 4 : rows // 2, columns // 8 : -columns // 8] = True
    masks["tail"][slices // 2 : -slices // 4, rows // 4 : -rows // 4, columns // 8 : -columns // 8] = True
    scenes.a_segmentation(volume, masks, name="Ann drawn")
    process_events()


def a_sphere(center, radius, resolution):
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*center)
    sphere.SetRadius(radius)
    sphere.SetThetaResolution(resolution)
    sphere.SetPhiResolution(resolution)
    sphere.Update()
    return sphere.GetOutput()


def a_study_of_surfaces(panel, shape):
    """A case of two channels with spheres as a modelling tool leaves them: closed surfaces, no voxels."""
    columns, rows, slices = shape
    spacing = np.array([0.7, 0.7, 1.0])
    voxels = np.zeros((slices, rows, columns), np.int16)
    nodes = [
        slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([*spacing, 1.0]), name=name)
        for name in ("Ann", "Ann FLAIR")
    ]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Ann drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(nodes[0])
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    room = np.array(shape) * spacing / SPHERES
    for place in np.ndindex(SPHERES):
        sphere = a_sphere((np.array(place) + 0.5) * room, room.min() * 0.48, RESOLUTION)
        name = "node {}{}{}".format(*place)
        node.AddSegmentFromClosedSurfaceRepresentation(sphere, name, [1, 0, 0], name)
    panel.ui.structuresSection.collapsed = False
    process_events()
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    click_cell(panel.ui.casesTable, 0, 2)
    click(panel.ui.fixCaseButton)
    assert panel.panel.view.cases[0].volumes == dict(zip(("T1", "FLAIR"), nodes, strict=True))


def export(panel, folder, started):
    type_text(panel.ui.studyFolderEdit, str(folder / "study"))
    with Heartbeat(BEAT_MILLISECONDS) as heart:
        click(panel.ui.trainButton)
        process_events()
    assert [run.request.title for run in started]
    return heart


def follow(panel, started, shape):
    """Look on while a training tells of steps and validations, and shows what it predicts for the whole case."""
    run, volume = started[0], slicer.util.getNode("Ann")
    labels = np.zeros(shape[::-1], np.uint8)
    labels[shape[2] // 4 : shape[2] // 2, shape[1] // 4 : shape[1] // 2] = 1
    preview = Previewed(step=1, case="Ann", file=write_preview(run, volume, labels))
    told, shown = [], []
    for turn in range(LOOKS):
        steps = range(turn * STEPS_A_LOOK, (turn + 1) * STEPS_A_LOOK)
        events = [*(stepped(step, 1 / (step + 1)) for step in steps), validated(steps[-1], 0.5)]
        if turn % (LOOKS // 2) == 0:
            shown.append(steps[-1])
            events.append(replace(preview, step=steps[-1]))
        told.append("".join(f"{event_to_line(event, time=0.0)}\n" for event in events))
    click(panel.ui.previewCheckBox)
    watcher = panel.panel.training.watcher

    def is_seen():
        watcher.look()
        return panel.ui.previewLabel.text == f"Ann at step {shown[-1]}"

    with Heartbeat(BEAT_MILLISECONDS) as heart:
        for turn, lines in enumerate(told):
            with open(run.events_path, "a", encoding="utf-8") as file:
                file.write(lines)
            step = (turn + 1) * STEPS_A_LOOK
            run.write_status(alive(RunStatus(state="training", step=step, fraction=turn / LOOKS)))
            watcher.look()
            process_events()
        wait_until(is_seen, seconds=100, what="the last preview")
    assert panel.ui.scoresTable.rowCount > 0
    return heart


def load(panel, folder, started):
    type_text(panel.ui.modelEdit, str(a_model_file(folder / "organ.safetensors")))
    tick_cell(panel.ui.applyVolumesList, 0)
    with Heartbeat(BEAT_MILLISECONDS) as copying:
        click(panel.ui.applyButton)
    job = started[-1]
    write_results(job)
    job.write_status(RunStatus(state="finished", fraction=1.0))
    with Heartbeat(BEAT_MILLISECONDS) as heart:
        panel.panel.apply.watcher.look()
        process_events()
        process_events()
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]
    return copying, heart


def measure(panel, folder, started, shape):
    """Export, copy and load a case; returns the hearts that beat meanwhile by what was done."""
    a_large_study(shape)
    hearts = {"export": export(panel, folder, started), "training": follow(panel, started, shape)}
    hearts["copying"], hearts["loading"] = load(panel, folder, started)
    for what, heart in hearts.items():
        logging.getLogger("heartbeat").info("%s: %s", what, heart)
    return hearts


def test_writing_and_loading_of_a_part_do_not_keep_slicer_busy(panel, started, tmp_path):
    hearts = measure(panel, tmp_path, started, PART)
    assert {what: heart.longest_work for what, heart in hearts.items() if heart.longest_work > LONGEST_SECONDS} == {}


@pytest.mark.parametrize("shape", [PART, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["part", "whole"])
def test_writing_of_surfaces_and_channels_does_not_keep_slicer_busy(panel, started, tmp_path, shape):
    a_study_of_surfaces(panel, shape)
    heart = export(panel, tmp_path, started)
    logging.getLogger("heartbeat").info("surfaces: %s", heart)
    assert heart.longest_work < LONGEST_SECONDS


@pytest.mark.parametrize("shape", [PART, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["part", "whole"])
def test_one_surface_of_many_triangles_keeps_slicer_busy_neither_in_its_check_nor_in_its_writing(
    panel, started, tmp_path, shape
):
    columns, rows, slices = shape
    spacing = np.array([0.7, 0.7, 1.0])
    voxels = np.zeros((slices, rows, columns), np.int16)
    volume = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.diag([*spacing, 1.0]), name="Ann")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Ann drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    room = np.array(shape) * spacing
    surface = a_sphere(room / 2, room.min() * 0.48, LARGE_RESOLUTION)
    assert 180_000 < surface.GetNumberOfCells() < 190_000
    node.AddSegmentFromClosedSurfaceRepresentation(surface, "liver", [1, 0, 0], "liver")
    checks = panel.panel.cases.checks
    with Heartbeat(BEAT_MILLISECONDS) as checking:
        process_events()
        wait_until(lambda: not checks.isBusy, seconds=100, what="the case is checked")
    assert checks.surfaces.missing(node, ["liver"], worldGrid(volume)) == ()
    checks.surfaces.clear()
    writing = export(panel, tmp_path, started)
    assert checks.surfaces.missing(node, ["liver"], worldGrid(volume)) == ()
    logging.getLogger("heartbeat").info("checking: %s, writing: %s", checking, writing)
    assert checking.longest_work < LONGEST_SECONDS
    assert writing.longest_work < LONGEST_SECONDS


@pytest.mark.slow
def test_writing_and_loading_of_a_whole_case_never_pause_for_a_fifth_of_a_second(panel, started, tmp_path):
    has_processors_to_spare = hasattr(os, "getloadavg") and (os.cpu_count() or 1) - os.getloadavg()[0] > 2
    hearts = measure(panel, tmp_path, started, WHOLE)
    assert {what: heart.longest_work for what, heart in hearts.items() if heart.longest_work > LONGEST_SECONDS} == {}
    if has_processors_to_spare:
        assert max(heart.longest_pause for heart in hearts.values()) < LONGEST_SECONDS
