"""Facts about a dataset's training images, on canonical axes, without a look at labels that were not given."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.orientation import Orientation
from SemiSegLib.cases.volume import Volume, read_volume, write_volume
from SemiSegLib.cli import app
from SemiSegLib.config import to_json
from SemiSegLib.errors import CaseError
from SemiSegLib.planning import fingerprint as fingerprint_file
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.preparation import Preparation
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest
from Testing.lib.batches.study import SPACING_MM, put_study


def test_sizes_and_spacings_do_not_depend_on_how_scans_are_stored(tmp_path):
    study = put_study(tmp_path, ("full", "none"))
    before = fingerprint(study)
    assert before.shapes == ((7, 13, 11),) * 2
    np.testing.assert_allclose(before.spacings_mm, [SPACING_MM] * 2, rtol=1e-5)
    path = study.path("images/none1.nii.gz")
    scan = read_volume(path)
    turn = Orientation((2, 0, 1), (True, False, True))
    write_volume(Volume(turn.apply(scan.voxels), turn.apply_geometry(scan.geometry)), path)
    after = fingerprint(study)
    assert after.shapes == before.shapes
    np.testing.assert_allclose(after.spacings_mm, before.spacings_mm, rtol=1e-5)
    assert after.classes == 4


def test_ct_is_measured_in_the_foreground_of_annotated_cases(tmp_path):
    study = replace(put_study(tmp_path, ("full", "coarse", "none")), modality={"T1": "CT"})
    (channel,) = fingerprint(study).channels
    # Background lies at 100, structures at 140 to 220 (study.put_case).
    assert channel.from_foreground
    assert 130 < channel.mean < 190
    assert channel.low > 105
    # A voxel that may be background is not surely foreground.
    partly = replace(put_study(tmp_path / "partly", ("none",)), modality={"T1": "CT"})
    (whole,) = fingerprint(partly).channels
    assert not whole.from_foreground
    assert whole.low < 95


def test_a_channel_that_is_normalized_like_ct_is_measured_as_ct_is(tmp_path):
    study = put_study(tmp_path, ("full", "coarse", "none"))
    (plain,) = fingerprint(study).channels
    assert not plain.from_foreground
    (as_ct,) = fingerprint(study, as_ct=True).channels
    (ct,) = fingerprint(replace(study, modality={"T1": "CT"})).channels
    assert as_ct == replace(ct, modality="MR")


def test_a_run_that_normalizes_mr_like_ct_takes_the_intensities_of_the_foreground(tmp_path):
    study = write_cohort(
        tmp_path / "study", fine=2, coarse=0, partial=0, none=0, validation=1, test=0, size=(8, 12, 10)
    )
    settings = PlanSettings(normalization="ct", patch=(8, 8, 8), batch=2, features=(4, 8))
    request = RunRequest(dataset=str(study.root), method="marginal", plan=settings)
    prepared = Preparation(RunFolder.create(tmp_path / "runs", request), None, "cpu").run()
    (channel,), (expected,) = prepared.plan.channels, fingerprint(prepared.dataset, as_ct=True).channels
    assert (channel.low, channel.mean, channel.deviation) == (expected.low, expected.mean, expected.deviation)
    (whole,) = fingerprint(prepared.dataset).channels
    assert whole.low < channel.low
    (tmp_path / "settings.json").write_text(json.dumps(to_json(settings)))
    told = CliRunner().invoke(app, ["plan", str(study.root), "--settings", str(tmp_path / "settings.json"), "--json"])
    assert json.loads(told.stdout)["channels"][0]["normalization"] == "ct"
    assert json.loads(told.stdout)["channels"][0]["low"] > whole.low


def test_labels_are_opened_only_where_they_are_needed(tmp_path, monkeypatch):
    opened = []
    read = fingerprint_file.read_codes
    monkeypatch.setattr(
        fingerprint_file, "read_codes", lambda dataset, case, grid: opened.append(case.id) or read(dataset, case, grid)
    )
    study = put_study(tmp_path, ("full", "none"))
    (study.root / "labels" / "none1.nii.gz").write_bytes(b"garbage")
    fingerprint(study)
    assert opened == []
    fingerprint(replace(study, modality={"T1": "CT"}))
    assert opened == ["full0"]


def test_validation_and_test_cases_are_not_looked_at(tmp_path):
    study = put_study(tmp_path, ("full", "full", "full"))
    sides = (Side.TRAIN, Side.VALIDATION, Side.TEST)
    split = study.with_cases(tuple(replace(c, split=s) for c, s in zip(study.cases, sides, strict=True)))
    assert fingerprint(split).case_ids == ("full0",)
    without = study.with_cases(tuple(replace(c, split=None) for c in study.cases))
    assert fingerprint(without).case_ids == ("full0", "full1", "full2")
    with pytest.raises(CaseError, match="no training case to plan from"):
        fingerprint(study.with_cases(tuple(replace(c, split=Side.TEST) for c in study.cases)))


def test_what_one_case_gives_does_not_depend_on_the_others_or_on_chance(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint_file, "SAMPLES_PER_CASE", 50)
    study = put_study(tmp_path, ("full", "coarse", "none"))
    assert fingerprint(study) == fingerprint(study)
    told = []
    fingerprint(study, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_memory_for_samples_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprint_file, "SAMPLES_IN_ALL", 30)
    sizes = []
    draw = fingerprint_file._draw
    monkeypatch.setattr(fingerprint_file, "_draw", lambda *a: sizes.append(len(draw(*a))) or draw(*a))
    fingerprint(put_study(tmp_path, ("none",) * 3))
    assert sizes == [10, 10, 10]
