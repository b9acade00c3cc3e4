"""The presence network of a run: trained first, calibrated, kept, resumed, or given."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from SemiSegLib import presence_stage, presence_training, session, worker
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.config import read_json
from SemiSegLib.errors import CheckpointError, RunError
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.subclass.marginal import Marginal
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.prediction.presence_file import load_presence, save_presence
from SemiSegLib.presence_stage import settings_after_stage, stage_settings
from SemiSegLib.presence_training import kept_for_calibration, lesson_of, minimum_voxels
from SemiSegLib.runs.request import PresenceSettings, TrainingSettings
from SemiSegLib.training.checkpoints import load_latest
from SemiSegLib.training.trainer import Trainer
from Testing.lib.batches.study import a_plan, put_study
from Testing.lib.run_farm import a_cohort, a_request, a_run, same_weights

SMALL = PresenceSettings(width=0.125, share=0.5, minimum_voxels=4)
ROIS = ("organ", "head", "tail", "vessel")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("data") / "cohort", fine=2, coarse=1, partial=1, none=1)


class NeedsPresence(Marginal):
    """A method with a presence network, which it keeps."""

    def __init__(self, study, options):
        super().__init__(study, options)
        self.presence = study.presence


@pytest.fixture(autouse=True)
def method(monkeypatch):
    """Let the marginal method ask for a presence network."""
    card = replace(card_of("marginal"), stages=("presence",))
    monkeypatch.setattr("SemiSegLib.preparation.card_of", lambda name: card if name == "marginal" else card_of(name))
    monkeypatch.setattr("SemiSegLib.methods.factory.METHODS", {"marginal": NeedsPresence})
    monkeypatch.setattr(presence_training, "CALIBRATION_PATCHES", 24)
    # Pictures of a report are another test's matter.
    monkeypatch.setattr(worker, "write_run_report", lambda run, **_: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A run that trains a presence network and nothing else."""
    run = a_run(tmp_path_factory.mktemp("whole"), data, method="presence", presence=SMALL, training={"steps": 4})
    worker.run(run)
    return run


def a_staged_run(parent, data, **changes):
    return a_run(parent, data, **{"presence": SMALL, "training": {"steps": 4}, **changes})


def test_a_run_trains_its_presence_network_first_and_its_model_holds_it(tmp_path, data):
    run = a_staged_run(tmp_path, data)
    worker.run(run)
    assert run.status().state == "finished"
    found = load_presence(run.presence_path)
    assert found.network.shape.classes == ROIS
    assert found.provenance["steps"] == 2
    model = load_model(run.model_path)
    assert model.study.presence.rois == RoiTable.of(model.study.scheme).names == ROIS
    kept = {n.removeprefix("presence."): t for n, t in model.method.state_dict().items() if n.startswith("presence.")}
    assert all(torch.equal(kept[f"network.{n}"], t) for n, t in found.network.state_dict().items())
    assert torch.equal(kept["temperature"], found.temperature)
    told = model.method.presence(torch.randn(2, 1, 8, 16, 16))
    assert told.shape == (2, 4)
    noted = read_json(run.environment_path)["presence"]
    assert (noted["source"], noted["classes"]) == ("trained", list(ROIS))
    kinds = [event["kind"] for event in run.events()[0]]
    assert kinds.count("started") == kinds.count("finished") == 1


def test_without_validation_cases_it_is_calibrated_on_patients_that_it_did_not_learn_from(tmp_path, monkeypatch):
    data = a_cohort(tmp_path / "data", fine=6, coarse=0, partial=0, none=1, validation=0)
    seen, real = [], presence_training.lesson_batches

    def noting(prepared, cases, **how):
        seen.append({case.id for case in cases})
        return real(prepared, cases, **how)

    monkeypatch.setattr(presence_training, "lesson_batches", noting)
    monkeypatch.setattr(presence_stage, "lesson_batches", noting)
    run = a_staged_run(tmp_path, data, validation_share=0.0)
    worker.run(run)
    taught, kept = seen
    assert (len(taught), len(kept)) == (5, 1)
    assert not taught & kept
    facts = load_presence(run.presence_path).facts
    assert any(fact.present + fact.absent > 0 for fact in facts)


def test_patients_are_kept_only_where_others_show_the_same():
    shown = {f"p{number}_{scan}": ("RV",) for number in range(12) for scan in "ab"}
    shown |= {f"q{number}_a": ("LV",) for number in range(5)} | {"p0_a": ("RV", "LV")}
    cases = [SimpleNamespace(id=name, patient=name[:-2]) for name in shown]
    store = SimpleNamespace(summary=lambda name: SimpleNamespace(classes=shown[name]))
    kept = kept_for_calibration(store, cases)
    # Eleven show RV alone: one of them, with both scans.
    assert len(kept) == 2
    assert len({case.patient for case in kept}) == 1
    assert kept[0].patient.startswith("p")
    assert kept_for_calibration(store, cases[::-1]) == kept[::-1]


def test_what_is_not_calibrated_is_told(tmp_path, data):
    run = a_staged_run(tmp_path, data, validation_share=0.0)
    worker.run(run)
    told = [event["text"] for event in run.events()[0] if event["kind"] == "noticed"]
    assert any("is not calibrated: too few" in text for text in told)


