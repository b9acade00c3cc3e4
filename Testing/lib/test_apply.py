"""A job that applies a model: one result per scan, told as it goes, stopped, resumed, and explained when it fails."""

import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SemiSegLib import apply
from SemiSegLib.cases.volume import Geometry, Volume, read_volume, write_volume
from SemiSegLib.config import write_json
from SemiSegLib.errors import CheckpointError, ConfigError
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.findings import read_findings
from SemiSegLib.prediction.model_file import Model, load_model, save_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.segmentation_file import read_segmentation
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder, ApplyRequest
from SemiSegLib.runs.process import observe, start
from SemiSegLib.runs.status import RunStatus
from Testing.lib.schemes import ORGAN


def a_model(folder, roles=("T1",)):
    torch.manual_seed(0)
    plan = Plan(
        dimensions=3,
        channels=tuple(ChannelPlan(role=role) for role in roles),
        axis_order=(0, 1, 2),
        spacing_mm=(2.0, 1.0, 1.0),
        patch=(8, 16, 16),
        batch=2,
        network=NetworkPlan(features=(4, 8), strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)), blocks=1),
    )
    study = Study(scheme=ORGAN, plan=plan)
    path = folder / "model.safetensors"
    save_model(path, Model(build_method("supervised", study, {}).eval(), study, "supervised", {}, {"run": "7"}))
    return path


def a_scan(folder, name, seed=0, shape=(9, 21, 18)):
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turned * (2.2, 0.9, 1.1)
    voxels = np.random.default_rng(seed).normal(0, 50, shape).astype(np.float32)
    write_volume(Volume(voxels, Geometry(shape, affine)), folder / name)
    return str(folder / name)


def a_job(folder, count=2, **request):
    cases = tuple(
        ApplyCase(id=f"Müller/{i}", images={"image": a_scan(folder, f"{i}.nrrd", seed=i, shape=(7 + i, 19, 18))})
        for i in range(count)
    )
    model = request.pop("model", None) or str(a_model(folder))
    return ApplyFolder.create_job(folder / "jobs", ApplyRequest(model=model, cases=cases, device="cpu", **request))


def test_every_scan_gets_the_result_that_the_predictor_gives_on_its_own_grid(tmp_path):
    job = a_job(tmp_path)
    apply.run(job)
    predictor = Predictor(load_model(tmp_path / "model.safetensors"), device="cpu")
    for number, case in enumerate(job.job.cases):
        scan = read_volume(tmp_path / f"{number}.nrrd")
        expected = predictor.predict([scan]).leaves.voxels
        found = read_segmentation(job.result_path(case))
        assert set(found) == {"head", "tail"}
        for leaf, name in ((1, "head"), (2, "tail")):
            assert np.array_equal(found[name].mask, expected == leaf)
            assert found[name].tags["SemiSeg.Superclass"] == "organ"
            assert (found[name].tags["SemiSeg.Run"], found[name].tags["SemiSeg.Job"]) == ("7", job.job.id)
    status = job.status()
    assert (status.state, status.step, status.total_steps, status.fraction) == ("finished", 2, 2, 1.0)
    assert status.message == "2 of 2 scans segmented"


def test_what_is_known_of_each_structure_is_written_beside_the_results(tmp_path):
    job = a_job(tmp_path)
    first = replace(job.job.cases[0], drawn=("head",))
    write_json(job.request_path, replace(job.job, cases=(first, job.job.cases[1])))
    job = ApplyFolder(job.path)
    apply.run(job)
    states = []
    for case in job.job.cases:
        found = read_findings(job.findings_path(case))
        tags = {name: segment.tags for name, segment in read_segmentation(job.result_path(case)).items()}
        assert {name: own["SemiSeg.State"] for name, own in tags.items()} == {
            row.structure: row.state for row in found.structures if row.structure != "organ"
        }
        states.append(found.of("head").state)
    assert states[0] == "annotated"
    assert states[1] != "annotated"
    lines = job.structures_path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * 3
    assert lines[1].startswith("Müller/0,organ,")


def test_an_uncertainty_map_is_written_beside_the_result_if_asked_for(tmp_path):
    job = a_job(tmp_path, count=1, uncertainty=True)
    apply.run(job)
    unsure = read_volume(job.uncertainty_path(job.job.cases[0]))
    assert unsure.geometry.shape == (7, 19, 18)
    assert 0.0 <= unsure.voxels.min() <= unsure.voxels.max() <= 1.0


def test_smaller_pieces_are_left_out_if_asked_for(tmp_path):
    job = a_job(tmp_path, count=1, largest_component=True)
    apply.run(job)
    scan = read_volume(tmp_path / "0.nrrd")
    expected, whole = (
        Predictor(load_model(tmp_path / "model.safetensors"), device="cpu", largest_component=wish).predict([scan])
        for wish in (True, False)
    )
    found = read_segmentation(job.result_path(job.job.cases[0]))
    assert np.array_equal(found["head"].mask, expected.leaves.voxels == 1)
    assert not np.array_equal(found["head"].mask, whole.leaves.voxels == 1)
    # What is said of the result is said of what is left.
    rows = read_findings(job.findings_path(job.job.cases[0]))
    assert rows.of("head").volume_ml == pytest.approx(found["head"].mask.sum() * 2.2 * 0.9 * 1.1 / 1000, rel=1e-3)


