"""The calls of a script: scans in and results out, cases in and scores out."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SemiSegLib import api
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.volume import Geometry, Volume, read_labels, read_volume, write_volume
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.evaluation.judge import CaseJudge
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.model_file import Model, load_model, save_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.segmentation_file import read_segmentation
from Testing.lib.cases.tiny import oblique

CPU = api.PredictionSettings(device="cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_cohort(folder, fine=1, coarse=1, partial=0, none=1, validation=0, test=2, size=(9, 15, 13), seed=4)


@pytest.fixture(scope="module")
def model(cohort, tmp_path_factory):
    return a_model(cohort, tmp_path_factory.mktemp("model"))


def a_model(cohort, folder, roles=None):
    torch.manual_seed(0)
    plan = Plan(
        dimensions=3,
        channels=tuple(ChannelPlan(role=role) for role in roles or cohort.channels),
        axis_order=(0, 1, 2),
        spacing_mm=(3.0, 1.0, 1.0),
        patch=(8, 16, 16),
        batch=2,
        network=NetworkPlan(features=(4, 8), strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)), blocks=1),
    )
    study = Study(scheme=cohort.scheme, plan=plan)
    path = folder / "model.safetensors"
    method = build_method("supervised", study, {}).eval()
    save_model(path, Model(method, study, "supervised", {}, {"run": "7", "flipped_axes": []}))
    return path


def scan(cohort):
    return str(cohort.root / next(iter(cohort.cases[0].images.values())))


def test_cases_are_scored_by_the_judge_and_handed_out_one_by_one(cohort, model):
    judge = CaseJudge(Predictor(load_model(model), device="cpu"), cohort, mode="paper_000")
    cases = [*cohort.side(Side.TEST), cohort.cases[0]]
    judged = []
    scores = api.evaluate(model, cohort, cases, CPU, mode="paper_000", on_case=judged.append)
    assert [score.case for score in scores] == [case.id for case in cases]
    assert scores == [one.score for one in judged]
    for case, one in zip(cases, judged, strict=True):
        expected = judge.judge(case)
        assert one.score == expected.score
        assert one.prediction.leaves.geometry == one.image.geometry
        np.testing.assert_array_equal(one.prediction.leaves.voxels, expected.prediction.leaves.voxels)


def test_a_case_without_labels_and_a_study_of_other_structures_are_refused(cohort, model):
    bare = next(case for case in cohort.cases if case.annotation is None)
    with pytest.raises(CaseError, match="nothing to compare with"):
        api.evaluate(model, cohort, [bare], CPU)
    other = replace(cohort, scheme=LabelScheme(name="other", structures=(Structure(name="liver"),)), cases=())
    with pytest.raises(CaseError, match="the study has background, liver"):
        api.evaluate(model, other, [], CPU)


def test_the_ending_of_a_result_decides_its_kind(cohort, model, tmp_path):
    outputs = [tmp_path / name for name in ("a.seg.nrrd", "a.nii.gz")]
    done = []
    api.predict(model, [[scan(cohort)]] * 2, outputs, CPU, on_done=done.append)
    assert done == outputs
    labels, segments = read_labels(outputs[1]).voxels, read_segmentation(outputs[0])
    for leaf, name in enumerate(cohort.scheme.leaf_names[1:], start=1):
        assert np.array_equal(segments[name].mask, labels == leaf)
    with pytest.raises(ConfigError, match="an ending that results are not written in"):
        api.predict(model, [[scan(cohort)]] * 2, [tmp_path / "b.nrrd", tmp_path / "b.mhd"], CPU)
    assert list(tmp_path.glob("b*")) == []


def test_files_that_are_there_are_replaced_only_when_asked_and_a_scan_never(cohort, model, tmp_path):
    own = tmp_path / "own.nii.gz"
    shutil.copy(scan(cohort), own)
    drawn, note = tmp_path / "own.seg.nrrd", tmp_path / "new_uncertainty.nrrd"
    drawn.write_bytes(b"drawn by hand")
    note.write_bytes(b"a map of mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for output, overwrite, why in (
        (drawn, False, "there is a file of this name already"),
        (tmp_path / "new.seg.nrrd", False, "new_uncertainty.nrrd"),
        (own, True, "would replace a scan"),
    ):
        with pytest.raises(ConfigError, match=why):
            api.predict(model, [[own]], [output], replace(CPU, uncertainty=True), overwrite=overwrite)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    api.predict(model, [[own]], [drawn], CPU, overwrite=True)
    assert read_segmentation(drawn)


def test_one_4d_file_is_all_channels_of_a_model_and_is_never_replaced_through_the_name_of_a_frame(cohort, tmp_path):
    path = a_model(cohort, tmp_path, roles=("T1", "FLAIR"))
    first = read_volume(Path(scan(cohort)))
    second = Volume(first.voxels[:, ::-1].copy(), first.geometry)
    both = tmp_path / "both.nii.gz"
    sitk.WriteImage(sitk.JoinSeries([volume.to_sitk() for volume in (first, second)]), str(both))
    write_volume(first, tmp_path / "one.nrrd")
    write_volume(second, tmp_path / "two.nrrd")
    scans = [[both], [f"{both}#0", f"{both}#1"], [tmp_path / "one.nrrd", f"{both}#1"]]
    outputs = [tmp_path / f"result{number}.nrrd" for number in range(3)]
    api.predict(path, scans, outputs, CPU)
    expected = Predictor(load_model(path), device="cpu").predict([first, second]).leaves
    for output in outputs:
        assert np.array_equal(read_labels(output).voxels, expected.voxels)
        assert read_labels(output).geometry.displacement_mm(first.geometry) < 1e-3
    with pytest.raises(ConfigError, match="would replace a scan"):
        api.predict(path, [[f"{both}#0", f"{both}#1"]], [both], CPU, overwrite=True)


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.diag([1.0, 1, -1, 1]), "the channel runs the other way along i"),
        (np.eye(4)[[0, 2, 1, 3]], "the axes point elsewhere|spacing is"),
        (np.array([[1.0, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "the origin is displaced"),
    ],
)
def test_a_channel_of_the_same_size_that_lies_elsewhere_is_refused(cohort, tmp_path, matrix, why):
    path = a_model(cohort, tmp_path, roles=("T1", "FLAIR"))
    voxels = np.random.default_rng(0).normal(size=(7, 9, 9)).astype(np.float32)
    grid = oblique(voxels.shape)
    write_volume(Volume(voxels, grid), tmp_path / "T1.nii.gz")
    write_volume(Volume(voxels, Geometry(grid.shape, grid.affine @ matrix)), tmp_path / "FLAIR.nii.gz")
    with pytest.raises(CaseError, match=why):
        api.predict(path, [[tmp_path / "T1.nii.gz", tmp_path / "FLAIR.nii.gz"]], [tmp_path / "result.nrrd"], CPU)
    assert not (tmp_path / "result.nrrd").exists()


def test_scans_and_results_are_counted_and_mirroring_is_refused_before_a_scan_is_read(model, tmp_path):
    with pytest.raises(CaseError, match="1 scans and 0 results"):
        api.predict(model, [["nowhere.nrrd"]], [], CPU)
    with pytest.raises(ConfigError, match="trained without flips"):
        api.predict(model, [["nowhere.nrrd"]], [tmp_path / "a.nrrd"], replace(CPU, mirror=True))
