import contextlib
import json
import os
import random
import shutil
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from SemiSegLib import session, worker
from SemiSegLib.batches import store
from SemiSegLib.config import read_json, to_json
from SemiSegLib.errors import ConfigError, RunError, TrainingError
from SemiSegLib.methods.cards import card_of
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.preparation import Preparation
from SemiSegLib.runs import process
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.model_info import read_model_info
from SemiSegLib.runs.reporter import LISTEN_SECONDS
from SemiSegLib.training.checkpoints import load_best, load_latest
from SemiSegLib.training.distributed import Ranks
from SemiSegLib.training.events import event_from_data
from SemiSegLib.training.guards import NonFiniteError
from SemiSegLib.training.instructions import Bf16Support
from SemiSegLib.training.trainer import Trainer
from Testing.lib.run_farm import Farm, a_cohort, a_request, a_run, same_weights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="copies of processes are POSIX")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("Müller 中") / "cohort")


@pytest.fixture(scope="module")
def farm():
    farm = Farm()
    yield farm
    farm.close()


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """Calls that would change how this process gets its memory."""
    calls = []
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: calls.append("kept"))
    return calls


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(farm, runs, data):
    """A run that nothing disturbed."""
    run = a_run(runs, data)
    assert farm.work(run) == 0, run.status()
    return run


def started_steps(run):
    return [event["step"] for event in run.events()[0] if event["kind"] == "started"]


def test_a_study_that_was_moved_with_its_runs_is_prepared_where_it_is_now(tmp_path):
    data = a_cohort(tmp_path / "old" / "study")
    run = a_run(data / "runs", data / "dataset.json")
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = tmp_path / "new" / "study"
    prepared = Preparation(RunFolder(moved / "runs" / run.path.name), None, "cpu").run()
    assert prepared.dataset.root == moved
    assert prepared.store.folder == moved / "runs" / "prepared"


def test_a_run_ends_with_a_model_its_scores_and_all_files_of_the_contract(whole):
    status = process.observe(whole)
    assert (status.state, status.step, status.fraction) == ("finished", 10, 1.0)
    names = {path.name for path in whole.path.iterdir()}
    files = {"request", "plan", "split", "environment", "status", "scores"}
    assert names >= {f"{name}.json" for name in files} | {"events.jsonl", "log.txt", "model.safetensors"}
    model = load_model(whole.model_path)
    assert model.provenance["run"] == whole.request.id
    assert model.provenance["validation_dice"] == status.best_dice
    assert model.provenance["flipped_axes"] == []
    scores = read_json(whole.scores_path)
    assert scores["step"] == status.best_step == model.provenance["model_step"]
    assert set(scores["by_case"]) == set(read_json(whole.environment_path)["validation_cases"])
    told = read_model_info(whole.model_path)
    assert told.structure_dice == model.provenance["structure_dice"] == scores["dice"]
    assert (told.validation_dice, told.steps) == (status.best_dice, status.best_step)
    assert told.training_cases == model.provenance["training_cases"]
    assert not any(case in str(told.provenance) for case in scores["by_case"])


def test_a_run_tells_what_its_structures_start_from(farm, runs, data, whole):
    run = a_run(runs, data, warm_start=str(whole.model_path), training={"steps": 2})
    assert farm.work(run) == 0, run.status()
    told = [event for event in run.events()[0] if event["kind"] in ("warm_started", "noticed")]
    event = event_from_data(told[0], where="events")
    names = [structure.name for structure in load_model(run.model_path).study.scheme.structures]
    assert event.origins == {name: (name,) for name in names if name in event.origins}
    assert len(event.origins) > 1
    assert event.dropped == ()
    assert any("tensors copied" in event["text"] for event in told[1:])
    assert not [event for event in whole.events()[0] if event["kind"] == "warm_started"]


def test_the_model_is_the_best_of_the_validations(whole):
    best = load_best(whole.checkpoints)
    weights = load_model(whole.model_path).method.state_dict()
    assert best.step == whole.status().best_step
    assert all(torch.equal(best.tensors[f"method.{name}"], value) for name, value in weights.items())


def test_every_event_is_one_that_readers_know(whole):
    events = [event_from_data(data, where="events") for data in whole.events()[0]]
    assert events[0].kind == "started"
    assert events[-1].kind == "finished"
    assert {"stepped", "validated", "checkpoint"} <= {event.kind for event in events}


