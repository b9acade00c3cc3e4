"""Pictures of the review for the documentation: `pytest Testing/panel/test_review_pictures.py --screenshots FOLDER`."""

import json

import numpy as np
import slicer
from scipy import ndimage

from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.runs.review import Review, write_review
from SemiSegLib.runs.status import RunStatus
from SemiSegModule.bridge.geometry import Grid, toGeometry
from SemiSegModule.bridge.uncertainty import overlaid
from Testing.bridge import scenes
from Testing.host.interaction import click, process_events, type_text
from Testing.host.rendering.window import slice_picture
from Testing.panel.models import a_model_file

SHAPE = (30, 80, 90)
REASONS = ("The border of the tail is unclear over 3 slices.", "Little is unsure.", "The vessel ends in the volume.")


def a_body(seed):
    """A scan with an organ of two parts and a vessel, and its labels and doubt."""
    k, j, i = np.indices(SHAPE)
    organ = ((k - 15) / 9.0) ** 2 + ((j - 40) / 18.0) ** 2 + ((i - 40 - seed) / 26.0) ** 2 < 1
    vessel = (j - 66) ** 2 + (i - 60) ** 2 < 30
    labels = np.where(organ, np.where(i < 42, 1, 2), 0) + np.where(vessel, 3, 0)
    noise = np.random.default_rng(seed).normal(0, 25, SHAPE)
    scan = ndimage.gaussian_filter(np.array([40, 200, 160, 320])[labels] + noise, 0.8)
    edge = ndimage.gaussian_filter((np.abs(i - 42) < 2) & organ, 2.0, output=float) * 2.2
    return scan.astype(np.int16), labels.astype(np.uint8), np.clip(edge, 0, 0.95).astype(np.float32)


def finish(job, bodies):
    places = json.loads((job.path / "scene.json").read_text())
    for number, (case, (_scan, labels, doubt)) in enumerate(zip(job.job.cases, bodies, strict=True)):
        matrix = np.array(places[case.id]["matrix"])
        geometry = toGeometry(Grid(matrix, SHAPE))
        job.result_path(case).parent.mkdir(exist_ok=True)
        scenes.write_segmentation_file(
            job.result_path(case),
            labels,
            geometry,
            {1: "head", 2: "tail", 3: "vessel"},
            states={"head": "latent", "tail": "ambiguous"},
        )
        write_volume(Volume(doubt, geometry), job.uncertainty_path(case))
        peak = np.unravel_index(doubt.argmax(), SHAPE)[::-1]
        place = tuple(float(x) for x in (np.diag([-1.0, -1, 1, 1]) @ matrix @ np.append(peak, 1))[:3])
        review = Review(score=(0.72, 0.11, 0.43)[number], reason=REASONS[number], place_lps_mm=place, uncertain_ml=2.0)
        write_review(review, job.review_path(case))
    job.write_status(RunStatus(state="finished", fraction=1.0, message="done"))


def shot(screenshot, module, name):
    """The whole panel, as tall as what is in it."""
    representation = module.widgetRepresentation()
    for section in ("casesSection", "labelsSection", "structuresSection", "trainingSection"):
        getattr(representation.self().ui, section).collapsed = True
    process_events()
    representation.resize(520, max(700, representation.sizeHint.height()))
    process_events()
    screenshot(name, representation)


def test_screenshots_of_a_review(host, module, panel, started, screenshot, tmp_path):
    bodies = [a_body(seed) for seed in range(3)]
    for name, (scan, _labels, _doubt) in zip(("Ann", "Bob", "Cid"), bodies, strict=True):
        volume = slicer.util.addVolumeFromArray(scan, name=name)
        volume.GetDisplayNode().SetAutoWindowLevel(True)
    panel.panel.parameters.studyFolder = str(tmp_path / "study")
    for label in ("first model", "better model"):
        type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / f"{label}.safetensors")))
        click(panel.ui.applyAllButton)
        finish(started[-1], bodies)
        panel.panel.apply.watcher.look()
        process_events()
    click(panel.ui.uncertaintyButton)
    shot(screenshot, module, "review")
    screenshot("review_uncertainty", slice_picture("Red", (400, 360), offset_share=None))
    assert overlaid() is not None
    click(panel.ui.uncertaintyButton)
    screenshot("review_result", slice_picture("Red", (400, 360), offset_share=None))
    click(panel.ui.compareButton)
    shot(screenshot, module, "review_compare")
    click(panel.ui.correctButton)
    click(panel.ui.acceptButton)
    shot(screenshot, module, "review_accepted")
    assert panel.panel.review.current.decision == "accepted"