def test_how_much_a_look_is_worth_is_written_beside_each_result(tmp_path):
    job = a_job(tmp_path)
    assert job.reviews() == {}
    apply.run(job)
    predictor = Predictor(load_model(tmp_path / "model.safetensors"), device="cpu")
    expected = predictor.predict([read_volume(tmp_path / "0.nrrd")], drawn=(), review=True).review
    assert list(job.reviews()) == ["Müller/0", "Müller/1"]
    assert job.reviews()["Müller/0"] == expected
    assert (job.path / "results" / "0000_review.json").is_file()
    assert not job.uncertainty_path(job.job.cases[0]).exists()


def test_a_stop_ends_the_job_between_two_scans_and_it_goes_on_where_it_was(tmp_path):
    job = a_job(tmp_path)
    job.request_stop()
    apply.run(job)
    assert (job.status().state, job.status().message) == ("stopped", "stopped: 0 of 2 scans segmented")
    first = job.result_path(job.job.cases[0])
    first.parent.mkdir()
    first.write_bytes(b"made before")
    apply.run(job)
    assert job.status().state == "finished"
    assert first.read_bytes() == b"made before"
    assert job.result_path(job.job.cases[1]).stat().st_size > 100


def test_channels_are_found_by_role_whatever_their_order(tmp_path):
    model = a_model(tmp_path, roles=("T1", "FLAIR"))
    one, two = a_scan(tmp_path, "one.nrrd", 1), a_scan(tmp_path, "two.nrrd", 1)
    case = ApplyCase(id="a", images={"FLAIR": two, "T1": one})
    job = ApplyFolder.create_job(tmp_path / "jobs", ApplyRequest(model=str(model), cases=(case,), device="cpu"))
    apply.run(job)
    expected = Predictor(load_model(model), device="cpu").predict([read_volume(one), read_volume(two)]).leaves.voxels
    found = read_segmentation(job.result_path(case))
    assert all(np.array_equal(found[name].mask, expected == leaf) for leaf, name in ((1, "head"), (2, "tail")))


def test_a_channel_that_lies_elsewhere_is_noted_and_never_segmented(tmp_path):
    model = a_model(tmp_path, roles=("T1", "FLAIR"))
    one = a_scan(tmp_path, "one.nrrd", 1)
    scan = read_volume(one)
    flipped = scan.geometry.affine.copy()
    flipped[:3, 3] += flipped[:3, 2] * (scan.geometry.shape[2] - 1)
    flipped[:3, 2] *= -1
    write_volume(Volume(scan.voxels, Geometry(scan.geometry.shape, flipped)), tmp_path / "flipped.nrrd")
    case = ApplyCase(id="a", images={"FLAIR": str(tmp_path / "flipped.nrrd"), "T1": one})
    job = ApplyFolder.create_job(tmp_path / "jobs", ApplyRequest(model=str(model), cases=(case,), device="cpu"))
    assert apply.main([str(job.path)]) == 1
    assert "the channel runs the other way along i" in job.failures()["a"]
    assert not job.result_path(case).exists()


def test_frames_of_a_4d_file_are_the_channels_that_they_are_named_as(tmp_path):
    model = a_model(tmp_path, roles=("T1", "FLAIR"))
    frames = [read_volume(a_scan(tmp_path, f"{n}.nrrd", 1)) for n in range(2)]
    frames[1] = Volume(frames[1].voxels[::-1].copy(), frames[1].geometry)
    path = tmp_path / "both.nrrd"
    sitk.WriteImage(sitk.JoinSeries([frame.to_sitk() for frame in frames]), str(path))
    cases = (
        ApplyCase(id="whole", images={"image": str(path)}),
        ApplyCase(id="named", images={"FLAIR": f"{path}#1", "T1": f"{path}#0"}),
        ApplyCase(id="turned", images={"FLAIR": f"{path}#0", "T1": f"{path}#1"}),
    )
    job = ApplyFolder.create_job(tmp_path / "jobs", ApplyRequest(model=str(model), cases=cases, device="cpu"))
    apply.run(job)
    assert job.failures() == {}
    predictor = Predictor(load_model(model), device="cpu")
    for case, order in zip(cases, ((0, 1), (0, 1), (1, 0)), strict=True):
        expected = predictor.predict([frames[n] for n in order]).leaves.voxels
        found = read_segmentation(job.result_path(case))
        assert all(np.array_equal(found[name].mask, expected == leaf) for leaf, name in ((1, "head"), (2, "tail")))