def test_the_budget_is_shared_between_stage_and_method(data):
    timed = replace(a_request(data), training=TrainingSettings(steps=None, seconds=100.0))
    assert stage_settings(timed, timed.training).seconds == pytest.approx(9)
    assert settings_after_stage(timed, timed.training).seconds == pytest.approx(90)
    given = replace(timed, presence_model="file")
    assert settings_after_stage(given, given.training).seconds == 100
    counted = replace(a_request(data), presence=PresenceSettings(share=0.3), training=TrainingSettings(steps=100))
    assert stage_settings(counted, counted.training).steps == 30
    assert settings_after_stage(counted, counted.training).steps == 100
    alone = replace(timed, method="presence")
    assert stage_settings(alone, alone.training).seconds == pytest.approx(90)


def fail_once(monkeypatch, step):
    """Let the first training die when it reaches a step, as a power cut would let it."""
    real, died = Trainer._advance, []

    def advance(self, batches, progress):
        if self.step == step and not died:
            died.append(step)
            raise KeyboardInterrupt
        return real(self, batches, progress)

    monkeypatch.setattr(Trainer, "_advance", advance)


def test_a_stage_that_is_killed_goes_on_as_if_nothing_had_happened(tmp_path, data, monkeypatch):
    training = {"training": {"steps": 6}}
    undisturbed = a_staged_run(tmp_path, data, **training)
    worker.run(undisturbed)
    fail_once(monkeypatch, 2)
    run = a_staged_run(tmp_path, data, **training)
    with pytest.raises(KeyboardInterrupt):
        worker.run(run)
    assert not run.presence_path.exists()
    assert load_latest(run.presence_checkpoints).step == 2
    first = []
    real = presence_stage.Trainer

    def noting(*arguments, **keywords):
        made = real(*arguments, **keywords)
        first.append(made.step)
        return made

    monkeypatch.setattr(presence_stage, "Trainer", noting)
    worker.run(run)
    assert first == [2]
    one, two = load_file(undisturbed.presence_path), load_file(run.presence_path)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert same_weights(undisturbed, run)
    # A third session trains neither again.
    run.model_path.unlink()
    count = len(first)
    worker.run(run)
    assert len(first) == count


