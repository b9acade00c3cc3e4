"""Before the start: the plan that the run will make, from headers alone, and what it needs of memory and disk."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
from safetensors.torch import load_file
from typer.testing import CliRunner

from SemiSegLib import api, preflight
from SemiSegLib.batches.distance import distance_structures
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cli import app
from SemiSegLib.config import from_json, read_json, write_json
from SemiSegLib.planning import processor
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.memory import OVERHEAD_GIB
from SemiSegLib.planning.plan import Plan
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

TINY = PlanSettings(dimensions=3, patch=(8, 16, 16), batch=2, features=(4, 8))
# Learns from distances too.
DISTANCES = "dual_task_consistency"
SHORT = TrainingSettings(steps=2, precision="fp32", threads=1, device="cpu", channels_last=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_cohort(folder, fine=2, coarse=2, partial=0, none=1, validation=1, test=1, size=(12, 20, 18), seed=3)
    return folder


def a_request(cohort, **changes):
    usual = {"dataset": str(cohort), "method": "marginal", "plan": TINY, "training": SHORT}
    return RunRequest(**{**usual, **changes})


def test_the_plan_is_the_one_that_the_run_will_make(cohort, tmp_path):
    free = PlanSettings(memory_gib=1.0)
    found = preflight.measure(a_request(cohort, plan=free), tmp_path)
    dataset = load_dataset(cohort)
    plan = make_plan(fingerprint(dataset), dataset, free, device="cpu")
    assert (found.patch, found.batch) == (tuple(plan.patch), plan.batch)


def test_frames_of_a_4d_file_are_looked_up_and_a_case_without_its_first_channel_is_passed_by(cohort, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(cohort, folder)
    data = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    role = data["channels"][0]
    for case in data["cases"]:
        frame = sitk.ReadImage(str(folder / case["images"][role]))
        file = f"images/{case['id']}_frames.nii.gz"
        sitk.WriteImage(sitk.JoinSeries([frame, frame]), str(folder / file))
        case["images"] = {role: f"{file}#1"}
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    expected, found = (preflight.measure(a_request(study), tmp_path) for study in (cohort, folder))
    assert (found.patch, found.cases) == (expected.patch, expected.cases)
    assert found.prepared_gib == pytest.approx(expected.prepared_gib)
    training = [case for case in data["cases"] if case.get("split") != "test"]
    training[0]["images"] = {}
    training[1]["images"] = {role: "../outside.nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    fewer = preflight.measure(a_request(folder), tmp_path)
    # The two are taken to be like the others, whose sizes differ a little.
    assert fewer.prepared_gib == pytest.approx(expected.prepared_gib, rel=0.05)


def test_disk_is_what_a_run_writes(cohort, tmp_path):
    request = a_request(cohort)
    found = preflight.measure(request, tmp_path)
    run = api.train(request, tmp_path / "runs", name="one")
    dataset = load_dataset(Path(run.request.dataset))
    store = PreparedStore(run.prepared, dataset, from_json(Plan, read_json(run.plan_path), where="plan"))
    used = [case.id for case in dataset.cases if case.split is not None and case.split.value != "test"]
    arrays = [store.get(case_id) for case_id in used]
    written = sum(
        case.image.nbytes + case.codes.shape[0] * case.codes.shape[1] * case.codes.shape[2] for case in arrays
    )
    assert found.cases >= len([case for case in dataset.cases if case.split.value == "train" and case.annotation])
    assert found.prepared_gib * 2**30 == pytest.approx(written * found.cases / len(used), rel=0.02)
    weights = sum(tensor.numel() for tensor in load_file(run.model_path).values())
    assert found.model_gib * 2**30 == pytest.approx(4 * weights, rel=1e-6)
    # Without the headers, and but for the random generator's 5 kB: no small parts of so small a network's files.
    largest = max(
        sum(tensor.nbytes for tensor in load_file(path).values()) for path in run.checkpoints.glob("*.safetensors")
    )
    assert found.checkpoints_gib * 2**30 == pytest.approx(
        preflight.CHECKPOINTS * largest, rel=0.01, abs=preflight.CHECKPOINTS * 6000
    )


def test_distances_to_structures_are_counted_too_and_refused_with_their_size(cohort, tmp_path, monkeypatch):
    plain, mapped = (preflight.measure(a_request(cohort, method=name), tmp_path) for name in ("marginal", DISTANCES))
    voxels = plain.prepared_gib / plain.cases / (preflight.IMAGE_BYTES + preflight.CODE_BYTES)
    structures = len(distance_structures(load_dataset(cohort).scheme))
    added = preflight.DISTANCE_BYTES * structures * voxels
    assert mapped.prepared_gib / mapped.cases == pytest.approx(plain.prepared_gib / plain.cases + added, rel=0.05)
    monkeypatch.setattr(preflight, "free_disk_gib", lambda folder: mapped.disk_gib - mapped.cases * added / 2)
    (disk,) = (
        found
        for found in preflight.look_ahead(a_request(cohort, method=DISTANCES), tmp_path).requirements
        if found.code == "disk"
    )
    assert disk.severity == "error"
    assert f"{mapped.disk_gib:.2g} GiB" in disk.what


def test_a_full_disk_and_too_little_memory_are_told_before_the_start(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "free_disk_gib", lambda folder: 1e-6)
    monkeypatch.setattr(preflight, "free_memory_gib", lambda device: 1e-3)
    found = preflight.look_ahead(a_request(cohort), tmp_path)
    assert not found.can_start
    assert [(r.code, r.severity) for r in found.requirements] == [
        ("memory", "error"),
        ("disk", "error"),
        ("device", "note"),
    ]
    assert all(requirement.remedy for requirement in found.requirements[:2])


def test_prepared_cases_on_another_disk_are_judged_there(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "free_disk_gib", lambda folder: 1e-6 if folder.name == "cache" else 100.0)
    found = preflight.look_ahead(a_request(cohort, prepared_folder=str(tmp_path / "cache")), tmp_path)
    assert [r.where for r in found.requirements if r.code == "disk"] == ["the disk of the folder 'cache'"]


def test_a_teacher_and_a_second_network_need_more(cohort, tmp_path):
    one, two, teacher = (
        preflight.measure(a_request(cohort, method=name), tmp_path)
        for name in ("supervised", "cross_pseudo_supervision", "mean_teacher")
    )
    assert two.weights == pytest.approx(2 * one.weights, rel=0.01)
    assert teacher.weights == one.weights
    assert one.memory_gib < teacher.memory_gib < two.memory_gib


def test_networks_whose_graphs_are_held_at_once_need_twice_as_much(cohort, tmp_path):
    def memory_gib(method, **options):
        plan = replace(TINY, patch=(64, 64, 64))
        found = preflight.measure(a_request(cohort, method=method, plan=plan, options=options), tmp_path)
        return found.memory_gib - OVERHEAD_GIB

    one = memory_gib("supervised")
    assert memory_gib("cross_pseudo_supervision") == pytest.approx(one, rel=0.05)
    assert memory_gib("cross_pseudo_supervision", backward="joint") == pytest.approx(2 * one, rel=0.05)
    assert memory_gib("dual_task_mutual_learning") == pytest.approx(2 * one, rel=0.05)
    assert memory_gib("dual_task_mutual_learning", networks="distance") == pytest.approx(one, rel=0.05)


def test_a_step_is_shorter_on_two_cores_and_in_bf16(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "announces_bf16", lambda: True)

    def seconds(**changes):
        return preflight.measure(a_request(cohort, training=replace(SHORT, **changes)), tmp_path).step_seconds

    assert seconds(threads=2) == pytest.approx(seconds() / 2)
    assert seconds(precision="bf16") == pytest.approx(seconds() / processor.BF16_SPEED)


def test_it_answers_another_program_in_json_within_20_seconds(cohort, tmp_path):
    write_json(tmp_path / "request.json", a_request(cohort))
    command = [sys.executable, "-m", "SemiSegLib.preflight", str(tmp_path / "request.json"), "--runs", str(tmp_path)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    assert time.monotonic() - began < 20
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["can_start"] is True
    assert told["needs"]["device"] == "cpu"
    assert [r["code"] for r in told["requirements"]] == ["device"]
    write_json(tmp_path / "request.json", replace(a_request(cohort), dataset=str(tmp_path / "none")))
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    assert done.returncode == 1
    (wrong,) = json.loads(done.stdout)["requirements"]
    assert wrong["severity"] == "error"
    assert wrong["remedy"]


def test_the_computer_is_described_to_another_program_within_20_seconds():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "SemiSegLib.doctor"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert time.monotonic() - began < 20
    told = json.loads(done.stdout)
    assert told["devices"][-1]["device"] == "cpu"
    assert told["packages"]["torch"]
    assert told["advice"]


def test_the_command_shows_numbers_and_forbids_what_cannot_end_well(cohort, tmp_path):
    settings = [
        part
        for text in ("batch=2", "patch=[8,16,16]", "features=[4,8]", "dimensions=3", "device=cpu")
        for part in ("--setting", text)
    ]
    shown = CliRunner().invoke(app, ["preflight", str(cohort), "--runs", str(tmp_path), *settings])
    assert shown.exit_code == 0, shown.output
    assert "prepared cases" in shown.output
    huge = [*settings, "--setting", "patch=[2048,2048,2048]"]
    refused = CliRunner().invoke(app, ["preflight", str(cohort), "--runs", str(tmp_path), *huge, "--json"])
    assert refused.exit_code == 3
    assert json.loads(refused.stdout)["requirements"][0]["code"] == "memory"


def test_the_command_describes_the_options_and_the_length_that_train_is_given(cohort, tmp_path):
    plain = ["preflight", str(cohort), "--runs", str(tmp_path), "--setting", "device=cpu", "--json"]

    def needs(*typed):
        shown = CliRunner().invoke(app, [*plain, *typed])
        assert shown.exit_code == 0, shown.output
        return json.loads(shown.stdout)["needs"]

    crossed = ("--method", "cross_pseudo_supervision", "--setting", "patch=[64,64,64]")
    sequential, joint = needs(*crossed), needs(*crossed, "--option", "backward=joint")
    assert joint["memory_gib"] > 1.5 * sequential["memory_gib"]
    # Two networks, and without the pass that is spared by holding both: 6 passes forward instead of 7.
    assert joint["step_seconds"] == pytest.approx(6 / 7 * sequential["step_seconds"])
    assert needs("--minutes", "0.1")["step_seconds"] < needs("--steps", "9")["step_seconds"]
    refused = CliRunner().invoke(app, [*plain, "--minutes", "5", "--steps", "9"])
    assert "both say how long the training is" in str(refused.exception)
