"""Scenes for panel tests: a few tiny scans, drawn finely, coarsely or not at all."""

import os
import socket
import time
from dataclasses import replace

import numpy as np

from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process_table import process_mark
from SemiSegLib.runs.request import RunRequest, TrainingSettings
from SemiSegModule.jobs import runsFolder
from Testing.bridge import scenes
from Testing.host.interaction import process_events


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


def column(table, number):
    """Texts of a column of a table: of its cells, or of the combo boxes in them."""
    texts = []
    for row in range(table.rowCount):
        combo = table.cellWidget(row, number)
        texts.append(combo.currentText if combo is not None else table.item(row, number).text())
    return texts


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