def test_a_stop_during_the_stage_is_told_and_the_run_can_be_resumed(tmp_path, data, monkeypatch):
    run = a_staged_run(tmp_path, data)
    real = Trainer._advance

    def stopping(self, batches, progress):
        self.stop()
        return real(self, batches, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_advance", stopping)
        worker.run(run)
    assert run.status().state == "stopped"
    assert "no model yet" in run.status().message
    assert load_latest(run.presence_checkpoints).step == 1
    worker.run(run)
    assert run.status().state == "finished"


def test_the_state_tells_what_is_being_trained(tmp_path, data, monkeypatch):
    told = []
    real = session.Reporter.update

    def update(self, **changes):
        told.append((changes.get("state"), changes.get("message")))
        real(self, **changes)

    monkeypatch.setattr(session.Reporter, "update", update)
    monkeypatch.setattr("SemiSegLib.runs.reporter.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr("SemiSegLib.runs.reporter.LISTEN_SECONDS", 0.01)
    real_step = Trainer._advance
    monkeypatch.setattr(Trainer, "_advance", lambda *given: (time.sleep(0.05), real_step(*given))[1])
    worker.run(a_staged_run(tmp_path, data))
    words = [message for _, message in told if message]
    assert ("preparing", "training the presence network") in told
    assert any("training the presence network first: 50 %" in word for word in words)
    assert words.index("calibrating the presence network") < words.index("training")


def test_a_run_for_a_presence_network_alone_leaves_its_file_and_no_model(whole):
    status = whole.status()
    assert (status.state, status.step, status.fraction) == ("finished", 4, 1.0)
    assert not whole.model_path.exists()
    assert not whole.report.exists()
    kinds = {event["kind"] for event in whole.events()[0]}
    assert kinds >= {"started", "stepped", "checkpoint", "finished"}
    assert load_presence(whole.presence_path).provenance["steps"] == 4


def test_a_file_gives_back_what_was_written(whole, tmp_path):
    found = load_presence(whole.presence_path)
    copy = tmp_path / "copy.safetensors"
    save_presence(copy, found)
    assert copy.read_bytes() == whole.presence_path.read_bytes()
    assert found.plan.patch == (8, 16, 16)
    assert [fact.name for fact in found.facts] == list(ROIS)
    with pytest.raises(CheckpointError, match=r"not a SemiSeg model"):
        load_model(copy)


def test_a_file_that_is_none_is_refused(whole, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.presence_path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"damaged(.|\n)*train-presence"):
        load_presence(cut)
    cut.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="not a presence network file"):
        load_presence(cut)
    found = load_presence(whole.presence_path)
    save_presence(cut, replace(found, temperature=torch.zeros(4)))
    with pytest.raises(CheckpointError, match="temperature above 0"):
        load_presence(cut)


def test_a_given_network_is_copied_into_the_run_which_then_needs_nothing_else(whole, tmp_path, data):
    given = tmp_path / "given.safetensors"
    given.write_bytes(whole.presence_path.read_bytes())
    run = a_staged_run(tmp_path, data, presence_model=str(given))
    worker.run(run)
    assert run.presence_path.read_bytes() == given.read_bytes()
    assert not run.presence_checkpoints.exists()
    assert read_json(run.environment_path)["presence"]["source"] == "given"
    given.unlink()
    run.model_path.unlink()
    worker.run(run)
    assert load_model(run.model_path).study.presence.rois == ROIS


def test_a_given_network_of_another_intensity_window_is_told_of(whole, tmp_path, data):
    found = load_presence(whole.presence_path)
    channels = tuple(replace(c, normalization="ct", low=0.0, high=500.0) for c in found.plan.channels)
    given = tmp_path / "given.safetensors"
    save_presence(given, replace(found, plan=replace(found.plan, channels=channels)))
    plan = replace(a_request(data).plan, normalization="ct", window=(0.0, 900.0))
    run = a_staged_run(tmp_path, data, presence_model=str(given), plan=plan)
    worker.run(run)
    told = [event["text"] for event in run.events()[0] if event["kind"] == "noticed"]
    assert "the presence network was trained on intensities of 0 to 500, these are 0 to 900" in told
    assert load_model(run.model_path).study.plan.channels[0].high == 900.0


def refused(run):
    assert worker.main([str(run.path)]) == 1
    return run.status()


def test_a_given_network_for_other_images_or_structures_is_refused(whole, tmp_path, data):
    found = load_presence(whole.presence_path)
    other = tmp_path / "other.safetensors"
    channels = (*found.plan.channels, replace(found.plan.channels[0], role="T2"))
    save_presence(other, replace(found, plan=replace(found.plan, channels=channels)))
    status = refused(a_staged_run(tmp_path, data, presence_model=str(other)))
    assert "T2" in status.message
    assert "so that the run trains its own" in status.remedy

    found.network.shape = replace(found.network.shape, classes=("liver", "a", "b", "c"))
    save_presence(other, found)
    status = refused(a_staged_run(tmp_path, data, presence_model=str(other)))
    assert "no class tells whether an image holds: organ, head, tail, vessel" in status.message
    mapped = replace(SMALL, classes={"organ": ("a", "b"), "vessel": ("liver",)})
    run = a_staged_run(tmp_path, data, presence_model=str(other), presence=mapped)
    worker.run(run)
    assert load_model(run.model_path).study.presence.description.classes_of["tail"] == ("a", "b")


def test_a_given_network_for_slices_across_another_axis_is_refused(whole, tmp_path, data):
    found = load_presence(whole.presence_path)
    other = tmp_path / "other.safetensors"
    save_presence(other, replace(found, plan=replace(found.plan, axis_order=(1, 0, 2))))
    status = refused(a_staged_run(tmp_path, data, presence_model=str(other)))
    assert "front to back, those of this study from bottom to top" in status.message


def test_a_structure_that_no_case_shows_is_an_error_before_anything_is_trained(tmp_path):
    data = a_cohort(tmp_path / "data", fine=0, coarse=0, partial=2, none=0, validation=0)
    status = refused(a_staged_run(tmp_path, data))
    assert "no class tells whether an image holds" in status.message
    assert "draw it in a training case" in status.remedy


def test_the_minimum_is_50_voxels_or_a_thousandth_and_never_more_than_half():
    settings = PresenceSettings()
    sizes = np.array([1_500_000.0, 20_000.0, 60.0, 1.0])
    assert minimum_voxels(sizes, settings).tolist() == [1500.0, 50.0, 30.0, 1.0]
    assert minimum_voxels(sizes, replace(settings, minimum_voxels=1, minimum_share=0.1)).tolist()[1] == 2000.0


@pytest.mark.parametrize(("slices", "is_told"), [((0, 2, 4), False), (tuple(range(1, 14)), True)])
def test_a_structure_that_no_patch_denies_is_an_error_before_anything_is_trained(tmp_path, slices, is_told):
    plan = a_plan(patch=(3, 6, 6), batch=2)
    study = put_study(tmp_path / "data", ("partial", "partial"), shape=(15, 13, 11))
    for case in study.cases:
        object.__setattr__(case.annotation.extent, "slices", slices)
        object.__setattr__(
            case.annotation, "values", {0: ("background", "organ"), 1: ("organ",), 2: ("organ",), 3: ("vessel",)}
        )
    prepared = SimpleNamespace(
        dataset=study,
        implied=("organ",),
        plan=plan,
        training=study.cases,
        validation=(),
        store=PreparedStore(tmp_path / "cache", study, plan),
    )
    if is_told:
        assert lesson_of(prepared, SMALL, torch.device("cpu")).shape.classes == ("vessel",)
        return
    with pytest.raises(RunError, match=r"no patch says of vessel that it is not there(.|\n)*roi_mean_teacher"):
        lesson_of(prepared, SMALL, torch.device("cpu"))