def test_the_environment_says_how_to_repeat_the_run(whole):
    found = read_json(whole.environment_path)
    assert found["machine"]["packages"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert found["seed"] == 0
    assert found["compute"]["precision"] == "fp32"
    assert all(image.startswith("image-") for image, _ in found["data"].values())
    assert found["request"]["method"] == "marginal"


def test_the_path_of_the_data_is_in_the_request_and_nowhere_else(whole, data):
    for path in whole.path.rglob("*"):
        if path.is_file() and path.name not in ("request.json", "lock"):
            assert str(data.parent).encode() not in path.read_bytes(), path.name
            assert json.dumps(str(data.parent))[1:-1].encode() not in path.read_bytes(), path.name


def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(farm, runs, data, whole):
    again, other = a_run(runs, data), a_run(runs, data, seed=1)
    assert farm.work(again) == farm.work(other) == 0
    assert same_weights(whole, again)
    assert not same_weights(whole, other)


def test_garbage_beside_cases_without_labels_changes_no_bit(farm, runs, data, whole, tmp_path):
    poisoned = shutil.copytree(data, tmp_path / "poisoned")
    cases = read_json(poisoned / "dataset.json")["cases"]
    labels = {poisoned / case["annotation"]["file"] for case in cases if case.get("annotation")}
    bare = [Path(next(iter(c["images"].values()))).name for c in cases if not c.get("annotation")]
    garbage = {path.parent / name for path in labels for name in bare} - labels
    assert garbage
    for path in garbage:
        path.write_bytes(os.urandom(2000))
    run = a_run(tmp_path / "runs", poisoned)
    assert farm.work(run) == 0, run.status()
    assert same_weights(whole, run)


def kill_again_and_again(farm, parent, data, whole, *, kills, seed):
    """Kill runs at random moments until so many kills fell on living workers; every run must end like ``whole``."""
    generator, killed, torn, resumed = random.Random(seed), 0, 0, 0
    while killed < kills:
        run = a_run(parent, data)
        while killed < kills:
            code = farm.work(run, kill_after=generator.uniform(0.1, 2.0), flush_seconds=generator.choice([0.0, 0.02]))
            if code == 0:
                break
            assert code == -9, run.status()
            killed += 1
            torn += bool(list(run.checkpoints.glob("*.tmp")))
            assert process.observe(run).state in ("failed", "created", "preparing")
        assert farm.work(run) == 0, run.status()
        resumed += any(step > 0 for step in started_steps(run))
        assert same_weights(whole, run)
        assert run.status().best_step == whole.status().best_step
    return torn, resumed


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_happened(farm, runs, data, whole):
    kill_again_and_again(farm, runs, data, whole, kills=4, seed=0)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_and_inside_writes_change_no_bit(farm, runs, data, whole):
    torn, resumed = kill_again_and_again(farm, runs, data, whole, kills=20, seed=1)
    assert torn >= 1, "no kill fell into the write of a checkpoint"
    assert resumed >= 1


def test_a_run_is_resumed_from_its_checkpoint_not_from_the_start(farm, runs, data, whole):
    run = a_run(runs, data)
    assert farm.work(run) == 0
    for path in run.checkpoints.glob("step_000000010.*"):
        path.unlink()
    run.model_path.unlink()
    assert farm.work(run) == 0
    assert started_steps(run) == [0, 9]
    assert same_weights(whole, run)


def test_a_stop_during_the_training_leaves_a_usable_model_and_can_be_resumed(farm, runs, data):
    run = a_run(runs, data, training={"steps": 100_000, "validate_every": 2})
    farm.process.stdin.write(f"{run.path} 0.0\n")
    farm.process.stdin.flush()
    farm.process.stdout.readline()
    end = time.monotonic() + 60
    while run.status().best_dice is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    begin = time.monotonic()
    run.request_stop()
    assert int(farm.process.stdout.readline()) == 0
    assert time.monotonic() - begin < 20
    status = run.status()
    assert status.state == "stopped"
    assert not run.stop_requested()
    assert load_model(run.model_path).provenance["model_step"] == status.best_step
    changed = replace(run.request, training=replace(run.request.training, steps=status.step + 3))
    run.request_path.write_text(json.dumps(to_json(changed)))
    assert farm.work(RunFolder(run.path)) == 0
    assert started_steps(run) == [0, status.step]
    assert run.status().state == "finished"


def test_only_a_training_with_flips_makes_a_model_that_may_mirror(farm, runs, data, whole):
    flipping = a_run(runs, data, training={"steps": 2, "mirror": True})
    assert farm.work(flipping) == 0, flipping.status()
    assert Predictor(load_model(flipping.model_path), device="cpu", mirror=True).settings.mirror == (True, True, True)
    with pytest.raises(ConfigError, match="trained without flips"):
        Predictor(load_model(whole.model_path), device="cpu", mirror=True)


def test_batches_are_drawn_as_the_settings_say(runs, data, monkeypatch):
    monkeypatch.setattr(session, "BatchSource", lambda *_, **given: asked.update(given))
    for settings in ({}, {"target_share": 0.0, "augmentation": "crop_turned"}):
        asked = {}
        run = a_run(runs, data, training={"steps": 2, **settings})
        nothing = {"store": None, "training": (), "plan": None, "composition": {}, "options": {}}
        prepared = SimpleNamespace(card=card_of("marginal"), **nothing)
        session.Session(run, None, Ranks(), torch.device("cpu"))._batches(prepared)
        expected = {"target_share": 1 / 3, "augmentation": run.request.training.augmentation, **settings}
        assert {name: asked[name] for name in expected} == expected


def test_a_stop_before_the_training_ends_at_once_without_a_model(farm, runs, data):
    run = a_run(runs, data)
    run.request_stop()
    assert farm.work(run) == 0
    assert run.status().state == "stopped"
    assert "no model" in run.status().message
    assert not run.model_path.exists()


def test_a_second_worker_is_refused_and_the_first_one_s_status_stays(farm, runs, data):
    run = a_run(runs, data)
    with run.lock():
        assert farm.work(run) == 1
    assert run.status().state == "created"
    assert "being worked on by process" in run.log_path.read_text()


@pytest.mark.parametrize(
    ("changes", "message", "remedy"),
    [
        ({"method": "marginl"}, "marginl", "did you mean 'marginal'"),
        ({"options": {"dice_wight": 1.0}}, "dice_wight", "did you mean 'dice_weight'"),
        ({"use_regimes": ("partial",)}, "needs training cases", "choose another method"),
        (
            {"method": "mean_teacher", "preset": "paper", "use_regimes": ("coarse", "none")},
            "needs training cases that are full",
            "choose the preset 'ours'",
        ),
        ({"training": {"device": "cuda:77"}}, "cuda:77", "choose"),
    ],
)
def test_a_request_that_cannot_be_met_fails_with_a_remedy(farm, runs, data, changes, message, remedy):
    run = a_run(runs, data, **changes)
    assert farm.work(run) == 1
    status = run.status()
    assert status.state == "failed"
    assert message in status.message
    assert remedy in status.remedy


def test_a_damaged_case_is_named_with_a_remedy_and_no_path(farm, data, tmp_path):
    damaged = shutil.copytree(data, tmp_path / "damaged")
    case = read_json(damaged / "dataset.json")["cases"][0]
    image = damaged / next(iter(case["images"].values()))
    image.write_bytes(image.read_bytes()[:100])
    run = a_run(tmp_path / "runs", damaged)
    assert farm.work(run) == 1
    status = run.status()
    assert status.state == "failed"
    assert case["id"] in status.message
    assert str(tmp_path) not in status.message + status.where
    assert status.remedy


def test_an_unexpected_error_is_one_sentence_and_the_log_has_the_rest(tmp_path, data, monkeypatch):
    def break_down(self):
        raise ZeroDivisionError("inside something")

    monkeypatch.setattr(session.Session, "run", break_down)
    run = a_run(tmp_path, data)
    assert worker.main([str(run.path)]) == 1
    status = run.status()
    assert status.message == "an unexpected error ended the run: ZeroDivisionError: inside something"
    assert "log.txt" in status.where
    assert "break_down" in run.log_path.read_text()


def test_only_a_process_of_its_own_keeps_the_memory_it_frees(tmp_path, data, kept):
    worker.run(a_run(tmp_path, data, training={"steps": 1}))
    assert kept == []
    assert worker.main([str(a_run(tmp_path, data, training={"steps": 1}).path)]) == 0
    assert kept == ["kept"]


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert worker.main([str(tmp_path)]) == 1
    assert "not a run folder" in capsys.readouterr().err


def fail_at(monkeypatch, errors):
    """Let the step with the number of each session raise; return the plans and settings of the sessions."""
    real, sessions = Trainer._advance, []

    def advance(self, batches, progress):
        if not sessions or sessions[-1] is not self:
            sessions.append(self)
        error = errors[len(sessions) - 1] if len(sessions) <= len(errors) else None
        if error is not None and self.step >= 2:
            raise error
        return real(self, batches, progress)

    monkeypatch.setattr(Trainer, "_advance", advance)
    return sessions


def test_distances_are_measured_only_for_options_that_look_at_them(tmp_path, data):
    for loss, is_measured in (("mask", False), ("both", True)):
        run = a_run(tmp_path / loss, data, method="dual_task_mutual_learning", options={"distance_loss": loss})
        prepared = Preparation(run, None, "cpu").run()
        assert any(prepared.store.folder.glob("distance-*")) == is_measured
        with contextlib.closing(session.Session(run, None, Ranks(), torch.device("cpu"))._batches(prepared)(0)) as made:
            assert bool(next(made).maps) == is_measured


def test_a_lack_of_memory_shrinks_the_plan_and_goes_on_from_the_last_checkpoint(tmp_path, data, monkeypatch):
    text = "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    sessions = fail_at(monkeypatch, [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(text)])
    asked, real = [], store.require_entry
    monkeypatch.setattr(store, "require_entry", lambda folder, write: asked.append(folder) or real(folder, write))
    run = a_run(tmp_path, data, plan=replace(a_request(data).plan, batch=8))
    worker.run(run)
    assert len(asked) == len(set(asked)), "files of prepared cases were read again"
    assert [trainer.settings.steps for trainer in sessions] == [10, 10, 10]
    assert started_steps(run) == [0, 2, 2]
    assert read_json(run.plan_path)["batch"] == 2
    notices = [event["text"] for event in run.events()[0] if event["kind"] == "noticed"]
    assert sum("memory ran out" in text for text in notices) == 2
    assert load_latest(run.checkpoints).step == 10
    assert run.status().state == "finished"


def test_a_session_that_failed_is_out_of_memory_before_the_next_and_a_stop_in_between_is_heard(
    tmp_path, data, monkeypatch
):
    make, step, shrink = Trainer.__init__, Trainer._advance, session.Session._shrink
    made, left = [], []

    def init(self, *given, **named):
        left.append(sum(trainer() is not None for trainer in made))
        made.append(weakref.ref(self))
        make(self, *given, **named)

    def advance(self, batches, progress):
        if len(made) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return step(self, batches, progress)

    def stop_and_shrink(self, prepared):
        self.folder.request_stop()
        time.sleep(1.5 * LISTEN_SECONDS)
        return shrink(self, prepared)

    monkeypatch.setattr(Trainer, "__init__", init)
    monkeypatch.setattr(Trainer, "_advance", advance)
    monkeypatch.setattr(session.Session, "_shrink", stop_and_shrink)
    plan = replace(a_request(data).plan, batch=8)
    run = a_run(tmp_path, data, plan=plan, training={"steps": 1_000_000, "checkpoint_seconds": 60.0})
    worker.run(run)
    assert left == [0, 0]
    assert run.status().state == "stopped"


def test_a_lack_of_memory_without_end_is_told_with_numbers(tmp_path, data, monkeypatch):
    fail_at(monkeypatch, [torch.OutOfMemoryError("out of memory")] * 9)
    run = a_run(tmp_path, data, plan=replace(a_request(data).plan, batch=64))
    with pytest.raises(TrainingError, match=r"memory ran out with 8 rows .* GiB are free"):
        worker.run(run)


def test_losses_that_are_not_finite_fall_back_to_fp32_once(tmp_path, data, monkeypatch):
    monkeypatch.setattr("SemiSegLib.training.settling.try_bf16", lambda: Bf16Support(works=True, limit=None))
    # What is tested is the fallback; whether this CPU runs bf16 is not.
    monkeypatch.setattr("SemiSegLib.training.precision.AUTOCAST", {"bf16": torch.float32})
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    sessions = fail_at(monkeypatch, [NonFiniteError(2, ("case_b",), "bf16")])
    run = a_run(tmp_path, data, training={"precision": "bf16", "deterministic": False, "validate_every": 5})
    worker.run(run)
    assert [trainer.compute.precision for trainer in sessions] == ["bf16", "fp32"]
    assert started_steps(run) == [0, 2]
    assert run.status().state == "finished"


def test_losses_that_stay_not_finite_end_the_run_with_the_names_of_the_cases(tmp_path, data, monkeypatch):
    fail_at(monkeypatch, [NonFiniteError(2, ("case_b",), "fp32")] * 2)
    run = a_run(tmp_path, data)
    assert worker.main([str(run.path)]) == 1
    assert "case_b" in run.status().where


def test_a_case_without_labels_and_one_labeled_patient_train_without_a_validation(farm, tmp_path):
    data = a_cohort(tmp_path / "one", fine=1, coarse=0, none=1, validation=0)
    run = a_run(tmp_path / "runs", data, training={"steps": 2})
    assert farm.work(run) == 0, run.status()
    assert run.status().best_dice is None
    assert load_model(run.model_path).provenance["model_step"] == 2
    assert "no validation is possible" in run.log_path.read_text()


def test_a_run_goes_on_only_where_it_is_locked_once(tmp_path, data):
    run = a_run(tmp_path, data)
    with run.lock(), pytest.raises(RunError, match="being worked on"):
        worker.run(run)
