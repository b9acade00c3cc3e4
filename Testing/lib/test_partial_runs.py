"""Partly labeled scans of three sites from request to the table of structures, in one process."""

import json
import logging

import numpy as np
import pytest
import torch

from SemiSegLib import api
from SemiSegLib.cases.sites import write_sites
from SemiSegLib.labels.reach import Reach
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.latent import latent_classes
from SemiSegLib.methods.latent.pieces import Pieces
from SemiSegLib.prediction.findings import CONFIDENCE, PRESENCE, read_findings
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.segmentation_file import read_segmentation
from SemiSegLib.runs.request import EmbeddingSettings, PlanSettings
from Testing.lib.site_lines import mean_dice, train_line

TINY = PlanSettings(dimensions=3, patch=(8, 16, 16), batch=2, features=(4, 8))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sites(tmp_path_factory.mktemp("sites"), each=1, test=1, size=(9, 17, 15))


def applied(run, data, folder, drawn=()):
    """Return findings and segments of the test scan."""
    scan = data.path(data.case("test_00").images["T1"])
    result = folder / "scan.seg.nrrd"
    settings = api.PredictionSettings(device="cpu", drawn=drawn)
    found = api.predict(run.model_path, [[scan]], [result], settings)[0]
    assert read_findings(folder / "scan_structures.json") == found
    return found, read_segmentation(result)


def test_given_vectors_are_in_the_model_so_that_prediction_needs_no_file(tmp_path, data):
    names = RoiTable.of(data.scheme).names
    vectors = np.random.default_rng(0).normal(size=(len(names), 6)).round(3)
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(dict(zip(names, vectors.tolist(), strict=True))))
    given = EmbeddingSettings(file=str(file))
    options = {"embedding": "file"}
    run = train_line(tmp_path, data.root, "baseline", steps=2, plan=TINY, embeddings=given, options=options)
    file.unlink()
    run.embeddings_path.unlink()
    expected = torch.from_numpy(vectors.astype(np.float32))
    model = load_model(run.model_path)
    assert torch.equal(model.study.embeddings, expected)
    held = [t for t in model.method.state_dict().values() if t.shape == expected.shape and torch.equal(t, expected)]
    assert held, "the method keeps no copy of its own"
    found, segments = applied(run, data, tmp_path, drawn=("vessel",))
    assert found.source == CONFIDENCE
    assert segments["vessel"].tags["SemiSeg.State"] == "annotated"
    # The whole path is in the request, and nowhere else in the run.
    for other in (run.environment_path, run.log_path):
        if other.exists():
            assert str(file) not in other.read_text()
    assert str(file).encode() not in run.model_path.read_bytes()


def test_a_run_measures_in_its_labels_how_far_structures_reach(tmp_path, monkeypatch, caplog):
    built = []

    def noted(reach_mm, spacing_mm):
        built.append((reach_mm, spacing_mm))
        return Pieces(reach_mm, spacing_mm)

    monkeypatch.setattr(latent_classes, "Pieces", noted)
    data = write_sites(tmp_path / "data", each=8, test=1, size=(9, 17, 15))
    with caplog.at_level(logging.INFO, logger="SemiSegLib.worker"):
        run = train_line(tmp_path, data.root, "narrowed", steps=2, plan=TINY)
    (reach_mm, spacing_mm), *_ = built
    known = dict(zip(data.scheme.leaf_names, reach_mm, strict=True))
    assert known.pop("background") is None
    assert all(mm is not None for mm in known.values()), known
    study = load_model(run.model_path).study
    assert spacing_mm == study.plan.spacing_mm
    assert study.reach == Reach(reach_mm, reach_mm), "the model does not know it"
    assert f"node {known['node']:.1f} mm" in caplog.text
    # By structures nobody asks.
    built.clear()
    run = train_line(tmp_path, data.root, "latent", steps=2, plan=TINY)
    assert not built
    assert load_model(run.model_path).study.reach is None


def test_a_model_with_a_presence_network_says_what_that_says(tmp_path, data):
    run = train_line(tmp_path, data.root, "latent", steps=2, plan=TINY)
    found, segments = applied(run, data, tmp_path)
    assert found.source == PRESENCE
    assert [row.structure for row in found.structures] == ["organ", "head", "tail", "vessel", "node"]
    assert {name: segments[name].tags["SemiSeg.State"] for name in segments} == {
        row.structure: row.state for row in found.structures if row.structure != "organ"
    }
    scores = mean_dice(run, data.root)
    assert set(scores) == {"organ", "head", "tail", "vessel", "node"}
    assert all(0 <= value <= 1 for value in scores.values())
