"""Scenes for panel tests: a few tiny scans, drawn finely, coarsely or not at all."""

import os
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import qt
import slicer
from PySide6 import QtCore, QtWidgets

from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import Gain, GainRow
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.request import RunRequest, TrainingSettings
from SemiSegModule.bridge import images
from SemiSegModule.jobs import runsFolder
from Testing.bridge import scenes
from Testing.host.interaction import click, click_cell, process_events


def a_drawn_scan(generator, name, kinds):
    """A volume with a segmentation of the named structures; "organ" is head and tail together."""
    volume = scenes.a_volume(generator, scenes.matrix(generator), name=name)
    masks = scenes.blobs(generator)
    masks["organ"] = masks["head"] | masks["tail"]
    segmentation = scenes.a_segmentation(volume, {kind: masks[kind] for kind in kinds}, name=f"{name} drawn")
    for segment_name in kinds:
        whole = "vessel" if segment_name == "vessel" else "organ"
        segment = segmentation.GetSegmentation().GetSegment(f"id {segment_name}")
        segment.SetTag("SemiSeg.Superclass", whole)
    return volume, segmentation


def a_small_study():
    """Two fine scans, one coarse, one without labels; returns the volumes by name."""
    generator = np.random.default_rng(0)
    volumes = {}
    for name, kinds in (
        ("Ann", ("head", "tail", "vessel")),
        ("Bob", ("head", "tail", "vessel")),
        ("Cid", ("organ", "vessel")),
    ):
        volumes[name], _ = a_drawn_scan(generator, name, kinds)
    volumes["Dan"] = scenes.a_volume(generator, scenes.matrix(generator), name="Dan")
    process_events()
    return volumes


def reopen_scene(path):
    """Save the scene, close it and open it again."""
    assert slicer.mrmlScene.WriteToMRB(str(path))
    slicer.mrmlScene.Clear()
    process_events()
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    process_events()


def watch_writing(monkeypatch, look):
    """What ``look`` returns from within the event loop while the first image of an export is being written.

    The writing waits for that look, so an export that does not let Slicer answer never ends (and the test fails by
    its time limit), whatever the speed of the machine.
    """
    seen, began, looked, original = [], threading.Event(), threading.Event(), images.write_volume

    def write(volume, path):
        began.set()
        assert threading.current_thread() is not threading.main_thread()
        assert looked.wait(100), "nobody was answered while the image was written"
        original(volume, path)

    def turn():
        if began.is_set():
            timer.stop()
            seen.append(look())
            looked.set()

    monkeypatch.setattr(images, "write_volume", write)
    timer = qt.QTimer()
    timer.connect("timeout()", turn)
    timer.start(5)
    return seen


def cancel_writing():
    """Click Cancel in the window that says how far a writing is, which comes up after a second."""
    (window,) = (widget for widget in QtWidgets.QApplication.topLevelWidgets() if is_writing_window(widget))
    window.show()
    process_events()
    click(window.findChild(QtWidgets.QPushButton))


def is_writing_window(widget):
    """Whether a widget is the window that says how far a writing is."""
    return isinstance(widget, QtWidgets.QProgressDialog)


def column(table, number):
    """Texts of a column of a table: of its cells, or of the combo boxes in them."""
    texts = []
    for row in range(table.rowCount):
        combo = table.cellWidget(row, number)
        texts.append(combo.currentText if combo is not None else table.item(row, number).text())
    return texts


def open_box(box):
    """Unfold a group box by a click on its mark, unless it is open."""
    if box.collapsed:
        click(box, QtCore.QPoint(12, 8))


def show_whole(panel):
    """Make the window as high as its content, as Slicer's scroll area does, for a picture."""
    window = panel.form.window()
    window.resize(520, window.heightForWidth(520))
    process_events()
    window.resize(520, window.heightForWidth(520))
    process_events()


def choose_run(panel, title):
    """Click a run in the list of runs."""
    open_box(panel.ui.runsBox)
    click_cell(panel.ui.runsTable, column(panel.ui.runsTable, 0).index(title))


def shown_run(panel):
    """Title of the run that is marked in the list; "" if none is."""
    chosen = panel.ui.runsTable.selectedItems()
    return chosen[0].text() if chosen else ""


def a_run(study_folder, name="run", *, method="supervised"):
    """A run folder as a training leaves it before its worker starts."""
    training = TrainingSettings(steps=10)
    return RunFolder.create(
        runsFolder(study_folder), RunRequest(dataset=str(study_folder), method=method, training=training), name=name
    )


def alive(status):
    """A status as a worker writes it that is still at work: this process stands for it."""
    return replace(
        status, pid=os.getpid(), pid_started=process_mark(os.getpid()), host=socket.gethostname(), heartbeat=time.time()
    )


def a_gain():
    """What a training is worth against its baseline."""

    def row(structure, kind, difference, verdict):
        return GainRow(
            structure=structure,
            kind=kind,
            cases=4,
            patients=4,
            dice=0.8,
            baseline_dice=0.8 - difference,
            difference=difference,
            low=difference - 0.02,
            high=difference + 0.02,
            verdict=verdict,
        )

    return Gain(
        verdict="helped",
        sentence="The other scans helped: mean Dice 0.800 instead of 0.740.",
        rows=(
            row("", "mean", 0.06, "helped"),
            row("head", "leaf", 0.1, "helped"),
            row("tail", "leaf", 0.001, "no measurable gain"),
        ),
        run="a",
        baseline="b",
        method="marginal",
        extra_cases={"coarse": 1, "none": 1},
        confidence=0.95,
        least_difference=0.005,
        notes=("Only 4 patients.",),
    )
