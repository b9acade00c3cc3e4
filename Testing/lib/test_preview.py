"""The preview of a run: the prediction that validation made anyway, on the grid of the scan, beside the training."""

import logging
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from SemiSegLib import preview as preview_module
from SemiSegLib.batches.grid import PlanGrid
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import Geometry, read_volume
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.segmentation_file import read_segmentation
from SemiSegLib.prediction.window import predict_array
from SemiSegLib.preview import Preview
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.training.events import Finished, Previewed, Stepped, Validated, event_from_data
from Testing.lib.run_farm import Farm, a_cohort, a_request, a_run
from Testing.lib.schemes import ORGAN

PLAN = Plan(
    dimensions=3,
    channels=(ChannelPlan(role="MR"),),
    axis_order=(1, 0, 2),
    spacing_mm=(1.1, 2.0, 0.9),
    patch=(8, 8, 8),
    batch=1,
    network=NetworkPlan(),
)
VALIDATED = {"dice": {}, "cases": {}, "mean_dice": None, "is_best": False, "seconds": 1.0}
FINISHED = Finished(step=9, reason="done")


def stepped(step):
    return Stepped(
        step=step,
        fraction=0.5,
        losses={},
        weights={},
        learning_rate=0.1,
        seconds_per_step=1.0,
        data_seconds=0.1,
        eta_seconds=1.0,
    )


def an_oblique_geometry(shape):
    turn = np.array([[0.0, -0.8, 0.6], [1.0, 0.0, 0.0], [0.0, -0.6, -0.8]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.0, 1.5, 0.7)
    affine[:3, 3] = (3.0, -20.0, 7.0)
    return Geometry(shape, affine)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, a_request("data"))


@pytest.fixture
def grid():
    return PlanGrid.of(an_oblique_geometry((7, 12, 10)), PLAN)


@pytest.fixture
def preview(folder, grid):
    return Preview(folder, SimpleNamespace(grid=lambda _: grid, dataset=SimpleNamespace(scheme=ORGAN)))


def leaves_on(grid, seed=0):
    """Return some structures on the plan grid, larger than a voxel."""
    blocks = np.random.default_rng(seed).integers(0, 3, tuple(-(-n // 3) for n in grid.shape), dtype=np.uint8)
    return np.kron(blocks, np.ones((3, 3, 3), np.uint8))[tuple(slice(n) for n in grid.shape)]


def test_the_nearest_labels_on_the_grid_of_the_scan_are_nearly_those_of_a_result(grid):
    assert grid.shape != grid.native_shape
    leaves = leaves_on(grid)
    quick, slow = grid.restore_nearest(leaves), grid.restore_labels(leaves)
    assert quick.shape == slow.shape == grid.source.shape
    assert (quick == slow).mean() > 0.9


def test_without_resampling_the_nearest_labels_are_exact():
    geometry = an_oblique_geometry((7, 12, 10))
    grid = PlanGrid.of(geometry, Plan(**{**vars(PLAN), "spacing_mm": (0.0, 0.0, 0.0)}))
    assert grid.shape == grid.native_shape
    leaves = leaves_on(grid)
    assert np.array_equal(grid.restore_nearest(leaves), grid.restore_labels(leaves))


def test_the_first_case_of_a_validation_is_written_on_the_grid_of_its_scan(preview, folder, grid):
    first, second = leaves_on(grid), leaves_on(grid, seed=1)
    preview.take("a/b: c", first)
    preview.take("other", second)
    assert list(preview.hear(Validated(step=4, **VALIDATED))) == []
    assert list(preview.hear(FINISHED)) == [Previewed(step=4, case="a/b: c", file="preview/a_b_ c.seg.nrrd")]
    path = folder.path / "preview" / "a_b_ c.seg.nrrd"
    assert path == folder.preview_path("a/b: c")
    found = read_segmentation(path)
    expected = grid.restore_nearest(first)
    assert np.array_equal(found["head"].mask, expected == ORGAN.leaf_names.index("head"))
    assert found["head"].tags["SemiSeg.Run"] == folder.request.id
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    volume = read_volume(path)
    assert np.allclose(volume.geometry.affine, grid.source.affine)


def test_the_training_does_not_wait_for_a_preview_and_leaves_one_out_rather(preview, grid, monkeypatch):
    may_end, real = threading.Event(), preview_module.write_segmentation

    def slow(*arguments, **more):
        assert may_end.wait(20)
        real(*arguments, **more)

    monkeypatch.setattr(preview_module, "write_segmentation", slow)
    begin = time.monotonic()
    for step in (2, 4):
        preview.take("a", leaves_on(grid))
        assert list(preview.hear(Validated(step=step, **VALIDATED))) == []
        assert list(preview.hear(stepped(step + 1))) == []
    assert time.monotonic() - begin < 5
    may_end.set()
    assert [event.step for event in preview.hear(FINISHED)] == [2]


def test_a_preview_is_told_with_the_next_event_after_it_was_written(preview, grid):
    preview.take("a", leaves_on(grid))
    assert list(preview.hear(Validated(step=2, **VALIDATED))) == []
    end = time.monotonic() + 20
    told = []
    while not told and time.monotonic() < end:
        told = list(preview.hear(stepped(3)))
        time.sleep(0.01)
    assert [event.step for event in told] == [2]
    assert list(preview.hear(stepped(4))) == []
    assert list(preview.hear(Validated(step=5, **VALIDATED))) == [], "nothing was predicted since"
    assert list(preview.hear(FINISHED)) == []


def test_a_disk_that_refuses_a_preview_does_not_end_the_training(preview, grid, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preview_module, "write_segmentation", refuse)
    preview.take("a", leaves_on(grid))
    assert list(preview.hear(Validated(step=2, **VALIDATED))) == []
    with caplog.at_level(logging.WARNING, logger="SemiSegLib.worker"):
        assert list(preview.hear(FINISHED)) == []
    assert "no preview" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="copies of processes are POSIX")
def test_a_run_previews_its_first_validation_case_with_the_model_of_that_step(tmp_path):
    data = a_cohort(tmp_path / "data", validation=2)
    farm = Farm()
    run = a_run(tmp_path / "runs", data, training={"steps": 6, "validate_every": 6})
    assert farm.work(run) == 0, run.status()
    farm.close()
    events = [event_from_data(line, where="events") for line in run.events()[0]]
    validated = [event.step for event in events if event.kind == "validated"]
    shown = [event for event in events if event.kind == "previewed"]
    assert events[-1].kind == "finished"
    assert [event.step for event in shown] == validated == [6]
    dataset = load_dataset(data)
    case = next(case for case in dataset.cases if case.split is not None and case.split.value == "validation")
    assert {event.case for event in shown} == {case.id}
    scan = read_volume(dataset.path(next(iter(case.images.values()))))
    found = read_segmentation(run.path / shown[-1].file)
    assert list(found) == ["head", "tail", "vessel"]
    # Exactly what the model of that step, which is the saved one, says of the prepared case.
    model = load_model(run.model_path)
    assert model.provenance["model_step"] == shown[-1].step
    store = PreparedStore(run.prepared, dataset, model.study.plan)
    probabilities = predict_array(model.method.eval(), store.get(case.id).image, model.study.plan)
    leaves = Decision.of(model.method, dataset.scheme)(torch.from_numpy(probabilities)).numpy()
    expected = store.grid(case.id).restore_nearest(leaves)
    assert expected.shape == scan.voxels.shape
    for number, segment in enumerate(found.values(), start=1):
        assert np.array_equal(segment.mask, expected == number)