def test_a_scan_with_other_channels_fails_with_the_models_channels_named(tmp_path):
    model = a_model(tmp_path, roles=("T1", "FLAIR"))
    job = a_job(tmp_path, count=1, model=str(model))
    assert apply.main([str(job.path)]) == 1
    status = job.status()
    assert status.state == "failed"
    assert status.message == "it has the channels image, the model was trained on T1, FLAIR"
    assert (status.where, status.remedy) == ("scan 'Müller/0'", "name one image for each channel of the model")
    assert not job.result_path(job.job.cases[0]).exists()


def test_a_scan_that_cannot_be_segmented_is_noted_and_the_others_are(tmp_path, monkeypatch):
    job = a_job(tmp_path, count=4)
    (tmp_path / "1.nrrd").write_bytes(b"no image")
    segment = apply._segment

    def short_of_memory(folder, case, *others):
        if case.id == "Müller/2":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        segment(folder, case, *others)

    monkeypatch.setattr(apply, "_segment", short_of_memory)
    assert apply.main([str(job.path)]) == 0
    assert (job.status().state, job.status().message) == ("finished", "2 of 4 scans segmented, 2 failed")
    assert [case.id for case in job.results()] == ["Müller/0", "Müller/3"]
    failures = job.failures()
    assert list(failures) == ["Müller/1", "Müller/2"]
    assert "1.nrrd" in failures["Müller/1"]
    assert "there is not enough memory to segment it" in failures["Müller/2"]
    assert all("remedy:" in text for text in failures.values())
    # The table is of those that were segmented.
    assert len(job.structures_path.read_text(encoding="utf-8").splitlines()) == 1 + 2 * 3
    # Started again, what failed is tried again, and that alone.
    monkeypatch.setattr(apply, "_segment", segment)
    a_scan(tmp_path, "1.nrrd", seed=1, shape=(8, 19, 18))
    apply.run(job)
    assert (job.status().message, job.failures()) == ("4 of 4 scans segmented", {})


def test_a_job_of_which_every_scan_failed_has_failed(tmp_path):
    job = a_job(tmp_path)
    for name in ("0.nrrd", "1.nrrd"):
        (tmp_path / name).unlink()
    assert apply.main([str(job.path)]) == 1
    assert job.status().state == "failed"
    assert "0.nrrd" in job.status().where
    assert list(job.failures()) == ["Müller/0", "Müller/1"]


def test_a_worker_that_died_says_what_to_do_with_a_job(tmp_path):
    job = a_job(tmp_path, count=1)
    job.write_status(RunStatus(state="training", pid=0, heartbeat=0.0))
    assert observe(job).state == "failed"
    assert observe(job).remedy.startswith("apply the model again to the scans that have no result")


def test_a_file_that_is_no_model_fails_and_is_named(tmp_path):
    (tmp_path / "letter.safetensors").write_bytes(b"dear all")
    job = a_job(tmp_path, count=1, model=str(tmp_path / "letter.safetensors"))
    assert apply.main([str(job.path)]) == 1
    assert job.status().state == "failed"
    assert "letter.safetensors" in job.status().where
    with pytest.raises(CheckpointError):
        apply.run(job)


def test_mirrored_copies_of_a_model_trained_without_flips_are_refused(tmp_path):
    job = a_job(tmp_path, count=1, mirror=True)
    assert apply.main([str(job.path)]) == 1
    assert job.status().state == "failed"
    assert "whether the training flipped scans" in job.status().message
    assert "predict without mirroring" in job.status().remedy


def test_an_unexpected_error_is_told_and_logged(tmp_path, monkeypatch, caplog):
    def burst(*_arguments, **_keywords):
        raise ZeroDivisionError("by night")

    monkeypatch.setattr(apply, "load_model", burst)
    job = a_job(tmp_path, count=1)
    assert apply.main([str(job.path)]) == 1
    assert job.status().message == "an unexpected error ended the job: ZeroDivisionError: by night"
    assert "Traceback" in caplog.text


def test_a_folder_that_is_no_job_and_a_job_in_work_are_refused(tmp_path, caplog):
    assert apply.main([str(tmp_path)]) == 1
    assert "this is not a run folder" in caplog.text
    job = a_job(tmp_path, count=1)
    with job.lock():
        assert apply.main([str(job.path)]) == 1
    assert job.status().state == "created"


def test_a_request_without_scans_or_with_two_of_one_name_is_refused():
    with pytest.raises(ConfigError, match="0 scans"):
        ApplyRequest(model="m", cases=())
    case = ApplyCase(id="a", images={"image": "a.nrrd"})
    with pytest.raises(ConfigError, match="2 scans with 1 different names"):
        ApplyRequest(model="m", cases=(case, case))


def test_a_job_runs_as_a_process_of_its_own(tmp_path):
    job = a_job(tmp_path, count=1)
    pid = start(job)
    assert pid > 0
    end = time.monotonic() + 200
    while observe(job).state not in ("finished", "failed"):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert observe(job).state == "finished", job.log_path.read_text()
    assert job.result_path(job.job.cases[0]).is_file()
